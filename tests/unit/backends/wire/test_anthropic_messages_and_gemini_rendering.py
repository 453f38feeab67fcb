"""Random prompts rendered for Claude and Gemini are valid by the official SDKs' own types."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
from anthropic.types import message_create_params
from google.genai import types as genai
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from backends.wire import anthropic_messages, gemini
from backends.wire.failure import WireError
from backends.wire.prompt import (
    Media,
    Message,
    OutputSchema,
    Prompt,
    Reasoning,
    Refusal,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from backends.wire.rendering import Rendered

CLAUDE_MODELS = (
    "claude-3-5-haiku-latest",
    "claude-sonnet-4-0",
    "claude-haiku-4-5",
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-opus-4-8",
    "claude-sonnet-5",
    "claude-sonnet-5-5",
    "claude-opus-5-5",
)
GEMINI_MODELS = ("gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3.8-flash")
REMOVED_FROM_THE_SDK = {"temperature", "top_p", "top_k"}
"""The SDK speaks 2026-10-21, which has no sampling members; moegate speaks 2023-06-01."""

texts = st.one_of(st.text(max_size=12), st.sampled_from(["hi", " ", '{"a": 1}', "Grüße 🌍"]))
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
schemas = st.sampled_from(
    [
        b'{"type":"object"}',
        b'{"type":"object","properties":{"a":{"type":"integer","minimum":1}}}',
        b'{"properties":{}}',
    ]
)
media = st.sampled_from(
    [
        Media("image", "image/png", "aGk="),
        Media("image", url="https://example.com/a.png", detail="low"),
        Media("document", "application/pdf", "aGk=", name="a.pdf"),
        Media("document", "text/plain", "aGk="),
    ]
)
calls = st.builds(
    ToolCall, st.sampled_from(["a", "b.c", "ü"]), names, st.sampled_from(["", "{}", '{"x":1}', "["])
)
thinking = st.builds(
    Reasoning,
    texts,
    st.sampled_from([None, "c2ln"]),
    st.sampled_from([None, "anthropic", "gemini"]),
    st.booleans(),
)
results = st.builds(
    ToolResult,
    st.sampled_from(["a", "b.c", "ü"]),
    st.lists(st.one_of(st.builds(Text, texts), media), max_size=2).map(tuple),
    names,
    st.booleans(),
)
visible = st.builds(Text, texts)
messages = st.one_of(
    st.builds(Message, st.sampled_from(["system", "developer"]), st.tuples(visible)),
    st.builds(Message, st.just("user"), st.lists(st.one_of(visible, media), max_size=3).map(tuple)),
    st.builds(
        Message,
        st.just("assistant"),
        st.lists(st.one_of(visible, st.builds(Refusal, texts), calls, thinking), max_size=3).map(
            tuple
        ),
    ),
    st.builds(Message, st.just("tool"), st.tuples(results)),
)
prompts = st.builds(
    Prompt,
    st.just("openai-chat"),
    st.just(b"{}"),
    st.just("auto"),
    st.lists(messages, min_size=1, max_size=6).map(lambda some: (*some, Message("user", (Text("?"),)))),
    tools=st.lists(
        st.builds(Tool, names, texts, st.none() | schemas, st.none() | st.booleans()), max_size=2
    ).map(tuple),
    tool_choice=st.sampled_from(
        [None, *(ToolChoice(mode) for mode in ("auto", "none", "required")), ToolChoice("named", "f")]
    ),
    allows_parallel_calls=st.none() | st.booleans(),
    sampling=st.builds(
        Sampling,
        st.none() | st.floats(0, 2),
        st.none() | st.floats(0, 1),
        st.none() | st.integers(1, 40),
        st.none() | st.integers(-(2**40), 2**40),
        st.lists(texts, max_size=4).map(tuple),
        st.none() | st.floats(-2, 2),
        st.none() | st.floats(-2, 2),
    ),
    output_tokens_max=st.none() | st.integers(1, 100_000),
    output_schema=st.none() | st.builds(OutputSchema, st.none() | schemas),
    reasoning_effort=st.sampled_from(
        [None, "none", "minimal", "low", "medium", "high", "xhigh", "max"]
    ),
    is_stream=st.booleans(),
    unknown=st.dictionaries(
        st.sampled_from(["user", "logit_bias", "prompt_cache_key", "whatever"]),
        st.sampled_from([b"null", b'"x"', b"{}"]),
    ),
)  # fmt: skip

CLAUDE_REQUEST: TypeAdapter[Any] = TypeAdapter(message_create_params.MessageCreateParamsBase)


GEMINI_MEMBERS: dict[str, TypeAdapter[Any]] = {
    "contents": TypeAdapter(list[genai.Content]),
    "systemInstruction": TypeAdapter(genai.Content),
    "tools": TypeAdapter(list[genai.Tool]),
    "toolConfig": TypeAdapter(genai.ToolConfig),
    "generationConfig": TypeAdapter(genai.GenerationConfig),
}
"""What a body may hold; the SDK's models themselves forbid members that they do not know."""


