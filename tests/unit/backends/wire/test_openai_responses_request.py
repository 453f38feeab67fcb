"""OpenAI's Responses: a client's request as a prompt, and a prompt as a request."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat import parse_request as parse_chat
from backends.wire.openai_responses import parse_request, patch_request, render_request
from backends.wire.prompt import (
    Asked,
    Hints,
    Json,
    Media,
    Message,
    Opaque,
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

PIXEL = "iVBORw0KGgo="


def parse(**members: Any) -> Prompt:
    body = {"model": "m", "input": "hi", **members}
    return parse_request(json.dumps(body).encode(), Asked())


def refusal(**members: Any) -> Failure:
    with pytest.raises(WireError) as caught:
        parse(**members)
    return caught.value.failure


def render(prompt: Prompt, **more: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    given: dict[str, Any] = {"model": "gpt-5.5", "output_cap": None, "output_tokens_default": 9}
    rendered = render_request(prompt, **{**given, **more})
    return json.loads(rendered.body), rendered.dropped


def chat(*messages: Message, **members: Any) -> Prompt:
    return Prompt(
        "openai-chat", b"{}", "m", messages or (Message("user", (Text("hi"),)),), **members
    )


def test_instructions_come_first() -> None:
    """They are a system message before the input."""
    assert parse(instructions="be brief").messages == (
        Message("system", (Text("be brief"),)),
        Message("user", (Text("hi"),)),
    )


def test_a_turn_of_the_assistant_is_one_message() -> None:
    """Thinking, text and calls belong together, and so do the results; a second text begins anew."""
    prompt = parse(
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "go"}]},
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "S",
             "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "well"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": ""},
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
            {"type": "function_call_output", "call_id": "c2", "output": [
                {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}]},
            {"role": "assistant", "content": "so"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ]
    )  # fmt: skip
    assert prompt.messages[1:] == (
        Message(
            "assistant",
            (
                Reasoning("a\n\nb", "S", "openai", id="rs_1"),
                Text("well"),
                ToolCall("c1", "f", "{}"),
                ToolCall("c2", "g", ""),
            ),
        ),
        Message(
            "tool",
            (
                ToolResult("c1", (Text("1"),), "f"),
                ToolResult("c2", (Media("image", "image/png", PIXEL),), "g"),
            ),
        ),
        Message("assistant", (Text("so"),)),
        Message("assistant", (Refusal("no"),)),
    )


def test_what_only_openai_knows_stays_whole() -> None:
    """Items as they came, with the files and pictures that they name to be seen."""
    item = {
        "type": "computer_call_output",
        "output": {"file_id": "f1", "image_url": "https://a.example/b"},
    }
    prompt = parse(input=[{"role": "user", "content": "x"}, item, {"id": "msg_1"}])
    parts = prompt.messages[0].parts
    assert parts[1] == Opaque("computer_call_output", json.dumps(item).encode())
    assert set(parts[2:4]) == {
        Media("document", file_id="f1"),
        Media("image", url="https://a.example/b"),
    }
    assert parts[4] == Opaque("item_reference", b'{"id": "msg_1"}')


@pytest.mark.parametrize(
    ("member", "value", "media"),
    [
        ("file_id", "f1", Media("document", file_id="f1")),
        (
            "image_url",
            "data:image/png;base64,AAAA",
            Media("image", url="data:image/png;base64,AAAA"),
        ),
        ("file_data", "AAAA", Media("document", url="AAAA")),
        ("input_audio", {"data": "AAAA", "format": "wav"}, Media("audio")),
    ],
)
def test_media_are_seen_in_parts_that_are_not_modelled(
    member: str, value: object, media: Media
) -> None:
    """A part of another kind is no way around what is done with pictures, sounds and files."""
    part = {"type": "computer_screenshot", member: value}
    for items in ([{"role": "user", "content": [part]}], [{"type": "odd", "inside": [part]}]):
        prompt = parse(input=items)
        assert media in prompt.messages[-1].parts


def test_pieces_of_thinking_need_no_type() -> None:
    """Left out or null they are text like the others; a kind that nobody knows is kept by its path."""
    pieces = [{"text": "a"}, {"text": "b", "type": None}, {"text": "c", "type": "odd"}]
    prompt = parse(input=[{"type": "reasoning", "summary": pieces}])
    assert prompt.messages == (Message("assistant", (Reasoning("a\n\nb\n\nc"),)),)
    assert prompt.unknown == {"input[0].summary[2].type": b'"odd"'}


def test_kept_state_is_found_by_name() -> None:
    """What the gateway has to look at stands in the unknown members, and the input may then be nothing."""
    prompt = parse(
        input=None,
        previous_response_id="resp_1",
        store=True,
        background=True,
        conversation="conv_1",
    )
    assert prompt.messages == ()
    assert prompt.unknown == {
        "previous_response_id": b'"resp_1"',
        "store": b"true",
        "background": b"true",
        "conversation": b'"conv_1"',
    }
    assert parse(store=False, background=False).unknown == {"store": b"false"}


def test_options_are_understood() -> None:
    """Everything that the prompt has a word for."""
    prompt = parse(
        tools=[
            {"type": "function", "name": "f", "parameters": {"b": 1, "a": 2}, "strict": True},
            {"type": "web_search", "filters": None},
            {"type": "namespace", "name": "n", "tools": []},
        ],
        tool_choice={"type": "function", "name": "f"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": {"x": 1}}, "verbosity": "low"},
        reasoning={"effort": "xhigh", "summary": "detailed"},
        include=["reasoning.encrypted_content", "file_search_call.results"],
        max_output_tokens=50, temperature=0.5, top_p=0.5, user="u", prompt_cache_key="k",
        truncation="disabled", top_logprobs=0, stream=True, stream_options={"include_obfuscation": False},
    )  # fmt: skip
    assert prompt.tools == (Tool("f", None, b'{"b": 1, "a": 2}', is_strict=True),)
    assert [(tool.kind, tool.path) for tool in prompt.provider_tools] == [
        ("web_search", "tools[1]"),
        ("namespace", "tools[2]"),
    ]
    assert prompt.tool_choice == ToolChoice("named", "f")
    assert prompt.allows_parallel_calls is False
    assert prompt.output_schema == OutputSchema(b'{"x": 1}', "n")
    assert (prompt.reasoning_effort, prompt.shows_reasoning) == ("xhigh", True)
    assert prompt.sampling == Sampling(0.5, 0.5)
    assert prompt.hints == Hints("u", "k")
    assert (prompt.output_tokens_max, prompt.is_stream) == (50, True)
    assert prompt.unknown == {
        "text.verbosity": b'"low"',
        "reasoning.summary": b'"detailed"',
        "include": b'["file_search_call.results"]',
    }


@pytest.mark.parametrize(
    ("choice", "expected", "kept"),
    [
        ("required", ToolChoice("required"), {}),
        ({"type": "web_search"}, None, {"tool_choice": b'{"type":"web_search"}'}),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"name": "f"}]},
            ToolChoice("required"),
            {"tool_choice.tools": b'[{"name":"f"}]'},
        ),
    ],
)
def test_choices_of_tools(
    choice: Json, expected: ToolChoice | None, kept: dict[str, bytes]
) -> None:
    """What the prompt has no word for is kept, so that it is looked at and listed."""
    prompt = parse(tool_choice=choice)
    assert prompt.tool_choice == expected
    assert prompt.unknown == kept


@pytest.mark.parametrize(
    ("members", "param", "words"),
    [
        ({"model": None}, "model", "is missing"),
        ({"model": ""}, "model", "empty"),
        ({"input": None}, "input", "is missing"),
        ({"input": []}, "input", "empty"),
        ({"input": 5}, "input", "must be"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "`developer`"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
         "input[0].content[0].type", "`input_text`"),
        ({"input": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]},
         "input[0].content[0].type", "`input_text`"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text", "missing"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x"}]}]},
         "input[0].content[0].image_url", "http"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id", "`input[0].call_id` is missing"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "x"}]}]},
         "input[0].output[0].type", "`input_file`"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "is missing"),
        ({"tools": [{"name": "f"}]}, "tools[0].type", "is missing"),
        ({"tool_choice": "any"}, "tool_choice", "`required`"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", "missing"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "`json_schema`"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort", "`xhigh`"),
        ({"temperature": 3}, "temperature", "between 0 and 2"),
        ({"max_output_tokens": 0}, "max_output_tokens", "between"),
        ({"include": "x"}, "include", "a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(members: dict[str, Any], param: str, words: str) -> None:
    """The path of the member, and what would be right."""
    failure = refusal(**members)
    assert failure.kind == "invalid_request"
    assert failure.param == param
    assert words in failure.message


def test_foreign_signatures_come_back_as_whose_they_are() -> None:
    """On thinking, on hidden thinking, and on the call behind."""
    prompt = parse(
        input=[
            {
                "type": "reasoning",
                "summary": [{"text": "t"}],
                "encrypted_content": "mg1.anthropic.A",
            },
            {"type": "reasoning", "summary": [], "encrypted_content": "mg1.anthropic.hidden:B"},
            {"type": "reasoning", "summary": [], "encrypted_content": "mg1.gemini.call:C"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ]
    )
    assert prompt.messages[0].parts == (
        Reasoning("t", "A", "anthropic"),
        Reasoning("", "B", "anthropic", is_redacted=True),
        ToolCall("c", "f", "{}", "C", "gemini"),
    )
    body, dropped = render(prompt)
    assert [item["type"] for item in body["input"]] == ["function_call"]
    assert dropped == ("input[].reasoning",)


def test_a_prompt_becomes_items() -> None:
    """Of any format: OpenAI's own thinking before its call, results with pictures, errors in words."""
    body, dropped = render(
        chat(
            Message("system", (Text("s"),)),
            Message("assistant", (
                Reasoning("why", "S", "openai", id="rs_1"), Reasoning("x", "G", "gemini"), Text("well"),
                ToolCall("c" * 70, "f", ""))),
            Message("tool", (ToolResult("c" * 70, (Text("r"),), is_error=True),)),
            Message("user", (Text("look"), Media("image", url="https://a.example/b"),
                             Media("document", "application/pdf", "JVBE"))),
            tools=(Tool("f", "d", b'{"type":"object"}'),), tool_choice=ToolChoice("named", "f"),
            allows_parallel_calls=False, output_tokens_max=100, reasoning_effort="max", shows_reasoning=True,
            sampling=Sampling(0.5, None, 4, 7, ("x",), 1.0), hints=Hints("u", "k"),
            output_schema=OutputSchema(b'{"x":1}', "n", None, is_strict=True), is_stream=True,
        )
    )  # fmt: skip
    call_id = body["input"][3]["call_id"]
    assert len(call_id) <= 64
    assert body == {
        "model": "gpt-5.5", "store": False, "stream": True, "max_output_tokens": 100, "temperature": 0.5,
        "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "xhigh", "summary": "auto"},
        "user": "u", "prompt_cache_key": "k", "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"},
                   "strict": False}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"x": 1}, "strict": True}},
        "input": [
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "s"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "why"}],
             "encrypted_content": "S"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "well"}]},
            {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": call_id, "output": "[tool error]\nr"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "https://a.example/b"},
                {"type": "input_file", "filename": "document.pdf",
                 "file_data": "data:application/pdf;base64,JVBE"}]},
        ],
    }  # fmt: skip
    assert set(dropped) == {
        "messages[].reasoning_content", "reasoning_effort", "top_k", "seed", "stop", "presence_penalty",
    }  # fmt: skip


