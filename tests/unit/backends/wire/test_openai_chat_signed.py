"""Signatures travel through a chat client that sends back what it got, and to nobody but their issuer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from backends.wire.events import CallDelta, CallStart, End, Event, Finish, ReasoningDelta, Start
from backends.wire.failure import WireError
from backends.wire.openai_chat import (
    ChatRenderer,
    EventParser,
    drop_foreign,
    holds_foreign,
    parse_request,
    patch_request,
    render_answer,
)
from backends.wire.openai_chat.request import PARTS_MAX
from backends.wire.prompt import Prompt, Reasoning, ToolCall
from backends.wire.signatures import Signed, wrap_signed

THINKING = Reasoning("Hm, 2 + 2.", "c2ln", "anthropic")
HIDDEN = Reasoning("", "aGlkZGVu", "anthropic", is_redacted=True)
SILENT = Reasoning("", "c2lsZW50", "anthropic")
ENCRYPTED = Reasoning("A summary.", "gAAA_-", "openai", id="rs_0a1b")
ON_TEXT = Reasoning("", "R2VtaW5p", "gemini")
REPEATED = {"type": "reasoning.text", "text": "resold", "signature": "theirs", "index": 0}

pieces = st.lists(
    st.builds(
        Reasoning,
        st.text(max_size=5),
        st.text(max_size=5),
        st.sampled_from(["anthropic", "openai"]),
        id=st.sampled_from([None, "rs_1", "rs_2"]),
    )
    | st.sampled_from([HIDDEN, SILENT, ON_TEXT]),
    max_size=4,
)


def events_of(parts: list[Reasoning]) -> list[Event]:
    """An answer that thinks so, each piece in two halves and then its signature."""
    events: list[Event] = [Start("r", "m", 0)]
    for part in parts:
        half = len(part.text) // 2
        halves = (part.text[:half], part.text[half:])
        events += [ReasoningDelta(text, id=part.id) for text in halves if text]
        events.append(ReasoningDelta("", part.signature, part.issuer, part.is_redacted, id=part.id))
    events += [Finish("stop", "x"), End(None)]
    return events


def streamed(events: list[Event]) -> dict[str, Any]:
    """The message as a client puts it together that appends lists and joins texts."""
    renderer = ChatRenderer(includes_usage=False)
    raw = b"".join(renderer.render(event) for event in events)
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    for event in raw.split(b"\n\n")[:-2]:
        delta = json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"]
        for name, value in delta.items():
            if name != "role":
                message[name] = message.get(name, type(value)()) + value
    return message


def whole(events: list[Event]) -> dict[str, Any]:
    """The message of the plain answer."""
    message: dict[str, Any] = json.loads(render_answer(events)[0])["choices"][0]["message"]
    return message


def ask(*messages: dict[str, Any]) -> Prompt:
    """A conversation that goes on."""
    said = [{"role": "user", "content": "go"}, *messages, {"role": "user", "content": "go on"}]
    return parse_request(json.dumps({"model": "m", "messages": said}).encode())


def thinking_in(prompt: Prompt) -> list[Reasoning]:
    """The thinking of its second message."""
    return [part for part in prompt.messages[1].parts if isinstance(part, Reasoning)]


@given(pieces)
def test_thinking_comes_back_as_it_was(parts: list[Reasoning]) -> None:
    """Plain or streamed: text, signature, issuer and what belongs to it; only what stood on text comes behind it."""
    events = events_of(parts)
    for message in (whole(events), streamed(events)):
        found = thinking_in(ask(message))
        assert [part for part in found if part.issuer != "gemini"] == [
            part for part in parts if part.issuer != "gemini"
        ]
        assert found.count(ON_TEXT) == parts.count(ON_TEXT)


def test_the_same_words_beside_their_signature_are_not_lost() -> None:
    """Clients send the text twice; it is listed only where it is another."""
    message = whole(events_of([THINKING]))
    assert message["reasoning_content"] == THINKING.text
    assert not ask(message).unknown
    other = ask(message | {"reasoning_content": "another"})
    assert other.unknown == {"messages[1].reasoning_content": b'"another"'}


def test_what_is_redacted_and_what_stood_on_text_is_encrypted() -> None:
    """Entries with words to show are texts, the others are not."""
    message = whole(events_of([THINKING, HIDDEN, SILENT, ENCRYPTED, ON_TEXT]))
    kinds = [(one["type"], one["index"]) for one in message["reasoning_details"]]
    assert kinds == [
        ("reasoning.text", 0),
        ("reasoning.encrypted", 1),
        ("reasoning.text", 2),
        ("reasoning.text", 3),
        ("reasoning.encrypted", 4),
    ]


def test_a_call_keeps_its_signature() -> None:
    """In the place that Google's own endpoint of the format has for it, plain and streamed."""
    events: list[Event] = [
        Start("r", "m", 0), CallStart(0, "c", "f", "U2ln", 0, "gemini"), CallDelta(0, "{}"),
        Finish("tool_call", "STOP"), End(None),
    ]  # fmt: skip
    call = whole(events)["tool_calls"][0]
    assert call["extra_content"] == {"google": {"thought_signature": "mg1.gemini.U2ln"}}
    assert streamed(events)["tool_calls"][0]["extra_content"] == call["extra_content"]
    prompt = ask({"role": "assistant", "content": None, "tool_calls": [call]})
    assert prompt.messages[1].parts == (ToolCall("c", "f", "{}", "U2ln", "gemini"),)
    assert not prompt.unknown


