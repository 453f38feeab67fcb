"""Requests for Gemini: what is carried, what is listed as dropped, what is refused."""

import json
from typing import Any

import pytest

from backends.wire.failure import WireError
from backends.wire.gemini import render_request
from backends.wire.prompt import (
    Hints,
    Media,
    Message,
    Opaque,
    OutputSchema,
    Prompt,
    ProviderTool,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

OLD_MODEL = "gemini-2.0-flash"
BUDGET_MODEL = "gemini-2.5-flash"
LEVEL_MODEL = "gemini-3-flash-preview"


def user(text: str = "hi") -> Message:
    return Message("user", (Text(text),))


def make_prompt(*messages: Message, **members: Any) -> Prompt:
    return Prompt("openai-chat", b"{}", "auto", messages or (user(),), **members)


def render(
    prompt: Prompt, model: str = LEVEL_MODEL, output_cap: int | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    rendered = render_request(
        prompt, model=model, output_cap=output_cap, output_tokens_default=4096
    )
    return json.loads(rendered.body), rendered.dropped


def refuse(prompt: Prompt, model: str = LEVEL_MODEL) -> str | None:
    with pytest.raises(WireError) as caught:
        render(prompt, model)
    assert caught.value.failure.kind == "invalid_request"
    return caught.value.failure.param


def test_plain_prompt_renders_the_least_body() -> None:
    """A one-line prompt becomes one content, nothing else: model and stream are in the URL."""
    assert render(make_prompt(is_stream=True)) == (
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
        (),
    )


@pytest.mark.parametrize(
    ("asked", "cap", "sent"),
    [(None, None, None), (None, 100, 100), (50, 100, 50), (500, 100, 100), (7, None, 7)],
)
def test_output_cap_always_holds(asked: int | None, cap: int | None, sent: int | None) -> None:
    """What is sent is the least of the client's and the gateway's cap."""
    body, _ = render(make_prompt(output_tokens_max=asked), output_cap=cap)
    assert body.get("generationConfig", {}).get("maxOutputTokens") == sent


def test_system_messages_become_the_instruction() -> None:
    """All system text stands at the top in order; one that had to move is listed."""
    body, dropped = render(
        make_prompt(
            Message("system", (Text("a"),)), user(), Message("developer", (Text("b"),)), user("2")
        )
    )
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}, {"text": "2"}]}]
    assert dropped == ("messages[2].position",)


def test_only_system_messages_are_sent_as_the_user() -> None:
    """Gemini needs a content, so a prompt of system text alone is said by the user and listed."""
    body, dropped = render(make_prompt(Message("system", (Text("s"),))))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "s"}]}]}
    assert dropped == ("messages[].role",)
    assert refuse(make_prompt(user(""))) == "messages"


TOOL_LOOP = (
    user(),
    Message("assistant", (ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", ""))),
    Message("tool", (ToolResult("b", (Text('{"y": 2}'),)),)),
    Message("tool", (ToolResult("a", (Text("one"),), is_error=True),)),
)


def test_tool_loop_matches_results_by_name() -> None:
    """Results find their call's name by id and become one user turn of JSON objects."""
    body, _ = render(make_prompt(*TOOL_LOOP), OLD_MODEL)
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "f", "args": {"x": 1}, "id": "a"}},
                {"functionCall": {"name": "g", "args": {}, "id": "b"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "g", "response": {"y": 2}, "id": "b"}},
                {"functionResponse": {"name": "f", "response": {"error": "one"}, "id": "a"}},
            ],
        },
    ]


