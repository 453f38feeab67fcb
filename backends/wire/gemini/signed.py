"""Thought signatures as they stand in Gemini's format, where a signature is base64 of bytes.

Promises: another issuer's signature is wrapped (:mod:`backends.wire.signatures`) and then base64, for Google's
SDKs decode the member and encode it again, with the URL-safe letters; it comes back as it was given, with what
its issuer needs beside it: whether the thinking was redacted, and the item's id.
"""

import base64
import binascii

from backends.wire.signatures import MARK, Signed, unwrap_signed, wrap_signed

ISSUER = "gemini"
"""The issuer under which Gemini's thought signatures travel."""

SIGNATURE_UNKNOWN = "skip_thought_signature_validator"
"""Google's documented stand-in for a call's signature that a client could not keep."""

_UNKNOWN = frozenset({SIGNATURE_UNKNOWN, base64.b64encode(SIGNATURE_UNKNOWN.encode()).decode()})
_BEGIN = base64.b64encode(MARK.encode() + b"\0\0")[:5].decode()
"""How base64 of the mark begins, whatever follows it."""
_URL_SAFE = str.maketrans("-_", "+/")


def wrap_signature(
    signature: str, issuer: str | None, *, is_redacted: bool = False, id: str | None = None
) -> str:
    """``signature`` as ``thoughtSignature``."""
    text = wrap_signed(Signed(signature, issuer, is_redacted, id), "gemini")
    return text if text == signature else base64.b64encode(text.encode()).decode()


def unwrap_signature(text: str) -> Signed:
    """What a ``thoughtSignature`` says."""
    if text in _UNKNOWN:
        return Signed(None, None)
    inner = _decode(text) if text.startswith(_BEGIN) else text
    return unwrap_signed(inner or text, "gemini")


def may_hold_wrapped(raw: bytes) -> bool:
    """Whether a body may hold a signature that is not Google's; its letters may be written as escapes."""
    return _BEGIN.encode() in raw or MARK.encode() in raw or b"\\u00" in raw


def _decode(text: str) -> str | None:
    try:
        padded = text.translate(_URL_SAFE) + "=" * (-len(text) % 4)
        inner = base64.b64decode(padded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return inner if inner.startswith(MARK) else None
