"""Events → OpenAI's Responses: events of a stream as they come, or the response that they fold into.

Promises: ``sequence_number`` rises by one; items and parts open and close once, text, thinking and calls as items
of their own in the order they came; calls that come interleaved stay open beside each other, as the format allows.
``response.completed`` or ``response.incomplete`` only after the provider's own end. Ids follow from the provider's
id of the answer, or from the one it is kept as. Signatures of others travel wrapped, in ``encrypted_content``.
"""

import re
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
from backends.wire.openai_chat.logprobs import render_delta
from backends.wire.openai_responses.echo import ResponseObject, includes
from backends.wire.openai_responses.errors import render_error_event, render_failed_response
from backends.wire.openai_responses.marks import CALL_MARK, HIDDEN_MARK, ISSUER, wrap_signature
from backends.wire.openai_responses.open_items import OpenCall, OpenMessage, OpenReasoning
from backends.wire.openai_responses.parsing import ENCRYPTED
from backends.wire.prompt import Prompt
from backends.wire.rendering import is_json_object
from backends.wire.usage import Usage

INCOMPLETE: dict[FinishReason, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "pause": "max_output_tokens",
}
"""Why a response is not complete. A pause is no end of the turn: as in the chat format, more would have come."""

ID_TAIL_CHARS_MAX = 40
"""Ids of items are at most 64 characters long where they come back to OpenAI."""

_TRIES_MAX = 64
"""How often something that comes amid calls may find some unfinished: each look is at all of their arguments."""
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9]+")
_FINISHED: frozenset[FinishReason] = frozenset({"stop", "tool_call"})


