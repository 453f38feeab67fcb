"""Answers of OpenAI's format and its relatives, streamed or plain -> events.

Promises: the same events wherever the stream is cut; ``Finish`` and ``End`` only after the host's own end, once
each, however many finish chunks there are; a call is a call whatever the finish reason says; what has no
counterpart is named in :attr:`EventParser.dropped`. Does not render: :mod:`backends.wire.relay`.
"""

import msgspec

from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    put_behind_text,
)
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat.citations import read_annotations, read_sources
from backends.wire.openai_chat.errors import ErrorBody, describe_stream_error
from backends.wire.openai_chat.logprobs import read_choice
from backends.wire.openai_chat.passing import EVENT_BYTES_MAX, FINISH_REASONS
from backends.wire.openai_chat.usage import RawUsage, normalise_usage
from backends.wire.sse import SseReader
from backends.wire.usage import Usage

_ABSENT = msgspec.Raw()
_EMPTY = frozenset({b"", b"null", b"[]", b"{}"})


class _Google(msgspec.Struct):
    thought_signature: str | None = None


class _Extra(msgspec.Struct):
    google: _Google | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, object] | None = None


class _Call(msgspec.Struct):
    type: str | None = None
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: _Extra | None = None


class _Piece(msgspec.Struct):
    type: str = "text"
    text: str | None = None
    thinking: "list[_Piece] | str | None" = None


class _Detail(msgspec.Struct):
    type: str = ""
    text: str | None = None
    summary: str | None = None
    signature: str | None = None
    data: str | None = None


class _Said(msgspec.Struct):
    content: str | list[_Piece] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[_Detail] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    annotations: msgspec.Raw = _ABSENT
    audio: msgspec.Raw = _ABSENT
    function_call: msgspec.Raw = _ABSENT


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = _ABSENT


class _Groq(msgspec.Struct):
    usage: RawUsage | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: RawUsage | None = None
    error: ErrorBody | str | None = None
    x_groq: _Groq | None = None
    search_results: msgspec.Raw = _ABSENT
    citations: msgspec.Raw = _ABSENT


_CHUNK = msgspec.json.Decoder(_Chunk)


class _OpenCall:
    """A call whose id and name may still grow; it is given once its arguments begin."""

    __slots__ = ("id", "index", "is_given", "name", "signature")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.signature: str | None = None
        self.is_given = False


class _State:
    """One choice on its way."""

    __slots__ = ("by_index", "finish", "has_refusal", "has_thought", "last", "total")

    def __init__(self) -> None:
        self.by_index: dict[int, _OpenCall] = {}
        self.last: _OpenCall | None = None
        self.total = 0
        self.finish: str | None = None
        self.has_refusal = False
        self.has_thought = False
        """Whether thinking came as plain text: its details repeat it then."""


