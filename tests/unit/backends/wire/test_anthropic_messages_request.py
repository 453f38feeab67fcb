"""Requests for Claude: what is carried, what is listed as dropped, what is refused."""

import json
from typing import Any

import msgspec
import pytest

from backends.wire.anthropic_messages import find_answer_tool, render_request
from backends.wire.failure import WireError
from backends.wire.prompt import (
    Media,
    Message,
    OutputSchema,
    Prompt,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

SAMPLING_MODEL = "claude-sonnet-4-0"
BUDGET_MODEL = "claude-haiku-4-5-20251001"
ADAPTIVE_MODEL = "claude-opus-4-6"
SYSTEM_TURN_MODEL = "claude-opus-4-8"
NEWEST_MODEL = "claude-opus-5-5"
SCHEMA = b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}'


def user(text: str = "hi") -> Message:
    return Message("user", (Text(text),))


def make_prompt(*messages: Message, **members: Any) -> Prompt:
    return Prompt("openai-chat", b"{}", "auto", messages or (user(),), **members)


def render(
    prompt: Prompt, model: str = SAMPLING_MODEL, output_cap: int | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    rendered = render_request(
        prompt, model=model, output_cap=output_cap, output_tokens_default=4096
    )
    return json.loads(rendered.body), rendered.dropped


def refuse(prompt: Prompt, model: str = SAMPLING_MODEL) -> str | None:
    with pytest.raises(WireError) as caught:
        render(prompt, model)
    assert caught.value.failure.kind == "invalid_request"
    return caught.value.failure.param


def test_plain_prompt_renders_the_least_body() -> None:
    """A one-line prompt becomes model, cap and one user message, nothing else."""
    assert render(make_prompt()) == (
        {
            "model": SAMPLING_MODEL,
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": "hi"}],
        },
        (),
    )


@pytest.mark.parametrize(
    ("asked", "cap", "sent"), [(None, None, 4096), (None, 100, 100), (50, 100, 50), (500, 100, 100)]
)
def test_output_cap_always_holds(asked: int | None, cap: int | None, sent: int) -> None:
    """What is sent is the least of the client's and the gateway's cap."""
    body, _ = render(make_prompt(output_tokens_max=asked), output_cap=cap)
    assert body["max_tokens"] == sent


def test_leading_system_messages_become_blocks() -> None:
    """System and developer messages at the start keep their order as system blocks."""
    body, dropped = render(
        make_prompt(Message("system", (Text("a"),)), Message("developer", (Text("b"),)), user())
    )
    assert body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert dropped == ()


def test_late_system_message_moves_up_and_is_listed() -> None:
    """A model without system turns gets a late system message at the top, and the client knows."""
    late = (user("1"), Message("system", (Text("s"),)), user("2"))
    body, dropped = render(make_prompt(*late))
    assert body["system"] == [{"type": "text", "text": "s"}]
    assert [block["text"] for block in body["messages"][0]["content"]] == ["1", "2"]
    assert dropped == ("messages[1].position",)


def test_late_system_message_keeps_its_place_where_it_can() -> None:
    """A model with system turns gets the message after the user's turn, with nothing listed."""
    body, dropped = render(
        make_prompt(user("1"), Message("system", (Text("s"),))), SYSTEM_TURN_MODEL
    )
    assert [message["role"] for message in body["messages"]] == ["user", "system"]
    assert dropped == ()


def test_system_message_between_user_messages_follows_both_and_is_listed() -> None:
    """Claude takes a system turn only before an assistant turn, so the user's turn is closed."""
    body, dropped = render(
        make_prompt(user("1"), Message("system", (Text("s"),)), user("2")), SYSTEM_TURN_MODEL
    )
    assert [message["role"] for message in body["messages"]] == ["user", "system"]
    assert dropped == ("messages[1].position",)


def test_only_system_messages_are_sent_as_the_user() -> None:
    """Claude needs a message, so a prompt of system text alone is said by the user and listed."""
    body, dropped = render(make_prompt(Message("system", (Text("s"),))))
    assert body["messages"] == [{"role": "user", "content": "s"}]
    assert "system" not in body
    assert dropped == ("messages[].role",)


def test_tool_loop_renders_calls_and_results_first() -> None:
    """Results of parallel calls stand first in the one user turn that follows the calls."""
    body, _ = render(
        make_prompt(
            user(),
            Message(
                "assistant",
                (Text("ok"), ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "f", "")),
            ),
            Message("tool", (ToolResult("a", (Text("1"),)),)),
            user("and?"),
            Message("tool", (ToolResult("b", (Text("2"),), is_error=True),)),
        )
    )
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "ok"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "f", "input": {}},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "tool_result", "tool_use_id": "b", "content": "2", "is_error": True},
        {"type": "text", "text": "and?"},
    ]


