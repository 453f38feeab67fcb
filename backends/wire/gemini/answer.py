"""Gemini's answers, streamed or plain -> events.

Promises: the same events wherever the stream is cut into chunks; ``Finish`` and ``End`` only when
the stream closed in order after every candidate's ``finishReason`` (Gemini has no end marker and
counts usage anew in every chunk); the raw reason is kept; nothing is dropped in silence
(:attr:`EventParser.dropped`). A stream that breaks sets :attr:`EventParser.failure`; the events
before it are still given. Does not render: :mod:`backends.wire.relay`.
"""

from typing import Annotated

import msgspec

from backends.wire.events import (
    CallDelta,
    CallStart,
    Citation,
    End,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    Start,
    TextDelta,
    put_behind_text,
)
from backends.wire.failure import Failure, WireError
from backends.wire.gemini.errors import ErrorStatus, describe_error
from backends.wire.gemini.grounding import read_citations, read_grounding
from backends.wire.gemini.logprobs import read_result
from backends.wire.gemini.signed import ISSUER
from backends.wire.sse import SseReader
from backends.wire.usage import Usage

EVENT_BYTES_MAX = 16 * 1024 * 1024
"""One event of a stream is never longer; a whole tool argument comes in one."""
CANDIDATES_MAX = 1024
"""Only bounded: Google gives eight at most."""

FINISH_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "pause",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
}
"""Google's finish reasons (google-genai 3.4.0, ``FinishReason``); any other is an ``error``: among
them OTHER, MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL and MISSING_THOUGHT_SIGNATURE."""


_ABSENT = msgspec.Raw()
_REASON_BY_NUMBER = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}
"""The same reasons as some Vertex paths send them: numbers of the protocol buffer enum."""


class _Call(msgspec.Struct):
    name: str = ""
    id: str | None = None
    args: msgspec.Raw = _ABSENT


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: _Call | None = None
    inline_data: msgspec.Raw = _ABSENT
    file_data: msgspec.Raw = _ABSENT
    executable_code: msgspec.Raw = _ABSENT
    code_execution_result: msgspec.Raw = _ABSENT
    tool_call: msgspec.Raw = _ABSENT
    tool_response: msgspec.Raw = _ABSENT


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | int | None = None
    index: Annotated[int, msgspec.Meta(ge=0, lt=CANDIDATES_MAX)] = 0
    logprobs_result: msgspec.Raw = _ABSENT
    grounding_metadata: msgspec.Raw = _ABSENT
    citation_metadata: msgspec.Raw = _ABSENT


