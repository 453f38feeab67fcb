"""The shapes that LiteLLM's transforms give back → events: OpenAI's, and LiteLLM's own older one.

Promises: pure; an end that was not said is not made up; a count of nothing is no count.
Does not import LiteLLM: :mod:`backends.longtail` does, and hands the reader of a provider's chunks in.
"""

import os
from collections.abc import Mapping
from typing import Protocol, cast

import msgspec
import orjson

from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat.citations import read_annotations
from backends.wire.openai_chat.errors import ErrorBody, describe_stream_error
from backends.wire.openai_chat.logprobs import read_choice
from backends.wire.openai_chat.passing import FINISH_REASONS
from backends.wire.openai_chat.usage import RawUsage, normalise_usage
from backends.wire.prompt import Json
from backends.wire.sse import SseReader
from backends.wire.usage import Usage

EVENT_BYTES_MAX = 16 * 1024 * 1024
REASONS: Mapping[str, FinishReason] = {
    **FINISH_REASONS,
    "complete": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "tool_call": "tool_call",
    "tool_use": "tool_call",
}
"""By lower-case word; any other is an ``error``: LiteLLM would say ``stop``."""


class ChunkParser(Protocol):
    """LiteLLM's reader of the chunks of one stream."""

    def chunk_parser(self, chunk: dict[str, Json]) -> object: ...


class ShapeParser:
    """The events of a stream that one of LiteLLM's chunk parsers reads."""

    def __init__(self, parser: ChunkParser, start: Start) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {}
        self._parser = parser
        self._start: Start | None = start
        self._sse = SseReader(EVENT_BYTES_MAX)
        self._calls: dict[tuple[int, int], tuple[int, str]] = {}
        self._finishes: dict[int, str] = {}
        self._usage: Usage | None = None
        self._is_over = False

    def feed(self, chunk: bytes) -> list[Event]:
        """See :class:`backends.wire.relay.EventParser`."""
        events: list[Event] = []
        if self.failure is not None or self._is_over:
            return events
        try:
            for event in self._sse.feed(chunk):
                data = event.data.strip()
                if data == b"[DONE]" and self._finishes:
                    events += self._end()
                elif data not in (b"[DONE]", b""):
                    said = cast("dict[str, Json]", orjson.loads(data))  # else it breaks below
                    if said.get("error"):
                        raise WireError(_told(said["error"]))
                    self._read(_dump(self._parser.chunk_parser(said)), events)
        except WireError as error:
            self.failure = error.failure
        except Exception as error:  # LiteLLM raises whatever its provider's module raises
            self.failure = broken(type(error).__name__)
        return events

    def finish(self) -> list[Event]:
        """See :class:`backends.wire.relay.EventParser`."""
        if self.failure is None and not self._finishes:
            self.failure = Failure(
                "upstream_failed", "the answer was cut off before its end", may_have_spent=True
            )
        if self.failure is not None:
            raise WireError(self.failure)
        return self._end()

    def _end(self) -> list[Event]:
        self._is_over = True
        finishes = [
            Finish(REASONS.get(raw.lower(), "error"), raw, choice)
            for choice, raw in self._finishes.items()
        ]
        return [*finishes, End(self._usage)]

    def _read(self, chunk: dict[str, Json], events: list[Event]) -> None:
        if self._start is not None:
            events.append(self._start)
            self._start = None
        self._usage = _usage_of(chunk) or self._usage
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in cast("list[dict[str, Json]]", choices):
                place = choice.get("index")
                at = place if isinstance(place, int) else 0
                delta = cast("dict[str, Json]", choice.get("delta") or {})
                self._delta(delta, at, events)
                events += _beside(choice, delta, at, self.dropped)
                self._note_finish(at, choice.get("finish_reason"))
            return
        # LiteLLM's older shape: text, tool_use, is_finished
        call = chunk.get("tool_use")
        text = chunk.get("text")
        self._delta({"content": text, "tool_calls": [] if call is None else [call]}, 0, events)
        if chunk.get("is_finished"):
            self._note_finish(0, chunk.get("finish_reason"))

    def _note_finish(self, choice: int, raw: Json) -> None:
        if isinstance(raw, str) and raw:
            self._finishes[choice] = raw

    def _delta(self, delta: dict[str, Json], choice: int, events: list[Event]) -> None:
        thinking = delta.get("reasoning_content")
        if isinstance(thinking, str) and thinking:
            events.append(ReasoningDelta(thinking, choice=choice))
        content = delta.get("content")
        if isinstance(content, str) and content:
            events.append(TextDelta(content, choice))
        for call in cast("list[dict[str, Json]]", delta.get("tool_calls") or []):
            function = cast("dict[str, Json]", call.get("function") or {})
            place = call.get("index")
            key = (choice, place if isinstance(place, int) else 0)
            known, said = self._calls.get(key), call.get("id")
            # Some hosts repeat a call's id with every piece of it.
            if known is None or (said and said != known[1]):
                number = sum(1 for known_key in self._calls if known_key[0] == choice)
                known = (number, str(said or f"call_{os.urandom(8).hex()}"))
                self._calls[key] = known
                events.append(
                    CallStart(number, known[1], str(function.get("name") or ""), choice=choice)
                )
            arguments = function.get("arguments")
            if isinstance(arguments, str) and arguments:
                events.append(CallDelta(known[0], arguments, choice))