class EventParser:
    """Turns one answer into events. ``choices``: how many were asked for; ``created_at`` where a host sends no
    time. After :meth:`feed`, look at :attr:`failure`: set, the answer is broken and nothing more comes."""

    def __init__(self, *, created_at: int = 0, choices: int = 1) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {}
        self._sse = SseReader(EVENT_BYTES_MAX)
        self._created_at = created_at
        self._choices = choices
        self._id = ""
        self._states: dict[int, _State] = {}
        self._usage: Usage | None = None
        self._sources = (_ABSENT, _ABSENT)
        """Perplexity's, which it repeats with every piece."""
        self._has_cited = False
        self._has_started = False
        self._has_ended = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that ``chunk`` completes; none after the end or a failure."""
        events: list[Event] = []
        if self._has_ended or self.failure is not None:
            return events
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
        """The upstream closed: the end, if every choice was finished (Perplexity and Hugging Face send no
        ``[DONE]``). Raises ``WireError`` if the answer was cut."""
        events: list[Event] = []
        # Some hosts end with a single line end, or none, after their last event.
        events += self.feed(b"\n\n")
        if self.failure is None and not self._has_ended:
            done = sum(state.finish is not None for state in self._states.values())
            if done >= self._choices:
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
        self._read(said, events, is_whole=True)
        if not said.choices:
            raise WireError(_broken("an answer without choices"))
        self._end(events)
        return events

    def _read(self, chunk: _Chunk, events: list[Event], *, is_whole: bool = False) -> None:
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq is not None else None)
        if usage is not None:
            self._usage = normalise_usage(usage) or self._usage
        if chunk.error is not None:
            raise WireError(describe_stream_error(chunk.error))
        if chunk.search_results is not _ABSENT or chunk.citations is not _ABSENT:
            self._sources = (chunk.search_results, chunk.citations)
        if not chunk.choices:
            return
        if not self._has_started:
            self._has_started = True
            created = int(chunk.created or 0)
            if not 0 < created < 2**53:
                created = self._created_at
            self._id = chunk.id or ""
            events.append(Start(self._id, chunk.model or "", created))
        for choice in chunk.choices:
            if choice.index >= self._choices:
                self.dropped["choices"] = None  # Nobody asked for it.
            else:
                self._read_choice(choice, events, is_whole=is_whole)

    def _read_choice(self, choice: _Choice, events: list[Event], *, is_whole: bool) -> None:
        state = self._states.get(choice.index)
        if state is None:
            state = self._states[choice.index] = _State()
        begin = len(events)
        # Perplexity sends both: in a stream the message is all that came so far.
        said = choice.message if is_whole else choice.delta
        if said is not None:
            self._say(choice.index, state, said, events)
        if choice.logprobs is not _ABSENT:
            tokens = read_choice(choice.logprobs, self.dropped)
            if tokens:
                put_behind_text(events, begin, [LogprobsDelta(tokens, choice.index)])
        if choice.finish_reason:
            state.finish = choice.finish_reason

    def _say(self, at: int, state: _State, said: _Said, events: list[Event]) -> None:
        thought = said.reasoning_content or said.reasoning
        if thought:
            state.has_thought = True
            events.append(ReasoningDelta(thought, choice=at))
        if said.reasoning_details:
            details = said.reasoning_details
            self._read_details(at, details, events, wants_text=not state.has_thought)
        content = said.content
        if content:
            if isinstance(content, str):
                events.append(TextDelta(content, at))
            else:
                self._read_pieces(at, content, events)
        if said.annotations is not _ABSENT:
            citations = read_annotations(said.annotations, self.dropped, at)
            self._has_cited = self._has_cited or bool(citations)
            events += citations
        if said.refusal:
            state.has_refusal = True
            events.append(RefusalDelta(said.refusal, at))
        for call in said.tool_calls or ():
            self._read_call(at, state, call, events)
        if said.audio is not _ABSENT and bytes(said.audio) not in _EMPTY:
            self.dropped["audio"] = None
        if said.function_call is not _ABSENT and bytes(said.function_call) not in _EMPTY:
            self.dropped["function_call"] = None

    def _read_details(
        self, at: int, details: list[_Detail], events: list[Event], *, wants_text: bool
    ) -> None:
        for detail in details:
            text = detail.text or detail.summary
            if wants_text and text:
                events.append(ReasoningDelta(text, choice=at))
            if detail.signature or detail.data:
                # Whose it is does not say: a reseller signs for whichever host it asked.
                self.dropped["reasoning.signature"] = None

    def _read_pieces(self, at: int, pieces: list[_Piece], events: list[Event]) -> None:
        for piece in pieces:
            if piece.type == "text":
                if piece.text:
                    events.append(TextDelta(piece.text, at))
            elif piece.type == "thinking":
                thinking = piece.thinking or ""
                if not isinstance(thinking, str):
                    thinking = "".join(inner.text or "" for inner in thinking)
                if thinking:
                    events.append(ReasoningDelta(thinking, choice=at))
            else:
                self.dropped[f"content.{piece.type}"] = None

    def _read_call(self, at: int, state: _State, said: _Call, events: list[Event]) -> None:
        if (
            said.type == "custom"
        ):  # Only an own kind of tool is called so, which no prompt here declares.
            self.dropped["tool_calls.custom"] = None
            return
        call = state.last if said.index is None else state.by_index.get(said.index)
        # Some hosts number every call 0, or none.
        if call is None or (call.is_given and said.id and said.id != call.id):
            call = state.last = _OpenCall(state.total)
            state.total += 1
        state.last = call
        state.by_index[call.index if said.index is None else said.index] = call
        function = said.function or _Function()
        if not call.is_given:
            if said.id and said.id != call.id:
                call.id += said.id
            if function.name and function.name != call.name:
                call.name += function.name
        if said.extra_content is not None and said.extra_content.google is not None:
            call.signature = said.extra_content.google.thought_signature
        arguments = function.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if arguments:
            self._give(at, call, events)
            events.append(CallDelta(call.index, arguments, at))

    def _give(self, at: int, call: _OpenCall, events: list[Event]) -> None:
        if call.is_given:
            return
        call.is_given = True
        # The answer's own id makes it unique over a conversation.
        call.id = call.id or f"call_{self._id}_{at}_{call.index}"
        issuer = "gemini" if call.signature else None
        events.append(CallStart(call.index, call.id, call.name, call.signature, at, issuer))

    def _end(self, events: list[Event]) -> None:
        if not self._states or any(state.finish is None for state in self._states.values()):
            raise WireError(_broken("an end without a finish reason"))
        if not self._has_cited:
            events += read_sources(*self._sources)
        for at, state in self._states.items():
            for call in state.by_index.values():
                self._give(at, call, events)
            raw = state.finish or ""
            reason = FINISH_REASONS.get(raw, "error")
            if reason == "stop" and state.total:
                # So say OpenAI and others when a named function was demanded.
                reason = "tool_call"
            elif reason == "stop" and state.has_refusal:
                reason = "refusal"
            events.append(Finish(reason, raw, at))
        self._has_ended = True
        events.append(End(self._usage))


def _broken(detail: str, message: str = "the provider's answer is broken") -> Failure:
    return Failure("upstream_failed", message, detail=detail, may_have_spent=True)