def test_what_a_host_signed_itself_stays_what_it_was() -> None:
    """A reseller does not say whose signature it gives: kept by its path, passed on as it came."""
    prompt = ask({"role": "assistant", "content": "a", "reasoning_details": [REPEATED]})
    assert not thinking_in(prompt)
    assert prompt.unknown.keys() == {"messages[1].reasoning_details[0]"}
    assert not holds_foreign(prompt)


@pytest.mark.parametrize(
    ("details", "left"),
    [
        ([], {}),
        ([REPEATED], {"reasoning_details": [REPEATED]}),
    ],
)
def test_a_host_gets_nothing_that_moegate_wrapped(
    details: list[dict[str, Any]], left: dict[str, Any]
) -> None:
    """Only what is wrapped goes, from thinking and from calls; every other byte stays."""
    mine = whole(events_of([THINKING]))["reasoning_details"]
    google = {
        "thought": True,
        "thought_signature": wrap_signed(Signed("s", "gemini"), "openai-chat"),
    }
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": "é", "reasoning_details": mine + details}
    said["tool_calls"] = [call | {"extra_content": {"google": google}}]
    prompt = ask(said)
    body = json.loads(patch_request(prompt, model="m", output_cap=None, ask_usage=False))
    kept = call | {"extra_content": {"google": {"thought": True}}}
    assert body["messages"][1] == {
        "role": "assistant",
        "content": "é",
        **left,
        "tool_calls": [kept],
    }
    assert json.loads(drop_foreign(prompt.raw)) == body
    assert prompt.unknown.pop("messages[1].tool_calls[0].extra_content.google.thought") == b"true"


def test_an_escaped_mark_is_a_mark() -> None:
    """JSON may spell any letter by its number."""
    prompt = ask(whole(events_of([THINKING])))
    escaped = parse_request(prompt.raw.replace(b"mg1.", b"m\\u00671."))
    assert b"mg1." not in escaped.raw
    assert holds_foreign(escaped)
    body = patch_request(escaped, model="m", output_cap=None, ask_usage=False)
    assert b"reasoning_details" not in body


def test_a_host_that_repeats_its_thinking_is_read_once() -> None:
    """A detail that comes whole, behind the same words in pieces, is no more thinking."""
    renderer = ChatRenderer(includes_usage=False)
    raw = b"".join(renderer.render(event) for event in events_of([THINKING]))
    parser = EventParser()
    found = parser.feed(raw)
    texts = [event.text for event in found if isinstance(event, ReasoningDelta)]
    assert "".join(texts) == THINKING.text
    assert parser.dropped == {"reasoning.signature": None}


def test_openais_sdk_keeps_what_it_does_not_know() -> None:
    """Its accumulated stream is the plain answer: what a program sends back is whole."""
    events = events_of([THINKING, HIDDEN])
    state = ChatCompletionStreamState()
    renderer = ChatRenderer(includes_usage=False)
    raw = b"".join(renderer.render(event) for event in events)
    for one in raw.split(b"\n\n")[:-2]:
        chunk = ChatCompletionChunk.model_validate_json(one.removeprefix(b"data: "))
        state.handle_chunk(chunk)
    message = state.get_final_completion().choices[0].message.model_dump()
    assert message["reasoning_details"] == whole(events)["reasoning_details"]
    assert thinking_in(ask(message)) == [THINKING, HIDDEN]


def test_a_crowd_of_thoughts_is_refused() -> None:
    """Each is looked at: no body keeps the gateway busy for seconds."""
    crowd: list[dict[str, Any]] = [{}] * (PARTS_MAX + 1)
    with pytest.raises(WireError) as caught:
        ask({"role": "assistant", "content": "a", "reasoning_details": crowd})
    assert caught.value.failure.code == "array_above_max_length"


def test_only_the_assistant_brings_thinking_back() -> None:
    """In another role's message it is a member that nobody knows, and is looked at as such."""
    details = whole(events_of([THINKING]))["reasoning_details"]
    prompt = ask({"role": "user", "content": "a", "reasoning_details": details})
    assert not thinking_in(prompt)
    assert prompt.unknown.keys() == {"messages[1].reasoning_details"}


@given(st.recursive(
    st.none() | st.booleans() | st.text(max_size=3) | st.sampled_from(["mg1.a.b", "reasoning.text"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "text", "data", "signature", "google", "thought_signature"]), inner, max_size=4
    ),
    max_leaves=8,
))  # fmt: skip
def test_anything_may_stand_where_thinking_does(junk: object) -> None:
    """It is read or kept, and the body that passes is still one."""
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}, "extra_content": junk}
    said = {"role": "assistant", "content": "a", "reasoning_details": junk, "tool_calls": [call]}
    body = patch_request(ask(said), model="m", output_cap=None, ask_usage=False)
    assert len(json.loads(body)["messages"]) == 3
