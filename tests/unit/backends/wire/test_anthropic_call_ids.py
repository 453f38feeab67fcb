"""Ids of calls by other providers: in Anthropic's form for its clients, and their own again for whoever gave them."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.anthropic_messages.call_ids import MARK, read_id, write_id
from backends.wire.clients import CLIENTS
from backends.wire.events import CallDelta, CallStart, End, Event, Finish, Start
from backends.wire.prompt import Asked, Prompt
from backends.wire.targets import TARGETS

TAKEN = re.compile(r"[a-zA-Z0-9_-]+")
OWN = "functions.get_weather:0"
ANSWER: list[Event] = [
    Start("chatcmpl-1", "kimi-k2", 1),
    CallStart(0, OWN, "get_weather"),
    CallDelta(0, "{}"),
    Finish("tool_call", "tool_calls"),
    End(None),
]
PROMPT = Prompt("anthropic-messages", b"{}", "m", ())


@given(st.text(st.characters(codec="utf-8")))
def test_any_id_is_taken_and_comes_back(call_id: str) -> None:
    """What is written matches Anthropic's pattern, and reads as what it was."""
    written = write_id(call_id)
    assert TAKEN.fullmatch(written)
    assert read_id(written) == call_id


@pytest.mark.parametrize(
    "text", ["toolu_1", "call_x", f"{MARK}!", f"{MARK}YQ", f"{MARK}YQ==", f"{MARK}_w"]
)
def test_what_was_not_written_is_read_as_it_is(text: str) -> None:
    """Anthropic's own ids, and those that only begin like ours."""
    assert read_id(text) == text


def test_a_conversation_keeps_its_hosts_ids() -> None:
    """The client gets an id that Anthropic takes, plain and streamed; the host gets its own back, twice."""
    codec = CLIENTS["anthropic-messages"]
    call: dict[str, Any] = json.loads(codec.render_answer(PROMPT, ANSWER)[0])["content"][0]
    renderer = codec.open_renderer(PROMPT)
    stream = b"".join(renderer.render(event) for event in ANSWER)
    assert json.dumps(call["id"]).encode() in stream
    assert TAKEN.fullmatch(call["id"])
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "ok"}
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ],
    }
    prompt = codec.parse_request(json.dumps(body).encode(), Asked())
    rendered = TARGETS["openai-chat"].render_request(
        prompt, model="m", output_cap=None, output_tokens_default=9
    )
    assert rendered.body.count(OWN.encode()) == 2
    rendered = TARGETS["anthropic-messages"].render_request(
        prompt, model="m", output_cap=None, output_tokens_default=9
    )
    sent = json.loads(rendered.body)["messages"]
    assert sent[1]["content"][0]["id"] == sent[2]["content"][0]["tool_use_id"]
    assert TAKEN.fullmatch(sent[1]["content"][0]["id"])
