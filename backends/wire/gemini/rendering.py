"""Events → Gemini's format: chunks of a stream as they come, or the fold of them all.

Promises: arguments are sent whole, as an object; signatures stand on the part that they belong to, another
issuer's wrapped; ``finishReason`` stands in the last chunk, which comes after the provider's own end only; what has
no place in the format is named in ``dropped``. Google's framing: server-sent events with CRLF, or a JSON array.
"""

from typing import assert_never

import msgspec
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
from backends.wire.gemini.answer import FINISH_REASONS
from backends.wire.gemini.grounding import render_grounding
from backends.wire.gemini.logprobs import render_result
from backends.wire.gemini.refusals import render_stream_error
from backends.wire.gemini.signed import ISSUER, wrap_signature
from backends.wire.rendering import is_json_object
from backends.wire.signatures import SELF_CONTAINED
from backends.wire.usage import Usage

Json = dict[str, object]

FINISH_WORDS: dict[FinishReason, str] = {
    "stop": "STOP",
    "tool_call": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "CONTINUATION",
}
"""Gemini has no word of its own for a refusal; ``finishMessage`` tells it. ``error`` is no finish: it fails."""

_BEGIN_TEXT = b'data: {"candidates":[{"content":{"parts":[{"text":'
_TRIES_MAX = 64
"""How often something that comes amid a call's arguments may find them unfinished: each look is at all of them."""


class _Choice:
    """One candidate while it comes."""

    __slots__ = (
        "calls", "citations", "finish", "has_hidden", "is_refused", "texts", "tries_left",
    )  # fmt: skip

    def __init__(self) -> None:
        self.calls: dict[int, tuple[CallStart, list[str]]] = {}
        self.texts: list[str] = []
        self.citations: list[Citation] = []
        self.finish: Json | None = None
        self.is_refused = False
        self.has_hidden = False
        self.tries_left = _TRIES_MAX


class PartMaker:
    """Makes parts of events. ``shows_thoughts``: the client asked to see thinking."""

    def __init__(self, *, shows_thoughts: bool) -> None:
        self.dropped: dict[str, None] = {}
        self.choices: dict[int, _Choice] = {}
        self._shows_thoughts = shows_thoughts

    def take(
        self,
        event: TextDelta
        | ReasoningDelta
        | RefusalDelta
        | Citation
        | CallStart
        | CallDelta
        | Finish,
    ) -> list[Json]:
        """The parts that ``event`` completes, all of its choice. Raises ``WireError`` for broken arguments
        and for a finish that is an error."""
        choice = self.choices.get(event.choice)
        if choice is None:
            choice = self.choices[event.choice] = _Choice()
        match event:
            case TextDelta(text):
                choice.texts.append(text)
                return [*self._flush(choice), {"text": text}] if text else []
            case CallStart():
                choice.calls[event.index] = (event, [])
                return []
            case CallDelta(index, arguments):
                if index not in choice.calls:
                    raise _broken("arguments came after their call")
                choice.calls[index][1].append(arguments)
                return []
            case ReasoningDelta():
                return [*self._flush(choice), *self._think(choice, event)]
            case RefusalDelta(text):
                choice.is_refused = True
                return [*self._flush(choice), {"text": text}] if text else []
            case Citation():
                choice.citations.append(event)
                return []
            case Finish():
                parts = self._flush(choice, is_last=True)
                choice.finish = _render_finish(event, is_refused=choice.is_refused)
                return parts
            case _:
                assert_never(event)

    def _think(self, choice: _Choice, event: ReasoningDelta) -> list[Json]:
        signature, text = event.signature, event.text
        is_own = event.issuer == ISSUER
        if text and not event.is_redacted and not self._shows_thoughts:
            self.dropped["thoughts"] = None
            choice.has_hidden = True
            text = ""
        if signature is None:
            return [{"text": text, "thought": True}] if text and not event.is_redacted else []
        if choice.has_hidden and event.issuer not in SELF_CONTAINED:
            # Its issuer would refuse it without the words.
            self.dropped["thoughtSignature"] = None
            choice.has_hidden = False
            return []
        choice.has_hidden = False
        part: Json = {"text": "" if event.is_redacted else text}
        if text or not (is_own or event.is_redacted):
            part["thought"] = True
        part["thoughtSignature"] = wrap_signature(
            signature, event.issuer, is_redacted=event.is_redacted, id=event.id
        )
        return [part]

    def _flush(self, choice: _Choice, *, is_last: bool = False) -> list[Json]:
        """The calls that are whole."""
        if not choice.calls or not (is_last or choice.tries_left):
            return []
        parts: list[Json] = []
        for index in sorted(choice.calls):
            start, pieces = choice.calls[index]
            text = "".join(pieces)
            if not is_last and not is_json_object(text):
                choice.tries_left -= 1
                break
            del choice.calls[index]
            parts.append(_render_call(start, text))
        return parts


