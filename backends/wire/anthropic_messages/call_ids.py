"""Ids of calls that other providers gave, as Anthropic's format takes them.

Anthropic's ids match ``[a-zA-Z0-9_-]+`` (its OpenAPI document of 2026-05-31), and it refuses a conversation that
holds another one. Some hosts' models want their own id back to the letter (Kimi's ``functions.NAME:0``). So an id
that does not match is written in base64 behind a mark, and read again when the client sends it back.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

MARK = "mgid_"
"""What a written id begins with; no provider's does."""

_TAKEN = re.compile(r"[a-zA-Z0-9_-]+")


def write_id(call_id: str) -> str:
    """``call_id`` itself if Anthropic takes it."""
    if _TAKEN.fullmatch(call_id):
        return call_id
    return MARK + urlsafe_b64encode(call_id.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def read_id(text: str) -> str:
    """What :func:`write_id` made ``text`` of; ``text`` itself if it did not."""
    if not text.startswith(MARK):
        return text
    written = text.removeprefix(MARK)
    try:
        call_id = urlsafe_b64decode(written + "=" * (-len(written) % 4)).decode(
            "utf-8", "surrogatepass"
        )
    except ValueError:
        return text
    return call_id if write_id(call_id) == text else text
