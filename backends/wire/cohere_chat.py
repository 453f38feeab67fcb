"""Cohere's Chat API v2, target side: its answers → events, and what LiteLLM's request leaves out.

LiteLLM 1.106.2 looks for ``message-end`` under ``event`` where the wire says ``type``, for streamed calls
outside of ``message``, and gives every plain answer the finish ``stop``: finish, usage and calls would be
lost. Format: docs.cohere.com, "Chat" (v2) and "Streaming", read November 2026.
Promises: pure; input and output tokens are the billed ones, for those are what the account is charged.
"""

from typing import TypeVar

import msgspec

from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.prompt import Json, Prompt
from backends.wire.sse import SseReader
from backends.wire.upstream_errors import clean_text
from backends.wire.usage import Usage

T = TypeVar("T")

EVENT_BYTES_MAX = 16 * 1024 * 1024

FINISH_REASONS: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_call",
    "ERROR_TOXIC": "content_filter",
}
"""Any other (``ERROR``, ``TIMEOUT``) is an error."""

TOOL_CHOICES = {"required": "REQUIRED", "none": "NONE"}
"""Cohere's words; it has none for ``auto``, which is what it does unasked, nor for one named tool."""


class _Tokens(msgspec.Struct):
    input_tokens: float | None = None
    output_tokens: float | None = None


class _Usage(msgspec.Struct):
    billed_units: _Tokens | None = None
    tokens: _Tokens | None = None
    cached_tokens: float | None = None


class _Content(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct):
    """In a plain answer ``content`` and ``tool_calls`` are lists, in a stream's deltas single."""

    content: _Content | str | list[_Content] | None = None
    tool_calls: _Call | list[_Call] | None = None
    tool_plan: str | None = None


class _Delta(msgspec.Struct):
    message: _Message | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None
    error: str | None = None