def _render_call(start: CallStart, text: str) -> Json:
    call: Json = {"name": start.name, "args": {}}
    if text and not text.isspace():
        if not is_json_object(text):
            raise _broken(f"the arguments of a call of `{start.name[:64]}` are no JSON object")
        call["args"] = orjson.Fragment(msgspec.json.format(text.encode(), indent=-1))
    if start.id:
        call["id"] = start.id
    part: Json = {"functionCall": call}
    if start.signature is not None:
        part["thoughtSignature"] = wrap_signature(start.signature, start.issuer)
    return part


def _close(choice: _Choice) -> Json:
    """What a candidate says at its end."""
    said = dict(choice.finish or {})
    if choice.citations:
        said["groundingMetadata"] = render_grounding("".join(choice.texts), choice.citations)
    return said


def _render_finish(event: Finish, *, is_refused: bool) -> Json:
    reason = "refusal" if is_refused and event.reason == "stop" else event.reason
    word = FINISH_WORDS.get(reason)
    if word is None:
        message = f"the provider ended its answer with `{event.raw[:64]}`"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True))
    if FINISH_REASONS.get(event.raw) == reason:
        word = event.raw
    finish: Json = {"finishReason": word}
    if reason == "refusal":
        finish["finishMessage"] = f"the model refused to answer (`{event.raw[:64]}`)"
    elif reason == "content_filter" and word != event.raw:
        finish["finishMessage"] = f"the provider filtered the answer (`{event.raw[:64]}`)"
    return finish


def _broken(message: str) -> WireError:
    return WireError(Failure("upstream_failed", message, may_have_spent=True))


def render_usage(usage: Usage) -> Json:
    """Gemini's ``usageMetadata``: thoughts beside the candidates, cached content inside the prompt."""
    counts: Json = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, usage.output_tokens - usage.reasoning_tokens),
        "totalTokenCount": usage.total_tokens,
    }
    if usage.cache_read_tokens:
        counts["cachedContentTokenCount"] = usage.cache_read_tokens
    if usage.reasoning_tokens:
        counts["thoughtsTokenCount"] = usage.reasoning_tokens
    return counts


