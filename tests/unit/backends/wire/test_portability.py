"""A conversation moves between providers at any turn: calls find their results, signatures their issuers."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire import anthropic_messages, openai_chat, openai_responses
from backends.wire.clients import CLIENTS
from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    ReasoningDelta,
    Start,
    TextDelta,
)
from backends.wire.gemini.patch import patch_request as patch_gemini
from backends.wire.prompt import Asked, Prompt, Reasoning, ToolCall, WireFormat
from backends.wire.relay import fold_answer
from backends.wire.signatures import ISSUERS, is_wrapped, unwrap, wrap
from backends.wire.targets import TARGETS
from backends.wire.usage import Usage

CARRIERS: tuple[WireFormat, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic-messages",
    "gemini",
)
MODELS = {
    "openai-chat": "gpt-5.5",
    "openai-responses": "gpt-5.5",
    "anthropic-messages": "claude-sonnet-4-5",
    "gemini": "gemini-3-pro-preview",
}
TOOL = {"type": "object", "properties": {"n": {"type": "integer"}}}


@dataclass(frozen=True)
class Turn:
    """What a provider said once, and whether the client then answered its calls."""

    issuer: str
    text: str
    thinking: str
    calls: int


turns = st.builds(
    Turn,
    st.sampled_from(["openai", "anthropic", "gemini", "nobody"]),
    st.text("abc ", max_size=5),
    st.sampled_from(["", "hm"]),
    st.integers(0, 3),
)


def signature_of(issuer: str, number: int) -> str:
    """An opaque signature that can be told from all others; base64, as Google's are."""
    return f"{issuer}{number:04d}Sig" + "A" * (-len(f"{issuer}{number:04d}Sig") % 4)


def answer_of(turn: Turn, number: int) -> list[Event]:
    """The provider's answer as events."""
    events: list[Event] = [Start(f"r{number}", "m", 0)]
    signed = turn.issuer != "nobody"
    signature = signature_of(turn.issuer, number) if signed else None
    if turn.thinking and turn.issuer != "gemini":
        events.append(ReasoningDelta(turn.thinking))
        if signature is not None:
            events.append(ReasoningDelta("", signature, turn.issuer))
    if turn.text.strip():
        events.append(TextDelta(turn.text))
    for at in range(turn.calls):
        mine = signature if turn.issuer == "gemini" and at == 0 else None
        issuer = None if mine is None else "gemini"
        events.append(CallStart(at, f"call_{number}_{at}", "count", mine, 0, issuer))
        events.append(CallDelta(at, json.dumps({"n": at})))
    events += [Finish("tool_call" if turn.calls else "stop", "x"), End(Usage(1, 1))]
    return events


def asker(format: WireFormat) -> Prompt:
    """A client that wants to see the thinking, and to get what OpenAI signed."""
    raw = b'{"include":["reasoning.encrypted_content"]}'
    return Prompt(format, raw, "m", (), shows_reasoning=True)


def converse(client: WireFormat, said: list[Turn]) -> dict[str, Any]:
    """The body that a client of this format sends after these turns, made of the answers as it got them."""
    messages: list[dict[str, Any]] = [_user(client, "go")]
    for number, turn in enumerate(said):
        body = json.loads(fold_answer(asker(client), answer_of(turn, number)).body)
        if client == "openai-responses":
            messages += body["output"]
            results = [
                {"type": "function_call_output", "call_id": one["call_id"], "output": "ok"}
                for one in body["output"]
                if one["type"] == "function_call"
            ]
        elif client == "openai-chat":
            message = body["choices"][0]["message"]
            messages.append(message)
            results = [
                {"role": "tool", "tool_call_id": call["id"], "content": "ok"}
                for call in message.get("tool_calls", ())
            ]
        elif client == "anthropic-messages":
            if body["content"]:
                messages.append({"role": "assistant", "content": body["content"]})
            results = [
                {"type": "tool_result", "tool_use_id": one["id"], "content": "ok"}
                for one in body["content"]
                if one["type"] == "tool_use"
            ]
        else:
            content = body["candidates"][0]["content"]
            if content.get("parts"):
                messages.append(content)
            results = [
                {"functionResponse": {"name": "count", "id": part["functionCall"]["id"], "response": {"output": "ok"}}}
                for part in content.get("parts", ())
                if "functionCall" in part
            ]  # fmt: skip
        if results and client in ("openai-chat", "openai-responses"):
            messages += results
        elif results:
            name = "content" if client == "anthropic-messages" else "parts"
            messages.append({"role": "user", name: results})
        else:
            messages.append(_user(client, "go on"))
    if client == "openai-chat":
        function = {"name": "count", "parameters": TOOL}
        tools = [{"type": "function", "function": function}]
        return {"model": "m", "messages": messages, "tools": tools}
    if client == "openai-responses":
        tools = [{"type": "function", "name": "count", "parameters": TOOL}]
        return {"model": "m", "input": messages, "tools": tools}
    if client == "anthropic-messages":
        tools = [{"name": "count", "input_schema": TOOL}]
        return {"model": "m", "max_tokens": 9000, "messages": messages, "tools": tools}
    declared = {"name": "count", "parametersJsonSchema": TOOL}
    return {"contents": messages, "tools": [{"functionDeclarations": [declared]}]}


def _user(client: WireFormat, words: str) -> dict[str, Any]:
    if client != "gemini":
        return {"role": "user", "content": words}
    return {"role": "user", "parts": [{"text": words}]}


