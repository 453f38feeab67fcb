"""What a candidate for personal data has to pass: check digits and issued ranges.

A check gets the match and its last group (or the whole match), and says yes or no. Pure; raises for no text.
"""

import re
from collections.abc import Callable, Iterator
from itertools import accumulate

import phonenumbers
from stdnum import verhoeff
from stdnum.br import cpf
from stdnum.ch import ssn as swiss_ssn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale

Check = Callable[[str, str], bool]
"""``check(whole match, last group or whole match)``."""

_NOT_DIGIT = re.compile(r"\D+")
# Dates, and the form of US Social Security numbers, which have a rule of their own.
_NO_PHONE = re.compile(r"\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}|\d{3}[\- ]\d{2}[\- ]\d{4}")
_DATE = re.compile(r"\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}|\d{4}[./\-]\d{1,2}[./\-]\d{1,2}")

# Last labels that are code, not domains: `x@w.transpose` is a product of matrices.
_NOT_DOMAINS = frozenset(
    {
        "transpose", "reshape", "permute", "view", "conj", "shape", "dtype", "numpy", "detach",
        "data", "grad", "mean", "sum", "dot", "astype", "flatten", "inverse",
    }
)  # fmt: skip

CARD_RANGES = re.compile(
    # Visa; Mastercard; American Express; Discover; Diners; JCB; UnionPay; Maestro (the networks' tables)
    r"(?:4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|"
    r"6(?:011|4[4-9]\d|5\d\d)\d{12,15}|3(?:0[0-5]|[689]\d)\d{11,16}|35(?:2[89]|[3-8]\d)\d{12,15}|"
    r"(?:2131|1800)\d{11}|62\d{14,17}|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15})"
)
# Groups of digits as cards print them: 16, American Express, Diners, 19 and 13 digits.
CARD_GROUPS = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 3, 3, 3))
_DOUBLED = {digit: sum(divmod(2 * int(digit), 10)) for digit in "0123456789"}

# SWIFT, IBAN registry (release 99): length by country.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip

# Where numbers with a trunk zero come from; each is tried with its own plan.
TRUNK_REGIONS = ("DE", "FR", "GB", "IT", "NL", "BE", "AT", "CH", "SE", "TR", "KR", "JP", "IN", "AU", "ZA", "FI", "RO")  # fmt: skip


def digits_of(text: str) -> str:
    """The digits of ``text``."""
    return _NOT_DIGIT.sub("", text)


NOBODYS_MAIL = frozenset({"noreply", "no-reply", "donotreply", "do-not-reply"})
"""Addresses that nobody reads or is known by: what machines sign with (commits, receipts)."""


def is_mail_address(whole: str, value: str) -> bool:
    """What follows the @ is a domain, not an attribute of a variable; what stands before it may be somebody."""
    if ".." in value or value.rpartition(".")[2] in _NOT_DOMAINS:
        return False
    return whole[: -len(value) - 1].lower() not in NOBODYS_MAIL


def passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = sum(map(int, digits[-1::-2])) + sum(map(_DOUBLED.__getitem__, digits[-2::-2]))
    return total % 10 == 0


def _is_card_number(digits: str) -> bool:
    return bool(CARD_RANGES.fullmatch(digits)) and len(set(digits)) > 1 and passes_luhn(digits)


def is_card(whole: str, value: str) -> bool:
    """A payment card number somewhere in a run of digits: a network's range and Luhn's digit.

    Linear in the run: one group, a printed grouping, or the whole run.
    """
    del whole
    groups = _NOT_DIGIT.split(value)
    if not groups[-1] or value[-1].isalpha():
        groups.pop()  # glued to a letter, so part of a word
    sizes = [len(group) for group in groups]
    if sum(sizes) <= 19 and _is_card_number("".join(groups)):
        return True
    for at, size in enumerate(sizes):
        if 12 <= size <= 19 and _is_card_number(groups[at]):
            return True
        if size == 4 and groups[at][0] in "123456":
            for printed in CARD_GROUPS:
                end = at + len(printed)
                if tuple(sizes[at:end]) == printed and _is_card_number("".join(groups[at:end])):
                    return True
    return False


def is_named_card(whole: str, value: str) -> bool:
    """After a word that says card, Luhn's digit is enough."""
    del whole
    return len(set(value)) > 2 and passes_luhn(value)


