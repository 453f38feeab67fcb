"""Gemini as clients speak it: requests read, answers rendered, failures told, bytes passed through."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.clients import CLIENTS
from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.gemini import EventParser
from backends.wire.gemini.parsing import parse_count_request, parse_request, render_count
from backends.wire.gemini.passing import open_pass_relay
from backends.wire.gemini.patch import patch_request
from backends.wire.gemini.paths import parse_path
from backends.wire.gemini.refusals import STATUS, render_failure
from backends.wire.gemini.signed import (
    SIGNATURE_UNKNOWN,
    Signed,
    may_hold_wrapped,
    unwrap_signature,
    wrap_signature,
)
from backends.wire.prompt import (
    Asked,
    Media,
    Opaque,
    Prompt,
    Reasoning,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from backends.wire.usage import Usage

ASKED = Asked("gemini-x", is_stream=True)
USER = {"role": "user", "parts": [{"text": "hi"}]}
USAGE = Usage(input_tokens=30, output_tokens=12, cache_read_tokens=4, reasoning_tokens=7)


def parse(body: dict[str, Any], asked: Asked = ASKED) -> Prompt:
    return parse_request(json.dumps({"contents": [USER], **body}).encode(), asked)


def parts_of(*parts: dict[str, Any], role: str = "model") -> list[Any]:
    prompt = parse({"contents": [{"role": role, "parts": list(parts)}]})
    return [part for message in prompt.messages for part in message.parts]


def render(events: list[Event], *, shows: bool = True, is_array: bool = False) -> bytes:
    asked = Asked("m", is_stream=True, is_array=is_array)
    thinking = {"generationConfig": {"thinkingConfig": {"includeThoughts": shows}}}
    renderer = CLIENTS["gemini"].open_renderer(parse(thinking, asked))
    return b"".join(renderer.render(event) for event in events)


def read(stream: bytes) -> list[Event]:
    parser = EventParser()
    return parser.feed(stream) + parser.finish()


def answer(*events: Event) -> list[Event]:
    return [Start("r", "m", 0), *events, Finish("stop", "STOP"), End(USAGE)]


def test_both_spellings_say_the_same() -> None:
    """Members are taken in camelCase and in snake_case, but not in both at once."""
    camel = parse(
        {
            "systemInstruction": {"parts": [{"text": "s"}]},
            "generationConfig": {"maxOutputTokens": 5, "stopSequences": ["x"], "topK": 40.0},
            "tools": [{"functionDeclarations": [{"name": "f"}]}],
        }
    )
    snake = parse(
        {
            "system_instruction": {"parts": {"text": "s"}},
            "generation_config": {"max_output_tokens": 5, "stop_sequences": ["x"], "top_k": 40},
            "tools": {"function_declarations": [{"name": "f"}]},
        }
    )
    assert (camel.messages, camel.sampling, camel.tools) == (
        snake.messages,
        snake.sampling,
        snake.tools,
    )
    assert camel.output_tokens_max == snake.output_tokens_max == 5
    with pytest.raises(WireError, match="stands twice"):
        parse({"systemInstruction": {}, "system_instruction": {}})


def test_calls_and_results_find_each_other_without_ids() -> None:
    """By name and order; the ids stay the same when the conversation grows."""
    call = {"functionCall": {"name": "f", "args": {"a_b": 1, "aB": 2}}}
    result = {"functionResponse": {"name": "f", "response": {"output": "x"}}}
    turns = [{"role": "model", "parts": [call, call]}, {"role": "user", "parts": [result, result]}]
    messages = parse({"contents": [USER, *turns]}).messages
    grown = parse({"contents": [USER, *turns, *turns]}).messages
    assert grown[: len(messages)] == messages
    calls = [p for m in grown for p in m.parts if isinstance(p, ToolCall)]
    results = [p for m in grown for p in m.parts if isinstance(p, ToolResult)]
    assert [one.id for one in calls] == [one.call_id for one in results]
    assert len({one.id for one in calls}) == 4


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "x"}, "x", False),
        ({"result": "x"}, "x", False),
        ({"error": "x"}, "x", True),
        ({"error": {"c": 1}}, '{"c": 1}', True),
        ({"a": 1, "output": "x"}, '{"a": 1, "output": "x"}', False),
    ],
)
def test_results_are_read(response: dict[str, Any], text: str, is_error: bool) -> None:
    """The words that Google names, and any other object as JSON."""
    part = {"functionResponse": {"id": "i", "name": "f", "response": response}}
    assert parts_of(part, role="user") == [ToolResult("i", (Text(text),), "f", is_error)]


def test_signatures_stay_where_they_stood() -> None:
    """On text, on empty text, on calls, on code; another issuer's is unwrapped with its thinking."""
    wrapped = wrap_signature("sig", "anthropic")
    assert parts_of(
        {"text": "a", "thoughtSignature": "s1"},
        {"text": "", "thoughtSignature": "s2"},
        {"functionCall": {"name": "f", "id": "i"}, "thoughtSignature": SIGNATURE_UNKNOWN},
        {"executableCode": {"code": "1"}, "thoughtSignature": "s3"},
        {"text": "t1", "thought": True},
        {"text": "t2", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": wrapped},
    ) == [
        Text("a"),
        Reasoning("", "s1", "gemini"),
        Reasoning("", "s2", "gemini"),
        ToolCall("i", "f", "{}"),
        Opaque("executableCode", b'{"code": "1"}'),
        Reasoning("", "s3", "gemini"),
        Reasoning("t1t2", "sig", "anthropic"),
    ]


@given(
    signature=st.text(min_size=1),
    issuer=st.sampled_from(["anthropic", "openai"]),
    is_redacted=st.booleans(),
    item=st.sampled_from([None, "rs_1"]),
)
def test_wrapped_signatures_come_back(
    signature: str, issuer: str, is_redacted: bool, item: str | None
) -> None:
    """Also after an SDK decoded and encoded them with the other letters."""
    try:
        signature.encode()
    except UnicodeError:
        return
    wrapped = wrap_signature(signature, issuer, is_redacted=is_redacted, id=item)
    assert may_hold_wrapped(json.dumps(wrapped).encode())
    again = base64.urlsafe_b64encode(base64.b64decode(wrapped)).decode()
    wanted = Signed(signature, issuer, is_redacted, item)
    assert unwrap_signature(wrapped) == unwrap_signature(again) == wanted


def test_media_by_type() -> None:
    """Pictures, sound and documents are understood, films are Gemini's own, files have ids."""
    files = "https://generativelanguage.googleapis.com/v1beta/files/a"
    parts = parts_of(
        {"inlineData": {"mimeType": "image/png", "data": "_-8"}},
        {"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
        {"fileData": {"fileUri": files, "mimeType": "application/pdf"}},
        {"fileData": {"fileUri": "https://h.test/a.png", "mimeType": "image/png"}},
        role="user",
    )
    assert parts[0] == Media("image", "image/png", "/+8=")
    assert parts[1] == Media("audio", "audio/wav", "AAAA")
    assert isinstance(parts[2], Opaque)
    assert parts[3] == Media("document", "application/pdf", file_id=files)
    assert parts[4] == Media("image", "image/png", url="https://h.test/a.png")


def test_tools_and_choices() -> None:
    """Functions, Google's own tools, and who may be called."""
    tools = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}], "googleSearch": {}}]

    def chosen(**calling: Any) -> Prompt:
        return parse({"tools": tools, "toolConfig": {"functionCallingConfig": calling}})

    prompt = chosen(mode="ANY", allowedFunctionNames=["g"])
    assert prompt.tool_choice == ToolChoice("named", "g")
    assert [tool.name for tool in prompt.tools] == ["f", "g"]
    assert [(t.kind, t.path) for t in prompt.provider_tools] == [
        ("googleSearch", "tools[0].googleSearch")
    ]
    prompt = chosen(mode="any", allowedFunctionNames=["f", "g"])
    assert prompt.tool_choice == ToolChoice("required")
    assert "toolConfig.functionCallingConfig.allowedFunctionNames" in prompt.unknown
    prompt = chosen(mode="VALIDATED")
    assert prompt.tool_choice == ToolChoice("auto")
    assert all(tool.is_strict for tool in prompt.tools)
    with pytest.raises(WireError, match="is no value for"):
        chosen(mode="SOME")


