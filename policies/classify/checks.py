"""What a candidate has to pass: check digits, issued ranges, and whether a value looks like a secret.

A check gets the match and its first group (or the whole), and says yes or no. Pure; never raises for any text.
"""

import math
import re
from collections import Counter
from collections.abc import Callable

import phonenumbers
from stdnum import iban, luhn, verhoeff
from stdnum.br import cpf
from stdnum.ch import ssn as swiss_ssn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.us import ssn

Check = Callable[[str, str], bool]
"""``check(whole match, first group or whole match)``."""

_NOT_DIGIT = re.compile(r"\D+")
_PLACEHOLDER = re.compile(
    r"(?i)^(?:x+|\*+|\.+|-+|_+|0+|1234\w*|abc\w*|foo\w*|bar|baz|test\w*|example\w*|sample\w*|dummy\w*|"
    r"changeme\w*|change[_-]me\w*|your\w*|my[_-]?\w*|some\w*|placeholder\w*|redacted\w*|none|null|true|"
    r"false|undefined|required|optional|string|str|int|bytes|hidden|secret\w{0,3}|password\w{0,2}|passwd|"
    r"token\w{0,2}|default|empty|enter\w*|insert\w*|todo\w*|value|field|self\.\w*|this\.\w*|os\.\w*|"
    r"env\w*|process\.\w*|config\w*|settings\w*|getenv\w*|input\w*|function\w*|request\w*|args\w*)$"
)
_CODE = re.compile(r"[()\[\]{}<>$%]|\.\w+\.|::|->|=>|\\n|^\w+\.\w+$|^/|^https?:|^@")

CARD_RANGES = re.compile(
    # Visa; Mastercard; American Express; Discover; Diners; JCB; UnionPay; Maestro (networks' BIN tables)
    r"^(?:4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|"
    r"6(?:011|4[4-9]\d|5\d\d)\d{12,15}|3(?:0[0-5]|[689]\d)\d{11,16}|35(?:2[89]|[3-8]\d)\d{12,15}|"
    r"62\d{14,17}|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{9,15})$"
)


def digits_of(text: str) -> str:
    """The digits of ``text``."""
    return _NOT_DIGIT.sub("", text)


def is_card(whole: str, value: str) -> bool:
    """A payment card number: a network's range and Luhn's digit."""
    del value
    digits = digits_of(whole)
    if len(set(digits)) < 2 or not CARD_RANGES.match(digits):
        return False
    return bool(luhn.is_valid(digits))


def is_iban(whole: str, value: str) -> bool:
    """ISO 13616: modulo 97. A match may have run on into the next word: every cut that ends a group is
    tried."""
    del value
    text = re.sub(r"[ \-]", "", whole).upper()
    if iban.is_valid(text, check_country=False):
        return True
    parts = re.split(r"[ \-]", whole.upper())
    return any(
        iban.is_valid("".join(parts[:count]), check_country=False) for count in range(1, len(parts))
    )


def is_phone(whole: str, value: str) -> bool:
    """An international number that its country's plan knows."""
    del value
    text = whole if whole.startswith("+") else "+" + whole.removeprefix("00")
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_possible_number(number) and phonenumbers.is_valid_number(number)


def is_local_phone(whole: str, value: str) -> bool:
    """A number in a form that is used for telephones: North America, Brazil, and with a (0…) area."""
    del value
    digits = digits_of(whole)
    if not 9 <= len(digits) <= 12 or len(set(digits)) < 3:
        return False
    regions = ("US",) if whole[0] != "(" else ("US", "BR", "GB", "DE", "IN")
    for region in regions:
        try:
            number = phonenumbers.parse(whole, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return True
    return False


def has_phone_digits(whole: str, value: str) -> bool:
    """After a word that says telephone: 7 to 15 digits (E.164) that are not all the same."""
    del value
    digits = digits_of(whole)
    return 7 <= len(digits) <= 15 and len(set(digits)) > 2


def is_ssn(whole: str, value: str) -> bool:
    """A US Social Security number of an area that is issued."""
    del value
    digits = digits_of(whole)
    return len(digits) == 9 and bool(ssn.is_valid(digits))


def is_spanish_id(whole: str, value: str) -> bool:
    """DNI or NIE with its letter; lower case and eight bare digits are too often something else."""
    del value
    text = whole.replace("-", "")
    return text.isupper() and bool(dni.is_valid(text) or nie.is_valid(text))


def is_italian_id(whole: str, value: str) -> bool:
    """Codice fiscale with its check letter."""
    del value
    return bool(codicefiscale.is_valid(whole))


def is_french_id(whole: str, value: str) -> bool:
    """NIR with its key."""
    del value
    return bool(nir.is_valid(whole.replace(" ", "")))


def is_swiss_id(whole: str, value: str) -> bool:
    """AHV number."""
    del value
    return bool(swiss_ssn.is_valid(digits_of(whole)))


def is_brazilian_id(whole: str, value: str) -> bool:
    """CPF."""
    del value
    return bool(cpf.is_valid(whole))


def is_indian_id(whole: str, value: str) -> bool:
    """Aadhaar: Verhoeff's digit, no palindrome."""
    del value
    digits = digits_of(whole)
    return digits != digits[::-1] and bool(verhoeff.is_valid(digits))


def is_german_tax_id(whole: str, value: str) -> bool:
    """Steuer-Identifikationsnummer."""
    del whole
    return bool(idnr.is_valid(value.replace(" ", "")))


def entropy(text: str) -> float:
    """Shannon's bits a character."""
    total = len(text)
    return -sum(count / total * math.log2(count / total) for count in Counter(text).values())


def looks_random(whole: str, value: str) -> bool:
    """A long value whose characters do not look like words."""
    del whole
    return entropy(value) > 3.8 and any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def is_password(whole: str, value: str) -> bool:
    """Not a placeholder, not a variable."""
    del whole
    return not _PLACEHOLDER.match(value) and not value.startswith(("$", "%", "{", "<"))


def is_named_secret(whole: str, value: str) -> bool:
    """The value beside a word like password: no placeholder, no code, and not plain words.

    Long values must look random; short ones must mix letters with digits or signs, as chosen
    passwords do.
    """
    value = value.rstrip(".,;:!?)\\")
    if len(value) < 6 or _PLACEHOLDER.match(value) or _CODE.search(value):
        return False
    has_digit = any(map(str.isdigit, value))
    has_letter = any(map(str.isalpha, value))
    has_sign = any(not char.isalnum() and char not in "_-." for char in value)
    if len(value) >= 20:
        return entropy(value) > 3.3 and has_digit and has_letter
    named_password = (
        re.match(r"(?i)[\w.-]*(?:passw|passphrase|pwd|contrase|mot.de)", whole) is not None
    )
    if named_password:
        return has_letter and (has_digit or has_sign) and entropy(value) > 2.2
    return has_letter and has_digit and entropy(value) > 2.8
