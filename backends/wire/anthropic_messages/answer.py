"""Claude's answers, streamed or plain -> events.

Promises: the same events wherever the stream is cut into chunks; ``Finish`` and ``End`` only after
``message_stop``; the raw stop reason is kept; nothing is dropped in silence (:attr:`dropped`).
A stream that breaks sets :attr:`EventParser.failure`; the events before it are still given.
Does not render: :mod:`backends.wire.relay`.
"""

from typing import NoReturn

import msgspec

from backends.wire.anthropic_messages.content import ISSUER
from backends.wire.anthropic_messages.errors import ErrorBody, describe_error
from backends.wire.anthropic_messages.usage import RawUsage, merge_usage, normalise_usage
from backends.wire.events import (
    CallDelta,
    CallStart,
    Citation,
    End,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.sse import SseEvent, SseReader
from backends.wire.usage import Usage

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""One event of a stream is never longer; a whole tool argument may come in one."""

FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "refusal": "refusal",
    "pause_turn": "pause",
}
"""Anthropic's stop reasons (SDK 2.12.0, ``StopReason``); any other is an ``error``."""


_ABSENT = msgspec.Raw()


class _Block(msgspec.Struct):
    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = _ABSENT
    citations: msgspec.Raw = _ABSENT


class _StopDetails(msgspec.Struct):
    explanation: str | None = None


class _Message(msgspec.Struct):
    id: str = ""
    model: str = ""
    type: str = "message"
    content: list[_Block] = []
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    stop_sequence: str | None = None
    usage: RawUsage | None = None


class _MessageStart(msgspec.Struct):
    message: _Message


class _BlockStart(msgspec.Struct):
    index: int
    content_block: _Block


class _Delta(msgspec.Struct):
    type: str
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: msgspec.Raw = _ABSENT


class _Source(msgspec.Struct):
    type: str = ""
    url: str | None = None
    title: str | None = None


class _BlockDelta(msgspec.Struct):
    index: int
    delta: _Delta


class _BlockStop(msgspec.Struct):
    index: int


class _Stop(msgspec.Struct):
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    stop_sequence: str | None = None


class _MessageDelta(msgspec.Struct):
    delta: _Stop
    usage: RawUsage | None = None


class _Named(msgspec.Struct):
    type: str = ""


_MESSAGE = msgspec.json.Decoder(_Message)
_MESSAGE_START = msgspec.json.Decoder(_MessageStart)
_BLOCK_START = msgspec.json.Decoder(_BlockStart)
_BLOCK_DELTA = msgspec.json.Decoder(_BlockDelta)
_BLOCK_STOP = msgspec.json.Decoder(_BlockStop)
_MESSAGE_DELTA = msgspec.json.Decoder(_MessageDelta)
_ERROR = msgspec.json.Decoder(ErrorBody)
_SOURCES = msgspec.json.Decoder(_Source | list[_Source])
_NAMED = msgspec.json.Decoder(_Named)


class _OpenBlock:
    """A content block that has begun: its type, and for a call its number and JSON so far."""

    __slots__ = ("call", "has_arguments", "is_answer", "type")

    def __init__(self, type_: str) -> None:
        self.type = type_
        self.call = -1
        self.is_answer = False
        self.has_arguments = False


class EventParser:
    """Turns the bytes of one streamed answer into events.

    ``created_at`` is the Unix time given to ``Start`` (Claude sends none). ``answer_tool`` is the
    tool whose arguments are the answer's text (``find_answer_tool``).
    After :meth:`feed`, look at :attr:`failure`: set, the answer is broken and nothing more comes.
    :attr:`early_input` is what the provider said of the input at the start; :attr:`dropped` names
    content that has no counterpart.
    """

    def __init__(self, *, created_at: int = 0, answer_tool: str | None = None) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {}
        self._sse = SseReader(EVENT_BYTES_MAX)
        self._created_at = created_at
        self._answer_tool = answer_tool
        self._blocks: dict[int, _OpenBlock] = {}
        self._calls = 0
        self._usage: RawUsage | None = None
        self._stop: _Stop | None = None
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
            self.failure = _broken(f"the provider sent a broken event: {error}")
        return events

    def finish(self) -> list[Event]:
        """The upstream closed. Raises ``WireError`` unless the provider's own end came before."""
        if self.failure is None and not self._has_ended:
            self.failure = _broken("no message_stop", "the answer was cut off before its end")
        if self.failure is not None:
            raise WireError(self.failure)
        return []

    def read_answer(self, body: bytes) -> list[Event]:
        """The events of a whole answer, on a fresh parser.

        Raises ``WireError``: ``upstream_failed`` if it is none, or the kind of its error object.
        """
        events: list[Event] = []
        try:
            message = _MESSAGE.decode(body)
            if message.type == "error":
                _raise_error(body)
            self._start(message, events)
            for index, block in enumerate(message.content):
                self._open(index, block, events)
                self._close(index, events)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise WireError(_broken(f"the provider sent a broken answer: {error}")) from error
        self._stop = _Stop(message.stop_reason, message.stop_details, message.stop_sequence)
        self._end(events)
        return events

    def _read(self, event: SseEvent, events: list[Event]) -> None:
        data = event.data
        match event.event or _NAMED.decode(data).type:
            case "content_block_delta":
                self._read_delta(_BLOCK_DELTA.decode(data), events)
            case "content_block_start":
                start = _BLOCK_START.decode(data)
                self._open(start.index, start.content_block, events)
            case "content_block_stop":
                self._close(_BLOCK_STOP.decode(data).index, events)
            case "message_start":
                self._start(_MESSAGE_START.decode(data).message, events)
            case "message_delta":
                change = _MESSAGE_DELTA.decode(data)
                if change.usage is not None:
                    self._usage = merge_usage(self._usage, change.usage)
                if change.delta.stop_reason is not None:
                    self._stop = change.delta
            case "message_stop":
                self._end(events)
            case "error":
                _raise_error(data)
            case _:
                pass  # ``ping``, and events that a later version of the API adds.

    def _start(self, message: _Message, events: list[Event]) -> None:
        if self._has_started:
            raise WireError(_broken("a second message_start"))
        self._has_started = True
        if message.usage is not None:
            self._usage = message.usage
            usage = normalise_usage(message.usage)
            if usage is not None:
                self.early_input = msgspec.structs.replace(
                    usage, output_tokens=0, reasoning_tokens=0
                )
        events.append(Start(message.id, message.model, self._created_at, self.early_input))

    def _open(self, index: int, block: _Block, events: list[Event]) -> None:
        if index in self._blocks:
            raise WireError(_broken(f"block {index} started twice"))
        opened = self._blocks[index] = _OpenBlock(block.type)
        match block.type:
            case "text":
                if block.text:
                    events.append(TextDelta(block.text))
                if bytes(block.citations) not in (b"", b"[]", b"null"):
                    self._cite(block.citations, events)
            case "tool_use":
                self._open_call(opened, block, events)
            case "thinking":
                if block.thinking:
                    events.append(ReasoningDelta(block.thinking))
                if block.signature:
                    events.append(ReasoningDelta("", block.signature, ISSUER))
            case "redacted_thinking":
                events.append(ReasoningDelta("", block.data, ISSUER, is_redacted=True))
            case other:
                self.dropped[f"content.{other}"] = None

    def _cite(self, raw: msgspec.Raw, events: list[Event]) -> None:
        """Sources on the web, one or a list; what stands in the prompt's own documents has no counterpart."""
        try:
            sources = _SOURCES.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            sources = _Source()
        for source in sources if isinstance(sources, list) else (sources,):
            if source.type == "web_search_result_location" and source.url:
                events.append(Citation(source.url, source.title or ""))
            else:
                self.dropped["citations"] = None

    def _open_call(self, opened: _OpenBlock, block: _Block, events: list[Event]) -> None:
        opened.is_answer = block.name == self._answer_tool
        if not opened.is_answer:
            opened.call = self._calls
            self._calls += 1
            events.append(CallStart(opened.call, block.id, block.name))
        arguments = bytes(block.input)
        if arguments not in (b"", b"{}", b"null"):
            self._add_arguments(opened, arguments.decode(), events)

    def _add_arguments(self, opened: _OpenBlock, text: str, events: list[Event]) -> None:
        opened.has_arguments = True
        if opened.is_answer:
            events.append(TextDelta(text))
        else:
            events.append(CallDelta(opened.call, text))

    def _read_delta(self, change: _BlockDelta, events: list[Event]) -> None:
        opened = self._blocks.get(change.index)
        if opened is None:
            raise WireError(_broken(f"a delta for block {change.index}, which is not open"))
        delta = change.delta
        match delta.type:
            case "text_delta":
                if delta.text:
                    events.append(TextDelta(delta.text))
            case "input_json_delta":
                if delta.partial_json and opened.type == "tool_use":
                    self._add_arguments(opened, delta.partial_json, events)
            case "thinking_delta":
                if delta.thinking:
                    events.append(ReasoningDelta(delta.thinking))
            case "signature_delta":
                if delta.signature:
                    events.append(ReasoningDelta("", delta.signature, ISSUER))
            case "citations_delta":
                self._cite(delta.citation, events)
            case other:
                self.dropped[f"content.{other}"] = None

    def _close(self, index: int, events: list[Event]) -> None:
        opened = self._blocks.pop(index, None)
        if opened is None:
            raise WireError(_broken(f"block {index} stopped, which is not open"))
        if opened.type == "tool_use" and not opened.has_arguments:
            self._add_arguments(opened, "{}", events)

    def _end(self, events: list[Event]) -> None:
        if not self._has_started or self._stop is None or self._stop.stop_reason is None:
            raise WireError(_broken("message_stop without a stop reason"))
        if self._blocks:
            raise WireError(_broken("message_stop inside a block"))
        self._has_ended = True
        raw, details = self._stop.stop_reason, self._stop.stop_details
        reason = FINISH_REASONS.get(raw, "error")
        if reason == "tool_call" and not self._calls and self._answer_tool is not None:
            reason = "stop"  # The only call was the answer itself.
        if reason == "refusal" and details is not None and details.explanation:
            events.append(RefusalDelta(details.explanation))
        events.append(Finish(reason, raw, 0, self._stop.stop_sequence))
        events.append(End(None if self._usage is None else normalise_usage(self._usage)))


def _raise_error(data: bytes | str) -> NoReturn:
    error = _ERROR.decode(data).error
    failure = describe_error(error.type, error.message, status=200)
    raise WireError(msgspec.structs.replace(failure, may_have_spent=True))


def _broken(detail: str, message: str = "the provider's answer was broken") -> Failure:
    return Failure("upstream_failed", message, detail=detail, may_have_spent=True)