def test_first_call_gets_a_stand_in_signature() -> None:
    """Gemini 3 refuses calls without a signature, so the documented stand-in goes on the first."""
    body, _ = render(make_prompt(*TOOL_LOOP))
    first, second = body["contents"][1]["parts"]
    assert first["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in second


def test_signatures_go_back_to_their_issuer_only() -> None:
    """Gemini's signatures return on call, thought and text; another provider's is listed."""
    body, dropped = render(
        make_prompt(
            user(),
            Message(
                "assistant",
                (
                    Reasoning("why", "s1", "gemini"),
                    Reasoning("", "s2", "gemini"),
                    Reasoning("theirs", "s", "anthropic"),
                    ToolCall("a", "f", "{}", signature="s3"),
                ),
            ),
            Message("tool", (ToolResult("a", (Text("1"),)),)),
        )
    )
    assert body["contents"][1]["parts"] == [
        {"text": "why", "thought": True, "thoughtSignature": "s1"},
        {"text": "", "thoughtSignature": "s2"},
        {"functionCall": {"name": "f", "args": {}, "id": "a"}, "thoughtSignature": "s3"},
    ]
    assert dropped == ("messages[].reasoning_content",)


def test_result_without_call_is_refused() -> None:
    """Gemini wants a name, so a result that answers no call is refused with its place."""
    prompt = make_prompt(user(), Message("tool", (ToolResult("x", (Text("1"),)),)))
    assert refuse(prompt) == "messages[1].tool_call_id"
    named = make_prompt(user(), Message("tool", (ToolResult("x", (Text("1"),), name="f"),)))
    body, _ = render(named)
    part = body["contents"][0]["parts"][1]
    assert part["functionResponse"] == {"name": "f", "response": {"output": "1"}, "id": "x"}


def test_broken_arguments_are_carried_and_listed() -> None:
    """A conversation goes on although the model once wrote arguments that are no JSON object."""
    body, dropped = render(
        make_prompt(user(), Message("assistant", (ToolCall("a", "f", "[oops"),)), user())
    )
    call = body["contents"][1]["parts"][0]["functionCall"]
    assert call["args"] == {"unparsed_arguments": "[oops"}
    assert dropped == ("messages[1].tool_calls.arguments",)


def test_media_render_inline_and_by_address() -> None:
    """Inline media keep their type; an image's address gets one from its suffix."""
    body, _ = render(
        make_prompt(
            Message(
                "user",
                (
                    Media("image", "image/png", "aGk="),
                    Media("audio", "audio/wav", "aGk="),
                    Media("document", "application/pdf", "aGk="),
                    Media("image", url="https://example.com/a.JPG?x=.png"),
                ),
            )
        )
    )
    assert body["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
        {"fileData": {"fileUri": "https://example.com/a.JPG?x=.png", "mimeType": "image/jpeg"}},
    ]


@pytest.mark.parametrize(
    "media",
    [
        Media("image", None, "aGk="),
        Media("document", url="https://example.com/a.png"),
        *(
            Media("image", url=url)
            for url in (
                "http://example.com/a.png",
                "gs://bucket/a.png",
                "https://example.com/a",
                "https://example.com/a.pdf",
                "https://example.com/a.mp4?b=.png",
                "https://example.com/a.mp3#.png",
                "https://www.youtube.com/watch?v=abc",
                "https://www.youtube.com/watch/a.png?v=abc",
                "https://m.youtube.com./a.png",
                "https://WWW.YouTube.com:443/a.png",
                "https://youtu.be/abc.png",
                "https://www.youtube-nocookie.com/embed/a.png",
                "https://x@www.youtube.com/a.png",
                "https://www.youtube.com\\@example.com/a.png",
                "https://www.youtube.com/watch?v=abc\n.png",
                "https://ｙｏｕｔｕｂｅ.com/a.png",
                "https://www.youtub%65.com/a.png",
                f"https://{'youtube.' * 20_000}1/a.png",  # longer than a name can be
                f"https://{'youtube.' * 28}1/a.png",
            )
        ),
    ],
)
def test_foreign_media_are_refused(media: Media) -> None:
    """What Gemini cannot see, or would see as more than one image, is refused with its place."""
    assert refuse(make_prompt(Message("user", (media,)))) == "messages[0].content"


def test_media_of_results_follow_the_model() -> None:
    """Newer models take a result's image inside it, older ones right after it."""
    image = Media("image", "image/png", "aGk=")
    loop = (
        user(),
        Message("assistant", (ToolCall("a", "f", "{}"),)),
        Message("tool", (ToolResult("a", (Text("see"), image)),)),
    )
    inline = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    body, _ = render(make_prompt(*loop))
    assert body["contents"][2]["parts"][0]["functionResponse"]["parts"] == [inline]
    body, _ = render(make_prompt(*loop), BUDGET_MODEL)
    assert body["contents"][2]["parts"][1] == inline


def test_addresses_in_results_stand_beside_them() -> None:
    """The Gemini API takes inline media inside a result, and refuses an address there."""
    image = Media("image", "image/png", "aGk=")
    there = Media("image", url="https://example.com/a.png")
    loop = (
        user(),
        Message("assistant", (ToolCall("a", "f", "{}"),)),
        Message("tool", (ToolResult("a", (there, image)),)),
    )
    body, _ = render(make_prompt(*loop))
    result, beside = body["contents"][2]["parts"]
    inside = result["functionResponse"]["parts"]
    assert inside == [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]
    assert beside == {"fileData": {"fileUri": "https://example.com/a.png", "mimeType": "image/png"}}


def test_tools_are_spliced_in_as_bytes() -> None:
    """A tool's schema reaches Gemini byte for byte as JSON Schema."""
    rendered = render_request(
        make_prompt(tools=(Tool("f", "does", b'{ "type" : "object", "x": 1.0 }'), Tool("g"))),
        model=LEVEL_MODEL,
        output_cap=None,
        output_tokens_default=10,
    )
    assert b'"parametersJsonSchema":{ "type" : "object", "x": 1.0 }' in rendered.body
    assert refuse(make_prompt(tools=(Tool("f", None, b"[]"),))) == "tools[0].function.parameters"


@pytest.mark.parametrize(
    ("model", "choice", "is_strict", "sent", "dropped"),
    [
        (LEVEL_MODEL, None, None, None, ()),
        (LEVEL_MODEL, ToolChoice("auto"), None, {"mode": "AUTO"}, ()),
        (LEVEL_MODEL, None, True, {"mode": "VALIDATED"}, ()),
        (OLD_MODEL, None, True, None, ("tools[].function.strict",)),
        (LEVEL_MODEL, ToolChoice("none"), None, {"mode": "NONE"}, ()),
        (LEVEL_MODEL, ToolChoice("required"), True, {"mode": "ANY"}, ()),
        (
            LEVEL_MODEL,
            ToolChoice("named", "f"),
            None,
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
            (),
        ),
    ],
)
def test_tool_choice_renders(
    model: str,
    choice: ToolChoice | None,
    is_strict: bool | None,
    sent: dict[str, Any] | None,
    dropped: tuple[str, ...],
) -> None:
    """Each choice has its mode, and strict tools are enforced where the model can."""
    tools = (Tool("f", is_strict=is_strict),)
    body, lost = render(make_prompt(tools=tools, tool_choice=choice), model)
    assert body.get("toolConfig", {}).get("functionCallingConfig") == sent
    assert lost == dropped


def test_single_calls_cannot_be_asked_for() -> None:
    """Gemini has no switch for parallel calls."""
    _, dropped = render(make_prompt(tools=(Tool("f"),), allows_parallel_calls=False))
    assert dropped == ("parallel_tool_calls",)


def test_output_schema_is_spliced_in() -> None:
    """A schema is sent as JSON Schema; any JSON needs the media type only."""
    schema = OutputSchema(b'{"type":"object","$defs":{}}')
    body, _ = render(make_prompt(output_schema=schema))
    assert body["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object", "$defs": {}},
    }
    body, _ = render(make_prompt(output_schema=OutputSchema()))
    assert body["generationConfig"] == {"responseMimeType": "application/json"}