def test_the_cap_holds() -> None:
    """The lower one is sent; one that OpenAI would not take is refused, for a higher one breaks the bound."""
    assert render(chat(output_tokens_max=100), output_cap=40)[0]["max_output_tokens"] == 40
    assert "max_output_tokens" not in render(chat())[0]
    with pytest.raises(WireError) as caught:
        render(chat(output_tokens_max=5))
    assert caught.value.failure.param == "max_tokens"


@pytest.mark.parametrize(
    ("model", "is_asked"),
    [("gpt-5.5", True), ("o3", True), ("gpt-4o", False), ("gpt-5-chat", False)],
)
def test_signatures_are_asked_of_who_signs(model: str, is_asked: bool) -> None:
    """Other models answer the question with an error."""
    assert ("include" in render(chat(), model=model)[0]) == is_asked


def patched(
    body: dict[str, Any], *, allows: bool = False, cap: int | None = None, signs: bool = False
) -> tuple[str, tuple[str, ...]]:
    prompt = parse_request(json.dumps(body).encode(), Asked())
    out, lost = patch_request(
        prompt, model="x", output_cap=cap, allows_provider_tools=allows, asks_signatures=signs
    )
    return out.decode(), lost


def test_a_body_passes_but_for_its_edits() -> None:
    """Spaces, order and numbers stay; model, store and cap change."""
    raw = b'{ "input" : "hi", "model":"m",  "store": true, "max_output_tokens":90 , "top_p":1.0 }'
    out, lost = patch_request(
        parse_request(raw, Asked()), model="x", output_cap=20, allows_provider_tools=False
    )
    assert (
        out
        == b'{ "input" : "hi", "model":"x",  "store": false, "max_output_tokens":20 , "top_p":1.0 }'
    )
    assert lost == ()


