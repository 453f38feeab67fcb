"""Responses clients at OpenAI, and elsewhere."""

import json

import pytest

from backends.adapter import Terms
from backends.gpt import GptAdapter
from backends.target import Endpoint, Secret, Target
from backends.wire.openai_responses import parse_request
from backends.wire.prompt import Asked, Prompt

ENDPOINTS = {
    name: Endpoint(name, (f"https://{name}.test/v1",), Secret("k-0123456789")) for name in ("openai", "groq")
}  # fmt: skip
ANSWER = {
    "id": "resp_1", "status": "completed", "model": "gpt-5.5-1", "usage": {"input_tokens": 3, "output_tokens": 2},
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
}  # fmt: skip
CHAT_ANSWER = {
    "id": "chatcmpl-1", "model": "m",
    "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
}  # fmt: skip


def target(provider: str) -> Target:
    return Target(
        name=f"{provider}/gpt-5.5", provider=provider, adapter="gpt", format="openai-chat", model="gpt-5.5",
        endpoint=provider, boundary="external", region="us", capabilities=frozenset({"tools"}),
        context_tokens_max=128_000, output_tokens_max=4096,
    )  # fmt: skip


def prompt(**more: object) -> Prompt:
    body = {"model": "auto", "input": "hi", **more}
    return parse_request(json.dumps(body).encode(), Asked())


def test_openai_is_asked_in_its_own_words() -> None:
    """The client's bytes, with the cap, what may not travel listed, and the answer as it came."""
    adapter = GptAdapter(ENDPOINTS)
    asked = prompt(tools=[{"type": "web_search"}])
    sent = adapter.prepare(asked, target("openai"), Terms(output_cap=50))
    assert sent.url == "https://openai.test/v1/responses"
    assert json.loads(sent.body) == {
        "model": "gpt-5.5", "input": "hi", "store": False, "max_output_tokens": 50,
        "include": ["reasoning.encrypted_content"],
    }  # fmt: skip
    assert sent.dropped == ("tools.web_search",)
    raw = json.dumps(ANSWER).encode()
    answer = adapter.read_answer(asked, target("openai"), raw)
    assert answer.body == raw
    assert (answer.outcome.finish_reason, answer.outcome.response_id) == ("stop", "resp_1")
    assert answer.outcome.usage is not None


def test_others_are_asked_in_a_chat() -> None:
    """And their answer becomes a response."""
    adapter = GptAdapter(ENDPOINTS)
    sent = adapter.prepare(prompt(), target("groq"), Terms(output_cap=50))
    assert sent.url == "https://groq.test/v1/chat/completions"
    assert json.loads(sent.body)["messages"] == [{"role": "user", "content": "hi"}]
    body = adapter.read_answer(prompt(), target("groq"), json.dumps(CHAT_ANSWER).encode()).body
    assert json.loads(body)["output"][0]["content"][0]["text"] == "hi"


@pytest.mark.parametrize("provider", ["openai", "groq"])
def test_streams(provider: str) -> None:
    """Passed or translated, the client gets its own events."""
    events = {
        "openai": [("response.completed", {"type": "response.completed", "response": ANSWER})],
        "groq": [
            ("", {"id": "c", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}),
            ("", "[DONE]"),
        ],
    }  # fmt: skip
    relay = GptAdapter(ENDPOINTS).open_stream(prompt(stream=True), target(provider))
    out = b""
    for name, data in events[provider]:
        text = data if isinstance(data, str) else json.dumps(data)
        out += relay.feed(f"event: {name}\ndata: {text}\n\n".removeprefix("event: \n").encode())
    out += relay.finish()
    assert relay.outcome.is_complete
    assert b"event: response.completed" in out
