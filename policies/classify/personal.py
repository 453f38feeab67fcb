"""Rules for personal data: published formats, each with its check digits where it has any."""

from policies.classify import checks
from policies.classify.rules import Rule

# Anything but ASCII, so that addresses of other scripts are seen too.
_OTHER = r"\x{80}-\x{10FFFF}"
# The scripts of top-level domains (IANA's root zone), more or less: Greek to Georgian, Chinese, Japanese, Korean.
_LETTERS = r"\x{370}-\x{1FFF}\x{3040}-\x{30FF}\x{3400}-\x{9FFF}\x{AC00}-\x{D7A3}"
_LOCAL = rf"[A-Za-z0-9_%+\-.{_OTHER}]"
_ODD_LOCAL = rf"[A-Za-z0-9][!#$&*?^~=]|\"[A-Za-z0-9{_OTHER}][^\"\n@]*[A-Za-z0-9{_OTHER}]\""
_DOMAIN = rf"[A-Za-z0-9{_OTHER}][A-Za-z0-9.\-{_OTHER}]*\.(?:[A-Za-z]{{2,24}}\b|[{_LETTERS}]{{2}})"
_START = r"(?:\A|[^0-9A-Za-z])"
_PHONE_WORDS = (
    r"(?i)(?:\btel|telefon\w{0,3}|t[eé]l[eé]fono|t[eé]l[eé]phone|phone|mobile?|handy|\bcell|\bfax|whatsapp|"
    r"rufnummer|celular|m[oó]vil|portable|\b(?:call|ring|text|reach) (?:me |us )?(?:at |on )?|messages to|"
    r"answering at|\b(?:my|his|her|our|their|contact|office) number)"
)
_PHONE_GAP = r"[\w \t.:#\"'=>\-]{0,12}?[\s:.#\"'=>;,]{1,3}"
_CARD_WORD = (
    r"(?i)(?:visa|master|maestro|amex|express|discover|diners|unionpay|jcb|card(?:no|nr|num(?:ber)?)?|"
    r"karte(?:nnr|nnummer)?|carte|tarjeta|\bcc|\bpan)"
)
_CARD_SIGNS = r",|:·"
_CARD_GAP = r"[ \t./_\-]{0,3}"