def test_what_the_client_did_not_say_is_added() -> None:
    """Store and cap, and signatures for the next turn, unless the client keeps its own state."""
    out, _ = patched({"model": "m", "input": "hi"}, cap=20, signs=True)
    assert json.loads(out) == {
        "model": "x", "input": "hi", "store": False, "max_output_tokens": 20,
        "include": ["reasoning.encrypted_content"],
    }  # fmt: skip
    own = {"model": "m", "input": "hi", "store": False}
    assert json.loads(patched(own, signs=True)[0]) == own | {"model": "x"}


def test_tools_that_may_not_travel_are_taken_out() -> None:
    """With the choice that may name them; what the client runs itself stays."""
    body: dict[str, Any] = {
        "model": "m", "store": False, "tool_choice": {"type": "web_search"},
        "tools": [{"type": "web_search"}, {"type": "custom", "name": "c"}, {"type": "mcp", "server_url": "u"}],
        "input": [{"role": "user", "content": "x"},
                  {"type": "additional_tools", "role": "developer", "tools": [{"type": "mcp"}]}],
    }  # fmt: skip
    out, lost = patched(body)
    assert lost == ("tools.web_search", "tools.mcp", "tools.mcp")
    said = json.loads(out)
    assert said["tools"] == [{"type": "custom", "name": "c"}]
    assert said["input"] == body["input"][:1]
    assert "tool_choice" not in said
    assert [tool["type"] for tool in json.loads(patched(body, allows=True)[0])["tools"]] == [
        "web_search",
        "custom",
    ]