def test_history_of_calls_without_tools_declares_them_forbidden() -> None:
    """Claude refuses calls without tools, so the tools once called are declared and not allowed."""
    body, dropped = render(
        make_prompt(
            user(),
            Message("assistant", (ToolCall("a", "f", ""),)),
            Message("tool", (ToolResult("a", (Text("1"),)),)),
        )
    )
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}
    assert dropped == ()


def test_foreign_call_ids_become_valid_and_stay_matched() -> None:
    """Ids with other characters are replaced alike in call and result, and never collide."""
    body, _ = render(
        make_prompt(
            user(),
            Message(
                "assistant",
                (
                    ToolCall("a_b", "f", "{}"),
                    ToolCall("a.b", "f", "{}"),
                    ToolCall("a:b", "f", "{}"),
                ),
            ),
            Message("tool", (ToolResult("a:b", ()), ToolResult("a.b", ()), ToolResult("a_b", ()))),
        )
    )
    calls = [block["id"] for block in body["messages"][1]["content"]]
    assert calls == ["a_b", "a_b_2", "a_b_3"]
    assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == calls[::-1]


def test_broken_arguments_are_carried_and_listed() -> None:
    """A conversation goes on although the model once wrote arguments that are no JSON object."""
    body, dropped = render(
        make_prompt(user(), Message("assistant", (ToolCall("a", "f", "[oops"),)), user())
    )
    assert body["messages"][1]["content"][0]["input"] == {"unparsed_arguments": "[oops"}
    assert dropped == ("messages[1].tool_calls.arguments",)


def test_arguments_travel_byte_for_byte() -> None:
    """Call arguments are spliced in as they came: numbers and key order are not touched."""
    arguments = '{"b": 1.10, "a": 12345678901234567890}'
    rendered = render_request(
        make_prompt(user(), Message("assistant", (ToolCall("a", "f", arguments),)), user()),
        model=SAMPLING_MODEL,
        output_cap=None,
        output_tokens_default=10,
    )
    assert arguments.encode() in rendered.body


def test_thinking_goes_back_to_its_issuer_only() -> None:
    """Claude's signed and redacted thinking returns; another provider's is listed."""
    body, dropped = render(
        make_prompt(
            user(),
            Message(
                "assistant",
                (
                    Reasoning("why", "sig", "anthropic"),
                    Reasoning("", "blob", "anthropic", is_redacted=True),
                    Reasoning("theirs", "sig", "gemini"),
                    Text("so"),
                ),
            ),
            user(),
        )
    )
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "why", "signature": "sig"},
        {"type": "redacted_thinking", "data": "blob"},
        {"type": "text", "text": "so"},
    ]
    assert dropped == ("messages[].reasoning_content",)


