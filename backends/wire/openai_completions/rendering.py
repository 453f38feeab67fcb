"""Events → ``text_completion`` objects: chunks of a stream as they come, or the fold of them all.

Promises: ``[DONE]`` only after the provider's own end; ``echo`` is kept here, before each choice's own text; thinking
and calls have no place in the format and are named in ``dropped``; an answer that ends for a call fails, for nobody
asked for one.
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
)
from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat.errors import render_error_event
from backends.wire.openai_chat.rendering import DONE, render_usage
from backends.wire.prompt import Prompt, Text
from backends.wire.usage import Usage

FINISH_WORDS: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "pause": "length",
}
"""As in a chat; the words of a refusal are the answer's text here."""

Json = dict[str, object]


class CompletionsRenderer:
    """Renders one answer to ``prompt``."""

    def __init__(self, prompt: Prompt) -> None:
        self.dropped: dict[str, None] = {}
        self._includes_usage = prompt.wants_usage
        self._echo = read_echo(prompt)
        self._head: Json = {}
        self._opened: set[int] = set()

    def render(self, event: Event) -> bytes:
        """The bytes of one event, maybe none. Raises ``WireError`` for a finish that is an error."""
        match event:
            case TextDelta(text, choice) | RefusalDelta(text, choice):
                return self._choice(choice, text, None)
            case Finish(reason, raw, choice):
                return self._choice(choice, "", finish_word(reason, raw))
            case Start():
                self._head = render_head(event)
                return b""
            case End(usage):
                return self._end(usage)
            case ReasoningDelta() | CallStart() | CallDelta() | LogprobsDelta() | Citation():
                note_lost(event, self.dropped)
                return b""
            case _:
                assert_never(event)

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        return render_error_event(failure)

    def _choice(self, at: int, text: str, finish: str | None) -> bytes:
        if at not in self._opened:
            self._opened.add(at)
            text = self._echo + text
        choice = {"text": text, "index": at, "logprobs": None, "finish_reason": finish}
        return b"data: " + orjson.dumps({**self._head, "choices": [choice]}) + b"\n\n"

    def _end(self, usage: Usage | None) -> bytes:
        if not self._includes_usage or usage is None:
            return DONE
        body = {**self._head, "choices": [], "usage": render_usage(usage)}
        return b"data: " + orjson.dumps(body) + b"\n\n" + DONE


def render_answer(prompt: Prompt, events: list[Event]) -> tuple[bytes, tuple[str, ...]]:
    """The plain answer that ``events`` fold into, and what it does not carry.

    Raises ``WireError`` for a finish that is an error, or none at all.
    """
    texts: dict[int, list[str]] = {}
    finishes: dict[int, str] = {}
    dropped: dict[str, None] = {}
    body = render_head(Start("", "", 0))
    usage: Usage | None = None
    for event in events:
        match event:
            case TextDelta(text, choice) | RefusalDelta(text, choice):
                texts.setdefault(choice, []).append(text)
            case Finish(reason, raw, choice):
                finishes[choice] = finish_word(reason, raw)
            case Start():
                body = render_head(event)
            case End():
                usage = event.usage
            case ReasoningDelta() | CallStart() | CallDelta() | LogprobsDelta() | Citation():
                note_lost(event, dropped)
    if not finishes or not texts.keys() <= finishes.keys():
        message = "the provider's answer has no end"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True))
    echo = read_echo(prompt)
    body["choices"] = [
        {"text": echo + "".join(texts.get(at, ())), "index": at, "logprobs": None,
         "finish_reason": finishes[at]}
        for at in sorted(finishes)
    ]  # fmt: skip
    if usage is not None:
        body["usage"] = render_usage(usage)
    return orjson.dumps(body), tuple(dropped)


def render_head(start: Start) -> Json:
    """What every object of an answer says."""
    return {
        "id": start.response_id,
        "object": "text_completion",
        "created": start.created_at,
        "model": start.response_model,
    }


def read_echo(prompt: Prompt) -> str:
    """The text that the client wants before each answer; mostly none."""
    if prompt.unknown.get("echo") != b"true":
        return ""
    parts = (part for message in prompt.messages for part in message.parts)
    return "".join(part.text for part in parts if isinstance(part, Text))


def finish_word(reason: FinishReason, raw: str) -> str:
    """OpenAI's word. Raises ``WireError`` for a finish that is none of an answer's."""
    word = FINISH_WORDS.get(reason)
    if word is None:
        message = f"the provider ended its answer with `{raw[:64]}`"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True))
    return word


def note_lost(
    event: ReasoningDelta | CallStart | CallDelta | LogprobsDelta | Citation,
    dropped: dict[str, None],
) -> None:
    """What the format cannot show."""
    if isinstance(event, LogprobsDelta):
        dropped["logprobs"] = None  # A chat's have another form.
    elif isinstance(event, Citation):
        dropped["annotations"] = None
    elif not isinstance(event, ReasoningDelta):
        dropped["tool_calls"] = None
    elif event.text:
        dropped["reasoning"] = None
