"""Events → Anthropic's Messages: events of a stream as they come, or the fold of them all.

Promises: content blocks open and close once and never overlap, whatever order the target's pieces came in;
``message_stop`` only after the provider's own end; counts by Anthropic's rules (cached input beside
``input_tokens``); signatures of others travel wrapped; what has no place is named in ``dropped``: so are sources on
the web, which the format ties to Anthropic's own search by an index that only Anthropic can make, and wants back.
"""

from typing import assert_never

import orjson

from backends.wire.anthropic_messages.blocks import CALL_MARK
from backends.wire.anthropic_messages.call_ids import write_id
from backends.wire.anthropic_messages.errors import render_error_event
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
    RefusalDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.prompt import Prompt, WireFormat
from backends.wire.rendering import is_json_object
from backends.wire.signatures import Signed, wrap, wrap_signed
from backends.wire.usage import Usage

STOP_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_call": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}
"""``error`` is no reason: it fails."""
FORMAT: WireFormat = "anthropic-messages"

Json = dict[str, object]


class MessagesRenderer:
    """Renders one answer. ``shows_reasoning``: the client asked for thinking."""

    def __init__(self, *, shows_reasoning: bool) -> None:
        self.dropped: dict[str, None] = {}
        self._shows = shows_reasoning
        self._index = -1
        self._open = ""
        """The type of the block that is open."""
        self._place = b""
        """What its deltas begin with: they differ in their type and text only."""
        self._call = -1
        """The call whose block is open, and its arguments so far."""
        self._pieces: list[str] = []
        self._queue: list[Event] = []
        """What came while a call was open that had not ended: blocks may not overlap."""
        self._finish: Finish | None = None

    def render(self, event: Event) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        if self._call >= 0 or self._queue:
            return self._render_beside(event)
        return self._render(event)

    def _render_beside(self, event: Event) -> bytes:
        """What comes while a call is open: its own arguments, or what has to wait for their end."""
        if isinstance(event, CallDelta) and event.index == self._call:
            return self._arguments(event)
        if isinstance(event, Finish):
            queue, self._queue = _sorted(self._queue), []
            return b"".join([self._render(one) for one in queue]) + self._render(event)
        if not isinstance(event, End) and (self._queue or not _is_object("".join(self._pieces))):
            self._queue.append(event)
            return b""
        return self._render(event)

    def _render(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                return self._delta("text", event.text)
            case CallDelta():
                return self._arguments(event)
            case CallStart():
                return self._open_call(event)
            case ReasoningDelta():
                return self._reasoning(event)
            case RefusalDelta():
                return self._delta("text", event.text)
            case Start():
                return self._start(event)
            case Finish():
                self._finish = event
                return self._close()
            case LogprobsDelta():
                self.dropped["logprobs"] = None
                return b""
            case Citation():
                self.dropped["citations"] = None
                return b""
            case End(usage):
                return self._end(usage)
            case _:
                assert_never(event)

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        return render_error_event(failure)

    def _start(self, event: Start) -> bytes:
        message = {
            "id": event.response_id,
            "type": "message",
            "role": "assistant",
            "model": event.response_model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": render_usage(event.early_input or Usage()),
        }
        return _event("message_start", {"message": message}) + _event("ping", {})

    def _begin(self, kind: str, block: Json) -> bytes:
        out = self._close()
        self._index += 1
        self._open = kind
        self._place = _BEGIN_DELTA % self._index
        return out + _event(
            "content_block_start", {"index": self._index, "content_block": {"type": kind, **block}}
        )

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open, self._call = "", -1
        return _event("content_block_stop", {"index": self._index})

    def _delta(self, kind: str, text: str) -> bytes:
        if self._open == kind:
            return self._grow(kind, text)
        return self._begin(kind, _EMPTY[kind]) + self._grow(kind, text)

    def _grow(self, kind: str, text: str) -> bytes:
        """A delta of the block that is open."""
        return b"%b%b%b}}\n\n" % (self._place, _DELTAS[kind], orjson.dumps(text))

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        out = b""
        if event.text and not event.is_redacted:
            if self._shows:
                out = self._delta("thinking", event.text)
            else:
                self.dropped["thinking"] = None
        if event.signature is None:
            return out
        signature = _wrapped(event, event.signature)
        if event.is_redacted:
            return out + self._redacted(signature)
        if self._open != "thinking":
            # It stood on hidden thinking, or on another part: Anthropic's own come back on an empty block.
            out += self._begin("thinking", _EMPTY["thinking"])
        return out + self._grow("signature", signature) + self._close()

    def _redacted(self, data: str) -> bytes:
        return self._begin("redacted_thinking", {"data": data}) + self._close()

    def _open_call(self, event: CallStart) -> bytes:
        out = b""
        if event.signature is not None:
            signature = wrap(CALL_MARK + event.signature, event.issuer or "gemini", FORMAT)
            out = self._close() + self._begin("redacted_thinking", {"data": signature})
        out += self._begin("tool_use", {"id": write_id(event.id), "name": event.name, "input": {}})
        self._call, self._pieces = event.index, []
        return out

    def _arguments(self, event: CallDelta) -> bytes:
        if event.index != self._call:
            if event.arguments.isspace():
                return b""  # Behind the end of arguments that were whole.
            message = "the model's arguments go on behind their end"
            raise WireError(Failure("upstream_failed", message, may_have_spent=True))
        self._pieces.append(event.arguments)
        return self._grow("tool_use", event.arguments)

    def _end(self, usage: Usage | None) -> bytes:
        finish = self._finish
        if finish is None:
            raise _endless()
        delta = {
            "stop_reason": stop_reason(finish.reason, finish.raw, finish.stop_sequence),
            "stop_sequence": finish.stop_sequence,
            "stop_details": None,
        }
        body: Json = {"delta": delta, "usage": render_usage(usage or Usage())}
        return _event("message_delta", body) + _event("message_stop", {})


def _wrapped(event: ReasoningDelta, signature: str) -> str:
    """The signature as the format has it; that thinking was redacted it says by itself."""
    return wrap_signed(Signed(signature, event.issuer, id=event.id), FORMAT)


def _is_object(text: str) -> bool:
    """Whether a call's arguments have come to their end: an object that is whole can grow no more."""
    return text.rstrip().endswith("}") and is_json_object(text)


def _sorted(queue: list[Event]) -> list[Event]:
    """Everything in the order in which it began, the pieces of one call together."""
    groups: dict[object, list[Event]] = {}
    for at, event in enumerate(queue):
        is_call = isinstance(event, CallStart | CallDelta)
        groups.setdefault(("call", event.index) if is_call else at, []).append(event)
    return [event for group in groups.values() for event in group]


_BEGIN_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":'
)
_DELTAS = {
    "text": b'"text_delta","text":',
    "thinking": b'"thinking_delta","thinking":',
    "signature": b'"signature_delta","signature":',
    "tool_use": b'"input_json_delta","partial_json":',
}
_EMPTY: dict[str, Json] = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}


