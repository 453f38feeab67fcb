"""Answers in OpenAI's format on their way through: relayed as they came, read on the way.

Promises: the bytes of every event that is passed on are the host's own; usage that the client did not
ask for is held back; ``[DONE]`` is never made up: a stream that ends without the host's own end ends in
an error event. Every event is read as JSON, so that a broken one never passes; events that differ in
their delta only, which are nearly all, are recognised by what stands around it. The same bytes come out
wherever the upstream's are cut.
"""

import re

import msgspec

from backends.wire.events import FinishReason
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat.errors import ErrorBody, describe_stream_error, render_error_event
from backends.wire.openai_chat.usage import RawUsage, normalise_usage
from backends.wire.outcome import Answer, Outcome
from backends.wire.prompt import Prompt
from backends.wire.sse import BOM, SseSplitter

EVENT_BYTES_MAX = 16 * 1024 * 1024

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "content_filter": "content_filter",
    "error": "error",
    "eos": "stop",
    "end_turn": "stop",
    "model_length": "length",
    "max_tokens": "length",
    "abort": "error",
}
"""OpenAI's reasons and those of compatible hosts (Mistral ``model_length``, Together ``eos``, SGLang
``abort``); any other is an ``error``."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_NULL_USAGE = b',"usage":null'
_NOTHING_LIKE_IT = b"\n"
_PADDING = b'"obfuscation":"'
_ENVELOPE_BYTES = len(b'{"content":""}')


class _Choice(msgspec.Struct):
    index: int = 0
    delta: msgspec.Raw = msgspec.Raw()
    finish_reason: str | None = None


class _Groq(msgspec.Struct):
    usage: RawUsage | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: RawUsage | None = None
    error: ErrorBody | str | None = None
    x_groq: _Groq | None = None


class _WholeChoice(msgspec.Struct):
    finish_reason: str | None = None


class _Whole(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_WholeChoice] | None = None
    usage: RawUsage | None = None
    error: ErrorBody | str | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_WHOLE = msgspec.json.Decoder(_Whole)
_RAW = msgspec.json.Decoder(msgspec.Raw)


class ChatPassRelay:
    """One streamed answer; see :class:`backends.wire.outcome.StreamRelay`."""

    def __init__(self, prompt: Prompt) -> None:
        self.outcome = Outcome()
        self._hides_usage = not prompt.wants_usage
        self._choices = prompt.choices
        self._splitter = SseSplitter(EVENT_BYTES_MAX)
        self._is_over = False
        self._is_first = True
        self._finished: set[int] = set()
        self._head = _NOTHING_LIKE_IT
        self._tail = _NOTHING_LIKE_IT
        self._shown_tail: bytes | None = None
        self._is_padded = False

    def feed(self, chunk: bytes) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        if self._is_over:
            return b""
        if not self._splitter.rest and (out := self._ordinary(chunk)):
            return out
        return self._pass(self._splitter.feed(chunk))

    def finish(self) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        out = b""
        if not self._is_over:
            # Some hosts end with a single line end, or none, after ``[DONE]``.
            out = self._pass(self._splitter.finish())
        if self._is_over:
            return out
        if len(self._finished) >= self._choices:
            # Perplexity and Hugging Face close after the last finish reason, without ``[DONE]``.
            self._is_over = True
            self.outcome.is_complete = True
            return out
        return out + self.fail(
            Failure(
                "upstream_failed",
                "the answer was cut off before its end",
                detail="no [DONE]",
                may_have_spent=True,
            )
        )

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        self._is_over = True
        self.outcome.is_complete = False
        self.outcome.failure = failure
        return render_error_event(failure)

    def _pass(self, events: list[bytes]) -> bytes:
        passed: list[bytes] = []
        try:
            for event in events:
                out = self._ordinary(event) or self._event(event)
                if out:
                    passed.append(out)
                if self._is_over:
                    break
        except WireError as error:
            passed.append(self.fail(error.failure))
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def _ordinary(self, event: bytes) -> bytes:
        """What goes to the client of a known event with another delta; nothing for any other event.

        Head and tail were taken from an event that was read in full: together with a delta that is one
        JSON object they are sound again and say the same but for the delta.
        """
        if not event.startswith(self._head):
            return b""
        end = len(event) - len(self._tail)
        if self._is_padded:
            end = event.find(self._tail, len(self._head) - 1)
            padding = end + len(self._tail)
            if end < 0 or event.find(b'"', padding) != len(event) - 4 or event[-4:] != b'"}\n\n':
                return b""
            if b"\\" in event[padding:]:
                return b""
        elif not event.endswith(self._tail):
            return b""
        delta = event[len(self._head) - 1 : end + 1]
        if b"\n" in delta or b"\r" in delta:  # Two events, or half of one.
            return b""
        try:
            _RAW.decode(delta)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return b""
        self.outcome.output_bytes += max(0, len(delta) - _ENVELOPE_BYTES)
        if self._shown_tail is None:
            return event
        return event[:end] + self._shown_tail + event[end + len(self._tail) :]

    def _event(self, event: bytes) -> bytes:
        """One whole event: what of it goes to the client. Raises ``WireError`` for an error in it."""
        name, payload = _payload(event.removeprefix(BOM) if self._is_first else event)
        self._is_first = False
        if payload is None:
            return event
        if payload == b"[DONE]":
            self._is_over = True
            self.outcome.is_complete = True
            return event
        try:
            chunk = _CHUNK.decode(payload)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise WireError(_broken(f"an event that cannot be read: {error}")) from error
        self._read(chunk)
        if chunk.error is not None:
            raise WireError(describe_stream_error(chunk.error))
        if name == b"error":
            raise WireError(describe_stream_error(ErrorBody()))
        if self._hides_usage and chunk.usage is not None and not chunk.choices:
            return b""
        self._learn(chunk, event)
        # In a JSON text these bytes stand outside of strings only: inside, quotes are escaped.
        return event.replace(_NULL_USAGE, b"") if self._hides_usage else event

    def _read(self, chunk: _Chunk) -> None:
        outcome = self.outcome
        if outcome.response_id is None:
            outcome.response_id = chunk.id
        if chunk.model:
            outcome.response_model = chunk.model
        for choice in chunk.choices or ():
            outcome.output_bytes += max(0, len(memoryview(choice.delta)) - _ENVELOPE_BYTES)
            if choice.finish_reason:
                self._finished.add(choice.index)
                outcome.raw_finish_reason = choice.finish_reason
                outcome.finish_reason = FINISH_REASONS.get(choice.finish_reason, "error")
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq is not None else None)
        if usage is not None:
            outcome.usage = normalise_usage(usage) or outcome.usage

    def _learn(self, chunk: _Chunk, event: bytes) -> None:
        """Keep what stands around the delta of an event, to know the next ones by."""
        choices = chunk.choices
        if choices is None or len(choices) != 1:
            return
        delta = bytes(choices[0].delta)
        is_plain = event.startswith(b"data: {") and event.find(b"\n") == len(event) - 2
        if not (is_plain and delta.startswith(b"{") and event.count(b'"delta"') == 1):
            return
        begin = event.find(delta, event.find(b'"delta"'))
        tail = event[begin + len(delta) - 1 :]
        padding = tail.find(_PADDING)
        self._is_padded = padding >= 0 and tail.find(b'"', padding + len(_PADDING)) == len(tail) - 4
        self._head = event[: begin + 1]
        self._tail = tail[: padding + len(_PADDING)] if self._is_padded else tail
        self._shown_tail = None
        if self._hides_usage and _NULL_USAGE in event:
            self._shown_tail = self._tail.replace(_NULL_USAGE, b"")
            if _NULL_USAGE in self._head:
                self._head = _NOTHING_LIKE_IT


def _payload(event: bytes) -> tuple[bytes, bytes | None]:
    """The name and the data of an event; no data in comments and empty ones."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return b"", event[6:].strip()
    name, data = b"", list[bytes]()
    for line in _LINE_END.split(event):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.strip()
    return name, b"\n".join(data).strip() if data else None


def _broken(what: str) -> Failure:
    return Failure(
        "upstream_failed", "the provider's answer is broken", detail=what, may_have_spent=True
    )


def read_answer(prompt: Prompt, body: bytes) -> Answer:
    """A plain answer, its bytes untouched. Raises ``WireError`` if it is none."""
    del prompt
    try:
        said = _WHOLE.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WireError(_broken(f"an answer that cannot be read: {error}")) from error
    if said.error is not None:
        raise WireError(describe_stream_error(said.error))
    if not said.choices:
        raise WireError(_broken("an answer without choices"))
    raw = next((choice.finish_reason for choice in said.choices if choice.finish_reason), None)
    outcome = Outcome(
        is_complete=True,
        usage=None if said.usage is None else normalise_usage(said.usage),
        finish_reason=None if raw is None else FINISH_REASONS.get(raw, "error"),
        raw_finish_reason=raw,
        response_model=said.model,
        response_id=said.id,
        output_bytes=len(body),
    )
    return Answer(body, outcome)
