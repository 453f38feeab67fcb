"""The internal answer: a short stream of events that every target format parses into.

A plain (not streamed) translated answer is the fold of the same events. Events are slotted and not
frozen: they are made per chunk, and freezing costs about three times as much to make.
Order: ``Start``, then any of the deltas, ``Finish`` once per choice, ``Usage`` inside ``End`` last.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from backends.wire.usage import Usage

FinishReason = Literal["stop", "length", "content_filter", "tool_call", "refusal", "pause", "error"]


class Start(msgspec.Struct, tag="start"):
    """The provider began to answer. ``early_input``: what it said of the input already."""

    response_id: str
    response_model: str
    created_at: int
    early_input: Usage | None = None


class TextDelta(msgspec.Struct, tag="text"):
    """More visible text of one choice."""

    text: str
    choice: int = 0


class ReasoningDelta(msgspec.Struct, tag="reasoning"):
    """More visible thinking, or its opaque ``signature``, which ends a piece of it. ``id`` is OpenAI's name for
    the item. A signature without thinking before it stood on the part before (Gemini), or on hidden thinking."""

    text: str
    signature: str | None = None
    issuer: str | None = None
    is_redacted: bool = False
    choice: int = 0
    id: str | None = None


class RefusalDelta(msgspec.Struct, tag="refusal"):
    """More of the model's refusal text."""

    text: str
    choice: int = 0


Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class TokenLogprob(msgspec.Struct):
    """A token of the answer and its log probability, as OpenAI names them; ``top_logprobs`` are the most likely
    tokens in its place. ``bytes`` is None where the provider does not say them."""

    token: str
    logprob: float
    bytes: list[Byte] | None = None
    top_logprobs: "list[TokenLogprob]" = []


class LogprobsDelta(msgspec.Struct, tag="logprobs"):
    """The log probabilities of the tokens of text that came just before."""

    tokens: list[TokenLogprob]
    choice: int = 0


class Citation(msgspec.Struct, tag="citation"):
    """A source on the web that text of a choice rests on: its characters ``start`` to ``end``, or some of it where
    the provider does not say which."""

    url: str
    title: str = ""
    start: int | None = None
    end: int | None = None
    choice: int = 0


class CallStart(msgspec.Struct, tag="call_start"):
    """A tool call begins; ``index`` counts the calls of one choice from 0."""

    index: int
    id: str
    name: str
    signature: str | None = None
    choice: int = 0
    issuer: str | None = None


class CallDelta(msgspec.Struct, tag="call_delta"):
    """More of a call's arguments, as a piece of JSON text."""

    index: int
    arguments: str
    choice: int = 0


class Finish(msgspec.Struct, tag="finish"):
    """One choice is done; ``raw`` is the provider's own word, ``stop_sequence`` the one that was hit."""

    reason: FinishReason
    raw: str
    choice: int = 0
    stop_sequence: str | None = None


class End(msgspec.Struct, tag="end"):
    """The provider's own end of the answer; without it a stream was cut."""

    usage: Usage | None


Event = (
    Start
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | LogprobsDelta
    | Citation
    | CallStart
    | CallDelta
    | Finish
    | End
)


def put_behind_text(events: list[Event], begin: int, beside: Iterable[Event]) -> None:
    """Put ``beside`` behind the last text in ``events`` from ``begin`` on, or there if none came: what stands beside
    a text belongs to it, whatever else a provider says in the same breath."""
    at = len(events)
    while at > begin and not isinstance(events[at - 1], TextDelta):
        at -= 1
    events[at:at] = beside
