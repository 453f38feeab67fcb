"""The rules: a type, a pattern, and what a hit has to pass. Formats are published; sources stand beside.

Patterns are RE2 (no look-around, linear time). ``\\b`` is RE2's ASCII word border, which is what token
formats are made of. A rule is cheap to add: one line here, one line in the tests.
"""

from typing import NamedTuple

from policies.classify import checks
from policies.classify.checks import Check


class Rule(NamedTuple):
    """``kind`` is what a hit means, ``pattern`` finds candidates, ``check`` (if any) decides."""

    kind: str
    pattern: str
    check: Check | None = None


# A value after a word that says it is one: `password = "…"`, `"api_key": "…"`, `--token …`.
_NAMED = (
    r"(?i)[\w.-]{0,30}(?:passw(?:or)?d|passwort|passphrase|contrase\S{1,2}a|mot[ _-]de[ _-]passe|pwd|secret|"
    r"api[_-]?key|apikey|access[_-]?key|auth[_-]?key|private[_-]?key|account[_-]?key|encryption[_-]?key|"
    r"token|credential)[\w.-]{0,20}[\"'\x60]?\s{0,3}(?:=>|:=|={1,2}|:|\bis\b|\blautet\b|\bes\b|\s--?)\s{0,3}"
    r"[\"'\x60]?([^\s\"'\x60,;<>(){}\[\]]{6,200})"
)