class _RawUsage(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: _RawUsage | None = None
    model_version: str = ""
    response_id: str = ""
    prompt_feedback: _Feedback | None = None
    error: ErrorStatus | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_CHUNKS = msgspec.json.Decoder(list[_Chunk])
_NOTHING = frozenset({b"", b"{}", b"null"})
_WITHOUT_COUNTERPART = (
    ("inline_data", "content.inlineData"),
    ("file_data", "content.fileData"),
    ("executable_code", "content.executableCode"),
    ("code_execution_result", "content.codeExecutionResult"),
    ("tool_call", "content.toolCall"),
    ("tool_response", "content.toolResponse"),
)


def parse_usage(raw: bytes) -> Usage | None:
    """The usage in a ``usageMetadata`` object. Raises ``msgspec.DecodeError``."""
    return normalise_usage(msgspec.json.decode(raw, type=_RawUsage))


def normalise_usage(raw: _RawUsage) -> Usage | None:
    """Token counts with tool results inside the input and thoughts inside the output.

    Gemini counts thoughts beside ``candidatesTokenCount`` and results of its own tools beside
    ``promptTokenCount``; cached content is inside the prompt's count. None if the prompt's count is
    missing (seen in recordings) or more than can be: what is not counted must be bounded, not booked as
    nothing.
    """
    if raw.prompt_token_count is None:
        return None
    reasoning = max(0, raw.thoughts_token_count or 0)
    total = max(0, raw.prompt_token_count) + max(0, raw.tool_use_prompt_token_count or 0)
    return Usage(
        input_tokens=total,
        output_tokens=max(0, raw.candidates_token_count or 0) + reasoning,
        cache_read_tokens=min(max(0, raw.cached_content_token_count or 0), total),
        reasoning_tokens=reasoning,
    ).believed()


class EventParser:
    """Turns the bytes of one streamed answer into events.

    ``created_at`` is the Unix time given to ``Start``. After :meth:`feed`, look at :attr:`failure`:
    set, the answer is broken and nothing more comes. :attr:`early_input` is what the provider said
    of the input so far; :attr:`dropped` names content that has no counterpart. ``reads_sources``: what the
    text rests on is of interest too, for which the text is kept until the end.
    """

    def __init__(self, *, created_at: int = 0, reads_sources: bool = True) -> None:
        self.failure: Failure | None = None
        self.early_input: Usage | None = None
        self.dropped: dict[str, None] = {}
        self._sse = SseReader(EVENT_BYTES_MAX)
        self._created_at = created_at
        self._response_id = ""
        self._calls: dict[int, int] = {}
        self._cited: set[tuple[object, ...]] = set()
        self._texts: list[TextDelta] | None = [] if reads_sources else None
        self._finishes: dict[int, str | None] = {}
        self._blocked: str | None = None
        self._usage: _RawUsage | None = None
        self._has_started = False
        self._has_ended = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that ``chunk`` completes; none after the end or a failure."""
        events: list[Event] = []
        if self._has_ended or self.failure is not None:
            return events
        try:
            for event in self._sse.feed(chunk):
                self._read(_CHUNK.decode(event.data), events)
            self._read_stray()
        except WireError as error:
            self.failure = error.failure
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self.failure = _broken(f"the provider sent a broken event: {error}")
        return events

    def finish(self) -> list[Event]:
        """The upstream closed: the finishes and the end.

        Raises ``WireError`` unless every candidate came with its ``finishReason``.
        """
        if self._has_ended:
            return []
        if self.failure is None and not self._is_complete():
            self.failure = _broken("no finishReason", "the answer was cut off before its end")
        if self.failure is not None:
            raise WireError(self.failure)
        self._has_ended = True
        events: list[Event] = []
        if self._blocked is not None and not self._finishes:
            events.append(Finish("content_filter", self._blocked))
        for choice, raw in self._finishes.items():
            reason = FINISH_REASONS.get(raw or "", "error")
            if reason == "stop" and self._calls.get(choice):
                reason = "tool_call"  # Gemini says STOP for calls too.
            events.append(Finish(reason, raw or "", choice))
        events.append(End(None if self._usage is None else normalise_usage(self._usage)))
        return events

    def read_answer(self, body: bytes) -> list[Event]:
        """The events of a whole answer, on a fresh parser; an array of chunks is read as one.

        Raises ``WireError``: ``upstream_failed`` if it is none, or the kind of its error object.
        """
        events: list[Event] = []
        try:
            is_array = body.lstrip()[:1] == b"["
            for chunk in _CHUNKS.decode(body) if is_array else (_CHUNK.decode(body),):
                self._read(chunk, events)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise WireError(_broken(f"the provider sent a broken answer: {error}")) from error
        return events + self.finish()

    def _read_stray(self) -> None:
        """Google ends a stream that broke with JSON on lines of its own, as its SDKs have it (google-genai 3.4.0,
        ``_iter_response_stream``). Raises ``WireError`` if that is what came."""
        stray = self._sse.stray
        if not stray.startswith(b"{") or not stray.rstrip().endswith(b"}"):
            return
        try:
            error = _CHUNK.decode(stray).error
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return  # Not whole yet, or something else.
        if error is not None:
            self._read(_Chunk(error=error), [])

    def _is_complete(self) -> bool:
        if not self._finishes:
            return self._blocked is not None
        return all(raw is not None for raw in self._finishes.values())

    def _read(self, chunk: _Chunk, events: list[Event]) -> None:
        if chunk.error is not None:
            failure = describe_error(chunk.error, status=chunk.error.code or 200)
            raise WireError(msgspec.structs.replace(failure, may_have_spent=True))
        if chunk.usage_metadata is not None:
            self._usage = chunk.usage_metadata
            if self.early_input is None:
                usage = normalise_usage(self._usage)
                if usage is not None:
                    self.early_input = msgspec.structs.replace(
                        usage, output_tokens=0, reasoning_tokens=0
                    )
        if not self._has_started:
            self._has_started = True
            self._response_id = chunk.response_id
            events.append(
                Start(chunk.response_id, chunk.model_version, self._created_at, self.early_input)
            )
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            self._blocked = chunk.prompt_feedback.block_reason
        for candidate in chunk.candidates or ():
            self._read_candidate(candidate, events)

    def _read_candidate(self, candidate: _Candidate, events: list[Event]) -> None:
        choice = candidate.index
        reason = candidate.finish_reason
        if isinstance(reason, int):
            reason = _REASON_BY_NUMBER.get(reason, str(reason))
        if reason is not None:
            self._finishes[choice] = reason
        else:
            self._finishes.setdefault(choice, None)
        begin = len(events)
        if candidate.content is not None:
            for part in candidate.content.parts:
                self._read_part(part, choice, events)
        logprobs, grounding = candidate.logprobs_result, candidate.grounding_metadata
        citations = candidate.citation_metadata
        if not (logprobs is grounding is citations is _ABSENT) and self._texts is not None:
            put_behind_text(events, begin, self._read_beside(candidate, self._texts))

    def _read_beside(self, candidate: _Candidate, texts: list[TextDelta]) -> list[Event]:
        """Of the text so far: the log probabilities of its tokens, and what it rests on."""
        found: list[Event] = []
        choice = candidate.index
        if bytes(candidate.logprobs_result) not in _NOTHING:
            tokens = read_result(candidate.logprobs_result, self.dropped)
            if tokens and texts:
                found.append(LogprobsDelta(tokens, choice))
            elif tokens:
                self.dropped["logprobsResult"] = None  # Of a call, or of thinking.
        grounding, citations = candidate.grounding_metadata, candidate.citation_metadata
        if bytes(grounding) in _NOTHING and bytes(citations) in _NOTHING:
            return found
        text = "".join(one.text for one in texts if one.choice == choice)
        if bytes(grounding) not in _NOTHING:
            found += read_grounding(grounding, text, choice, self.dropped)
        if bytes(citations) not in _NOTHING:
            found += read_citations(citations, text, choice, self.dropped)
        fresh: list[Event] = []
        for one in found:
            if isinstance(one, Citation):
                said = (one.url, one.title, one.start, one.end, choice)
                if said in self._cited:
                    continue  # Said with an earlier chunk already.
                self._cited.add(said)
            fresh.append(one)
        return fresh

    def _read_part(self, part: _Part, choice: int, events: list[Event]) -> None:
        signature = part.thought_signature
        if part.function_call is not None:
            self._read_call(part.function_call, signature, choice, events)
        elif part.text is not None:
            if part.thought:
                issuer = None if signature is None else ISSUER
                if part.text or signature:
                    events.append(ReasoningDelta(part.text, signature, issuer, choice=choice))
                return
            if part.text:
                delta = TextDelta(part.text, choice)
                events.append(delta)
                if self._texts is not None:
                    self._texts.append(delta)
            if signature:
                events.append(ReasoningDelta("", signature, ISSUER, choice=choice))
        else:
            for member, name in _WITHOUT_COUNTERPART:
                if bytes(getattr(part, member)):
                    self.dropped[name] = None
                    return
            if signature:
                events.append(ReasoningDelta("", signature, ISSUER, choice=choice))

    def _read_call(
        self, call: _Call, signature: str | None, choice: int, events: list[Event]
    ) -> None:
        index = self._calls.get(choice, 0)
        self._calls[choice] = index + 1
        # Older models give no id. The answer's own id makes ours unique over a conversation.
        call_id = call.id or f"call_{self._response_id}_{choice}_{index}"
        issuer = None if signature is None else ISSUER
        events.append(CallStart(index, call_id, call.name, signature, choice, issuer))
        arguments = bytes(call.args)
        text = "{}" if arguments in _NOTHING else arguments.decode()
        events.append(CallDelta(index, text, choice))


def _broken(detail: str, message: str = "the provider's answer was broken") -> Failure:
    return Failure("upstream_failed", message, detail=detail, may_have_spent=True)