def _event(name: str, body: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **body}))


def stop_reason(reason: FinishReason, raw: str, stop_sequence: str | None) -> str:
    """Anthropic's word. Raises ``WireError`` for a finish that is an error."""
    word = STOP_REASONS.get(reason)
    if word is None:
        message = f"the provider ended its answer with `{raw[:64]}`"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True))
    return "stop_sequence" if stop_sequence is not None and word == "end_turn" else word


def render_usage(usage: Usage) -> Json:
    """Anthropic's usage object: what was cached is counted beside the input."""
    read = usage.cache_read_tokens
    write, write_1h = usage.cache_write_tokens, usage.cache_write_1h_tokens
    # Not every host counts its thinking: none is as if nothing was said.
    thinking = {"thinking_tokens": usage.reasoning_tokens} if usage.reasoning_tokens else None
    return {
        "input_tokens": usage.input_tokens - read - write - write_1h,
        "cache_creation_input_tokens": write + write_1h,
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": write,
            "ephemeral_1h_input_tokens": write_1h,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": thinking,
    }


def render_answer(prompt: Prompt, events: list[Event]) -> tuple[bytes, tuple[str, ...]]:
    """The plain answer that ``events`` fold into, and what it does not carry. Raises ``WireError``."""
    content = _Content(shows_reasoning=bool(prompt.shows_reasoning))
    head, usage, finish = Start("", "", 0), Usage(), None
    for event in events:
        match event:
            case Start():
                head = event
            case Finish():
                finish = finish or event
            case End():
                usage = event.usage or usage
            case _:
                content.add(event)
    if finish is None:
        raise _endless()
    body = {
        "id": head.response_id,
        "type": "message",
        "role": "assistant",
        "model": head.response_model,
        "content": content.finish(),
        "stop_reason": stop_reason(finish.reason, finish.raw, finish.stop_sequence),
        "stop_sequence": finish.stop_sequence,
        "stop_details": None,
        "usage": render_usage(usage),
    }
    return orjson.dumps(body), tuple(content.dropped)