class ResponsesRenderer:
    """Renders one answer to ``prompt``."""

    def __init__(self, prompt: Prompt) -> None:
        self.dropped: dict[str, None] = {}
        self.final = b""
        """The response object, once the answer has ended."""
        self._prompt = prompt
        self._includes_signatures = includes(prompt.raw, ENCRYPTED)
        self._sequence = 0
        self._response: ResponseObject | None = None
        self._tail = ""
        self._items: list[bytes] = []
        """Items in the order in which they began; empty while one is open."""
        self._open: OpenMessage | OpenReasoning | None = None
        self._calls: dict[int, OpenCall] = {}
        self._growing: dict[int, OpenCall] = {}
        """Those that are not done."""
        self._tries_left = _TRIES_MAX
        self._grown: set[int] = set()
        """Which of them have grown since they were looked at."""
        self._has_refusal = False
        self._chars_before = 0
        """Of text that is done."""
        self._waiting: list[Citation] = []
        """Sources of text that has not come yet: Anthropic says them first."""
        self._finish: Finish | None = None

    def render(self, event: Event) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        match event:
            case TextDelta():
                return self._text(event.text)
            case CallDelta():
                return self._arguments(event)
            case ReasoningDelta():
                return self._reasoning(event)
            case CallStart():
                return self._begin_call(event)
            case RefusalDelta(text):
                return self._refusal(text)
            case LogprobsDelta(tokens):
                return self._logprobs(tokens)
            case Citation():
                return self._cite(event)
            case Start():
                return self._start(event)
            case Finish():
                incomplete_reason(event, has_refusal=self._has_refusal)  # An error is no finish.
                self._finish = self._finish or event
                return b""
            case End(usage):
                return self._end(usage)
            case _:
                assert_never(event)

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        if self._response is None:
            return render_error_event(failure, self._sequence)
        items = [item for item in self._items if item]
        return render_failed_response(failure, self._response, items, self._sequence)

    def _event(self, name: bytes, members: bytes) -> bytes:
        number = self._sequence
        self._sequence = number + 1
        return b'event: %b\ndata: {"type":"%b",%b,"sequence_number":%d}\n\n' % (
            name, name, members, number,
        )  # fmt: skip

    def _delta(self, prefix: bytes, text: str, suffix: bytes) -> bytes:
        """An event of an open item: its beginning and end were made when it was opened."""
        number = self._sequence
        self._sequence = number + 1
        return b"%b%b%b%d}\n\n" % (prefix, orjson.dumps(text), suffix, number)

    def _start(self, event: Start) -> bytes:
        kept = self._prompt.kept
        response_id = event.response_id if kept is None else kept.response_id
        self._tail = _NOT_IN_ID.sub("", response_id)[-ID_TAIL_CHARS_MAX:] or "0"
        if not response_id.startswith("resp_"):
            response_id = f"resp_{self._tail}"
        self._response = ResponseObject(
            self._prompt, response_id, event.response_model, event.created_at
        )
        begun = b'"response":' + self._response.render("in_progress", [])
        created = self._event(b"response.created", begun)
        return created + self._event(b"response.in_progress", begun)

    def _text(self, text: str) -> bytes:
        part = self._open
        if isinstance(part, OpenMessage) and part.kind == "output_text":
            part.pieces.append(text)
            return self._delta(part.prefix, text, part.suffix)
        return self._begin_part("output_text", text)[0]

    def _logprobs(self, tokens: list[TokenLogprob]) -> bytes:
        out, part = b"", self._open
        if not isinstance(part, OpenMessage) or part.kind != "output_text":
            out, part = self._begin_part("output_text", "")
        number = self._sequence
        self._sequence = number + 1
        return b"%b%b%d}\n\n" % (out, part.add_logprobs(tokens), number)

    def _cite(self, citation: Citation) -> bytes:
        part = self._open
        if not isinstance(part, OpenMessage) or part.kind != "output_text":
            self._waiting.append(citation)
            return b""
        said = {"type": "url_citation", **render_citation(citation, self._chars_before)}
        members = part.annotate(orjson.dumps(said))
        return self._event(b"response.output_text.annotation.added", members)

    def _refusal(self, text: str) -> bytes:
        self._has_refusal = True
        part = self._open
        if isinstance(part, OpenMessage) and part.kind == "refusal":
            part.pieces.append(text)
            return self._delta(part.prefix, text, part.suffix)
        return self._begin_part("refusal", text)[0]

    def _begin_part(self, kind: str, text: str) -> tuple[bytes, OpenMessage]:
        """A message goes on with a part of another kind, or begins."""
        message = self._open
        if isinstance(message, OpenMessage):
            out = self._close_part(message)
        else:
            out = self._close()
            at = len(self._items)
            message = self._open = OpenMessage(f"msg_{self._tail}_{at}", at)
            out += self._add(message.begun())
        message.begin_part(kind)
        message.pieces.append(text)
        out += self._event(b"response.content_part.added", message.part_event(b""))
        out += self._delta(message.prefix, text, message.suffix)
        if self._waiting and kind == "output_text":
            waiting, self._waiting = self._waiting, []
            out += b"".join([self._cite(citation) for citation in waiting])
        return out, message

    def _close_part(self, message: OpenMessage) -> bytes:
        whole = "".join(message.pieces)
        text = orjson.dumps(whole)
        done = b'%b,"%b":%b' % (message.place, message.word, text)
        if message.kind == "output_text":
            self._chars_before += len(whole)
            done += b',"logprobs":%b' % orjson.dumps(render_delta(message.logprobs))
        out = self._event(b"response.%b.done" % message.kind.encode(), done)
        out += self._event(b"response.content_part.done", message.part_event(text))
        message.parts.append(message.part(text))
        return out

    def _add(self, item: bytes) -> bytes:
        at = len(self._items)
        self._items.append(b"")
        members = b'"output_index":%d,"item":%b' % (at, item)
        return self._event(b"response.output_item.added", members)

    def _done(self, at: int, item: bytes) -> bytes:
        self._items[at] = item
        members = b'"output_index":%d,"item":%b' % (at, item)
        return self._event(b"response.output_item.done", members)

    def _close(self, status: str = "completed") -> bytes:
        """Close the message or the thinking that is open, and calls whose arguments are whole."""
        out = b""
        match self._open:
            case OpenMessage() as message:
                out = self._close_part(message) + self._done(message.at, message.done(status))
            case OpenReasoning() as thinking:
                out = self._close_reasoning(thinking)
            case None:
                pass
        self._open = None
        if self._grown and self._tries_left:
            for index in sorted(self._grown):
                if _is_object(self._growing[index].pieces):
                    out += self._close_call(self._growing.pop(index), "completed")
                else:
                    self._tries_left -= 1  # What is left closes at the end.
            self._grown.clear()
        return out

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        out = b""
        if event.text and not event.is_redacted:
            out = self._think(event)
        signature = event.signature
        if signature is None:
            return out
        if event.issuer == ISSUER and not self._includes_signatures:
            return out  # Not asked for, and then OpenAI sends none either.
        mark = HIDDEN_MARK if event.is_redacted else ""
        thinking = self._open
        if not isinstance(thinking, OpenReasoning) or mark or thinking.is_other(event.id):
            begun, thinking = self._begin_reasoning(event.id)
            out += begun
        thinking.signature = wrap_signature(signature, event.issuer, mark)
        return out + self._close()

    def _think(self, event: ReasoningDelta) -> bytes:
        out = b""
        thinking = self._open
        if not isinstance(thinking, OpenReasoning) or thinking.is_other(event.id):
            out, thinking = self._begin_reasoning(event.id)
        if not thinking.pieces:
            thinking.begin_part()
            out += self._event(b"response.reasoning_summary_part.added", thinking.part_event(b'""'))
        thinking.pieces.append(event.text)
        return out + self._delta(thinking.prefix, event.text, thinking.suffix)

    def _begin_reasoning(self, own_id: str | None) -> tuple[bytes, OpenReasoning]:
        out = self._close()
        at = len(self._items)
        thinking = OpenReasoning(own_id or f"rs_{self._tail}_{at}", at, own_id)
        self._open = thinking
        return out + self._add(thinking.item(b"")), thinking

    def _close_reasoning(self, thinking: OpenReasoning) -> bytes:
        out, summary = b"", b""
        if thinking.pieces:
            text = orjson.dumps("".join(thinking.pieces))
            summary = b'{"type":"summary_text","text":%b}' % text
            done = b'%b,"text":%b' % (thinking.place, text)
            out = self._event(b"response.reasoning_summary_text.done", done)
            out += self._event(b"response.reasoning_summary_part.done", thinking.part_event(text))
        return out + self._done(thinking.at, thinking.item(summary))

    def _begin_call(self, event: CallStart) -> bytes:
        out = b""
        if event.signature is not None:
            # A call has no place for it: an item of its own before it has.
            out, thinking = self._begin_reasoning(None)
            thinking.signature = wrap_signature(event.signature, event.issuer, CALL_MARK)
        out += self._close()
        at = len(self._items)
        call = OpenCall(f"fc_{self._tail}_{at}", at, event.id, event.name)
        self._calls[event.index] = self._growing[event.index] = call
        return out + self._add(call.item(b'""', "in_progress"))

    def _arguments(self, event: CallDelta) -> bytes:
        call = self._calls[event.index]
        if call.is_done:
            if event.arguments.isspace():
                return b""  # Behind the end of arguments that were whole.
            message = "the model's arguments go on behind their end"
            raise WireError(Failure("upstream_failed", message, may_have_spent=True))
        call.pieces.append(event.arguments)
        self._grown.add(event.index)
        return self._delta(call.prefix, event.arguments, call.suffix)

    def _close_call(self, call: OpenCall, status: str) -> bytes:
        call.is_done = True
        out = b""
        if status == "completed" and not "".join(call.pieces).strip():
            # Clients read the arguments as JSON, and a tool without any has none to send.
            call.pieces = ["{}"]
            out = self._delta(call.prefix, "{}", call.suffix)
        text = orjson.dumps("".join(call.pieces))
        out += self._event(b"response.function_call_arguments.done", call.done(text))
        return out + self._done(call.at, call.item(text, status))

    def _end(self, usage: Usage | None) -> bytes:
        finish, response = self._finish, self._response
        if finish is None or response is None:
            raise _endless()
        reason = incomplete_reason(finish, has_refusal=self._has_refusal)
        status = "completed" if reason is None else "incomplete"
        if self._waiting:
            self.dropped["annotations"] = None  # Behind their text: other items came.
        out = self._close(status)
        out += b"".join([self._close_call(call, status) for call in self._growing.values()])
        self.final = response.render(status, self._items, usage=usage, incomplete_reason=reason)
        return out + self._event(b"response." + status.encode(), b'"response":' + self.final)


