"""Rules for credentials: prefixes that their issuers publish, and values beside words that name them.

The address beside a rule is where its issuer documents the format (read November 2026).
"""

from policies.classify import randomness as check
from policies.classify.rules import Rule

_START = r"(?:\A|[^A-Za-z0-9])"


def _token(kind: str, pattern: str) -> Rule:
    return Rule(kind, _START + "(" + pattern + ")", check.is_token)


_NAMES = (
    r"(?:passw(?:or)?d|passwort|passphrase|contrase\S{1,2}a|mot[ _-]de[ _-]passe|pwd|secret|api[_ -]?key|"
    r"(?:access|auth|private|account|encryption|shared|signing|master|service|client|storage)[_ -]?key|"
    r"token|credential)"
)
_SIGN = r"[\w.\-]{0,20}[\"'\x60\]]{0,2}\s{0,3}(?:=>|:=|={1,2}|:|\s--?)\s{0,3}[\"'\x60]?"
_SAID = r"\s{1,2}(?:is|lautet|es|est)\b:?\s{1,2}[\"'\x60]?"
_VALUE = r"[^\s\"'\x60,;<>(){}\[\]]"
_NAMED = rf"(?i){_NAMES}(?:{_SIGN}|{_SAID})"
_AFTER = (
    r"(?i)(?:secret|private|access|token|key|\bpat|credential|login)(?:[ _\-]?(?:key|token|id))?[\"'\x60]?"
    r"(?:\s{1,3}|\s{0,2}[:=]{1,2}>?\s{0,2}|[\-_|,])[\"'\x60]?"
)
_RANDOM = r"[A-Za-z0-9+/=_.~\-!%]"