class _StreamEvent(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    index: int = 0
    delta: _Delta | None = None
    message: str | _Message | None = None


class _Answer(msgspec.Struct):
    message: _Message
    id: str | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None


_EVENT = msgspec.json.Decoder(_StreamEvent)
_ANSWER = msgspec.json.Decoder(_Answer)


class CohereParser:
    """The events of one stream; see :class:`backends.wire.relay.EventParser`."""

    def __init__(self, *, model: str, created_at: int) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {}
        self._model = model
        self._created_at = created_at
        self._sse = SseReader(EVENT_BYTES_MAX)
        self._has_started = False
        self._calls: dict[int, int] = {}

    def feed(self, chunk: bytes) -> list[Event]:
        """See :class:`backends.wire.relay.EventParser`."""
        events: list[Event] = []
        if self.failure is not None:
            return events
        try:
            for event in self._sse.feed(chunk):
                if event.data.strip() not in (b"", b"[DONE]"):
                    self._take(_EVENT.decode(event.data), events)
        except WireError as error:
            self.failure = error.failure
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self.failure = _broken(error)
        return events

    def finish(self) -> list[Event]:
        """See :class:`backends.wire.relay.EventParser`: the end is an event, a close alone is a cut."""
        message = "the answer was cut off before its end"
        raise WireError(self.failure or Failure("upstream_failed", message, may_have_spent=True))

    def _take(self, said: _StreamEvent, events: list[Event]) -> None:
        if not self._has_started:
            self._has_started = True
            response_id = f"chatcmpl-{said.id}" if said.id else "chatcmpl-cohere"
            events.append(Start(response_id, self._model, self._created_at))
        delta = said.delta or _Delta()
        if delta.error or said.type in (None, "error"):
            words = delta.error or (said.message if isinstance(said.message, str) else "")
            raise WireError(_told(words or ""))
        if delta.message is not None:
            self._read_message(said.index, delta.message, events)
        if said.type == "message-end":
            raw = delta.finish_reason or ""
            events.append(Finish(FINISH_REASONS.get(raw, "error"), raw))
            events.append(End(read_usage(delta.usage)))

    def _read_message(self, index: int, message: _Message, events: list[Event]) -> None:
        _read_content(message, events)
        for call in _listed(message.tool_calls):
            function = call.function or _Function()
            if call.id or index not in self._calls:
                self._calls[index] = number = len(self._calls)
                events.append(CallStart(number, call.id or f"call_{number}", function.name or ""))
            if function.arguments:
                events.append(CallDelta(self._calls[index], function.arguments))


def read_answer(body: bytes, *, model: str, created_at: int) -> list[Event]:
    """A plain answer as events. Raises ``WireError`` if it is broken."""
    try:
        said = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WireError(_broken(error)) from error
    response_id = f"chatcmpl-{said.id}" if said.id else "chatcmpl-cohere"
    events: list[Event] = [Start(response_id, model, created_at)]
    _read_content(said.message, events)
    for number, call in enumerate(_listed(said.message.tool_calls)):
        function = call.function or _Function()
        events.append(CallStart(number, call.id or f"call_{number}", function.name or ""))
        events.append(CallDelta(number, function.arguments or "{}"))
    raw = said.finish_reason or ""
    events.append(Finish(FINISH_REASONS.get(raw, "error"), raw))
    events.append(End(read_usage(said.usage)))
    return events


def read_usage(said: _Usage | None) -> Usage | None:
    """Billed tokens, or those counted where nothing is said of the bill; None if neither is there."""
    if said is None:
        return None
    counted = said.billed_units if _is_counted(said.billed_units) else said.tokens
    if counted is None or not _is_counted(counted):
        return None
    inward = int(counted.input_tokens or 0)
    return Usage(
        input_tokens=inward,
        output_tokens=max(0, int(counted.output_tokens or 0)),
        cache_read_tokens=min(max(0, int(said.cached_tokens or 0)), inward),
    ).believed()


def complete_request(body: dict[str, Json], prompt: Prompt) -> frozenset[str]:
    """Add to LiteLLM's request what Cohere can do and LiteLLM leaves out; the names of what was added."""
    added: set[str] = set()
    choice = prompt.tool_choice
    if choice is not None and choice.mode in TOOL_CHOICES:
        body["tool_choice"] = TOOL_CHOICES[choice.mode]
        added.add("tool_choice")
    if prompt.sampling.stop:
        # LiteLLM hands on a lone text, Cohere takes lists.
        body["stop_sequences"] = list(prompt.sampling.stop)
    if prompt.sampling.top_k is not None:
        body["k"] = prompt.sampling.top_k
        added.add("top_k")
    schema = prompt.output_schema
    if schema is not None:
        shape: dict[str, Json] = {"type": "json_object"}
        if schema.schema is not None:
            shape["json_schema"] = msgspec.json.decode(schema.schema)
        body["response_format"] = shape
        added.add("response_format")
    return frozenset(added)


def _read_content(message: _Message, events: list[Event]) -> None:
    # The plan is what the model says before it calls, as OpenAI's models do in `content`.
    if message.tool_plan:
        events.append(TextDelta(message.tool_plan))
    if isinstance(message.content, str):
        parts = [_Content(message.content)]
    else:
        parts = _listed(message.content)
    for part in parts:
        if part.thinking:
            events.append(ReasoningDelta(part.thinking))
        if part.text:
            events.append(TextDelta(part.text))


def _listed(value: T | list[T] | None) -> list[T]:
    """``value`` as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_counted(tokens: _Tokens | None) -> bool:
    """A prompt has tokens: a count of none is no count."""
    return tokens is not None and (tokens.input_tokens or 0) > 0


def _told(message: str) -> Failure:
    words = clean_text(message) or "the provider sent an error in the middle of its answer"
    return Failure("upstream_failed", words, may_have_spent=True)


def _broken(error: Exception) -> Failure:
    return Failure(
        "upstream_failed",
        "the provider's answer is broken",
        detail=type(error).__name__,
        may_have_spent=True,
    )
