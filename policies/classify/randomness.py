"""Whether a value looks like a secret: no placeholder, no code, not made of words. Pure."""

import math
import re
from collections import Counter

_PLACEHOLDER = re.compile(
    r"(?i)^(?:x+|\*+|\.+|-+|_+|0+|1234\w*|abc\w*|foo\w*|bar|baz|test\w*|example\w*|sample\w*|dummy\w*|"
    r"changeme\w*|change[_-]me\w*|your\w*|my[_-]?\w*|some\w*|placeholder\w*|redacted\w*|none|null|true|"
    r"false|undefined|required|optional|string|str|int|bytes|hidden|secret\w{0,3}|password\w{0,2}|passwd|"
    r"token\w{0,2}|default|empty|enter\w*|insert\w*|todo\w*|value|field|self\.\w*|this\.\w*|os\.\w*|"
    r"env\w*|process\.\w*|config\w*|settings\w*|getenv\w*|input\w*|function\w*|request\w*|args\w*)$"
)
_CODE = re.compile(
    r"[()\[\]{}<>]|^[$%]|\.\w+\.|::|->|=>|\\n|^\w+\.\w+$|^/|^https?:|^@|^[a-z_]+/[a-z_]"
)
# What is called a secret and is only its name, place or size: `secret_name`, `token_count`, `PASSWORD_FILE`.
_NOT_A_VALUE = re.compile(
    r"(?i)public|(?:name|id|ids|path|file|dir|url|uri|type|kind|count|limit|length|size|max|min|ttl|expir\w*|version|arn|"
    r"ref|format|field|header|prefix|status|algorithm|stores?|tosto\w+)$"
)
_SAME = re.compile(r"(.)\1{5}")
_UUID = re.compile(r"(?i)^[0-9a-z]{8}(?:-[0-9a-z]{4}){3}-[0-9a-z]{12}$")
_STRONG_NAME = re.compile(r"(?i)secret|token|private|passw|api|access|auth|\bpat\b|credential")


def entropy(text: str) -> float:
    """Shannon's bits a character."""
    total = len(text)
    return -sum(count / total * math.log2(count / total) for count in Counter(text).values())


def is_token(whole: str, value: str) -> bool:
    """A token by its prefix, unless it is drawn as one: `ghp_xxxxxxxx`, `xoxb-abcdef-abcdef`."""
    del whole
    return not _SAME.search(value) and len(set(value.lower())) > 5


def is_aws_secret(whole: str, value: str) -> bool:
    """Forty characters that do not look like words."""
    del whole
    return entropy(value) > 3.8 and _mixes(value)


def is_password(whole: str, value: str) -> bool:
    """Not a placeholder, not a variable."""
    del whole
    return not _PLACEHOLDER.match(value) and not value.startswith(("$", "%", "{", "<"))


def is_named_secret(whole: str, value: str) -> bool:
    """The value beside a word like password: no placeholder, no code, and not plain words.

    Long values must look random; short ones must mix letters with digits or signs, as chosen
    passwords do.
    """
    name = re.split(r"[\s=:\"'\x60]", whole, maxsplit=1)[0]
    value = value.rstrip(".,;:?)\\")
    if len(value) < 6 or _PLACEHOLDER.match(value) or _CODE.search(value) or _SAME.search(value):
        return False
    if _NOT_A_VALUE.search(name):
        return False
    has_sign = any(not char.isalnum() and char not in "_-." for char in value)
    if re.match(r"(?i)passw|passphrase|pwd|contrase|mot.de", whole):
        has_digit, has_letter = any(map(str.isdigit, value)), any(map(str.isalpha, value))
        return has_letter and (has_digit or has_sign) and entropy(value) > 2.2
    if len(value) >= 20:
        return entropy(value) > 3.0 and _mixes(value)
    return _mixes(value) and entropy(value) > 2.8 and not _is_words(value)


def is_random_after_word(whole: str, value: str) -> bool:
    """A long value right after a word like key: it has to look random by itself."""
    value = value.rstrip(".,;:?)\\-=_")
    name = whole[: len(whole) - len(value)]
    if len(value) < 16 or _CODE.search(value) or _SAME.search(value) or "public" in name.lower():
        return False
    if _UUID.match(value):
        return bool(_STRONG_NAME.search(name))
    digits = sum(map(str.isdigit, value))
    letters = sum(map(str.isalpha, value))
    return digits > 2 and letters > 2 and entropy(value) > 3.0 and not _is_words(value)


def _mixes(value: str) -> bool:
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _is_words(value: str) -> bool:
    """Whether ``value`` is names joined by signs (`NEXUS-GPT4-API-KEY`, `v2_linux_x64`), not one random run."""
    parts = [part for part in re.split(r"[-_./+=~!]", value) if part]
    return len(parts) > 1 and not any(len(part) >= 8 and _mixes(part) for part in parts)
