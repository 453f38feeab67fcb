"""How signatures that are no OpenAI reasoning stand in its ``encrypted_content``, and come back as what they were.

OpenAI's format has one place for opaque thinking: an item of its own. A signature of a call stands in such an item
before the call, hidden thinking in one without text; both say so inside of the wrapped text.
"""

from backends.wire.prompt import WireFormat
from backends.wire.signatures import unwrap, wrap

FORMAT: WireFormat = "openai-responses"
ISSUER = "openai"
CALL_MARK = "call:"
"""The signature of the call behind it."""
HIDDEN_MARK = "hidden:"
"""Thinking that its provider does not show."""


def wrap_signature(signature: str, issuer: str | None, mark: str = "") -> str:
    """The text of ``encrypted_content``. A mark needs a name before it, or OpenAI's own text would begin so."""
    return wrap(mark + signature, (issuer or "unknown") if mark else issuer, FORMAT)


def unwrap_signature(text: str) -> tuple[str, str, str | None]:
    """Mark (may be empty), signature and issuer."""
    signature, issuer = unwrap(text, FORMAT)
    if issuer != ISSUER:
        for mark in (CALL_MARK, HIDDEN_MARK):
            if signature.startswith(mark):
                return mark, signature[len(mark) :], issuer
    return "", signature, issuer
