"""Answers in OpenAI's format on their way through: relayed as they came, read on the way.

Promises: the bytes of every event that is passed on are the host's own; usage that the client did not
ask for is held back; ``[DONE]`` is never made up: a stream that ends without the host's own end ends in
an error event. Only what is needed is read of an event.
"""

import re

import msgspec

from backends.adapter import Answer, Outcome
from backends.wire.events import FinishReason
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat.errors import ErrorBody, describe_stream_error, render_error_event
from backends.wire.openai_chat.usage import RawUsage, normalise_usage
from backends.wire.prompt import Prompt

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

_BORDER = re.compile(rb"\r?\n\r?\n")
_NULL_USAGE = b',"usage":null'


class _Delta(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw()
    reasoning_content: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    tool_calls: msgspec.Raw = msgspec.Raw()


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
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


class _Whole(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: RawUsage | None = None
    error: ErrorBody | str | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_WHOLE = msgspec.json.Decoder(_Whole)


class ChatPassRelay:
    """One streamed answer; see :class:`backends.adapter.StreamRelay`."""

    def __init__(self, prompt: Prompt) -> None:
        self.outcome = Outcome()
        self._hides_usage = not prompt.wants_usage
        self._rest = b""
        self._is_over = False

    def feed(self, chunk: bytes) -> bytes:
        """See :class:`backends.adapter.StreamRelay`."""
        if self._is_over:
            return b""
        data = self._rest + chunk if self._rest else chunk
        passed: list[bytes] = []
        at = 0
        try:
            for border in _BORDER.finditer(data):
                event = data[at : border.end()]
                at = border.end()
                out = self._event(event)
                if out:
                    passed.append(out)
                if self._is_over:
                    break
        except WireError as error:
            passed.append(self.fail(error.failure))
            return b"".join(passed)
        self._rest = data[at:]
        if len(self._rest) > EVENT_BYTES_MAX:
            passed.append(self.fail(_broken(f"an event of more than {EVENT_BYTES_MAX} bytes")))
        return b"".join(passed)

    def finish(self) -> bytes:
        """See :class:`backends.adapter.StreamRelay`."""
        if not self._is_over and self._rest.strip():
            # Some hosts end with a single line end after ``[DONE]``.
            out = self.feed(b"\n\n")
            if self._is_over:
                return out
        if self._is_over:
            return b""
        return self.fail(
            Failure(
                "upstream_failed",
                "the answer was cut off before its end",
                detail="no [DONE]",
                may_have_spent=True,
            )
        )

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.adapter.StreamRelay`."""
        self._is_over = True
        self.outcome.is_complete = False
        self.outcome.failure = failure
        return render_error_event(failure)

    def _event(self, event: bytes) -> bytes:
        """One whole event: what of it goes to the client."""
        payload = _payload(event)
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
        if chunk.error is not None:
            raise WireError(describe_stream_error(chunk.error))
        return self._read(chunk, event)

    def _read(self, chunk: _Chunk, event: bytes) -> bytes:
        outcome = self.outcome
        if outcome.response_id is None:
            outcome.response_id = chunk.id
        if chunk.model:
            outcome.response_model = chunk.model
        for choice in chunk.choices or ():
            if choice.delta is not None:
                outcome.output_bytes += _visible_bytes(choice.delta)
            if choice.finish_reason:
                outcome.raw_finish_reason = choice.finish_reason
                outcome.finish_reason = FINISH_REASONS.get(choice.finish_reason, "error")
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq is not None else None)
        if usage is not None:
            outcome.usage = normalise_usage(usage) or outcome.usage
        if not self._hides_usage:
            return event
        if chunk.usage is not None and not chunk.choices:
            return b""
        # In a JSON text these bytes stand outside of strings only: inside, quotes are escaped.
        return event.replace(_NULL_USAGE, b"") if _NULL_USAGE in event else event


def _payload(event: bytes) -> bytes | None:
    """The data of an event, None for comments and empty ones."""
    if event.startswith(b"data: ") and event.find(b"\n") >= len(event) - 2:
        return event[6:].strip()
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(data).strip() if data else None


def _visible_bytes(delta: _Delta) -> int:
    """Bytes of JSON that the delta's texts take: never fewer than their UTF-8 is long in the worst case
    of escapes, so an upper bound of the tokens in them."""
    total = 0
    for raw in (delta.content, delta.reasoning_content, delta.reasoning, delta.tool_calls):
        length = len(memoryview(raw))
        if length > 2:
            total += length
    return total


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