def test_media_render_as_images_and_documents() -> None:
    """Inline and linked images and pdf and text documents have their block each."""
    body, dropped = render(
        make_prompt(
            Message(
                "user",
                (
                    Media("image", "image/png", "aGk=", detail="high"),
                    Media("image", url="https://example.com/a.png"),
                    Media("document", "application/pdf", "aGk=", name="a.pdf"),
                    Media("document", "text/plain", "aGk="),
                ),
            )
        )
    )
    assert [block["source"] for block in body["messages"][0]["content"]] == [
        {"type": "base64", "media_type": "image/png", "data": "aGk="},
        {"type": "url", "url": "https://example.com/a.png"},
        {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
        {"type": "text", "media_type": "text/plain", "data": "hi"},
    ]
    assert dropped == ("messages[].content[].image_url.detail",)


@pytest.mark.parametrize(
    "media",
    [
        Media("audio", "audio/wav", "aGk="),
        Media("image", "image/tiff", "aGk="),
        Media("image", url="http://example.com/a.png"),
        Media("image", url="gs://bucket/a.png"),
        Media("document", "application/zip", "aGk="),
        Media("document", "text/plain", "/w=="),
    ],
)
def test_foreign_media_are_refused(media: Media) -> None:
    """What Claude cannot see is refused with its place, never left out."""
    assert refuse(make_prompt(user(), Message("user", (media,)))) == "messages[1].content"


def test_blank_texts_are_left_out() -> None:
    """Claude refuses blank text blocks, so they are not sent; a prompt of nothing is refused."""
    body, _ = render(make_prompt(Message("user", (Text(""), Text(" \n"), Text("x")))))
    assert body["messages"] == [{"role": "user", "content": "x"}]
    assert refuse(make_prompt(user("  "))) == "messages"


def test_prefill_follows_the_model() -> None:
    """An assistant message at the end is sent without trailing space, or refused."""
    prefill = make_prompt(user(), Message("assistant", (Text("so \n"),)))
    body, _ = render(prefill)
    assert body["messages"][-1] == {"role": "assistant", "content": "so"}
    assert refuse(prefill, ADAPTIVE_MODEL) == "messages"


def test_tools_are_spliced_in_as_bytes() -> None:
    """A tool's schema reaches Claude byte for byte; one without a type gets it."""
    rendered = render_request(
        make_prompt(tools=(Tool("f", "does", b'{ "type" : "object", "x": 1.0 }'), Tool("g"))),
        model=SAMPLING_MODEL,
        output_cap=None,
        output_tokens_default=10,
    )
    assert b'"input_schema":{ "type" : "object", "x": 1.0 }' in rendered.body
    body, _ = render(make_prompt(tools=(Tool("g", None, b'{"properties":{}}'), Tool("h"))))
    assert [tool["input_schema"]["type"] for tool in body["tools"]] == ["object", "object"]


@pytest.mark.parametrize("parameters", [b"[]", b'{"type":"string"}', b"{"])
def test_parameters_that_are_no_object_are_refused(parameters: bytes) -> None:
    """Claude takes object schemas only."""
    param = refuse(make_prompt(tools=(Tool("f", None, parameters),)))
    assert param == "tools[0].function.parameters"


def test_strict_tools_stay_strict_where_the_schema_fits() -> None:
    """``strict`` is sent if Claude can enforce the whole schema, else it is listed."""
    fits = make_prompt(tools=(Tool("f", None, SCHEMA, is_strict=True),))
    body, dropped = render(fits, ADAPTIVE_MODEL)
    assert body["tools"][0]["strict"] is True
    assert dropped == ()
    wider = SCHEMA.replace(b'"type":"string"', b'"type":"string","maxLength":3')
    body, dropped = render(
        make_prompt(tools=(Tool("f", None, wider, is_strict=True),)), ADAPTIVE_MODEL
    )
    assert "strict" not in body["tools"][0]
    assert dropped == ("tools[].function.strict",)


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (None, None, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), True, {"type": "auto"}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), None, {"type": "any"}),
        (
            ToolChoice("named", "f"),
            False,
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_tool_choice_renders(
    choice: ToolChoice | None, parallel: bool | None, sent: dict[str, Any] | None
) -> None:
    """Each choice has its form; "no parallel calls" stands inside it."""
    body, _ = render(
        make_prompt(tools=(Tool("f"),), tool_choice=choice, allows_parallel_calls=parallel)
    )
    assert body.get("tool_choice") == sent


def test_forced_tool_is_refused_where_the_model_cannot() -> None:
    """A model that cannot be forced to call a tool refuses rather than maybe answering."""
    forced = make_prompt(tools=(Tool("f"),), tool_choice=ToolChoice("required"))
    assert refuse(forced, NEWEST_MODEL) == "tool_choice"


def test_schema_uses_native_structured_output() -> None:
    """A schema that fits reaches ``output_config.format`` unchanged."""
    body, dropped = render(make_prompt(output_schema=OutputSchema(SCHEMA)), ADAPTIVE_MODEL)
    assert body["output_config"]["format"] == {"type": "json_schema", "schema": json.loads(SCHEMA)}
    assert dropped == ()


def test_schema_beyond_the_subset_is_fitted_and_listed() -> None:
    """Keywords that Claude refuses are removed and each is named."""
    schema = b'{"type":"object","properties":{"maximum":{"type":"integer","maximum":3}}}'
    body, dropped = render(make_prompt(output_schema=OutputSchema(schema)), ADAPTIVE_MODEL)
    sent = body["output_config"]["format"]["schema"]
    assert sent["properties"] == {"maximum": {"type": "integer"}}
    assert sent["additionalProperties"] is False
    assert dropped == (
        "response_format.json_schema.schema.maximum",
        "response_format.json_schema.schema.additionalProperties",
    )


def test_json_without_native_support_becomes_a_forced_tool() -> None:
    """Older models, and JSON of any shape, answer through a tool that they must call."""
    prompt = make_prompt(output_schema=OutputSchema(SCHEMA, "person"))
    body, _ = render(prompt, SAMPLING_MODEL)
    assert body["tool_choice"] == {"type": "tool", "name": "person"}
    assert body["tools"][0]["input_schema"] == json.loads(SCHEMA)
    assert find_answer_tool(prompt, SAMPLING_MODEL) == "person"
    assert find_answer_tool(prompt, ADAPTIVE_MODEL) is None
    assert find_answer_tool(make_prompt(output_schema=OutputSchema()), ADAPTIVE_MODEL) == "answer"


def test_json_object_is_listed_where_nothing_enforces_it() -> None:
    """A model that has neither way to give any JSON object says so."""
    _, dropped = render(make_prompt(output_schema=OutputSchema()), NEWEST_MODEL)
    assert dropped == ("response_format",)
    both = make_prompt(tools=(Tool("f"),), output_schema=OutputSchema(SCHEMA))
    assert refuse(both, SAMPLING_MODEL) == "response_format"


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "config", "dropped"),
    [
        (BUDGET_MODEL, "low", {"type": "enabled", "budget_tokens": 2048}, None, ()),
        (BUDGET_MODEL, "max", {"type": "enabled", "budget_tokens": 6000}, None, ()),
        (BUDGET_MODEL, "none", None, None, ()),
        ("claude-3-5-haiku-latest", "low", None, None, ("reasoning_effort",)),
        (
            "claude-opus-4-5",
            "high",
            {"type": "enabled", "budget_tokens": 6000},
            {"effort": "high"},
            (),
        ),
        (ADAPTIVE_MODEL, "minimal", {"type": "adaptive"}, {"effort": "low"}, ()),
        (
            ADAPTIVE_MODEL,
            "xhigh",
            {"type": "adaptive"},
            {"effort": "high"},
            ("reasoning_effort",),
        ),
        ("claude-opus-5", "none", {"type": "disabled"}, None, ()),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None, ()),
        (NEWEST_MODEL, "none", None, {"effort": "low"}, ("reasoning_effort",)),
        (
            NEWEST_MODEL,
            "xhigh",
            {"type": "adaptive", "display": "summarized"},
            {"effort": "xhigh"},
            (),
        ),
        (
            "some-claude-of-tomorrow",
            "max",
            {"type": "adaptive", "display": "summarized"},
            {"effort": "max"},
            (),
        ),
    ],
)
def test_reasoning_effort_follows_the_model(
    model: str,
    effort: Any,
    thinking: dict[str, Any] | None,
    config: dict[str, Any] | None,
    dropped: tuple[str, ...],
) -> None:
    """Every generation is asked to think in its own words, and what it cannot do is listed."""
    prompt = make_prompt(reasoning_effort=effort, output_tokens_max=8000)
    body, lost = render(prompt, model)
    assert (body.get("thinking"), body.get("output_config"), lost) == (thinking, config, dropped)


