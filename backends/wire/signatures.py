"""Opaque signatures on their way through formats that are not their issuer's.

A provider signs its thinking and wants the signature back, byte for byte; nobody else can read it. A format whose
own provider signs has a place for it. There another issuer's signature is wrapped in its issuer's name, so that it
comes back with the conversation and is given to nobody but whoever issued it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from backends.wire.prompt import WireFormat

ISSUERS: Mapping[WireFormat, str] = {
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "gemini",
}
"""Whose signatures stand unwrapped in a format. OpenAI's chat has no place of its own: all are wrapped."""

SELF_CONTAINED = frozenset({"gemini", "openai"})
"""Whose signatures are worth something without the thinking that they sign."""

MARK = "mg1."
"""What a wrapped signature begins with; no provider's does."""


class Signed(NamedTuple):
    """A signature, whose it is, and what belongs to it: whether the thinking was redacted, and its item's id.
    No signature: a stand-in was said."""

    signature: str | None
    issuer: str | None
    is_redacted: bool = False
    id: str | None = None


def wrap(signature: str, issuer: str | None, format: WireFormat) -> str:
    """``signature`` as it stands in ``format``."""
    native = ISSUERS.get(format)
    if issuer is None or issuer == native:
        return signature
    return f"{MARK}{issuer}.{signature}"


def unwrap(text: str, format: WireFormat) -> tuple[str, str | None]:
    """The signature in ``text`` as it stands in ``format``, and its issuer."""
    if text.startswith(MARK):
        issuer, dot, signature = text[len(MARK) :].partition(".")
        if dot:
            return signature, issuer
    return text, ISSUERS.get(format)


def wrap_signed(signed: Signed, format: WireFormat) -> str:
    """As :func:`wrap`, for formats with no place for what belongs to a signature: it stands beside its issuer's name.
    The format's own signature stays what it is."""
    if signed.issuer is None or signed.issuer == ISSUERS.get(format):
        return signed.signature or ""
    name = (
        f"{signed.issuer}{'!' if signed.is_redacted else ''}{f':{signed.id}' if signed.id else ''}"
    )
    return wrap(signed.signature or "", name.replace(".", ""), format)


def unwrap_signed(text: str, format: WireFormat) -> Signed:
    """What :func:`wrap_signed` wrapped, or the format's own signature."""
    signature, name = unwrap(text, format)
    if name is None or name == ISSUERS.get(format):
        return Signed(signature, name)
    issuer, _, item = name.partition(":")
    return Signed(signature, issuer.removesuffix("!"), issuer.endswith("!"), item or None)


def is_wrapped(text: str) -> bool:
    """Whether a signature as it stands in a body is another issuer's."""
    return text.startswith(MARK)


def may_hold_wrapped(raw: bytes) -> bool:
    """Whether a body may hold a wrapped signature, which its format's own provider must not get."""
    return MARK.encode() in raw