def _beside(
    choice: dict[str, Json], said: dict[str, Json], at: int, dropped: dict[str, None]
) -> list[Event]:
    """Log probabilities of a choice and sources of its text, in OpenAI's shape too."""
    found: list[Event] = []
    if choice.get("logprobs"):
        tokens = read_choice(msgspec.Raw(orjson.dumps(choice["logprobs"])), dropped)
        if tokens:
            found.append(LogprobsDelta(tokens, at))
    if said.get("annotations"):
        found += read_annotations(msgspec.Raw(orjson.dumps(said["annotations"])), dropped, at)
    return found


def read_shape(answer: object, start: Start, dropped: dict[str, None]) -> list[Event]:
    """A whole answer in OpenAI's shape as events; ``dropped`` gets the names of what they do not hold. Raises
    ``WireError`` if it holds none."""
    said = _dump(answer)
    events: list[Event] = [start]
    choices = cast("list[dict[str, Json]]", said.get("choices") or [])
    for at, choice in enumerate(choices):
        message = cast("dict[str, Json]", choice.get("message") or {})
        thinking = message.get("reasoning_content")
        if isinstance(thinking, str) and thinking:
            events.append(ReasoningDelta(thinking, choice=at))
        content = message.get("content")
        if isinstance(content, str) and content:
            events.append(TextDelta(content, at))
        events += _beside(choice, message, at, dropped)
        calls = cast("list[dict[str, Json]]", message.get("tool_calls") or [])
        for number, call in enumerate(calls):
            function = cast("dict[str, Json]", call.get("function") or {})
            name = str(function.get("name") or "")
            events.append(CallStart(number, str(call.get("id")), name, choice=at))
            events.append(CallDelta(number, str(function.get("arguments") or ""), at))
        raw = str(choice.get("finish_reason") or "")
        events.append(Finish(REASONS.get(raw.lower(), "error"), raw, at))
    if not choices:
        raise WireError(broken("no choices"))
    events.append(End(_usage_of(said)))
    return events


def _usage_of(body: dict[str, Json]) -> Usage | None:
    raw = body.get("usage")
    if not isinstance(raw, dict):
        return None
    try:
        usage = normalise_usage(msgspec.convert(raw, RawUsage, strict=False))
    except msgspec.ValidationError:
        return None
    # LiteLLM writes zeros where the provider counted nothing, and a prompt has tokens.
    return usage if usage is not None and usage.input_tokens > 0 else None


def _dump(value: object) -> dict[str, Json]:
    """LiteLLM's answer objects (pydantic) or plain mappings as JSON values."""
    dump = getattr(value, "model_dump", None)
    plain = dump(exclude_none=True) if callable(dump) else value
    return dict(cast("Mapping[str, Json]", plain))


def _told(error: Json) -> Failure:
    """An error that stands in a stream, in OpenAI's shape or as plain text."""
    if isinstance(error, dict):
        message, kind = error.get("message"), error.get("type")
        return describe_stream_error(
            ErrorBody(
                message if isinstance(message, str) else None,
                kind if isinstance(kind, str) else None,
            )
        )
    return describe_stream_error(error if isinstance(error, str) else ErrorBody())


def broken(what: str) -> Failure:
    """The failure of an answer that cannot be read; ``what`` is for operators."""
    return Failure(
        "upstream_failed", "the provider's answer is broken", detail=what, may_have_spent=True
    )