def test_thinking_that_openai_did_not_sign_is_taken_out() -> None:
    """Wrapped signatures, and references to what nobody kept; its own stays byte for byte."""
    own = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "S"}
    items = [
        own,
        {"type": "reasoning", "summary": [], "encrypted_content": "mg1.anthropic.A"},
        {"type": "reasoning", "summary": [], "encrypted_content": "mg1.gemini.call:C"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "id": "rs_2", "summary": []},
    ]
    out, lost = patched({"model": "m", "input": items, "store": False})
    assert lost == ("input[].reasoning",)
    assert json.loads(out)["input"] == [own, items[3]]


texts = st.text(max_size=8)
parts = st.builds(Text, texts) | st.builds(
    Media, st.just("image"), url=st.just("https://a.example/b")
)
messages = st.one_of(
    st.builds(Message, st.sampled_from(["user", "system", "developer"]), st.tuples(parts, parts)),
    st.builds(
        Message,
        st.just("assistant"),
        st.tuples(
            st.builds(Reasoning, texts, texts.filter(bool), st.just("openai"), id=st.just("rs_1")),
            st.builds(Text, texts) | st.builds(Refusal, texts),
            st.builds(ToolCall, texts.filter(bool), texts, st.just('{"a":1}')),
        ),
    ),
)


@given(st.lists(messages, min_size=1, max_size=5).map(tuple), st.booleans())
def test_a_rendered_prompt_parses_into_itself(said: tuple[Message, ...], is_stream: bool) -> None:
    """What one side writes the other reads."""
    body, dropped = render(chat(*said, is_stream=is_stream, tools=(Tool("f", None, b"{}"),)))
    assert dropped == ()
    again = parse_request(json.dumps(body).encode(), Asked())
    flat = [(message.role, part) for message in said for part in message.parts]
    assert [(message.role, part) for message in again.messages for part in message.parts] == flat
    assert again.is_stream == is_stream


def test_ids_of_a_chat_are_carried() -> None:
    """Texts under the same name, no longer than OpenAI takes; what is none is as good as not said, or listed."""
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    ids = {"user": "u", "safety_identifier": "s" * 100, "prompt_cache_key": "k"}
    body, dropped = render(parse_chat(json.dumps(chat | ids).encode()))
    assert (body["user"], body["prompt_cache_key"]) == ("u", "k")
    assert len(body["safety_identifier"]) <= 64
    assert dropped == ()
    for value, lost in ((None, ()), ("", ("user",)), (7, ("user",))):
        body, dropped = render(parse_chat(json.dumps(chat | {"user": value}).encode()))
        assert "user" not in body
        assert dropped == lost