def test_what_is_not_modelled_is_kept_by_path() -> None:
    """Unless it says nothing."""
    prompt = parse(
        {
            "safetySettings": [],
            "cachedContent": "cachedContents/1",
            "contents": [{"role": "user", "parts": [{"text": "a", "videoMetadata": {"fps": 1}}]}],
            "generationConfig": {
                "responseModalities": ["TEXT"],
                "responseLogprobs": False,
                "speechConfig": {"x": 1},
                "candidateCount": 1,
            },
        }
    )
    assert prompt.unknown == {
        "cachedContent": b'"cachedContents/1"',
        "contents[0].parts[0].videoMetadata": b'{"fps": 1}',
        "generationConfig.speechConfig": b'{"x": 1}',
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": []}, "contents"),
        ({"contents": [{"role": "user"}]}, "contents"),
        ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"text": "a", "fileData": {}}]}]}, "contents[0].parts[0]"),
        (
            {"contents": [{"parts": [{"inline_data": {"mime_type": "a/b", "data": "?"}}]}]},
            "contents[0].parts[0].inline_data.data",
        ),
        ({"generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({"model": "other"}, "model"),
    ],
)
def test_errors_say_where(body: dict[str, Any], param: str) -> None:
    """Each names the path of what is wrong."""
    with pytest.raises(WireError) as caught:
        parse(body)
    assert caught.value.failure.kind == "invalid_request"
    assert caught.value.failure.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "contents", "parts", "text", "role", "functionCall", "function_response", "args",
                    "name", "response", "inlineData", "data", "mimeType", "tools", "thought", "id",
                    "functionDeclarations", "parameters", "generationConfig", "thinkingConfig",
                    "thoughtSignature", "toolConfig", "mode", "functionCallingConfig",
                ]
            ),
            inner, max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(body=JSON, junk=st.binary(max_size=40))
