"""A chat request is understood as a whole, or refused with the place that is wrong."""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat import parse_request
from backends.wire.prompt import (
    Media,
    Message,
    OutputSchema,
    Prompt,
    Refusal,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n and more").decode()
USER = {"role": "user", "content": "hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}


def body(**members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [USER], **members}


def parse(value: object) -> Prompt:
    return parse_request(json.dumps(value).encode())


def parse_or_refuse(raw: bytes) -> Prompt | Failure:
    try:
        return parse_request(raw)
    except WireError as error:
        return error.failure


def refusal(value: object) -> Failure:
    with pytest.raises(WireError) as caught:
        parse(value)
    assert caught.value.failure.kind == "invalid_request"
    return caught.value.failure


def in_content(*parts: dict[str, Any]) -> dict[str, Any]:
    return body(messages=[{"role": "user", "content": list(parts)}])


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_a_conversation_with_tools_is_read_in_full() -> None:
    """Roles, parts, calls and results, in order, with the result's name from its call."""
    prompt = parse(
        body(
            messages=[
                {"role": "developer", "content": "be brief"},
                {"role": "user", "name": "ann", "content": [{"type": "text", "text": "weather?"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "look", "arguments": '{"at": "Ulm"}'},
                        },
                        {
                            "id": "c2",
                            "type": "function",
                            "function": {"name": "now", "arguments": ""},
                        },
                    ],
                },
                {"role": "tool", "tool_call_id": "c2", "content": "noon"},
                {
                    "role": "tool",
                    "tool_call_id": "c1",
                    "content": [{"type": "text", "text": "rain"}],
                },
                {"role": "assistant", "content": None, "refusal": "no"},
            ]
        )
    )
    assert prompt.messages == (
        Message("developer", (Text("be brief"),)),
        Message("user", (Text("weather?"),), "ann"),
        Message("assistant", (ToolCall("c1", "look", '{"at": "Ulm"}'), ToolCall("c2", "now", ""))),
        Message("tool", (ToolResult("c2", (Text("noon"),), "now"),)),
        Message("tool", (ToolResult("c1", (Text("rain"),), "look"),)),
        Message("assistant", (Refusal("no"),)),
    )
    assert prompt.unknown == {}


def test_options_are_read() -> None:
    """Sampling, caps, schema, tools and stream options."""
    raw = (
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"top_p":0.5,"seed":7,'
        b'"stop":"END","n":2,"max_tokens":9,"max_completion_tokens":5,"reasoning_effort":"low",'
        b'"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"x": 1.0 }}}],'
        b'"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,'
        b'"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type": "object"}}},'
        b'"stream":true,"stream_options":{"include_usage":true},"presence_penalty":1,"top_k":3}'
    )
    prompt = parse_request(raw)
    assert prompt.raw is raw
    assert prompt.sampling == Sampling(0.0, 0.5, 3, 7, ("END",), 1.0)
    assert (prompt.choices, prompt.output_tokens_max, prompt.reasoning_effort) == (2, 5, "low")
    assert prompt.tools == (Tool("f", parameters=b'{"x": 1.0 }', is_strict=True),)
    assert prompt.tool_choice == ToolChoice("named", "f")
    assert prompt.allows_parallel_calls is False
    assert prompt.output_schema == OutputSchema(b'{"type": "object"}', "s")
    assert prompt.is_stream
    assert prompt.wants_usage


def test_media_are_read() -> None:
    """Inline and linked images, audio and documents."""
    prompt = parse(
        in_content(
            image(f"data:image/png;base64,{PIXEL}"),
            {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "mp3"}},
            {
                "type": "file",
                "file": {"file_data": f"data:application/pdf;base64,{PIXEL}", "filename": "a.pdf"},
            },
        )
    )
    assert prompt.messages[0].parts == (
        Media("image", "image/png", PIXEL),
        Media("image", url="https://x.example/a.png", detail="low"),
        Media("audio", "audio/mpeg", PIXEL),
        Media("document", "application/pdf", PIXEL, name="a.pdf"),
    )


def test_members_nobody_modelled_are_kept_by_path() -> None:
    """At the top as they came, inside of messages and tools by value: all are there to be looked at."""
    raw = (
        b'{"user":"u\\u0031","model":"m","metadata": {"a" : "b"},"messages":[{"role":"user","x":1,"content":'
        b'[{"type":"text","text":"t","cache_control":{"type":"e"}},{"type":"image_url","image_url":'
        b'{"url":"https://a.example","y":"z"}}]},{"role":"assistant","tool_calls":[{"id":"c","index":0,'
        b'"function":{"name":"f","arguments":"{}","more":2}}],"reasoning_content":"hm"}],'
        b'"tools":[{"function":{"name":"f","q":1},"eager":true}],"stream_options":{"include_obfuscation":false}}'
    )
    assert parse_request(raw).unknown == {
        "user": b'"u\\u0031"',
        "metadata": b'{"a" : "b"}',
        "messages[0].x": b"1",
        "messages[0].content[0].cache_control": b'{"type":"e"}',
        "messages[0].content[1].image_url.y": b'"z"',
        "messages[1].tool_calls[0].index": b"0",
        "messages[1].tool_calls[0].function.more": b"2",
        "messages[1].reasoning_content": b'"hm"',
        "tools[0].eager": b"true",
        "tools[0].function.q": b"1",
        "stream_options.include_obfuscation": b"false",
    }