PERSONAL: tuple[Rule, ...] = (
    # RFC 5321 addresses: plain, in quotes or with another sign before the @; domains of other scripts (RFC 6531).
    Rule(
        "pii.email",
        rf"(?:{_LOCAL}|{_ODD_LOCAL})@({_DOMAIN})",
        checks.is_mail_address,
        rf"(?:{_LOCAL}{{1,64}}|{_ODD_LOCAL})@({_DOMAIN})",
    ),
    Rule(
        "pii.email",
        r"(?i)[a-z0-9_]\s?[\[({]\s?at\s?[\])}]\s?[a-z0-9][a-z0-9\-]*\s?(?:\.|[\[({]\s?(?:dot|punkt|point|punto)\s?"
        r"[\])}])\s?[a-z]{2}",
    ),
    # ITU-T E.164, with the separators people use.
    Rule(
        "pii.phone",
        r"(?:\+|\b00)[1-9](?:[ ()./\-]{0,3}\d){6}",
        checks.has_country_code,
        r"(?:\+|\b00)[1-9](?:[ ()./\-]{0,3}\d){6,16}\b",
        checks.is_phone,
    ),
    # North America, Brazil, and whatever writes its area in brackets.
    Rule(
        "pii.phone",
        r"(?:\(\d{2,5}\)[ .\-]?|\b\d{3}[ .\-])\d{3,5}[ .\-]\d{4}\b",
        checks.has_local_digits,
        dear=checks.is_local_phone,
    ),
    Rule(
        "pii.phone",
        r"\(0\d{1,4}\) ?\d{2,5}(?:[ .\-]\d{2,4}){1,3}\b",
        checks.has_trunk_digits,
        dear=checks.is_trunk_phone,
    ),
    # National form with its trunk zero, written in groups.
    Rule(
        "pii.phone",
        r"\b0[1-9]\d{0,3}[ ./\-]\d{2}",
        checks.has_trunk_digits,
        r"(?:\A|[^\d \-./A-Za-z]|[^\d][ \-./])(0[1-9]\d{0,3}(?:[ ./\-]\d{2,8}){1,5})\b",
        checks.is_trunk_phone,
    ),
    # Any number after a word that says telephone.
    Rule(
        "pii.phone",
        _PHONE_WORDS + _PHONE_GAP + r"\(?\d(?:[ ()./\-]{0,3}\d){6}",
        checks.has_phone_digits,
        _PHONE_WORDS + _PHONE_GAP + r"(\(?\d(?:[ ()./\-]{0,3}\d){6,14})\b",
    ),
    # ISO/IEC 7812: 13 to 19 digits in the groups that cards are printed in, Luhn, the ranges of the networks.
    Rule(
        "pii.card",
        _START + rf"\d(?:{_CARD_GAP}\d){{11}}",
        checks.is_card,
        _START + rf"(\d(?:{_CARD_GAP}\d){{11,}}[A-Za-z]?)",
    ),
    # The same right behind a word that says card, and in four groups with a sign that lists and times have, too.
    Rule(
        "pii.card",
        _CARD_WORD + rf"\d(?:{_CARD_GAP}\d){{11}}",
        checks.is_card,
        _CARD_WORD + rf"(\d(?:{_CARD_GAP}\d){{11,}}[A-Za-z]?)",
    ),
    Rule(
        "pii.card",
        rf"(?:\A|[^0-9A-Za-z{_CARD_SIGNS}]|(?:\A|[^0-9])[{_CARD_SIGNS}])("
        + "|".join(rf"\d{{4}}(?:{sign}\d{{4}}){{3}}" for sign in (r",", r"\|", r":", r"·"))
        + rf")(?:\z|[^0-9A-Za-z{_CARD_SIGNS}]|[{_CARD_SIGNS}]\d{{0,3}}(?:\z|[^0-9]))",
        checks.is_card,
    ),
    Rule(
        "pii.card",
        r"(?i)\b(?:card|credit|debit|karte\w{0,8}|carte|tarjeta|cc)\b[^\d\n]{0,24}\d{12}",
        checks.is_named_card,
        r"(?i)\b(?:card|credit|debit|karte\w{0,8}|carte|tarjeta|cc)\b[^\d\n]{0,24}(\d{12,19})\b",
    ),
    # ISO 13616: country, check digits, up to 30 characters, modulo 97.
    Rule(
        "pii.iban",
        r"(?i)(?:\A|[^0-9A-Z])[A-Z]{2}\d{2}(?:[ \-]{0,2}[A-Z0-9]){11}",
        checks.is_iban,
        r"(?i)(?:\A|[^0-9A-Z])([A-Z]{2}\d{2}(?:[ \-]{0,2}[A-Z0-9]){11,60})",
    ),
    # US Social Security numbers (ssa.gov) and ITINs (irs.gov): areas that are never issued are refused.
    Rule("pii.national_id", r"\b(\d{3}[\- ]\d{2}[\- ]\d{4})\b", checks.is_ssn),
    Rule(
        "pii.national_id",
        r"(?i)\b(?:ssn|social security)(?: (?:number|no\.?))?[\s:#\"'=]{0,5}(?:is )?(\d{9})\b",
        checks.is_ssn,
    ),
    # UK National Insurance numbers (gov.uk, NIM39110).
    Rule(
        "pii.national_id",
        r"(?i)\b([A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D])\b",
        checks.is_british_id,
    ),
    # Spain: DNI and NIE (BOE), a check letter of 23.
    Rule("pii.national_id", r"\b([XYZ\d]-?\d{7}-?[A-Z])\b", checks.is_spanish_id),
    # Italy: codice fiscale (DM 23/12/1976), with its check letter.
    Rule(
        "pii.national_id",
        r"(?i)\b([A-Z]{6}[\dL-V]{2}[A-EHLMPRST][\dL-V]{2}[A-Z][\dL-V]{3}[A-Z])\b",
        checks.is_italian_id,
    ),
    # France: numéro de sécurité sociale (INSEE), with its key.
    Rule(
        "pii.national_id",
        r"\b([12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2})\b",
        checks.is_french_id,
    ),
    # Switzerland: AHV number, EAN-13.
    Rule("pii.national_id", r"\b(756[. ]\d{4}[. ]\d{4}[. ]\d{2})\b", checks.is_swiss_id),
    # Brazil: CPF, two check digits.
    Rule("pii.national_id", r"\b(\d{3}\.\d{3}\.\d{3}-\d{2})\b", checks.is_brazilian_id),
    # India: Aadhaar (UIDAI), Verhoeff; not a piece of a longer number.
    Rule(
        "pii.national_id",
        r"(?:\A|[^\d \-]|[^\d \-][ \-])([2-9]\d{3}[ \-]\d{4}[ \-]\d{4})(?:[ \-]?[^\d \-]|[ \-]?\z)",
        checks.is_indian_id,
    ),
    Rule("pii.national_id", r"(?i)aadhaar\D{0,20}(\d{12})\b", checks.is_indian_id),
    # Germany: Steuer-Identifikationsnummer, where a word names it.
    Rule(
        "pii.national_id",
        r"(?i)(?:steuer-?id\w{0,30}|idnr\.?|tax id\w{0,12})[\s:.#\"'=]{0,5}(\d{2} ?\d{3} ?\d{3} ?\d{3})\b",
        checks.is_german_tax_id,
    ),
)