def test_any_body_is_read_or_refused(body: Any, junk: bytes) -> None:
    """Nothing but ``WireError`` comes out, whatever goes in."""
    wrapped = {"contents": [{"parts": body}], "generationConfig": body, "tools": body}
    for raw in (json.dumps(body).encode(), json.dumps(wrapped).encode(), junk):
        for reader in (parse_request, parse_count_request):
            with suppress(WireError):
                assert reader(raw, ASKED).raw in raw


def test_stream_is_googles() -> None:
    """Framing, parts, the finish in the last chunk with usage in Gemini's counting."""
    stream = render(
        answer(
            ReasoningDelta("hm"),
            ReasoningDelta("", "sig", "anthropic"),
            TextDelta("Grüße"),
            CallStart(0, "c", "f", "c2ln", issuer="gemini"),
            CallDelta(0, '{"x":\n'),
            CallDelta(0, "1}"),
        )
    )
    assert stream.endswith(b"\r\n\r\n")
    chunks = [json.loads(one[6:]) for one in stream.split(b"\r\n\r\n") if one]
    for chunk in chunks:
        types.GenerateContentResponse.model_validate(chunk)
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    assert parts[0] == {"text": "hm", "thought": True}
    assert unwrap_signature(parts[1]["thoughtSignature"]) == Signed("sig", "anthropic")
    assert parts[2] == {"text": "Grüße"}
    assert parts[3] == {
        "functionCall": {"name": "f", "args": {"x": 1}, "id": "c"},
        "thoughtSignature": "c2ln",
    }
    assert ["finishReason" in chunk["candidates"][0] for chunk in chunks][-2:] == [False, True]
    assert chunks[-1]["usageMetadata"] == {
        "promptTokenCount": 30,
        "candidatesTokenCount": 5,
        "totalTokenCount": 42,
        "cachedContentTokenCount": 4,
        "thoughtsTokenCount": 7,
    }