def test_empty_members_of_other_roles_are_taken() -> None:
    """Clients that write every message with every member say nothing by it."""
    empty = {"tool_calls": None, "tool_call_id": None, "refusal": None, "name": None}
    said = body(messages=[USER | empty, USER | {"tool_calls": [], "refusal": ""}], top_k=-1)
    assert parse(said).messages == (Message("user", (Text("hi"),)),) * 2


@pytest.mark.parametrize(
    ("value", "param", "code", "words"),
    [
        ({"messages": [USER]}, "model", "missing_required_parameter", "`model` is missing"),
        (body(model=""), "model", None, "must not be empty"),
        (body(model=3), "model", "invalid_type", "must be a text, not a number"),
        (body(messages=[]), "messages", "empty_array", "must not be empty"),
        (body(messages="x"), "messages", "invalid_type", "must be a list, not a text"),
        (body(messages=[{"content": "x"}]), "messages[0].role", "missing_required_parameter", "missing"),
        (body(messages=[{"role": "boss", "content": "x"}]), "messages[0].role", "invalid_value", "`system`"),
        (body(messages=[USER, {"role": "user", "content": 1}]), "messages[1].content", "invalid_type", "a list"),
        (body(messages=[{"role": "user"}]), "messages[0].content", "missing_required_parameter", "missing"),
        (body(messages=[{"role": "tool", "content": "x"}]), "messages[0].tool_call_id",
         "missing_required_parameter", "missing"),
        (body(messages=[{**USER, "tool_calls": [{"id": "c", "function": {"name": "f"}}]}]),
         "messages[0].tool_calls", "unknown_parameter", "role `user` cannot hold"),
        (body(messages=[{"role": "system", "content": [image("https://x.example")]}]),
         "messages[0].content[0].type", "invalid_value", "role `system` cannot hold"),
        (body(messages=[{"role": "tool", "tool_call_id": "c", "content": [{"type": "refusal", "refusal": "n"}]}]),
         "messages[0].content[0].type", "invalid_value", "role `tool` cannot hold"),
        (body(messages=[USER | {"tool_call_id": "c"}]), "messages[0].tool_call_id", "unknown_parameter",
         "role `user` cannot hold `tool_call_id`"),
        (body(messages=[{"role": "tool", "tool_call_id": "c", "content": "", "refusal": "n"}]),
         "messages[0].refusal", "unknown_parameter", "role `tool` cannot hold"),
        (body(top_k=2**31), "top_k", "integer_above_max_value", "between -1 and"),
        (in_content({"type": "video_url"}), "messages[0].content[0].type", "invalid_value", "`image_url`"),
        (in_content(image("data:image/png;base64,@@@@")), "messages[0].content[0].image_url.url",
         "invalid_base64", "is not base64"),
        (in_content(image(f"data:image/png;base64,{PIXEL}A")), "messages[0].content[0].image_url.url",
         "invalid_base64", "is not base64"),
        (in_content(image("data:image/png;base64,")), "messages[0].content[0].image_url.url",
         "invalid_base64", "holds no data"),
        (in_content(image("data:image/png,abc")), "messages[0].content[0].image_url.url", "invalid_image", "base64"),
        (in_content(image(f"data:text/html;base64,{PIXEL}")), "messages[0].content[0].image_url.url",
         "invalid_image", "is no image"),
        (in_content(image("file:///etc/passwd")), "messages[0].content[0].image_url.url", "invalid_image_url", "URL"),
        (in_content({"type": "input_audio", "input_audio": {"data": PIXEL, "format": "ogg"}}),
         "messages[0].content[0].input_audio.format", None, "wav or mp3"),
        (in_content({"type": "file", "file": {"file_id": "f-1"}}), "messages[0].content[0].file.file_id", None,
         "one provider only"),
        (body(n=0), "n", "integer_below_min_value", "between 1 and 128"),
        (body(n=129), "n", "integer_above_max_value", "between 1 and 128"),
        (body(n=True), "n", "invalid_type", "a whole number"),
        (body(max_tokens=-1), "max_tokens", "integer_below_min_value", "between 1"),
        (body(max_completion_tokens=10**12), "max_completion_tokens", "integer_above_max_value", "between 1"),
        (body(temperature=2.5), "temperature", "decimal_above_max_value", "between 0 and 2"),
        (body(top_p=-0.1), "top_p", "decimal_below_min_value", "between 0 and 1"),
        (body(stop=["a", "b", "c", "d", "e"]), "stop", "array_above_max_length", "at most 4"),
        (body(stream="yes"), "stream", "invalid_type", "true or false"),
        (body(tools=[{"type": "web_search"}]), "tools[0].type", "invalid_value", "`function`"),
        (body(tools=[{"type": "function"}]), "tools[0].function", "missing_required_parameter", "missing"),
        (body(tool_choice="any"), "tool_choice", "invalid_value", "`required`"),
        (body(reasoning_effort="huge"), "reasoning_effort", "invalid_value", "`xhigh`"),
        (body(response_format={"type": "xml"}), "response_format.type", "invalid_value", "`json_schema`"),
        (body(functions=[{"name": "f"}]), "functions", "unsupported_parameter", "send `tools`"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_place(
    value: object, param: str, code: str | None, words: str
) -> None:
    """The path, OpenAI's code and what would be right, each in one line without class names."""
    failure = refusal(value)
    assert (failure.param, failure.code) == (param, code)
    assert words in failure.message
    assert "\n" not in failure.message
    assert not failure.message.endswith(".")


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [
    "model", "messages", "tools", "tool_choice", "stop", "n", "stream", "stream_options", "response_format",
    "temperature", "role", "content", "type", "text", "image_url", "url", "function", "name", "tool_calls",
    "tool_call_id", "json_schema", "schema", "parameters", "file", "file_data", "input_audio", "user",
]  # fmt: skip
SHAPED = st.recursive(
    JSONS
    | st.sampled_from(
        ["user", "tool", "assistant", "text", "image_url", "function", "json_schema"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(NAMES), SHAPED, max_size=8))
def test_any_json_gives_a_prompt_or_a_wire_error(value: dict[str, Any]) -> None:
    """No other exception comes out of a body made of the format's own words."""
    value.setdefault("model", "m")
    value.setdefault("messages", [USER])
    said = parse_or_refuse(json.dumps(value).encode())
    if isinstance(said, Failure):
        assert said.kind == "invalid_request"
    else:
        assert said.request_model == value["model"]


@given(st.binary(max_size=60))
def test_any_bytes_give_a_prompt_or_a_wire_error(raw: bytes) -> None:
    """Also where a sound body is cut or has bytes put in."""
    sound = json.dumps(body()).encode()
    at = len(raw)
    for data in (raw, sound + raw, sound[:at] + raw, sound[:at] + raw + sound[at:]):
        said = parse_or_refuse(data)
        assert isinstance(said, Prompt) or said.kind == "invalid_request"


WILD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(allow_nan=False), st.text(max_size=4),
    st.lists(st.text(max_size=2), max_size=3), st.just([{"type": "text", "text": "hi"}]),
    st.just([USER]), st.just({"include_usage": True}), st.just({}), st.just({"type": "function"}),
)  # fmt: skip
MEMBER_NAMES = st.sampled_from(
    ["model", "messages", "max_tokens", "temperature", "stop", "n", "stream", "seed", "user", "top_p",
     "stream_options", "reasoning_effort", "tool_choice", "logit_bias", "metadata", "odd"]
)  # fmt: skip


@given(st.dictionaries(MEMBER_NAMES, WILD, max_size=5))
def test_both_readers_say_the_same(members: dict[str, Any]) -> None:
    """Whether schemas make a second look at the text necessary changes nothing about the rest."""
    plain, with_tools = body(**members), body(**members, tools=None)
    assert _known(parse_or_refuse(json.dumps(plain).encode())) == _known(
        parse_or_refuse(json.dumps(with_tools).encode())
    )


def _known(read: Prompt | Failure) -> object:
    return read if isinstance(read, Failure) else msgspec.structs.replace(read, raw=b"")


MANY = {"type": "text", "text": "a"}


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": [USER] * 4097}, "messages"),
        ({"messages": [{"role": "user", "content": [MANY] * 16_385}]}, "messages"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL] * 8193}] * 2}, "messages"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 1025}, "tools"),
        ({f"odd{at}": 1 for at in range(300)}, None),
    ],
    ids=["messages", "parts", "calls", "tools", "members"],
)
def test_crowds_are_refused(members: dict[str, Any], param: str | None) -> None:
    """Millions of small things cost seconds, for which no budget pays; a full measure of each is taken."""
    said = parse_or_refuse(json.dumps(body(**members)).encode())
    assert isinstance(said, Failure)
    assert (said.kind, said.param) == ("invalid_request", param)
    assert "at most" in said.message


def test_full_measure_is_taken() -> None:
    """At the bounds themselves."""
    full = body(
        messages=[{"role": "user", "content": [MANY] * 4}] * 4096,
        tools=[{"type": "function", "function": {"name": f"f{at}"}} for at in range(1024)],
    )
    prompt = parse_or_refuse(json.dumps(full).encode())
    assert isinstance(prompt, Prompt)
    assert (len(prompt.messages), len(prompt.tools)) == (4096, 1024)