def is_iban(whole: str, value: str) -> bool:
    """ISO 13616: its country's length, ending where a group ends, modulo 97."""
    del whole
    groups = re.split(r"[ \-]+", value.upper())
    text = "".join(groups)
    length = IBAN_LENGTHS.get(text[:2], 0)
    if not length or length > len(text) or length not in accumulate(map(len, groups)):
        return False
    text = text[:length]
    if not (text.isascii() and text.isalnum()) or sum(map(str.isdigit, text)) < 8:
        return False
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def _shorter(text: str) -> Iterator[str]:
    """``text``, then without its last groups one by one: a pattern may have run on into the next number."""
    for _ in range(5):
        yield text
        text, _, rest = text.rpartition(" ")
        if not rest or not text:
            return


def _is_valid_in(text: str, region: str | None) -> bool:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)


def has_country_code(whole: str, value: str) -> bool:
    """A prefix that the ITU has given to somebody (E.164)."""
    del value
    digits = digits_of(whole.removeprefix("00"))
    return any(int(digits[:size]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE for size in (1, 2, 3))


def is_phone(whole: str, value: str) -> bool:
    """An international number that its country's plan knows."""
    del value
    text = whole if whole.startswith("+") else "+" + whole.removeprefix("00")
    return any(_is_valid_in(part, None) for part in _shorter(text))


def has_local_digits(whole: str, value: str) -> bool:
    """As many digits as a national number has, and not all the same."""
    del value
    digits = digits_of(whole)
    return 9 <= len(digits) <= 12 and len(set(digits)) > 2


def is_local_phone(whole: str, value: str) -> bool:
    """A number in a form that is used for telephones: North America, and with an area in brackets."""
    del value
    regions = ("US",) if whole[0] != "(" else ("US", "BR", "GB", "DE", "IN", "TR")
    return any(_is_valid_in(whole, region) for region in regions)


def has_trunk_digits(whole: str, value: str) -> bool:
    """As many digits as a national number has, enough of them different, and no date."""
    del whole
    return any(map(_may_have_trunk, _shorter(value)))


def is_trunk_phone(whole: str, value: str) -> bool:
    """A national number with its trunk zero that some country's plan knows."""
    del whole
    return any(
        _is_valid_in(part, region)
        for part in filter(_may_have_trunk, _shorter(value))
        for region in TRUNK_REGIONS
    )


def _may_have_trunk(part: str) -> bool:
    digits = digits_of(part)
    return 9 <= len(digits) <= 12 and len(set(digits)) > 3 and not _NO_PHONE.fullmatch(part)


def has_phone_digits(whole: str, value: str) -> bool:
    """After a word that says telephone: 7 to 15 digits (E.164) that are not all the same, and no date."""
    del whole
    digits = digits_of(value)
    return 7 <= len(digits) <= 15 and len(set(digits)) > 2 and not _DATE.match(value)


def is_ssn(whole: str, value: str) -> bool:
    """A US Social Security number of an area that is issued, or an ITIN."""
    del whole
    digits = digits_of(value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or group == "00" or serial == "0000":
        return False
    return area < "900" or "50" <= group <= "99"


def is_british_id(whole: str, value: str) -> bool:
    """A prefix that is issued (NIM39110: BG, GB, KN, NK, NT, TN and ZZ are not)."""
    del whole
    return value[:2].upper() not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def is_spanish_id(whole: str, value: str) -> bool:
    """DNI or NIE with its letter."""
    del whole
    text = value.replace("-", "")
    return bool(dni.is_valid(text) or nie.is_valid(text))


def is_italian_id(whole: str, value: str) -> bool:
    """Codice fiscale with its check letter."""
    del whole
    return bool(codicefiscale.is_valid(value))


def is_french_id(whole: str, value: str) -> bool:
    """NIR with its key."""
    del whole
    return bool(nir.is_valid(value.replace(" ", "")))


def is_swiss_id(whole: str, value: str) -> bool:
    """AHV number."""
    del whole
    return bool(swiss_ssn.is_valid(digits_of(value)))


def is_brazilian_id(whole: str, value: str) -> bool:
    """CPF."""
    del whole
    return bool(cpf.is_valid(value))


def is_indian_id(whole: str, value: str) -> bool:
    """Aadhaar: Verhoeff's digit, no palindrome."""
    del whole
    digits = digits_of(value)
    return digits != digits[::-1] and bool(verhoeff.is_valid(digits))


def is_german_tax_id(whole: str, value: str) -> bool:
    """Steuer-Identifikationsnummer."""
    del whole
    return bool(idnr.is_valid(value.replace(" ", "")))