def test_hidden_thoughts_are_named() -> None:
    """Who did not ask for thinking gets none, nor a signature that is worth nothing without it."""
    renderer = CLIENTS["gemini"].open_renderer(parse({}))
    events = answer(ReasoningDelta("hm"), ReasoningDelta("", "sig", "anthropic"), TextDelta("a"))
    stream = b"".join(renderer.render(event) for event in events)
    assert b"hm" not in stream
    assert b"thoughtSignature" not in stream
    assert list(renderer.dropped) == ["thoughts", "thoughtSignature"]


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=6),
    arguments=st.lists(st.dictionaries(st.text("ab"), st.integers()), max_size=3),
    is_array=st.booleans(),
)
def test_rendered_events_read_as_themselves(
    texts: list[str], arguments: list[dict[str, int]], is_array: bool
) -> None:
    """What the stream and the fold say is what the events said."""
    events: list[Event] = [TextDelta(text) for text in texts if text]
    for index, one in enumerate(arguments):
        events += [CallStart(index, f"c{index}", "f"), CallDelta(index, json.dumps(one))]
    events = answer(*events)
    stream = render(events, is_array=is_array)
    body, _ = CLIENTS["gemini"].render_answer(parse({}), events)
    for again in (
        EventParser().read_answer(stream) if is_array else read(stream),
        EventParser().read_answer(body),
    ):
        assert "".join(e.text for e in again if isinstance(e, TextDelta)) == "".join(texts)
        said = [json.loads(e.arguments) for e in again if isinstance(e, CallDelta)]
        assert said == arguments
        assert again[-1] == End(USAGE)


@pytest.mark.parametrize(
    ("events", "word"),
    [
        ([Finish("length", "max_tokens")], "MAX_TOKENS"),
        ([Finish("content_filter", "RECITATION")], "RECITATION"),
        ([Finish("content_filter", "content_filter")], "SAFETY"),
        ([Finish("refusal", "refusal")], "SAFETY"),
        ([RefusalDelta("no"), Finish("stop", "stop")], "SAFETY"),
        ([Finish("pause", "pause_turn")], "CONTINUATION"),
    ],
)
def test_finish_words(events: list[Event], word: str) -> None:
    """Google's words; a refusal says that it is one."""
    body, _ = CLIENTS["gemini"].render_answer(parse({}), [Start("", "", 0), *events, End(None)])
    candidate = json.loads(body)["candidates"][0]
    assert candidate["finishReason"] == word
    assert ("refused" in candidate.get("finishMessage", "")) is (
        word == "SAFETY" and "content_filter" not in repr(events)
    )


@pytest.mark.parametrize(
    "events",
    [
        [Finish("error", "OTHER")],
        [CallStart(0, "c", "f"), CallDelta(0, "{"), Finish("tool_call", "x")],
        [CallDelta(0, "{")],
        [TextDelta("a"), End(None)],
    ],
)
def test_broken_answers_are_failures(events: list[Event]) -> None:
    """Never an invented finish, never broken arguments."""
    with pytest.raises(WireError) as caught:
        CLIENTS["gemini"].render_answer(parse({}), [Start("", "", 0), *events])
    assert caught.value.failure.kind == "upstream_failed"


@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize("is_array", [False, True])
def test_failed_streams_end_in_an_error(has_begun: bool, is_array: bool) -> None:
    """JSON on a line of its own, or the last element of an array that is closed."""
    asked = Asked("m", is_stream=True, is_array=is_array)
    renderer = CLIENTS["gemini"].open_renderer(parse({}, asked))
    out = renderer.render(TextDelta("a")) if has_begun else b""
    out += renderer.fail(Failure("upstream_failed", "cut"))
    chunks = (
        json.loads(out)
        if is_array
        else [json.loads(one.removeprefix(b"data: ")) for one in out.split(b"\r\n\r\n") if one]
    )
    assert is_array or out.split(b"\r\n\r\n")[-2].startswith(b'{"error":')
    assert len(chunks) == 1 + has_begun
    assert chunks[-1]["error"]["code"] == 502