def test_schema_beside_tools_follows_the_model() -> None:
    """Models before Gemini 3 refuse structured output beside tools, and so does moegate."""
    both = make_prompt(tools=(Tool("f"),), output_schema=OutputSchema())
    assert refuse(both, BUDGET_MODEL) == "response_format"
    body, _ = render(both)
    assert "tools" in body
    assert "generationConfig" in body


@pytest.mark.parametrize(
    ("model", "effort", "sent", "dropped"),
    [
        (OLD_MODEL, "none", None, ()),
        (OLD_MODEL, "low", None, ("reasoning_effort",)),
        (BUDGET_MODEL, "none", {"thinkingBudget": 0}, ()),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, ("reasoning_effort",)),
        (BUDGET_MODEL, "medium", {"thinkingBudget": 8192, "includeThoughts": True}, ()),
        (
            BUDGET_MODEL,
            "max",
            {"thinkingBudget": 24576, "includeThoughts": True},
            ("reasoning_effort",),
        ),
        (LEVEL_MODEL, "none", {"thinkingLevel": "minimal"}, ("reasoning_effort",)),
        (LEVEL_MODEL, "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}, ()),
        (LEVEL_MODEL, "high", {"thinkingLevel": "high", "includeThoughts": True}, ()),
        (
            "models/gemini-3-pro-preview",
            "medium",
            {"thinkingLevel": "low", "includeThoughts": True},
            ("reasoning_effort",),
        ),
        (
            "gemini-9-of-tomorrow",
            "minimal",
            {"thinkingLevel": "low", "includeThoughts": True},
            ("reasoning_effort",),
        ),
    ],
)
def test_reasoning_effort_follows_the_model(
    model: str, effort: Any, sent: dict[str, Any] | None, dropped: tuple[str, ...]
) -> None:
    """Every generation is asked to think in its own words, and what it cannot do is listed."""
    body, lost = render(make_prompt(reasoning_effort=effort), model)
    assert (body.get("generationConfig", {}).get("thinkingConfig"), lost) == (sent, dropped)