def sent_to(target: WireFormat, prompt: Prompt) -> bytes:
    """The body that a target gets: patched if it is its own format, else rendered."""
    if prompt.format == target == "openai-chat":
        return openai_chat.patch_request(prompt, model="m", output_cap=None, ask_usage=False)
    if prompt.format == target == "anthropic-messages":
        return anthropic_messages.patch_request(
            prompt, model="m", output_cap=None, allows_provider_tools=False
        )[0]
    if prompt.format == target == "openai-responses":
        return openai_responses.patch_request(
            prompt, model="m", output_cap=None, allows_provider_tools=False
        )[0]
    if prompt.format == target == "gemini":
        return patch_gemini(prompt, model="m", output_cap=None, allows_provider_tools=False)[0]
    return (
        TARGETS[target]
        .render_request(prompt, model=MODELS[target], output_cap=None, output_tokens_default=1000)
        .body
    )


@pytest.mark.parametrize("client", CARRIERS)
@given(said=st.lists(turns, max_size=6))
def test_signatures_reach_their_issuer_and_nobody_else(
    client: WireFormat, said: list[Turn]
) -> None:
    """Whoever goes on with the conversation gets its own signatures, byte for byte, and no other's."""
    raw = json.dumps(converse(client, said)).encode()
    prompt = CLIENTS[client].parse_request(raw, Asked("m"))
    for target in TARGETS:
        body = sent_to(target, prompt)
        assert b"mg1." not in body
        assert b"bWcxL" not in body
        for number, turn in enumerate(said):
            if turn.issuer == "nobody":
                continue
            is_signed = turn.calls if turn.issuer == "gemini" else turn.thinking
            signature = signature_of(turn.issuer, number).encode()
            is_there = signature in body
            assert is_there == (bool(is_signed) and ISSUERS.get(target) == turn.issuer)


@pytest.mark.parametrize("client", CARRIERS)
@given(said=st.lists(turns, max_size=6))
def test_calls_find_their_results(client: WireFormat, said: list[Turn]) -> None:
    """In every target's body each call has one result, under the same id."""
    raw = json.dumps(converse(client, said)).encode()
    prompt = CLIENTS[client].parse_request(raw, Asked("m"))
    count = sum(turn.calls for turn in said)
    for target in TARGETS:
        body = json.loads(sent_to(target, prompt))
        calls, results = ids_in(body)
        assert len(set(calls)) == count
        assert sorted(calls) == sorted(results)


def ids_in(node: Any) -> tuple[list[str], list[str]]:
    """Ids of calls and of results, anywhere in a body of any format."""
    calls: list[str] = []
    results: list[str] = []
    todo = [node]
    while todo:
        one = todo.pop()
        if isinstance(one, list):
            todo += one
        elif isinstance(one, dict):
            todo += one.values()
            if one.get("type") == "tool_use" or "arguments" in one.get("function", {}):
                calls.append(one["id"])
            elif one.get("type") == "function_call":
                calls.append(one["call_id"])
            elif one.get("type") == "function_call_output":
                results.append(one["call_id"])
            elif "functionCall" in one:
                calls.append(one["functionCall"]["id"])
            elif one.get("type") == "tool_result":
                results.append(one["tool_use_id"])
            elif one.get("role") == "tool":
                results.append(one["tool_call_id"])
            elif "functionResponse" in one:
                results.append(one["functionResponse"]["id"])
    return calls, results


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses", "anthropic-messages"])
@given(st.text(), st.sampled_from(["openai", "anthropic", "gemini", "x"]))
def test_a_wrapped_signature_comes_back(wire: WireFormat, signature: str, issuer: str) -> None:
    """In any format, with its issuer, whatever it is made of."""
    kept = wrap(signature, issuer, wire)
    if ISSUERS.get(wire) == issuer:
        assert kept == signature
    else:
        assert is_wrapped(kept)
        assert unwrap(kept, wire) == (signature, issuer)


def test_a_foreign_call_signature_returns_to_its_call() -> None:
    """Anthropic's format has no place on a call: it travels in a redacted block before it."""
    body = converse("anthropic-messages", [Turn("gemini", "", "", 2)])
    kinds = [block["type"] for block in body["messages"][1]["content"]]
    assert kinds == ["redacted_thinking", "tool_use", "tool_use"]
    prompt = CLIENTS["anthropic-messages"].parse_request(json.dumps(body).encode(), Asked())
    parts = prompt.messages[1].parts
    assert not any(isinstance(part, Reasoning) for part in parts)
    first, second = (part for part in parts if isinstance(part, ToolCall))
    assert (first.signature, first.issuer) == (signature_of("gemini", 0), "gemini")
    assert second.signature is None


@pytest.mark.parametrize("target", ["openai-chat", "openai-responses", "gemini"])
def test_search_results_of_the_clients_own_keep_their_words(target: WireFormat) -> None:
    """What a client found and put into a message reaches every target; what only Claude heeds is listed."""
    found = {
        "type": "search_result", "source": "https://a.example/", "title": "Hours",
        "content": [{"type": "text", "text": "open until six"}], "citations": {"enabled": True},
    }  # fmt: skip
    said = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": [found]}]}
    prompt = CLIENTS["anthropic-messages"].parse_request(json.dumps(said).encode(), Asked())
    rendered = TARGETS[target].render_request(
        prompt, model="m", output_cap=None, output_tokens_default=100
    )
    for words in (b"https://a.example/", b"Hours", b"open until six"):
        assert words in rendered.body
    assert [name.endswith("search_result.citations") for name in rendered.dropped] == [True]