class _Content:
    """The blocks of a plain answer while they are put together; what grows in the last one is kept in pieces."""

    def __init__(self, *, shows_reasoning: bool) -> None:
        self.dropped: dict[str, None] = {}
        self._shows = shows_reasoning
        self._blocks: list[Json] = []
        self._pieces: list[str] = []
        self._grows = ""
        """The type of the last block, if it may still grow."""
        self._calls: dict[int, tuple[Json, list[str]]] = {}

    def add(
        self,
        event: TextDelta
        | RefusalDelta
        | ReasoningDelta
        | LogprobsDelta
        | Citation
        | CallStart
        | CallDelta,
    ) -> None:
        """Take one event."""
        match event:
            case TextDelta(text) | RefusalDelta(text):
                self._grow("text", text)
            case ReasoningDelta():
                self._reason(event)
            case CallStart():
                block: Json = {
                    "type": "tool_use",
                    "id": write_id(event.id),
                    "name": event.name,
                }
                if event.signature is not None:
                    signature = wrap(CALL_MARK + event.signature, event.issuer or "gemini", FORMAT)
                    self._put({"type": "redacted_thinking", "data": signature})
                self._put(block)
                self._calls[event.index] = (block, [])
            case CallDelta(index, arguments):
                self._calls[index][1].append(arguments)
            case LogprobsDelta():
                self.dropped["logprobs"] = None
            case Citation():
                self.dropped["citations"] = None
            case _:
                assert_never(event)

    def finish(self) -> list[Json]:
        """All blocks. Raises ``WireError`` for arguments that are no JSON object."""
        self._settle()
        for block, pieces in self._calls.values():
            block["input"] = _arguments("".join(pieces))
        return self._blocks

    def _settle(self) -> None:
        if self._grows:
            self._blocks[-1][self._grows] = "".join(self._pieces)
        self._grows, self._pieces = "", []

    def _put(self, block: Json) -> None:
        self._settle()
        self._blocks.append(block)

    def _grow(self, kind: str, text: str) -> None:
        if self._grows != kind:
            self._put({"type": kind, **_EMPTY[kind]})
            self._grows = kind
        self._pieces.append(text)

    def _reason(self, event: ReasoningDelta) -> None:
        signature = None if event.signature is None else _wrapped(event, event.signature)
        if event.is_redacted:
            self._put({"type": "redacted_thinking", "data": signature or ""})
            return
        if event.text and self._shows:
            self._grow("thinking", event.text)
        elif event.text:
            self.dropped["thinking"] = None
        if signature is not None:
            self._grow("thinking", "")
            self._settle()
            self._blocks[-1]["signature"] = signature


def _arguments(text: str) -> object:
    try:
        value: object = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        message = "the model's arguments are no JSON"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True)) from error
    if not isinstance(value, dict):
        message = "the model's arguments are no JSON object"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True))
    return value  # type: ignore[reportUnknownVariableType]  # any JSON object


def _endless() -> WireError:
    return WireError(
        Failure("upstream_failed", "the provider's answer has no end", may_have_spent=True)
    )