def test_sampling_renders() -> None:
    """Sampling members are carried as they are; what the model refuses is listed."""
    sampling = Sampling(1.7, 0.9, 3, 42, ("a", "b"), 0.5, 0.0)
    body, dropped = render(make_prompt(sampling=sampling, choices=2))
    assert body["generationConfig"] == {
        "temperature": 1.7,
        "topP": 0.9,
        "topK": 3,
        "seed": 42,
        "stopSequences": ["a", "b"],
        "candidateCount": 2,
    }
    assert dropped == ("presence_penalty",)
    body, dropped = render(make_prompt(sampling=sampling), OLD_MODEL)
    assert body["generationConfig"]["presencePenalty"] == 0.5
    assert dropped == ()


def test_sampling_outside_gemini_limits_is_listed() -> None:
    """A seed beyond 32 bits and stops beyond five are named."""
    sampling = Sampling(seed=2**31, stop=("a", "b", "c", "d", "e", "f"))
    body, dropped = render(make_prompt(sampling=sampling))
    assert body["generationConfig"] == {"stopSequences": ["a", "b", "c", "d", "e"]}
    assert dropped == ("seed", "stop")


def test_unmodelled_members_are_listed() -> None:
    """Members that Gemini has no place for are named, harmless ones are not."""
    unknown = {"user": b'"u"', "audio": b"{}", "store": b"false", "service_tier": b'"auto"'}
    _, dropped = render(make_prompt(unknown=unknown))
    assert dropped == ("user", "audio")


@pytest.mark.parametrize(
    ("members", "param"),
    [({"choices": 9}, "n"), ({"unknown": {"modalities": b'["audio"]'}}, "modalities")],
)
def test_what_gemini_cannot_give_is_refused(members: dict[str, Any], param: str) -> None:
    """Too many choices and audio answers are refused, never approximated."""
    assert refuse(make_prompt(**members)) == param


@pytest.mark.parametrize(
    ("members", "model", "thinking", "lost"),
    [
        ({"reasoning_tokens_max": 500}, BUDGET_MODEL, {"thinkingBudget": 500}, ()),
        ({"reasoning_tokens_max": 500}, LEVEL_MODEL, {"thinkingBudget": 500}, ()),
        ({"reasoning_tokens_max": 500}, OLD_MODEL, None, ("reasoning_tokens_max",)),
        (
            {"reasoning_tokens_max": 50},
            "gemini-2.5-pro",
            {"thinkingBudget": 128},
            ("reasoning_tokens_max",),
        ),
        ({"shows_reasoning": False}, LEVEL_MODEL, {"includeThoughts": False}, ()),
        (
            {"reasoning_effort": "low", "reasoning_tokens_max": 5, "shows_reasoning": True},
            LEVEL_MODEL,
            {"thinkingLevel": "low", "includeThoughts": True},
            ("reasoning_tokens_max",),
        ),
    ],
)
def test_thinking_by_tokens(
    members: dict[str, Any], model: str, thinking: dict[str, Any] | None, lost: tuple[str, ...]
) -> None:
    """A budget in tokens and the wish to see thinking are carried, or listed."""
    body, dropped = render(make_prompt(**members), model)
    assert body.get("generationConfig", {}).get("thinkingConfig") == thinking
    assert dropped == lost


def test_foreign_material_is_listed() -> None:
    """Parts and tools of other providers, their signatures on calls, and hints."""
    call = ToolCall("i", "f", "{}", signature="s", issuer="openai")
    body, dropped = render(
        make_prompt(
            user(),
            Message("assistant", (Opaque("server_tool_use", b"{}"), call)),
            Message("tool", (ToolResult("i", (Text("x", cache_ttl="5m"),), cache_ttl="5m"),)),
            provider_tools=(ProviderTool("web_search", b"{}", "tools[1]"),),
            hints=Hints(user="u", cache_key="k"),
        )
    )
    signature = body["contents"][1]["parts"][0]["thoughtSignature"]
    assert signature == "skip_thought_signature_validator"
    assert set(dropped) == {
        "messages[].content.server_tool_use",
        "messages[].reasoning_content",
        "messages[].cache_control",
        "tools.web_search",
        "user",
        "prompt_cache_key",
    }


def test_files_of_another_provider_are_refused() -> None:
    """An id means nothing to Google."""
    media = Media("image", "image/png", file_id="file-1")
    assert refuse(make_prompt(Message("user", (media,)))) == "messages[0].content"