def incomplete_reason(finish: Finish, *, has_refusal: bool) -> str | None:
    """Why the response is not complete; None if it is. Raises ``WireError`` for a finish that is an error."""
    if finish.reason in _FINISHED:
        return None
    if finish.reason == "refusal":
        # Its words are a part of the answer; without any, "completed" would say that all is well.
        return None if has_refusal else "content_filter"
    reason = INCOMPLETE.get(finish.reason)
    if reason is None:
        message = f"the provider ended its answer with `{finish.raw[:64]}`"
        raise WireError(Failure("upstream_failed", message, may_have_spent=True))
    return reason


def _is_object(pieces: list[str]) -> bool:
    """Whether a call's arguments have come to their end: an object that is whole can grow no more."""
    return bool(pieces) and pieces[-1].rstrip().endswith("}") and is_json_object("".join(pieces))


def _endless() -> WireError:
    message = "the provider's answer has no end"
    return WireError(Failure("upstream_failed", message, may_have_spent=True))


def render_answer(prompt: Prompt, events: list[Event]) -> tuple[bytes, tuple[str, ...]]:
    """The plain answer that ``events`` fold into, and what it does not carry. Raises ``WireError``."""
    renderer = ResponsesRenderer(prompt)
    for event in events:
        renderer.render(event)
    if not renderer.final:
        raise _endless()
    return renderer.final, tuple(renderer.dropped)