def validate_gemini(body: dict[str, Any]) -> None:
    for name, value in body.items():
        GEMINI_MEMBERS[name].validate_python(value)


def exhaust(value: object) -> None:
    """Walk through ``value``: pydantic checks what the SDK calls iterable only while it is read."""
    if isinstance(value, Mapping):
        exhaust(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for item in value:
            exhaust(item)


def blocks(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message["content"]
        yield from [{"type": "text", "text": content}] if isinstance(content, str) else content


def assert_claude_takes(body: dict[str, Any]) -> None:
    """The rules that Claude enforces and its types do not say."""
    roles = [message["role"] for message in body["messages"]]
    assert all(left != right for left, right in pairwise(roles))
    for block in blocks(body["messages"]):
        assert block["type"] != "text" or block["text"].strip()
        for key in ("id", "tool_use_id"):
            assert all(c.isascii() and (c.isalnum() or c in "_-") for c in block.get(key, "a"))
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]
        assert body.get("tool_choice", {"type": "auto"})["type"] in ("auto", "none")
        assert not REMOVED_FROM_THE_SDK & body.keys()
    assert body.get("temperature", 0) <= 1


def render(
    render_request: Callable[..., Rendered], prompt: Prompt, model: str, output_cap: int | None
) -> dict[str, Any] | None:
    """The rendered body, or None for a prompt that is refused with the member at fault."""
    try:
        rendered = render_request(
            prompt, model=model, output_cap=output_cap, output_tokens_default=4096
        )
    except WireError as error:
        failure = error.failure
    else:
        return json.loads(rendered.body)
    assert failure.kind == "invalid_request"
    assert failure.param is not None
    return None


@given(prompts, st.sampled_from(CLAUDE_MODELS), st.none() | st.integers(1, 5000))
def test_claude_requests_fit_the_sdk(prompt: Prompt, model: str, output_cap: int | None) -> None:
    """Every rendered request has the SDK's types and known members only, and keeps the cap."""
    body = render(anthropic_messages.render_request, prompt, model, output_cap)
    if body is None:
        return
    exhaust(CLAUDE_REQUEST.validate_python(body))
    known = message_create_params.MessageCreateParamsStreaming.__annotations__.keys()
    known |= message_create_params.MessageCreateParamsBase.__annotations__.keys()
    assert body.keys() - known <= REMOVED_FROM_THE_SDK
    assert body["max_tokens"] <= (output_cap or 100_000)
    assert_claude_takes(body)


@given(prompts, st.sampled_from(GEMINI_MODELS), st.none() | st.integers(1, 5000))
def test_gemini_requests_fit_the_sdk(prompt: Prompt, model: str, output_cap: int | None) -> None:
    """Every rendered request has the SDK's types and known members only, and keeps the cap."""
    body = render(gemini.render_request, prompt, model, output_cap)
    if body is None:
        return
    validate_gemini(body)
    roles = [content["role"] for content in body["contents"]]
    assert all(left != right for left, right in pairwise(roles))
    assert all(content["parts"] for content in body["contents"])
    if output_cap is not None:
        assert body["generationConfig"]["maxOutputTokens"] <= output_cap


@pytest.mark.parametrize(
    "broken",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
        {"messages": [{"role": "robot", "content": "a"}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
    ],
)
def test_the_claude_check_can_fail(broken: dict[str, Any]) -> None:
    """The check reads into nested content: a wrong block is not accepted."""
    body = {"model": "claude", "max_tokens": 1, **broken}
    with pytest.raises(ValueError, match="validation error"):
        exhaust(CLAUDE_REQUEST.validate_python(body))


def test_the_gemini_check_can_fail() -> None:
    """The check knows the members: a misspelt one is not accepted."""
    body = {"contents": [{"role": "user", "parts": [{"textt": "a"}]}]}
    with pytest.raises(ValueError, match="validation error"):
        validate_gemini(body)
