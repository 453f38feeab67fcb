"""Small shared parts of reading a provider's error answer: headers, waits, clean text.

Promises: pure, total (never raises on what a provider sent), bounded.
"""

import math
from collections.abc import Mapping

MESSAGE_CHARS_MAX = 1000
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
    """Seconds from ``retry-after-ms`` or ``retry-after`` (in seconds; dates are not read)."""
    milliseconds = parse_seconds(find_header(headers, "retry-after-ms"))
    if milliseconds:
        return milliseconds / 1000
    return parse_seconds(find_header(headers, "retry-after"))


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
    """A provider's message in one line of at most :data:`MESSAGE_CHARS_MAX` characters."""
    return " ".join(text.split())[:MESSAGE_CHARS_MAX].rstrip(".")
