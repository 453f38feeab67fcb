"""Responses clients at OpenAI, and elsewhere."""

import json
from typing import Any

import pytest

from backends.adapter import Terms
from backends.gpt import GptAdapter
from backends.target import Endpoint, Secret, Target
from backends.wire.clients import CLIENTS
from backends.wire.openai_responses import parse_request
from backends.wire.prompt import Asked, Prompt, WireFormat

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


def target(provider: str, model: str = "gpt-5.5") -> Target:
    return Target(
        name=f"{provider}/{model}", provider=provider, adapter="gpt", format="openai-chat", model=model,
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


THINKING = {
    "type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": "gAAA",
}  # fmt: skip
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}


def messages(*more: dict[str, Any], **members: Any) -> Prompt:
    said = [{"role": "user", "content": "hi"}, *more]
    body = {"model": "auto", "max_tokens": 9000, "messages": said, **members}
    return CLIENTS["anthropic-messages"].parse_request(json.dumps(body).encode(), Asked())


def contents(*more: dict[str, Any], **config: Any) -> Prompt:
    said = [{"role": "user", "parts": [{"text": "hi"}]}, *more]
    body = {"contents": said, "generationConfig": config}
    return CLIENTS["gemini"].parse_request(json.dumps(body).encode(), Asked("auto"))


def chat(**members: Any) -> Prompt:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **members}
    return CLIENTS["openai-chat"].parse_request(json.dumps(body).encode(), Asked())


ADAPTIVE = {"type": "adaptive"}
SEEN = {"includeThoughts": True}


@pytest.mark.parametrize(
    ("asked", "is_responses"),
    [
        (messages(thinking=ADAPTIVE), True),
        (messages(), False),
        (messages(thinking={"type": "disabled"}), False),
        (messages(thinking=ADAPTIVE, stop_sequences=["END"]), False),
        (messages(thinking=ADAPTIVE, max_tokens=9), False),
        (contents(thinkingConfig=SEEN), True),
        (contents(thinkingConfig={"thinkingBudget": 2048}), True),
        (contents(thinkingConfig={"thinkingBudget": 0}), False),
        (contents(thinkingConfig=SEEN, seed=3), False),
        (contents(thinkingConfig=SEEN, candidateCount=2), False),
        (contents({"role": "user", "parts": [{"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}]},
                  thinkingConfig=SEEN), False),
        (chat(reasoning_effort="high"), False),
    ],
)  # fmt: skip
def test_clients_that_keep_signatures_think_in_responses(asked: Prompt, is_responses: bool) -> None:
    """Where OpenAI thinks for them, unless only a chat takes all that they said; nobody else does, nowhere else."""
    adapter = GptAdapter(ENDPOINTS)
    where = adapter.prepare(asked, target("openai"), Terms()).url.rpartition("/")[2]
    assert where == ("responses" if is_responses else "completions")
    for other in (target("groq"), target("openai", "gpt-4.1")):
        assert adapter.prepare(asked, other, Terms()).url.endswith("/chat/completions")


@pytest.mark.parametrize("format", ["anthropic-messages", "gemini"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_thinking_goes_back_to_openai_as_it_came(format: WireFormat, is_stream: bool) -> None:
    """Encrypted, with its item's id and before its call, though the second turn does not ask for thinking."""
    adapter = GptAdapter(ENDPOINTS)
    asks = {
        "anthropic-messages": messages(thinking=ADAPTIVE),
        "gemini": contents(thinkingConfig=SEEN),
    }
    whole = ANSWER | {"output": [THINKING, CALL]}
    if is_stream:
        end = {"type": "response.completed", "response": whole}
        relay = adapter.open_stream(asks[format], target("openai"))
        out = relay.feed(f"event: response.completed\ndata: {json.dumps(end)}\n\n".encode())
        answer = join(format, out + relay.finish())
    else:
        raw = json.dumps(whole).encode()
        answer = json.loads(adapter.read_answer(asks[format], target("openai"), raw).body)
    if format == "gemini":
        result = {"functionResponse": {"name": "f", "id": "c1", "response": {"output": "ok"}}}
        asked = contents(answer["candidates"][0]["content"], {"role": "user", "parts": [result]})
    else:
        result = {"type": "tool_result", "tool_use_id": "c1", "content": "ok"}
        said = {"role": "assistant", "content": answer["content"]}
        asked = messages(said, {"role": "user", "content": [result]})
    sent = adapter.prepare(asked, target("openai"), Terms())
    assert sent.url.endswith("/responses")
    body = json.loads(sent.body)
    assert body["input"][1:3] == [THINKING, CALL]
    assert (body["store"], body["include"]) == (False, ["reasoning.encrypted_content"])
    assert b"summary" not in adapter.prepare(asks[format], target("openai"), Terms()).body


def join(format: WireFormat, stream: bytes) -> dict[str, Any]:
    """The answer that a stream of a format folds into, as its client has it."""
    found = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]
    if format == "gemini":
        parts = [part for one in found for part in one["candidates"][0]["content"]["parts"]]
        return {"candidates": [{"content": {"role": "model", "parts": parts}}]}
    blocks: list[dict[str, Any]] = []
    for event in found:
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            for name, text in event["delta"].items():
                if name in ("thinking", "signature", "text"):
                    blocks[-1][name] += text
    return {"content": blocks}