@pytest.mark.parametrize(
    "prompt",
    [
        make_prompt(reasoning_effort="high", output_tokens_max=1200),
        make_prompt(
            reasoning_effort="high", tools=(Tool("f"),), tool_choice=ToolChoice("required")
        ),
        make_prompt(
            user(),
            Message("assistant", (ToolCall("a", "f", "{}"),)),
            Message("tool", (ToolResult("a", (Text("1"),)),)),
            reasoning_effort="high",
        ),
    ],
)
def test_thinking_budget_yields_where_claude_would_refuse(prompt: Prompt) -> None:
    """Small caps, forced tools and unsigned tool loops exclude a thinking budget: listed, not 400."""
    body, dropped = render(prompt, BUDGET_MODEL)
    assert "thinking" not in body
    assert dropped == ("reasoning_effort",)


def test_anothers_signature_signs_no_thinking_of_claudes() -> None:
    """Before a call it counts as none: the budget yields, or the API would refuse."""
    thinking = Reasoning("hm", "sig", "openai")
    said = Message("assistant", (thinking, ToolCall("a", "f", "{}")))
    results = Message("tool", (ToolResult("a", (Text("1"),)),))
    body, dropped = render(
        make_prompt(user(), said, results, reasoning_effort="high"), BUDGET_MODEL
    )
    assert "thinking" not in body
    assert dropped == ("messages[].reasoning_content", "reasoning_effort")