RULES: tuple[Rule, ...] = (
    # RFC 5321 addresses as people write them; quoted local parts are not looked for.
    Rule(
        "pii.email",
        r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62}\.){1,8}[A-Za-z]{2,24}\b",
    ),
    # ITU-T E.164, with the separators people use; numbers without + only where a word or form says phone.
    Rule("pii.phone", r"(?:\+|\b00)[1-9](?:[ ()./\-]{0,3}\d){6,16}\b", checks.is_phone),
    Rule(
        "pii.phone",
        r"(?:\(\d{2,5}\)[ .\-]?|\b\d{3}[ .\-])\d{3,5}[ .\-]\d{4}\b",
        checks.is_local_phone,
    ),
    Rule(
        "pii.phone",
        r"(?i)\b(?:tel|telefon\w{0,2}|t[eé]l[eé]phone|phone|phone number|mobile?|handy|cell|fax|whatsapp|"
        r"call me (?:at|on)|call|ring|reach me (?:at|on)|rufnummer|celular|m[oó]vil|portable)\b"
        r"[\s.:#\"'=]{0,6}(?:is |at |on |no\.? |number |nummer )?[\s\"']{0,2}\(?\d(?:[ ()./\-]{0,3}\d){6,14}\b",
        checks.has_phone_digits,
    ),
    # ISO/IEC 7812: 13 to 19 digits, Luhn, the ranges of the networks.
    Rule("pii.card", r"\b\d(?:[ \-.]?\d){12,18}\b", checks.is_card),
    # ISO 13616: country, check digits, up to 30 characters, modulo 97.
    Rule("pii.iban", r"(?i)\b[A-Z]{2}\d{2}(?:[ \-]?[A-Z0-9]){11,30}\b", checks.is_iban),
    # US Social Security numbers: ssa.gov, areas that are never issued are refused.
    Rule("pii.national_id", r"\b\d{3}[\- ]\d{2}[\- ]\d{4}\b", checks.is_ssn),
    Rule(
        "pii.national_id",
        r"(?i)\b(?:ssn|social security)(?: (?:number|no\.?))?[\s:#\"'=]{0,5}(?:is )?\d{9}\b",
        checks.is_ssn,
    ),
    # UK National Insurance numbers (gov.uk, NIM39110).
    Rule(
        "pii.national_id",
        r"(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b",
    ),
    # Spain: DNI and NIE (BOE), a check letter of 23.
    Rule("pii.national_id", r"(?i)\b[XYZ\d]-?\d{7}-?[A-Z]\b", checks.is_spanish_id),
    # Italy: codice fiscale (DM 23/12/1976), with its check letter.
    Rule(
        "pii.national_id",
        r"(?i)\b[A-Z]{6}[\dL-V]{2}[A-EHLMPRST][\dL-V]{2}[A-Z][\dL-V]{3}[A-Z]\b",
        checks.is_italian_id,
    ),
    # France: numéro de sécurité sociale (INSEE), with its key.
    Rule(
        "pii.national_id",
        r"\b[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}\b",
        checks.is_french_id,
    ),
    # Switzerland: AHV number, EAN-13.
    Rule("pii.national_id", r"\b756[. ]\d{4}[. ]\d{4}[. ]\d{2}\b", checks.is_swiss_id),
    # Brazil: CPF, two check digits.
    Rule("pii.national_id", r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b", checks.is_brazilian_id),
    # India: Aadhaar (UIDAI), Verhoeff.
    Rule("pii.national_id", r"\b[2-9]\d{3}[ \-]\d{4}[ \-]\d{4}\b", checks.is_indian_id),
    # Germany: Steuer-Identifikationsnummer, where a word names it.
    Rule(
        "pii.national_id",
        r"(?i)(?:steuer-?id\w{0,30}|idnr\.?|tax id\w{0,12})[\s:.#\"'=]{0,5}(\d{2} ?\d{3} ?\d{3} ?\d{3})\b",
        checks.is_german_tax_id,
    ),
    # docs.aws.amazon.com, IAM identifiers: unique prefixes.
    Rule("secret.aws_key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    Rule(
        "secret.aws_key",
        r"(?i)aws.{0,30}?(?:secret|key).{0,20}?[=:\s\"']([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)",
        checks.looks_random,
    ),
    # github.blog, 2021-04-05, token formats; fine-grained tokens since 2022.
    Rule("secret.github", r"\bgh[pousr]_[A-Za-z0-9]{36,251}\b"),
    Rule("secret.github", r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b"),
    # docs.gitlab.com, token overview: prefixes.
    Rule(
        "secret.gitlab",
        r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|agent|imt|ffct)-[A-Za-z0-9_\-.]{20,}",
    ),
    # platform.openai.com: sk-, sk-proj-, sk-svcacct-, sk-admin-.
    Rule(
        "secret.openai",
        r"\bsk-(?:(?:proj|svcacct|admin|None)-)?[A-Za-z0-9_\-]{20,}T3BlbkFJ[A-Za-z0-9_\-]{20,}",
    ),
    Rule("secret.openai", r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_\-]{32,}"),
    Rule("secret.openai", r"\bsk-[A-Za-z0-9]{32,64}\b"),
    # docs.anthropic.com: sk-ant-.
    Rule("secret.anthropic", r"\bsk-ant-(?:api|admin|sid|oat)\d{2}-[A-Za-z0-9_\-]{40,}"),
    # cloud.google.com, API keys.
    Rule("secret.google", r"\bAIza[A-Za-z0-9_\-]{35}"),
    Rule("secret.google", r"\bGOCSPX-[A-Za-z0-9_\-]{28}\b"),
    Rule("secret.google", r"\bya29\.[A-Za-z0-9_\-]{20,}"),
    # api.slack.com, token types and incoming webhooks.
    Rule("secret.slack", r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}"),
    Rule("secret.slack", r"\bxapp-\d-[A-Z0-9]{6,}-\d+-[a-z0-9]{20,}"),
    Rule("secret.slack", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_\-]{20,}"),
    # docs.stripe.com, keys.
    Rule("secret.stripe", r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}"),
    Rule("secret.stripe", r"\bwhsec_[A-Za-z0-9]{24,}"),
    # Published prefixes of other hosts, each long enough to stand for itself.
    Rule("secret.token", r"\bhf_[A-Za-z]{34}\b"),  # huggingface.co
    Rule("secret.token", r"\bnpm_[A-Za-z0-9]{36}\b"),  # docs.npmjs.com
    Rule("secret.token", r"\bpypi-AgE[A-Za-z0-9_\-]{50,}"),  # PyPI
    Rule("secret.token", r"\bdop_v1_[a-f0-9]{64}\b"),  # docs.digitalocean.com
    Rule(
        "secret.token", r"\bSG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}"
    ),  # docs.sendgrid.com
    Rule("secret.token", r"\bSK[0-9a-f]{32}\b"),  # twilio.com, API keys
    Rule("secret.token", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b"),  # shopify.dev
    Rule("secret.token", r"\bdapi[a-f0-9]{32}\b"),  # docs.databricks.com
    Rule("secret.token", r"\bhv[sb]\.[A-Za-z0-9_\-]{24,}"),  # developer.hashicorp.com, Vault
    Rule("secret.token", r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}\b"),  # age
    Rule("secret.token", r"\bglsa_[A-Za-z0-9]{32}_[a-f0-9]{8}\b"),  # grafana.com
    Rule("secret.token", r"\blin_api_[A-Za-z0-9]{40}\b"),  # linear.app
    Rule("secret.token", r"\bkey-[0-9a-f]{32}\b"),  # mailgun.com
    Rule("secret.token", r"\b\d{8,10}:AA[A-Za-z0-9_\-]{32,35}\b"),  # core.telegram.org
    Rule("secret.token", r"\bgsk_[A-Za-z0-9]{48,56}\b"),  # console.groq.com
    Rule("secret.token", r"\bxai-[A-Za-z0-9]{70,90}\b"),  # docs.x.ai
    Rule("secret.token", r"\br8_[A-Za-z0-9]{37}\b"),  # replicate.com
    Rule("secret.token", r"\bEAA[A-Za-z0-9]{80,}"),  # developers.facebook.com
    Rule("secret.token", r"\bsq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{22,43}"),  # developer.squareup.com
    Rule("secret.token", r"\b(?:ATATT3x|ATCTT3x)[A-Za-z0-9_\-=]{50,}"),  # atlassian.com
    Rule("secret.token", r"\bmg-[A-Za-z0-9_\-]{43}\b"),  # our own keys
    # PEM (RFC 7468) and its kin.
    Rule("secret.private_key", r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    Rule("secret.private_key", r"PuTTY-User-Key-File-\d:"),
    # RFC 7519: two base64url JSON objects and a signature.
    Rule("secret.jwt", r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}"),
    # RFC 3986, user information with a password.
    Rule(
        "secret.url_password",
        r"\b[a-z][a-z0-9+.\-]{1,20}://[^\s/:@\"'<>{}$]{0,64}:([^\s/@\"'<>{}$]{3,128})@[\w.\-\[]",
        checks.is_password,
    ),
    # RFC 6750 and 7617, as they stand in a request's head.
    Rule(
        "secret.authorization",
        r"(?i)\bauthorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?:bearer|basic|token)\s+([A-Za-z0-9._~+/\-]{16,}=*)",
        checks.is_password,
    ),
    # learn.microsoft.com, storage connection strings and SAS signatures.
    Rule("secret.azure", r"(?i)\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,90}={0,2}"),
    Rule("secret.azure", r"[?&]sig=[A-Za-z0-9%+/]{40,}"),
    Rule("secret.password", _NAMED, checks.is_named_secret),
)