def test_failures_in_googles_words() -> None:
    """Status, word, our kind as the reason, and when to come back."""
    for kind, (status, word) in STATUS.items():
        code, body = render_failure(Failure(kind, "m", retry_after_seconds=1.5), "r")
        error = json.loads(body)["error"]
        assert (code, error["code"], error["status"]) == (status, status, word)
        assert error["details"][0]["reason"] == kind.upper()
        assert error["details"][1]["retryDelay"] == "1.5s"


def test_cap_is_lowered_or_inserted() -> None:
    """And nothing else changes."""

    def patched(raw: bytes) -> bytes:
        prompt = parse_request(raw, ASKED)
        return patch_request(prompt, model="gemini-x", output_cap=7, allows_provider_tools=False)[0]

    contents = b'"contents" : [{"parts":[{"text":"\\u00e9"}]}] }'
    assert patched(b"{ " + contents) == b'{"generationConfig":{"maxOutputTokens":7}, ' + contents
    same = b'{"generation_config":{"max_output_tokens": 5}, ' + contents
    assert patched(same) == same
    lower = b'{"generation_config": {"max_output_tokens": %d, "topK":1}, ' + contents
    assert patched(lower % 9) == lower % 7
    assert patched(b'{"generationConfig":null,' + contents) == (
        b'{"generationConfig":{"maxOutputTokens":7},' + contents
    )
    assert patched(b'{"model":"models/gemini-x" , ' + contents) == patched(b"{ " + contents)


def test_forbidden_tools_and_foreign_signatures_do_not_travel() -> None:
    """They are listed; what is left is what the provider may have."""
    foreign = wrap_signature("sig", "anthropic")
    parts = [
        {"text": "t", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": foreign},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": foreign},
        {"text": "a", "thoughtSignature": "own"},
    ]
    prompt = parse(
        {
            "contents": [USER, {"role": "model", "parts": parts}],
            "tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}],
        }
    )
    raw, dropped = patch_request(
        prompt, model="gemini-3-pro", output_cap=None, allows_provider_tools=False
    )
    body = json.loads(raw)
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert body["contents"][1]["parts"] == [
        {**parts[2], "thoughtSignature": SIGNATURE_UNKNOWN},
        parts[3],
    ]
    assert dropped == ("contents[].parts[].thoughtSignature", "tools.googleSearch")


def test_what_is_said_of_forbidden_tools_goes_with_them() -> None:
    """A choice among no functions, which Google refuses, and where a search shall look; what concerns functions
    stays."""
    calling = {"functionCallingConfig": {"mode": "AUTO"}}
    place = {"retrieval_config": {"latLng": {"latitude": 1.5, "longitude": 2}}}
    functions = {"functionDeclarations": [{"name": "f"}]}
    body = {
        "tools": [{"googleSearch": {}}],
        "tool_config": {**place, **calling, "includeServerSideToolInvocations": True},
    }
    lost = (
        "tools.googleSearch",
        "tool_config.retrievalConfig",
        "tool_config.includeServerSideToolInvocations",
    )

    def patched(more: dict[str, Any], *, allows: bool = False) -> tuple[Any, tuple[str, ...]]:
        raw, dropped = patch_request(
            parse(body | more), model="gemini-3-pro", output_cap=None, allows_provider_tools=allows
        )
        return json.loads(raw), dropped

    assert patched({}) == ({"contents": [USER]}, lost)
    both = {"tools": [{"googleSearch": {}}, functions]}
    assert patched(both) == (
        {"contents": [USER], "tools": [functions], "tool_config": calling},
        lost,
    )
    assert patched({"tools": [{"googleSearch": {}}, functions], "tool_config": None}) == (
        {"contents": [USER], "tools": [functions], "tool_config": None},
        ("tools.googleSearch",),
    )
    assert patched({}, allows=True) == ({"contents": [USER], **body}, ())