@pytest.mark.parametrize(
    ("model", "sampling", "sent", "dropped"),
    [
        (SAMPLING_MODEL, Sampling(temperature=0.5, top_p=0.9, top_k=3), {"temperature": 0.5, "top_p": 0.9, "top_k": 3}, ()),
        (SAMPLING_MODEL, Sampling(temperature=1.7), {"temperature": 1.0}, ("temperature",)),
        (BUDGET_MODEL, Sampling(temperature=0.5, top_p=0.9), {"temperature": 0.5}, ("top_p",)),
        (BUDGET_MODEL, Sampling(temperature=0.5, top_p=1.0), {"temperature": 0.5}, ()),
        (BUDGET_MODEL, Sampling(top_p=0.9), {"top_p": 0.9}, ()),
        (NEWEST_MODEL, Sampling(temperature=1.0, top_p=1.0), {}, ()),
        (NEWEST_MODEL, Sampling(temperature=0.0, top_p=0.5, top_k=1), {}, ("temperature", "top_p", "top_k")),
        (SAMPLING_MODEL, Sampling(seed=1, presence_penalty=1.0, frequency_penalty=0.5), {}, ("seed", "presence_penalty", "frequency_penalty")),
        (SAMPLING_MODEL, Sampling(presence_penalty=0.0, frequency_penalty=0.0), {}, ()),
        (SAMPLING_MODEL, Sampling(stop=("END", "\n")), {"stop_sequences": ["END"]}, ("stop",)),
    ],
)  # fmt: skip
def test_sampling_follows_the_model(
    model: str, sampling: Sampling, sent: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    """Members that a model takes are sent, clamped ones and others are listed."""
    body, lost = render(make_prompt(sampling=sampling), model)
    assert {
        key: body[key] for key in body if key not in ("model", "max_tokens", "messages")
    } == sent
    assert lost == dropped


def test_thinking_excludes_sampling() -> None:
    """While a budget model thinks, Claude takes no temperature."""
    prompt = make_prompt(sampling=Sampling(temperature=0.0), reasoning_effort="low")
    body, dropped = render(prompt, BUDGET_MODEL)
    assert "temperature" not in body
    assert dropped == ("temperature",)


def test_unmodelled_members_are_carried_or_listed() -> None:
    """The user becomes metadata, cache wishes a cache mark, and everything else is named."""
    unknown = {
        "user": b'"u1"',
        "prompt_cache_retention": b'"24h"',
        "logit_bias": b'{"1":2}',
        "store": b"false",
        "verbosity": b"null",
        "x y": b"1",
    }
    body, dropped = render(make_prompt(unknown=unknown))
    assert body["metadata"] == {"user_id": "u1"}
    assert body["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert dropped == ("logit_bias", "unknown.x_y")


def test_cache_key_asks_for_caching() -> None:
    """A client that names a cache key wants its prefix cached."""
    body, dropped = render(make_prompt(unknown={"prompt_cache_key": b'"k"'}))
    assert body["cache_control"] == {"type": "ephemeral"}
    assert dropped == ()


@pytest.mark.parametrize(
    ("members", "param"),
    [({"choices": 2}, "n"), ({"unknown": {"modalities": b'["text","audio"]'}}, "modalities")],
)
def test_what_claude_cannot_give_is_refused(members: dict[str, Any], param: str) -> None:
    """Several choices and audio answers are refused, never approximated."""
    assert refuse(make_prompt(**members)) == param


def test_names_of_messages_are_listed() -> None:
    """Claude has no place for a participant's name."""
    _, dropped = render(make_prompt(Message("user", (Text("hi"),), name="ann")))
    assert dropped == ("messages[].name",)


def test_stream_is_asked_for() -> None:
    """A streamed prompt asks Claude for a stream."""
    body, _ = render(make_prompt(is_stream=True))
    assert body["stream"] is True


def test_rendering_does_not_depend_on_the_client_bytes() -> None:
    """Only the parsed prompt counts, so one prompt gives one body."""
    prompt = make_prompt(user("a"), sampling=Sampling(temperature=0.1))
    other = msgspec.structs.replace(prompt, raw=b"something else")
    assert render(prompt) == render(other)
