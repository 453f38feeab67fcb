"""Signatures in OpenAI's chat format, which has no place of its own for them: in those that others gave it.

Thinking stands in OpenRouter's ``reasoning_details``, each piece whole with its text, so that it comes back however
a client puts deltas together; the signature of a call in ``extra_content.google.thought_signature``, as Google's own
OpenAI-compatible endpoint has it. Promises: all are wrapped in their issuer's name
(:mod:`backends.wire.signatures`), so that those of moegate are told from a host's own, which stay what they are: a
reseller does not say whose it gives.
"""

from collections.abc import Mapping
from typing import cast

from backends.wire.events import CallStart, ReasoningDelta
from backends.wire.prompt import Json, Reasoning, WireFormat
from backends.wire.signatures import (
    SELF_CONTAINED,
    Signed,
    is_wrapped,
    unwrap_signed,
    wrap_signed,
)

FORMAT: WireFormat = "openai-chat"
DETAILS = "reasoning_details"
EXTRA = "extra_content"
SIGNATURE = "thought_signature"
_PLAIN = ("reasoning_content", "reasoning")
"""Members in which clients send back the text of thinking alone."""
_HAS_OWN_PARTS = "gemini"
"""Whose signatures may stand on other parts than thinking."""


class Thoughts:
    """The thinking of one choice, which waits for its signature."""

    __slots__ = ("_count", "_id", "_pieces")

    def __init__(self) -> None:
        self._count = 0
        self._id: str | None = None
        self._pieces: list[str] = []

    def take(self, event: ReasoningDelta) -> dict[str, object] | None:
        """The entry of ``reasoning_details`` that ``event`` completes."""
        if event.id != self._id:
            self._id = event.id
            self._pieces.clear()
        if event.signature is None:
            if event.text and not event.is_redacted:
                self._pieces.append(event.text)
            return None
        text = "" if event.is_redacted else event.text
        if not event.is_redacted and (text or event.issuer != _HAS_OWN_PARTS):
            text = "".join((*self._pieces, text))
            self._pieces.clear()
        signed = Signed(event.signature, event.issuer or "unknown", event.is_redacted, event.id)
        wrapped = wrap_signed(signed, FORMAT)
        if text or not (event.is_redacted or event.issuer in SELF_CONTAINED):
            detail: dict[str, object] = {
                "type": "reasoning.text",
                "text": text,
                "signature": wrapped,
            }
        else:
            detail = {"type": "reasoning.encrypted", "data": wrapped}
        self._count += 1
        return detail | {"format": "unknown", "index": self._count - 1}


def extra_content(call: CallStart) -> dict[str, object]:
    """What carries the signature of ``call``, which has one."""
    signed = Signed(call.signature, call.issuer or "gemini")
    return {"google": {SIGNATURE: wrap_signed(signed, FORMAT)}}


def read_thinking(message: Mapping[str, Json]) -> tuple[list[Reasoning], list[Reasoning]]:
    """The signed thinking that an assistant's message brings back: what stood before its text, and behind."""
    before: list[Reasoning] = []
    behind: list[Reasoning] = []
    details = message.get(DETAILS)
    for detail in details if isinstance(details, list) else ():
        part = _read_detail(detail)
        if part is not None:
            is_behind = part.issuer == _HAS_OWN_PARTS and not part.text
            (behind if is_behind else before).append(part)
    return before, behind


def read_call_signature(call: Mapping[str, Json]) -> Signed | None:
    """The signature that ``call`` brings back."""
    extra = call.get(EXTRA)
    google = extra.get("google") if isinstance(extra, dict) else None
    text = google.get(SIGNATURE) if isinstance(google, dict) else None
    if not isinstance(text, str) or not is_wrapped(text):
        return None
    return unwrap_signed(text, FORMAT)


def is_signed(detail: Json) -> bool:
    """Whether an entry of ``reasoning_details`` is moegate's."""
    return _read_detail(detail) is not None


def collect_unsigned(message: Mapping[str, Json], path: str, found: dict[str, Json]) -> None:
    """What of an assistant's thinking is not read: entries that others signed, text beside them."""
    details = message.get(DETAILS)
    entries = details if isinstance(details, list) else []
    if details is not None and not isinstance(details, list):
        found[f"{path}.{DETAILS}"] = details
    texts: list[str] = []
    for at, detail in enumerate(entries):
        part = _read_detail(detail)
        if part is None:
            found[f"{path}.{DETAILS}[{at}]"] = detail
        elif part.text:
            texts.append(part.text)
    for name in _PLAIN:
        # The same words again; of several pieces only the whole is looked at.
        if name in message and [message[name]] != texts:
            found[f"{path}.{name}"] = message[name]


def collect_beside(call: Mapping[str, Json], path: str, found: dict[str, Json]) -> None:
    """What else stands in a call's ``extra_content``."""
    extra = call.get(EXTRA)
    if read_call_signature(call) is None:
        found[f"{path}.{EXTRA}"] = extra
        return
    members = cast("dict[str, dict[str, Json]]", extra)
    found |= {
        f"{path}.{EXTRA}.{name}": value for name, value in members.items() if name != "google"
    }
    for name, value in members["google"].items():
        if name != SIGNATURE:
            found[f"{path}.{EXTRA}.google.{name}"] = value


def _read_detail(detail: Json) -> Reasoning | None:
    if not isinstance(detail, dict):
        return None
    kind = detail.get("type")
    wrapped = detail.get("data" if kind == "reasoning.encrypted" else "signature")
    text = detail.get("text") if kind == "reasoning.text" else ""
    if not isinstance(wrapped, str) or not isinstance(text, str) or not is_wrapped(wrapped):
        return None
    signature, issuer, is_redacted, item = unwrap_signed(wrapped, FORMAT)
    return Reasoning(text, signature, issuer, is_redacted, item)
