"""Events → OpenAI's format: chunks of a stream as they come, or the fold of them all.

Promises: roles, indexes and finish reasons as OpenAI gives them; ``[DONE]`` only after the provider's own
end; what has no place in the format is named in ``dropped``.
"""

from typing import assert_never

import orjson

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
    TokenLogprob,
)
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat.citations import render_citation
from backends.wire.openai_chat.errors import render_error_event
from backends.wire.openai_chat.logprobs import render_choice
from backends.wire.openai_chat.signed import DETAILS, EXTRA, Thoughts, extra_content
from backends.wire.usage import Usage

DONE = b"data: [DONE]\n\n"

FINISH_WORDS: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_call": "tool_calls",
    "refusal": "content_filter",
    "pause": "length",
}
"""A refusal by the model ends as ``content_filter``, with its words in ``refusal``: OpenAI has no reason of
its own for it, and ``stop`` would say that all is well. A pause is no end of the turn either, hence
``length``, which says that more would have come. ``error`` is no finish: it fails."""

Json = dict[str, object]


class ChatRenderer:
    """Renders one answer. ``includes_usage``: the client asked for the closing usage chunk."""

    def __init__(self, *, includes_usage: bool) -> None:
        self.dropped: dict[str, None] = {}
        self._includes_usage = includes_usage
        self._head: Json = {}
        self._opened: set[int] = set()
        self._before_choice = b'data: {"choices":['
        """What chunks begin with: they differ in their delta only."""
        self._thoughts: dict[int, Thoughts] = {}
        self._annotations: dict[int, list[Json]] = {}

    def render(self, event: Event) -> bytes:
        """The bytes of one event, maybe none. Raises ``WireError`` for a finish that is an error."""
        match event:
            case TextDelta():
                return self._delta(event.choice, {"content": event.text})
            case CallDelta(index, arguments, choice):
                return self._delta(
                    choice, {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}
                )
            case CallStart():
                function = {"name": event.name, "arguments": ""}
                call: Json = {
                    "index": event.index,
                    "id": event.id,
                    "type": "function",
                    "function": function,
                }
                if event.signature is not None:
                    call[EXTRA] = extra_content(event)
                return self._delta(event.choice, {"tool_calls": [call]})
            case ReasoningDelta():
                return self._reasoning(event)
            case RefusalDelta(text, choice):
                return self._delta(choice, {"refusal": text})
            case LogprobsDelta(tokens, choice):
                return self._delta(choice, {}, {"logprobs": render_choice(tokens)})
            case Citation():
                self._annotations.setdefault(event.choice, []).append(_annotation(event))
                return b""
            case Start(response_id, response_model, created_at):
                self._head = {
                    "id": response_id,
                    "object": "chat.completion.chunk",
                    "created": created_at,
                    "model": response_model,
                }
                self._before_choice = b'data: %b,"choices":[' % orjson.dumps(self._head)[:-1]
                return self._delta(0, {"content": ""})
            case Finish(reason, raw, choice):
                end: Json = {
                    "index": choice,
                    "delta": {},
                    "finish_reason": finish_word(reason, raw),
                }
                return self._annotate(choice) + self._chunk([end])
            case End(usage):
                return self._end(usage)
            case _:
                assert_never(event)

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        return render_error_event(failure)

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        thoughts = self._thoughts.get(event.choice)
        if thoughts is None:
            thoughts = self._thoughts[event.choice] = Thoughts()
        detail = thoughts.take(event)
        delta: Json = {}
        if event.text and not event.is_redacted:
            delta["reasoning_content"] = event.text
        if detail is not None:
            delta[DETAILS] = [detail]
        return self._delta(event.choice, delta) if delta else b""

    def _annotate(self, choice: int) -> bytes:
        """All annotations in one piece, as OpenAI sends them: its SDK joins no lists of them."""
        annotations = self._annotations.pop(choice, None)
        return b"" if annotations is None else self._delta(choice, {"annotations": annotations})

    def _delta(self, choice: int, delta: Json, beside: Json | None = None) -> bytes:
        if choice not in self._opened:
            self._opened.add(choice)
            delta = {"role": "assistant", **delta}
        if beside is None:
            return b'%b{"index":%d,"delta":%b,"finish_reason":null}]}\n\n' % (
                self._before_choice, choice, orjson.dumps(delta),
            )  # fmt: skip
        return self._chunk([{"index": choice, "delta": delta, "finish_reason": None, **beside}])

    def _chunk(self, choices: list[Json]) -> bytes:
        return b"data: " + orjson.dumps({**self._head, "choices": choices}) + b"\n\n"

    def _end(self, usage: Usage | None) -> bytes:
        if not self._includes_usage or usage is None:
            return DONE
        body = {**self._head, "choices": [], "usage": render_usage(usage)}
        return b"data: " + orjson.dumps(body) + b"\n\n" + DONE


