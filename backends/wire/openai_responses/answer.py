"""Answers of the Responses format, streamed or plain -> events.

Promises: the same events wherever the stream is cut; ``Finish`` and ``End`` only after the host's own end; what a
host says whole only (arguments, texts, a response without deltas) is given as if it had come in pieces, and never
twice; a call is a call whatever the status says; what has no counterpart is named in :attr:`EventParser.dropped`.
Does not render: :mod:`backends.wire.relay`.
"""

import msgspec

from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat.citations import read_annotation, read_annotations
from backends.wire.openai_chat.errors import ErrorBody, describe_stream_error
from backends.wire.openai_chat.logprobs import read_part
from backends.wire.openai_responses import answer_shapes as shapes
from backends.wire.openai_responses.marks import ISSUER
from backends.wire.openai_responses.usage import normalise_usage
from backends.wire.sse import SseEvent, SseReader
from backends.wire.usage import Usage

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""One event of a stream is never longer: the last one repeats the whole answer."""

INCOMPLETE_REASONS: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}
"""Why a response is not complete; any other reason is an ``error``."""

_COMPLETED = frozenset({"completed", "complete"})
PARAGRAPH = "\n\n"
"""Between parts of one piece of thinking."""
_CONTENT_AT = 1_000_000
"""Thinking may come summed up and in full: parts of the latter are counted from here."""
_EMPTY = frozenset({b"", b"null", b"[]"})
_NO_LOGPROBS = (msgspec.Raw(b"[]"), shapes.ABSENT)


class _State:
    """An item of the output: which parts of it were given, and for a call its number."""

    __slots__ = ("call", "cited", "given", "id", "is_done", "last", "logged")

    def __init__(self) -> None:
        self.call = -1
        self.id: str | None = None
        """Its name, if it is thinking."""
        self.given: set[int] = set()
        self.cited: set[int] = set()
        """Parts whose annotations were given."""
        self.logged: set[int] = set()
        """Parts whose log probabilities were given."""
        self.last = -1
        """The part of thinking that grew last."""
        self.is_done = False


class EventParser:
    """Turns one answer into events. ``created_at`` where a host sends no time. After :meth:`feed`, look at
    :attr:`failure`: set, the answer is broken and nothing more comes."""

    def __init__(self, *, created_at: int = 0) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {}
        self._sse = SseReader(EVENT_BYTES_MAX)
        self._created_at = created_at
        self._states: dict[int, _State] = {}
        self._calls = 0
        self._first_text: _State | None = None
        self._has_refusal = False
        self._has_started = False
        self._has_ended = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that ``chunk`` completes; none after the end or a failure."""
        events: list[Event] = []
        if self._has_ended or self.failure is not None:
            return events
        try:
            for event in self._sse.feed(chunk):
                self._read(event, events)
                if self._has_ended:
                    break
        except WireError as error:
            self.failure = error.failure
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self.failure = _broken(f"an event that cannot be read: {error}")
        return events

    def finish(self) -> list[Event]:
        """The upstream closed. Raises ``WireError`` if the host's own end never came."""
        # The empty line behind the last event may be missing.
        events = self.feed(b"\n\n")
        if self.failure is None and not self._has_ended:
            self.failure = _broken("no end", "the answer was cut off before its end")
        if self.failure is not None:
            raise WireError(self.failure)
        return events

    def read_answer(self, body: bytes) -> list[Event]:
        """The events of a whole answer, on a fresh parser. Raises ``WireError`` if it is none."""
        events: list[Event] = []
        try:
            response = shapes.RESPONSE.decode(body)
            if response.error is not None and response.output is None:
                raise WireError(describe_stream_error(response.error))
            if response.output is None:
                raise WireError(_broken("an answer without output"))
            self._start(response, events)
            self._end(response, events)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise WireError(_broken(f"an answer that cannot be read: {error}")) from error
        return events

    def _read(self, event: SseEvent, events: list[Event]) -> None:
        data = event.data
        name = event.event
        if not name:
            if data.strip() == b"[DONE]":
                return  # OpenRouter's, behind an end that ended the reading already.
            name = shapes.KIND.decode(data).type
        match name:
            case "response.output_text.delta":
                delta = shapes.DELTA.decode(data)
                if delta.delta:
                    self._state(delta.output_index, events).given.add(delta.content_index)
                    events.append(TextDelta(delta.delta))
                if delta.logprobs not in _NO_LOGPROBS:
                    self._log(delta, events)
            case "response.function_call_arguments.delta":
                delta = shapes.DELTA.decode(data)
                self._add_arguments(self._state(delta.output_index, events), delta.delta, events)
            case "response.reasoning_summary_text.delta":
                delta = shapes.DELTA.decode(data)
                self._think(delta.output_index, delta.summary_index, delta.delta, events)
            case "response.reasoning_text.delta":
                delta = shapes.DELTA.decode(data)
                at = _CONTENT_AT + delta.content_index
                self._think(delta.output_index, at, delta.delta, events)
            case "response.refusal.delta":
                delta = shapes.DELTA.decode(data)
                self._state(delta.output_index, events).given.add(delta.content_index)
                self._refuse(delta.delta, events)
            case _:
                self._read_frame(name, data, events)

    def _read_frame(self, name: str, data: bytes, events: list[Event]) -> None:
        """Events that begin and end items and the answer itself."""
        match name:
            case "response.output_item.added":
                said = shapes.WITH_ITEM.decode(data)
                self._open(said.output_index, said.item, events)
            case "response.output_item.done":
                said = shapes.WITH_ITEM.decode(data)
                self._read_item(said.output_index, said.item, events)
            case "response.created" | "response.in_progress" | "response.queued":
                self._start(shapes.WITH_RESPONSE.decode(data).response, events)
            case "response.completed" | "response.incomplete" | "response.failed":
                response = shapes.WITH_RESPONSE.decode(data).response
                self._start(response, events)
                self._end(response, events, status=name.removeprefix("response."))
            case "response.output_text.annotation.added":
                self._cite(shapes.ADDED.decode(data), events)
            case "error":
                said_error = shapes.ERROR.decode(data)
                flat = ErrorBody(said_error.message, None, said_error.code, said_error.param)
                raise WireError(describe_stream_error(said_error.error or flat))
            case _ if name.endswith(".done"):
                self._read_done(name, shapes.DONE.decode(data), events)
            case _:
                pass  # Progress of what the host runs itself, and events that a later API adds.

    def _read_done(self, name: str, done: shapes.Done, events: list[Event]) -> None:
        """A part is whole: given now, if no piece of it came."""
        match name:
            case "response.function_call_arguments.done":
                state = self._state(done.output_index, events)
                if not state.given:
                    self._add_arguments(state, done.arguments or "", events)
            case "response.output_text.done" | "response.refusal.done":
                self._finish_part(done, events)
            case "response.reasoning_summary_text.done":
                self._finish_thinking(done.output_index, done.summary_index, done.text, events)
            case "response.reasoning_text.done":
                at = _CONTENT_AT + done.content_index
                self._finish_thinking(done.output_index, at, done.text, events)
            case _:
                pass

    def _start(self, response: shapes.Response, events: list[Event]) -> None:
        if self._has_started:
            return
        self._has_started = True
        created = int(response.created_at or 0)
        if not 0 < created < 2**53:
            created = self._created_at
        events.append(Start(response.id or "", response.model or "", created))

    def _state(self, index: int, events: list[Event]) -> _State:
        state = self._states.get(index)
        if state is None:
            if not self._has_started:
                self._start(shapes.Response(), events)
            state = self._states[index] = _State()
        return state

    def _open(self, index: int, item: msgspec.Raw, events: list[Event]) -> None:
        state = self._state(index, events)
        head = shapes.KIND.decode(item)
        if head.type == "function_call":
            self._open_call(state, shapes.CALL.decode(item), events)
        elif head.type == "reasoning":
            state.id = head.id
        elif head.type == "message" and self._first_text is None:
            self._first_text = state

    def _open_call(self, state: _State, call: shapes.Call, events: list[Event]) -> None:
        if state.call >= 0:
            return
        state.call = self._calls
        self._calls += 1
        if call.namespace is not None:
            self.dropped["output.function_call.namespace"] = None
        events.append(CallStart(state.call, call.call_id or call.id or "", call.name))
        if call.arguments:  # Some hosts begin with them.
            self._add_arguments(state, call.arguments, events)

    def _add_arguments(self, state: _State, text: str, events: list[Event]) -> None:
        if text and state.call >= 0:
            state.given.add(0)
            events.append(CallDelta(state.call, text))

    def _think(self, index: int, part: int, text: str, events: list[Event]) -> None:
        if not text:
            return
        state = self._state(index, events)
        if state.last >= 0 and state.last != part:
            text = PARAGRAPH + text
        state.last = part
        state.given.add(part)
        events.append(ReasoningDelta(text, id=state.id))

    def _cite(self, added: shapes.Added, events: list[Event]) -> None:
        state, at = self._state(added.output_index, events), added.content_index
        state.cited.add(at)
        has_place = self._is_first(state, at)
        citation = read_annotation(added.annotation, self.dropped, has_place=has_place)
        if citation is not None:
            events.append(citation)

    def _is_first(self, state: _State, at: int) -> bool:
        """Whether a part is the first of the answer's texts: places count from its beginning."""
        return at == 0 and self._first_text is state

    def _log(self, delta: shapes.Delta, events: list[Event]) -> None:
        tokens = read_part(delta.logprobs, self.dropped)
        if tokens:
            self._state(delta.output_index, events).logged.add(delta.content_index)
            events.append(LogprobsDelta(tokens))

    def _refuse(self, text: str, events: list[Event]) -> None:
        if text:
            self._has_refusal = True
            events.append(RefusalDelta(text))

    def _finish_part(self, done: shapes.Done, events: list[Event]) -> None:
        state = self._state(done.output_index, events)
        if done.content_index in state.given:
            return
        state.given.add(done.content_index)
        if done.refusal:
            self._refuse(done.refusal, events)
        elif done.text:
            events.append(TextDelta(done.text))

    def _finish_thinking(
        self, index: int, part: int, text: str | None, events: list[Event]
    ) -> None:
        if part not in self._state(index, events).given:
            self._think(index, part, text or "", events)

    def _read_item(self, index: int, item: msgspec.Raw, events: list[Event]) -> None:
        """A whole item: what of it did not come in pieces."""
        state = self._state(index, events)
        if state.is_done:
            return
        state.is_done = True
        match shapes.KIND.decode(item).type:
            case "message":
                self._first_text = self._first_text or state
                self._read_message(state, shapes.MESSAGE.decode(item), events)
            case "function_call":
                call = shapes.CALL.decode(item)
                was_open = state.call >= 0
                self._open_call(state, call, events)
                if was_open and not state.given:
                    self._add_arguments(state, call.arguments or "", events)
            case "reasoning":
                self._read_thinking(index, state, shapes.THINKING.decode(item), events)
            case kind:
                self.dropped[f"output.{kind}"] = None

    def _read_message(self, state: _State, item: shapes.Message, events: list[Event]) -> None:
        for at, part in enumerate(item.content or ()):
            if at not in state.given:
                if part.refusal:
                    self._refuse(part.refusal, events)
                elif part.text:
                    events.append(TextDelta(part.text))
            if at not in state.logged:
                tokens = read_part(part.logprobs, self.dropped)
                if tokens:
                    events.append(LogprobsDelta(tokens))
            if at not in state.cited:
                has_place = self._is_first(state, at)
                events += read_annotations(part.annotations, self.dropped, has_place=has_place)

    def _read_thinking(
        self, index: int, state: _State, item: shapes.Thinking, events: list[Event]
    ) -> None:
        state.id = item.id or state.id
        if not state.given:
            for at, part in enumerate((*(item.summary or ()), *(item.content or ()))):
                self._think(index, at, part.text or "", events)
        if item.encrypted_content:
            events.append(ReasoningDelta("", item.encrypted_content, ISSUER, id=state.id))

    def _end(
        self, response: shapes.Response, events: list[Event], status: str | None = None
    ) -> None:
        status = status or response.status or "completed"
        if response.error is not None or status == "failed":
            raise WireError(describe_stream_error(response.error or ErrorBody()))
        if not self._states:
            for at, item in enumerate(response.output or ()):
                self._read_item(at, item, events)
        reason, raw = self._reason(response, status)
        events.append(Finish(reason, raw))
        self._has_ended = True
        events.append(End(None if response.usage is None else normalise_usage(response.usage)))

    def _reason(self, response: shapes.Response, status: str) -> tuple[FinishReason, str]:
        if status == "incomplete":
            details = response.incomplete_details
            raw = (details.reason if details is not None else None) or status
            return INCOMPLETE_REASONS.get(raw, "error"), raw
        if status not in _COMPLETED:
            return "error", status
        if self._calls:
            return "tool_call", status
        return ("refusal" if self._has_refusal else "stop"), status


def _broken(detail: str, message: str = "the provider's answer is broken") -> Failure:
    return Failure("upstream_failed", message, detail=detail, may_have_spent=True)
