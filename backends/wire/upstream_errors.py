"""Small shared parts of reading a provider's error answer: headers, waits, clean text.

Promises: pure, total (never raises on what a provider sent), bounded.
"""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MESSAGE_CHARS_MAX = 1000
CREDENTIAL_REFUSED = "the provider refused the gateway's credential"
WORDS_BY_STATUS: Mapping[int, str] = {
    401: CREDENTIAL_REFUSED,
    403: CREDENTIAL_REFUSED,
    404: "the provider does not know this model",
}
"""What a client is told where the fault is the gateway's own account's."""
RETRY_AFTER_SECONDS_MAX = 86_400.0
"""A longer wait than a day is taken as a day."""


def find_header(headers: Mapping[str, str], name: str) -> str | None:
    """The value of ``name`` (lower case) whatever the case of the mapping's keys."""
    value = headers.get(name)
    if value is not None:
        return value
    for key, value in headers.items():
        if key.lower() == name:
            return value
    return None


def find_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from ``retry-after-ms`` or ``retry-after``; a date counts from the answer's own ``date``."""
    milliseconds = parse_seconds(find_header(headers, "retry-after-ms"))
    if milliseconds:
        return milliseconds / 1000
    text = find_header(headers, "retry-after")
    seconds = parse_seconds(text)
    if seconds is None and text is not None:
        return _seconds_between(find_header(headers, "date"), text)
    return seconds


def _seconds_between(begin: str | None, end: str) -> float | None:
    if begin is None:
        return None
    try:
        seconds = (parsedate_to_datetime(end) - parsedate_to_datetime(begin)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, seconds), RETRY_AFTER_SECONDS_MAX)


def parse_seconds(text: str | None) -> float | None:
    """A number of seconds, ``48`` or ``48s``, within 0 and a day; None if it is not one."""
    if text is None:
        return None
    try:
        seconds = float(text.strip().removesuffix("s"))
    except ValueError:
        return None
    if not math.isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, RETRY_AFTER_SECONDS_MAX)


def clean_text(text: str) -> str:
    """A provider's message in one line of at most :data:`MESSAGE_CHARS_MAX` characters, keys hidden."""
    line = " ".join(text[: 4 * MESSAGE_CHARS_MAX].split())
    return _KEY.sub("[hidden]", line)[:MESSAGE_CHARS_MAX].rstrip(".")


def name_error(status: int, *words: str | None) -> str:
    """A provider's error by its status and its machine words, for operators: ``400 invalid_api_key``.

    Never its text, which may quote the prompt; what is no single word, or looks like a key or a number, is left
    out for the same reason.
    """
    return " ".join([str(status), *(word for word in words if word and _is_machine_word(word))])


def _is_machine_word(word: str) -> bool:
    return (
        _WORD.fullmatch(word) is not None
        and _KEY.search(word) is None
        and sum(map(str.isdigit, word)) <= _WORD_DIGITS_MAX
    )


_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_WORD_DIGITS_MAX = 4

_KEY = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|pplx|csk|fw)[-_][\w*-]{8,}|\bAIza[\w-]{10,}|\beyJ[\w-]{10,}(?:\.[\w-]+)*|"
    r"(?i:\bbearer) +[\w.~+/=*-]{8,}|(?i:(?<=key: )|(?<=key provided: ))\S{6,}"
)
"""Keys that providers repeat in their errors (OpenAI, DeepSeek: masked in part only)."""
