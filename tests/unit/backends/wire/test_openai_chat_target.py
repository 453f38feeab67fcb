"""Prompts of other formats as chat requests."""

import json
from typing import Any

import pytest

from backends.wire.failure import WireError
from backends.wire.openai_chat import parse_request, render_request
from backends.wire.openai_chat.target import ERROR_MARK
from backends.wire.prompt import (
    Media,
    Message,
    Opaque,
    Part,
    Prompt,
    Reasoning,
    Role,
    Sampling,
    Text,
    ToolCall,
    ToolResult,
)

IMAGE = Media("image", media_type="image/png", data="aGk=")


def prompt_of(*messages: tuple[Role, tuple[Part, ...]], **more: Any) -> Prompt:
    said = tuple(Message(role, parts) for role, parts in messages)
    return Prompt(format="anthropic-messages", raw=b"{}", request_model="x", messages=said, **more)


def render(prompt: Prompt, **more: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    cap = more.pop("output_cap", None)
    rendered = render_request(prompt, model="m", output_cap=cap, output_tokens_default=9, **more)
    parse_request(rendered.body)
    return json.loads(rendered.body), rendered.dropped


def test_results_come_first_and_their_images_after() -> None:
    """One tool message a result, in order; media follow in a user message, before the user's words."""
    body, dropped = render(
        prompt_of(
            ("assistant", (ToolCall("a", "f", ""), ToolCall("b", "g", '{"x":1}'))),
            ("user", (ToolResult("a", (IMAGE,)), ToolResult("b", (Text("no"),), is_error=True),
                      Text("go on"))),
        )
    )  # fmt: skip
    assert [one["role"] for one in body["messages"]] == ["assistant", "tool", "tool", "user"]
    assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert body["messages"][2]["content"] == f"{ERROR_MARK}\nno"
    kinds = [part["type"] for part in body["messages"][3]["content"]]
    assert kinds == ["image_url", "text"]
    assert dropped == ()


def test_thinking_and_foreign_parts_are_listed() -> None:
    """No thinking and nothing that only another format knows travels."""
    body, dropped = render(
        prompt_of(
            ("user", (Text("hi"), Opaque("search_result", b"{}"))),
            ("assistant", (Reasoning("secret", "sig", "anthropic"), Text("yes"))),
        )
    )
    assert "secret" not in json.dumps(body)
    assert len(dropped) == 2


def test_caps_stops_and_budgets_are_named_as_the_host_does() -> None:
    """The lower cap under the host's name, four stops, an effort for a budget."""
    body, dropped = render(
        prompt_of(
            ("user", (Text("hi"),)),
            sampling=Sampling(stop=("a", "b", "c", "d", "e"), top_k=3),
            output_tokens_max=50,
            reasoning_tokens_max=4000,
        ),
        output_cap=20,
        cap_name="max_tokens",
        not_taken=frozenset({"top_k"}),
    )
    assert body["max_tokens"] == 20
    assert body["stop"] == ["a", "b", "c", "d"]
    assert body["reasoning_effort"] == "low"
    assert len(dropped) == 2


def test_what_cannot_be_sent_is_refused() -> None:
    """A file that one provider keeps, a document by address."""
    for part in (Media("image", file_id="f"), Media("document", url="https://x/y")):
        with pytest.raises(WireError):
            render(prompt_of(("user", (part,))))