def finish_word(reason: FinishReason, raw: str) -> str:
    """OpenAI's word. Raises ``WireError`` for a finish that is an error."""
    word = FINISH_WORDS.get(reason)
    if word is None:
        message = f"the provider ended its answer with `{raw[:64]}`"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True))
    return word


def render_usage(usage: Usage) -> Json:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


class _Message:
    """One choice while it is put together."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.thoughts = Thoughts()
        self.details: list[Json] = []
        self.refusal: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.annotations: list[Json] = []
        self.calls: dict[int, tuple[CallStart, list[str]]] = {}
        self.finish: str | None = None

    def to_json(self) -> Json:
        """OpenAI's message object: content is null beside calls or a refusal, if there is no text."""
        text = "".join(self.text)
        message: Json = {
            "role": "assistant",
            "content": text if text or not (self.calls or self.refusal) else None,
            "refusal": "".join(self.refusal) or None,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.details:
            message[DETAILS] = self.details
        if self.annotations:
            message["annotations"] = self.annotations
        if self.calls:
            message["tool_calls"] = [_whole_call(*self.calls[at]) for at in sorted(self.calls)]
        return message


def _annotation(citation: Citation) -> Json:
    return {"type": "url_citation", "url_citation": render_citation(citation)}


def _whole_call(start: CallStart, pieces: list[str]) -> Json:
    function = {"name": start.name, "arguments": "".join(pieces)}
    call: Json = {"id": start.id, "type": "function", "function": function}
    if start.signature is not None:
        call[EXTRA] = extra_content(start)
    return call


def render_answer(events: list[Event]) -> tuple[bytes, tuple[str, ...]]:
    """The plain answer that ``events`` fold into, and what it does not carry.

    Raises ``WireError`` for a finish that is an error, or none at all.
    """
    choices: dict[int, _Message] = {}
    dropped: dict[str, None] = {}
    head = Start("", "", 0)
    usage: Usage | None = None
    for event in events:
        if isinstance(event, Start):
            head = event
        elif isinstance(event, End):
            usage = event.usage
        else:
            _fold(choices.setdefault(event.choice, _Message()), event)
    if not choices or any(message.finish is None for message in choices.values()):
        message = "the provider's answer has no end"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True))
    body: Json = {
        "id": head.response_id,
        "object": "chat.completion",
        "created": head.created_at,
        "model": head.response_model,
        "choices": [
            {
                "index": at,
                "message": choices[at].to_json(),
                "logprobs": render_choice(choices[at].logprobs) if choices[at].logprobs else None,
                "finish_reason": choices[at].finish,
            }
            for at in sorted(choices)
        ],
    }
    if usage is not None:
        body["usage"] = render_usage(usage)
    return orjson.dumps(body), tuple(dropped)


def _fold(
    message: _Message,
    event: TextDelta
    | ReasoningDelta
    | RefusalDelta
    | LogprobsDelta
    | Citation
    | CallStart
    | CallDelta
    | Finish,
) -> None:
    match event:
        case TextDelta(text):
            message.text.append(text)
        case RefusalDelta(text):
            message.refusal.append(text)
        case ReasoningDelta():
            detail = message.thoughts.take(event)
            if detail is not None:
                message.details.append(detail)
            if event.text and not event.is_redacted:
                message.reasoning.append(event.text)
        case LogprobsDelta(tokens):
            message.logprobs += tokens
        case Citation():
            message.annotations.append(_annotation(event))
        case CallStart():
            message.calls[event.index] = (event, [])
        case CallDelta(index, arguments):
            message.calls[index][1].append(arguments)
        case Finish(reason, raw):
            message.finish = finish_word(reason, raw)
        case _:
            assert_never(event)