class GeminiRenderer:
    """Renders one answer as server-sent events."""

    def __init__(self, *, shows_thoughts: bool) -> None:
        self._maker = PartMaker(shows_thoughts=shows_thoughts)
        self.dropped = self._maker.dropped
        self._head: Json = {}
        self._tail = b"}\r\n\r\n"
        self._text_ends: dict[int, bytes] = {}
        self._choices = self._maker.choices

    def render(self, event: Event) -> bytes:
        """The bytes of one event, maybe none. Raises ``WireError`` for a finish that is an error."""
        if isinstance(event, TextDelta):
            choice = self._choices.get(event.choice)
            if choice is not None and not choice.calls:
                if not event.text:
                    return b""
                choice.texts.append(event.text)
                end = self._text_ends.get(event.choice) or self._make_text_end(event.choice)
                return _BEGIN_TEXT + orjson.dumps(event.text) + end
        if isinstance(event, Start):
            self._head = {"modelVersion": event.response_model, "responseId": event.response_id}
            self._tail = b"," + orjson.dumps(self._head)[1:] + b"\r\n\r\n"
            return b""
        if isinstance(event, End):
            return self._end(event.usage)
        beside: Json = {}
        if isinstance(event, LogprobsDelta):
            parts: list[Json] = [{"text": ""}]
            beside = {"logprobsResult": render_result(event.tokens)}
        else:
            parts = self._maker.take(event)
        if not parts:
            return b""
        content = {"parts": parts, "role": "model"}
        candidate = {"content": content, "index": event.choice, **beside}
        return b'data: {"candidates":[' + orjson.dumps(candidate) + b"]" + self._tail

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        return render_stream_error(failure)

    def _make_text_end(self, choice: int) -> bytes:
        end = b'}],"role":"model"},"index":%d}]' % choice + self._tail
        self._text_ends[choice] = end
        return end

    def _end(self, usage: Usage | None) -> bytes:
        body: Json = {
            "candidates": [
                {"content": {"parts": [{"text": ""}], "role": "model"}, **_close(found), "index": at}
                for at, found in sorted(self._choices.items())
            ]
        }  # fmt: skip
        if usage is not None:
            body["usageMetadata"] = render_usage(usage)
        return b"data: " + orjson.dumps({**body, **self._head}) + b"\r\n\r\n"


def render_answer(events: list[Event], *, shows_thoughts: bool) -> tuple[bytes, tuple[str, ...]]:
    """The plain answer that ``events`` fold into, and what it does not carry.

    Raises ``WireError`` for broken arguments, for a finish that is an error, or none at all.
    """
    maker = PartMaker(shows_thoughts=shows_thoughts)
    parts: dict[int, list[Json]] = {}
    tokens: dict[int, list[TokenLogprob]] = {}
    head: Json = {"modelVersion": "", "responseId": ""}
    usage: Usage | None = None
    for event in events:
        if isinstance(event, Start):
            head = {"modelVersion": event.response_model, "responseId": event.response_id}
        elif isinstance(event, End):
            usage = event.usage
        elif isinstance(event, LogprobsDelta):
            tokens.setdefault(event.choice, []).extend(event.tokens)
        else:
            parts.setdefault(event.choice, []).extend(maker.take(event))
    if not maker.choices or any(found.finish is None for found in maker.choices.values()):
        raise _broken("the provider's answer has no end")
    candidates = [
        {"content": {"parts": _merge(parts[at]), "role": "model"}, **_close(found),
         "index": at, **({"logprobsResult": render_result(tokens[at])} if at in tokens else {})}
        for at, found in sorted(maker.choices.items())
    ]  # fmt: skip
    body: Json = {"candidates": candidates}
    if usage is not None:
        body["usageMetadata"] = render_usage(usage)
    return orjson.dumps({**body, **head}), tuple(maker.dropped)


def _merge(parts: list[Json]) -> list[Json]:
    """Pieces of one text as one part; a signature ends it."""
    merged: list[Json] = []
    texts: list[str] = []
    for part in parts:
        if merged and "text" in part and _may_follow(merged[-1], part):
            texts.append(str(part["text"]))
            if "thoughtSignature" in part:
                merged[-1]["thoughtSignature"] = part["thoughtSignature"]
            continue
        _join(merged, texts)
        merged.append(dict(part))
        texts = [str(part["text"])] if "text" in part else []
    _join(merged, texts)
    return merged


def _join(merged: list[Json], texts: list[str]) -> None:
    if len(texts) > 1:
        merged[-1]["text"] = "".join(texts)


def _may_follow(last: Json, part: Json) -> bool:
    return (
        "text" in last
        and "thoughtSignature" not in last
        and last.get("thought") == part.get("thought")
    )