@pytest.mark.parametrize("is_array", [False, True])
def test_cut_stream_that_passes_ends_in_an_error(is_array: bool) -> None:
    """The chunks that came, then ours, then nothing."""
    asked = Asked("m", is_stream=True, is_array=is_array)
    relay = open_pass_relay(parse({}, asked))
    chunk = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\n'
    out = relay.feed(chunk) + relay.finish()
    assert relay.outcome.failure is not None
    assert not relay.outcome.is_complete
    assert relay.feed(chunk) == b""
    assert b"UNAVAILABLE" in out
    assert out.startswith(b"[" if is_array else chunk)
    if is_array:
        assert len(json.loads(out)) == 2


def test_googles_own_error_does_not_pass() -> None:
    """It stands on lines of its own, behind the events; the client gets ours."""
    relay = open_pass_relay(parse({}, ASKED))
    chunk = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\n'
    busy = {"error": {"code": 503, "message": "tell nobody", "status": "UNAVAILABLE"}}
    out = relay.feed(chunk + json.dumps(busy, indent=2).encode()) + relay.finish()
    assert relay.outcome.failure is not None
    assert relay.outcome.failure.kind == "overloaded"
    assert out.startswith(chunk)
    assert json.loads(out.removeprefix(chunk))["error"]["details"][0]["reason"] == "OVERLOADED"
    assert b"tell nobody" not in out


@pytest.mark.parametrize(
    ("path", "query", "wanted"),
    [
        ("/v1beta/models/m:generateContent", b"", (Asked("m"), "generateContent")),
        (
            "/v1/models/a%2Fb:streamGenerateContent",
            b"alt=sse",
            (Asked("a/b", is_stream=True), "streamGenerateContent"),
        ),
        (
            "/v1beta/models/a/b:c:streamGenerateContent",
            b"key=k",
            (Asked("a/b:c", is_stream=True, is_array=True), "streamGenerateContent"),
        ),
        ("/v1beta/models/m:countTokens", b"", (Asked("m"), "countTokens")),
        ("/v1beta/openai/m:generateContent", b"", (Asked("openai/m"), "generateContent")),
        ("/v1beta/m:generateContent", b"", None),
        ("/v1beta/v1beta/models/m:generateContent", b"", None),
        ("/v1beta/models/m:deleteAll", b"", None),
        ("/v1beta/models/:generateContent", b"", None),
        ("/v1beta/models/%ff:generateContent", b"", None),
    ],
)
def test_addresses(path: str, query: bytes, wanted: object) -> None:
    """Model, verb and how to stream."""
    assert parse_path(path, query) == wanted


def test_counting() -> None:
    """Both forms of the body, and the answer."""
    plain = json.dumps({"contents": [USER]}).encode()
    nested = b'{"generateContentRequest":{"model":"models/gemini-x",' + plain[1:] + b"}"
    assert parse_count_request(plain, ASKED).messages == (
        parse_count_request(nested, ASKED).messages
    )
    assert json.loads(render_count(7)) == {"totalTokens": 7}


def test_text_amid_arguments_keeps_its_place() -> None:
    """A call comes out when it is whole, however often text interrupts it, and the time stays bounded."""
    events: list[Event] = [CallStart(0, "c", "f"), CallDelta(0, '{"a":"' + "z" * 100_000)]
    events += [TextDelta("y")] * 5000
    events += [CallDelta(0, '"}'), Finish("tool_call", "tool_use")]
    body, _ = CLIENTS["gemini"].render_answer(parse({}), [Start("", "", 0), *events, End(None)])
    parts = json.loads(body)["candidates"][0]["content"]["parts"]
    assert [next(iter(part)) for part in parts] == ["text", "functionCall"]


def test_whole_calls_come_before_the_text_that_follows() -> None:
    """Order is kept where it can be known."""
    events = answer(CallStart(0, "c", "f"), CallDelta(0, "{}"), TextDelta("a"))
    body, _ = CLIENTS["gemini"].render_answer(parse({}), events)
    parts = json.loads(body)["candidates"][0]["content"]["parts"]
    assert [next(iter(part)) for part in parts] == ["functionCall", "text"]
