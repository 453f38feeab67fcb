"""Answers of servers that complete a bare text → events.

Promises: ``Finish`` and ``End`` only after the host's own end; an end without a finish reason for every choice is none.
"""

import msgspec

from backends.wire.events import End, Event, Finish, Start, TextDelta
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat.errors import ErrorBody, describe_stream_error
from backends.wire.openai_chat.passing import EVENT_BYTES_MAX, FINISH_REASONS
from backends.wire.openai_chat.usage import RawUsage, normalise_usage
from backends.wire.sse import SseReader
from backends.wire.usage import Usage


class _Choice(msgspec.Struct):
    index: int = 0
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: RawUsage | None = None
    error: ErrorBody | str | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class EventParser:
    """Turns one answer into events. ``choices``: how many were asked for. After :meth:`feed`, look at
    :attr:`failure`: set, the answer is broken and nothing more comes."""

    def __init__(self, *, choices: int = 1) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {}
        self.is_usage_only = False
        """Whether the last event held nothing but usage."""
        self._sse = SseReader(EVENT_BYTES_MAX)
        self._choices = choices
        self._seen: set[int] = set()
        self._finishes: dict[int, str] = {}
        self._usage: Usage | None = None
        self._has_started = False
        self._has_ended = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that ``chunk`` completes; none after the end or a failure."""
        events: list[Event] = []
        if self._has_ended or self.failure is not None:
            return events
        self.is_usage_only = False
        try:
            for event in self._sse.feed(chunk):
                data = event.data.strip()
                if data == b"[DONE]":
                    self._end(events)
                    break
                if data:
                    self._read(_CHUNK.decode(data), events)
                    if event.event == "error":
                        raise WireError(describe_stream_error(ErrorBody()))
        except WireError as error:
            self.failure = error.failure
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self.failure = _broken(f"an event that cannot be read: {error}")
        return events

    def finish(self) -> list[Event]:
        """The upstream closed. Raises ``WireError`` if the answer was cut."""
        events = self.feed(b"\n\n")
        if self.failure is None and not self._has_ended:
            if len(self._finishes) >= self._choices:
                self._end(events)
            else:
                self.failure = _broken("no [DONE]", "the answer was cut off before its end")
        if self.failure is not None:
            raise WireError(self.failure)
        return events

    def read_answer(self, body: bytes) -> list[Event]:
        """The events of a whole answer, on a fresh parser. Raises ``WireError`` if it is none."""
        events: list[Event] = []
        try:
            said = _CHUNK.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise WireError(_broken(f"an answer that cannot be read: {error}")) from error
        self._read(said, events)
        self._end(events)
        return events

    def _read(self, chunk: _Chunk, events: list[Event]) -> None:
        if chunk.usage is not None:
            self._usage = normalise_usage(chunk.usage) or self._usage
        if chunk.error is not None:
            raise WireError(describe_stream_error(chunk.error))
        self.is_usage_only = chunk.usage is not None and not chunk.choices
        if not chunk.choices:
            return
        if not self._has_started:
            self._has_started = True
            created = int(chunk.created or 0)
            created = created if 0 < created < 2**53 else 0
            events.append(Start(chunk.id or "", chunk.model or "", created))
        for choice in chunk.choices:
            self._seen.add(choice.index)
            if choice.text:
                events.append(TextDelta(choice.text, choice.index))
            if choice.finish_reason:
                self._finishes[choice.index] = choice.finish_reason

    def _end(self, events: list[Event]) -> None:
        if not self._finishes or not self._seen <= self._finishes.keys():
            raise WireError(_broken("an end without a finish reason"))
        self._has_ended = True
        for at, raw in self._finishes.items():
            events.append(Finish(FINISH_REASONS.get(raw, "error"), raw, at))
        events.append(End(self._usage))


def _broken(what: str, message: str = "the provider's answer is broken") -> Failure:
    return Failure("upstream_failed", message, detail=what, may_have_spent=True)