CREDENTIALS: tuple[Rule, ...] = (
    # docs.aws.amazon.com, IAM identifiers: unique prefixes.
    Rule("secret.aws_key", _START + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    Rule(
        "secret.aws_key",
        r"(?i)aws.{0,30}?(?:secret|key).{0,20}?[=:\s\"']([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z)",
        check.is_aws_secret,
    ),
    # github.blog, 2021-04-05, token formats; fine-grained tokens since 2022.
    _token("secret.github", r"gh[pousr]_[A-Za-z0-9]{36}"),
    _token("secret.github", r"ghs_[0-9]+_eyJ[A-Za-z0-9_\-]{20}"),
    _token("secret.github", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{40}"),
    # docs.gitlab.com, token overview: prefixes.
    _token(
        "secret.gitlab",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|agent|imt|ffct)-[A-Za-z0-9_\-.]{20}",
    ),
    # platform.openai.com: sk-, sk-proj-, sk-svcacct-, sk-admin-.
    _token("secret.openai", r"sk-[A-Za-z0-9_\-]{16,}T3BlbkFJ[A-Za-z0-9_\-]{16}"),
    _token("secret.openai", r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_\-]{20}"),
    _token("secret.openai", r"sk-[A-Za-z0-9]{32}"),
    # docs.anthropic.com: sk-ant-.
    _token("secret.anthropic", r"sk-ant-[a-z]{3,6}\d{2,4}-[A-Za-z0-9_\-]{32}"),
    # cloud.google.com, API keys.
    _token("secret.google", r"AIza[A-Za-z0-9_\-]{35}"),
    _token("secret.google", r"GOCSPX-[A-Za-z0-9_\-]{28}"),
    _token("secret.google", r"ya29\.[A-Za-z0-9_\-]{20}"),
    # api.slack.com, token types and incoming webhooks.
    _token("secret.slack", r"xox[abeoprs]-[A-Za-z0-9\-]{0,40}[0-9]{6}[A-Za-z0-9\-]{6}"),
    _token("secret.slack", r"xoxe\.xox[bp]-\d-[A-Za-z0-9]{40}"),
    _token("secret.slack", r"xapp-\d-[A-Z0-9]{6,}-\d+-[a-z0-9]{20}"),
    Rule("secret.slack", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_\-]{20}"),
    # docs.stripe.com, keys.
    _token("secret.stripe", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16}"),
    _token("secret.stripe", r"whsec_[A-Za-z0-9]{24}"),
    # Published prefixes of other hosts, each long enough to stand for itself.
    _token("secret.token", r"hf_[A-Za-z]{34}"),  # huggingface.co
    _token("secret.token", r"npm_[A-Za-z0-9]{36}"),  # docs.npmjs.com
    _token("secret.token", r"pypi-AgE[A-Za-z0-9_\-]{50}"),  # PyPI
    _token("secret.token", r"do[opr]_v1_[a-z0-9]{64}"),  # docs.digitalocean.com
    _token("secret.token", r"SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16}"),  # docs.sendgrid.com
    _token("secret.token", r"SK[0-9a-f]{32}\b"),  # twilio.com, API keys
    _token("secret.token", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),  # shopify.dev
    _token("secret.token", r"dapi[a-f0-9]{32}"),  # docs.databricks.com
    _token("secret.token", r"hv[sb]\.[A-Za-z0-9_\-]{24}"),  # developer.hashicorp.com, Vault
    _token(
        "secret.token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{60}"
    ),  # developer.hashicorp.com, HCP
    _token("secret.token", r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}"),  # age
    _token("secret.token", r"gl(?:sa|c)_[A-Za-z0-9=]{32}"),  # grafana.com
    _token("secret.token", r"eyJrIjoi[A-Za-z0-9+/]{40}"),  # grafana.com, keys before 2023
    _token("secret.token", r"lin_api_[A-Za-z0-9]{40}"),  # linear.app
    _token("secret.token", r"key-[0-9a-f]{32}\b"),  # mailgun.com
    _token("secret.token", r"\d{8,10}:AA[A-Za-z0-9_\-]{32}"),  # core.telegram.org
    _token("secret.token", r"gsk_[A-Za-z0-9]{48}"),  # console.groq.com
    _token("secret.token", r"xai-[A-Za-z0-9]{64}"),  # docs.x.ai
    _token("secret.token", r"r8_[A-Za-z0-9]{37}"),  # replicate.com
    _token("secret.token", r"tgp_v1_[A-Za-z0-9_\-]{40}"),  # docs.together.ai
    _token("secret.token", r"EAA[A-Za-z0-9]{80}"),  # developers.facebook.com
    _token("secret.token", r"sq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{22}"),  # developer.squareup.com
    _token("secret.token", r"(?:ATATT3x|ATCTT3x|ATBB)[A-Za-z0-9_\-=]{28}"),  # atlassian.com
    _token(
        "secret.token", r"dp\.(?:ct|pt|st|sa|scim|audit)\.[A-Za-z0-9_.\-]{40}"
    ),  # docs.doppler.com
    _token("secret.token", r"tskey-[a-z]{3,10}-[A-Za-z0-9]{8,}-[A-Za-z0-9]{4}"),  # tailscale.com
    _token("secret.token", r"LTAI[A-Za-z0-9]{12,20}\b"),  # alibabacloud.com
    _token("secret.token", r"rdme_[a-z0-9]{70}"),  # docs.readme.com
    _token("secret.token", r"sgp_(?:[a-zA-Z0-9]{16}_|local_)?[a-zA-Z0-9]{40}"),  # sourcegraph.com
    _token("secret.token", r"ph[xc]_[A-Za-z0-9_]{43}"),  # posthog.com
    _token("secret.token", r"CCIPAT_[A-Za-z0-9]{22}_[A-Za-z0-9]{40}"),  # circleci.com
    _token("secret.token", r"sq[apu]_[a-z0-9]{40}"),  # docs.sonarsource.com
    _token("secret.token", r"aio_[A-Za-z0-9]{28}"),  # io.adafruit.com
    _token("secret.token", r"pn[ub]_[A-Za-z0-9]{36}"),  # docs.prefect.io
    _token("secret.token", r"vcp_[A-Za-z0-9]{56}"),  # vercel.com
    _token("secret.token", r"(?:ntn|secret)_[A-Za-z0-9]{43}"),  # developers.notion.com
    _token("secret.token", r"nfp_[A-Za-z0-9]{36}"),  # docs.netlify.com
    _token("secret.token", r"sbp_(?:v0_)?[a-z0-9]{40}"),  # supabase.com
    _token("secret.token", r"figd_[A-Za-z0-9_\-]{38}"),  # figma.com
    _token("secret.token", r"cf(?:at|ut|k)_[A-Za-z0-9]{40}"),  # developers.cloudflare.com
    _token("secret.token", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.\-]{32}"),  # planetscale.com
    _token("secret.token", r"sntry[su]_[A-Za-z0-9=_\-]{50}"),  # docs.sentry.io
    _token("secret.token", r"NRAK-[A-Z0-9]{27}"),  # docs.newrelic.com
    _token("secret.token", r"PMA[KT]-[A-Za-z0-9\-]{26}"),  # learning.postman.com
    _token("secret.token", r"HRKU-[A-Za-z0-9_\-]{36}"),  # devcenter.heroku.com
    _token("secret.token", r"ops_eyJ[A-Za-z0-9_\-]{60}"),  # developer.1password.com
    _token("secret.token", r"pat[A-Za-z0-9]{14}\.[a-z0-9]{64}"),  # airtable.com
    _token("secret.token", r"tkn\.v1_[A-Za-z0-9=]{40}"),  # developer.teamwork.com
    _token("secret.token", r"1000\.[0-9a-f]{32}\.[0-9a-f]{32}"),  # zoho.com
    _token("secret.token", r"00D[A-Za-z0-9]{12,15}![A-Za-z0-9_.]{40}"),  # developer.salesforce.com
    _token(
        "secret.token", r"[MNO][A-Za-z0-9_\-]{23,27}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27}"
    ),  # discord.com
    Rule("secret.token", r"discord(?:app)?\.com/api/webhooks/\d{15,20}/[A-Za-z0-9_\-]{40}"),
    Rule(
        "secret.token", r"webhook\.office\.com/webhookb2/[A-Za-z0-9@\-]{40}"
    ),  # learn.microsoft.com
    _token("secret.token", r"mg-[A-Za-z0-9_\-]{43}"),  # our own keys
    # PEM (RFC 7468) and its kin.
    Rule("secret.private_key", r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    Rule("secret.private_key", r"PuTTY-User-Key-File-\d:"),
    # RFC 7519: two base64url JSON objects (and a signature, which may be far away).
    _token("secret.jwt", r"eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10}"),
    # RFC 3986, user information with a password.
    Rule(
        "secret.url_password",
        r"\b[a-z][a-z0-9+.\-]*://[^\s/:@\"'<>{}$]*:([^\s/@\"'<>{}$]{3,128})@[\w.\-\[]",
        check.is_password,
    ),
    # curl(1), -u user:password.
    Rule(
        "secret.url_password",
        r"\bcurl\b[^\n|;&]{0,200}?\s(?:-u|--user)[ =][\"']?[^\s:\"'$]{1,64}:([^\s\"']{4,64})",
        check.is_password,
    ),
    # RFC 6750 and 7617, as they stand in a request's head.
    Rule(
        "secret.authorization",
        r"(?i)\bauthorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?:bearer|basic|token)\s+([A-Za-z0-9._~+/\-]{16})",
        check.is_token,
    ),
    # learn.microsoft.com, storage connection strings and SAS signatures.
    Rule("secret.azure", r"(?i)\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40}"),
    Rule("secret.azure", r"[?&]sig=[A-Za-z0-9%+/]{40}"),
    # crypt(3): hashes of passwords can be guessed back.
    Rule("secret.password", r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}"),
    Rule("secret.password", r"\$krb5(?:tgs|asrep)\$\d+\$"),
    Rule(
        "secret.password",
        _NAMED + _VALUE + "{6}",
        check.is_named_secret,
        _NAMED + "(" + _VALUE + "{6,})",
    ),
    Rule(
        "secret.generic",
        _AFTER + _RANDOM + "{16}",
        check.is_random_after_word,
        "(?i)(?:public[ _-]?)?" + _AFTER + "(" + _RANDOM + "{16,})",
    ),
)
