"""Opaque signatures on their way through formats that are not their issuer's.

A provider signs its thinking and wants the signature back, byte for byte; nobody else can read it. A format whose
own provider signs has a place for it. There another issuer's signature is wrapped in its issuer's name, so that it
comes back with the conversation and is given to nobody but whoever issued it.
"""

from collections.abc import Mapping

from backends.wire.prompt import WireFormat

ISSUERS: Mapping[WireFormat, str] = {
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "gemini",
}
"""Whose signatures stand unwrapped in a format. OpenAI's chat has no place of its own: all are wrapped."""

MARK = "mg1."
"""What a wrapped signature begins with; no provider's does."""


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


def is_wrapped(text: str) -> bool:
    """Whether a signature as it stands in a body is another issuer's."""
    return text.startswith(MARK)


def may_hold_wrapped(raw: bytes) -> bool:
    """Whether a body may hold a wrapped signature, which its format's own provider must not get."""
    return MARK.encode() in raw
