"""The official SDKs of Anthropic, Google and OpenAI (Responses), each against all four kinds of targets.

Behind the gateway real recorded exchanges play the providers. What an SDK's user sees is what was recorded,
whoever answered: text, calls, finish, counts.
"""

import base64
import json
from collections.abc import Callable, Generator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.clients.replay import Stage, replaying
from tests.clients.seen import Seen, load, recorded

TARGETS = {
    "gpt": "recorded-openai/gpt-4o",
    "claude": "recorded-anthropic/claude-sonnet-4-5",
    "gemini": "recorded-gemini/gemini-2.5-flash",
    "sglang": "auto:private",
}
KINDS = ("plain", "system", "tools", "tool result", "image", "schema")
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
        "0000000049454e44ae426082"
    )
).decode()
HELLO = "Say hello in French."
WEATHER = "What is the weather in Paris?"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def stage(shared: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """One gateway and one replay for all tests of this module."""
    with replaying(shared, tmp_path_factory.mktemp("replay")) as running:
        yield running


Asker = Callable[[Stage, str, str, bool], Seen]


def ask_anthropic(stage: Stage, model: str, kind: str, stream: bool) -> Seen:
    """One request through Anthropic's SDK."""
    client = anthropic.Anthropic(
        base_url=stage.gateway.url, api_key=stage.gateway.key, max_retries=0
    )
    tool = {"name": "get_weather", "description": "Weather of a city", "input_schema": SCHEMA}
    use = {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "18 degrees"}
    picture = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    bodies: dict[str, dict[str, Any]] = {
        "plain": {"messages": [{"role": "user", "content": HELLO}]},
        "system": {"system": "Be brief.", "messages": [{"role": "user", "content": HELLO}]},
        "tools": {"messages": [{"role": "user", "content": WEATHER}], "tools": [tool]},
        "tool result": {
            "messages": [
                {"role": "user", "content": WEATHER},
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [result]},
            ],
            "tools": [tool],
        },
        "image": {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image", "source": picture},
                    ],
                }
            ]
        },
        "schema": {
            "messages": [{"role": "user", "content": HELLO}],
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        },
    }
    body: dict[str, Any] = {"model": model, "max_tokens": 1000, **bodies[kind]}
    if stream:
        with client.messages.stream(**body) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**body)
    seen = Seen("".join(block.text for block in message.content if block.type == "text"))
    seen.calls = [(one.name, one.input) for one in message.content if one.type == "tool_use"]
    usage = message.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    seen.tokens = (usage.input_tokens + cached, usage.output_tokens)
    return seen.finished(message.stop_reason)


def ask_google(stage: Stage, model: str, kind: str, stream: bool) -> Seen:
    """One request through Google's SDK."""
    options = types.HttpOptions(base_url=stage.gateway.url)
    client = genai.Client(api_key=stage.gateway.key, http_options=options)
    function = types.FunctionDeclaration(
        name="get_weather", description="Weather of a city", parameters_json_schema=SCHEMA
    )
    tools = [types.Tool(function_declarations=[function])]
    call = types.Part.from_function_call(name="get_weather", args={"city": "Paris"})
    answer = types.Part.from_function_response(
        name="get_weather", response={"output": "18 degrees"}
    )
    contents: dict[str, Any] = {
        "tools": WEATHER,
        "tool result": [
            types.Content(role="user", parts=[types.Part(text=WEATHER)]),
            types.Content(role="model", parts=[call]),
            types.Content(role="user", parts=[answer]),
        ],
        "image": [
            "What is this?",
            types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png"),
        ],
    }
    config: dict[str, Any] = {"automatic_function_calling": {"disable": True}}
    if kind.startswith("tool"):
        config["tools"] = tools
    if kind == "system":
        config["system_instruction"] = "Be brief."
    if kind == "schema":
        config |= {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    said: dict[str, Any] = {"model": model, "contents": contents.get(kind, HELLO), "config": config}
    models: Any = client.models
    answers = (
        list(models.generate_content_stream(**said))
        if stream
        else [models.generate_content(**said)]
    )
    seen, finish = Seen(), None
    for one in answers:
        if one.usage_metadata is not None:
            used = one.usage_metadata
            output = (used.candidates_token_count or 0) + (used.thoughts_token_count or 0)
            taken = (used.prompt_token_count or 0) + (used.tool_use_prompt_token_count or 0)
            seen.tokens = (taken, output)
        for candidate in one.candidates or ():
            finish = candidate.finish_reason or finish
            for part in (candidate.content and candidate.content.parts) or ():
                if part.function_call is not None:
                    seen.calls.append((part.function_call.name, part.function_call.args or {}))
                elif part.text and not part.thought:
                    seen.text += part.text
    return seen.finished(finish)


def ask_responses(stage: Stage, model: str, kind: str, stream: bool) -> Seen:
    """One request through OpenAI's SDK, in the Responses format."""
    client = openai.OpenAI(
        base_url=f"{stage.gateway.url}/v1", api_key=stage.gateway.key, max_retries=0
    )
    tool = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
    call = {"type": "function_call", "call_id": "call_1", "name": "get_weather",
            "arguments": '{"city":"Paris"}'}  # fmt: skip
    output = {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees"}
    picture = {"type": "input_image", "detail": "auto",
               "image_url": f"data:image/png;base64,{PIXEL}"}  # fmt: skip
    form = {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
    bodies: dict[str, dict[str, Any]] = {
        "plain": {"input": HELLO},
        "system": {"input": HELLO, "instructions": "Be brief."},
        "tools": {"input": WEATHER, "tools": [tool]},
        "tool result": {
            "input": [{"role": "user", "content": WEATHER}, call, output],
            "tools": [tool],
        },
        "image": {
            "input": [
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "What is this?"}, picture],
                }
            ]
        },
        "schema": {"input": HELLO, "text": {"format": form}},
    }
    create: Any = client.responses.create
    if stream:
        events = list(create(model=model, stream=True, store=False, **bodies[kind]))
        numbers = [event.sequence_number for event in events]
        assert numbers == sorted(set(numbers))
        response = events[-1].response
    else:
        response = create(model=model, store=False, **bodies[kind])
    seen = Seen(response.output_text)
    for item in response.output:
        if item.type == "function_call":
            seen.calls.append((item.name, load(item.arguments)))
    if response.usage is not None:
        seen.tokens = (response.usage.input_tokens, response.usage.output_tokens)
    return seen.finished(response.status)


SDKS: dict[str, Asker] = {
    "anthropic": ask_anthropic,
    "google": ask_google,
    "responses": ask_responses,
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("sdk", list(SDKS))
def test_every_sdk_sees_what_was_said(
    stage: Stage, sdk: str, target: str, kind: str, stream: bool
) -> None:
    """Text, calls, finish and counts as recorded, whichever format they came through."""
    seen = SDKS[sdk](stage, TARGETS[target], kind, stream)
    wanted = recorded(stage.last())
    assert (seen.text, seen.calls, seen.finish) == (wanted.text, wanted.calls, wanted.finish)
    if wanted.tokens is not None:
        assert seen.tokens == wanted.tokens


API_ERRORS: dict[str, type[Exception]] = {
    "anthropic": anthropic.APIError,
    "google": genai.errors.APIError,
    "responses": openai.APIError,
}
PLACES = {"gpt": 3, "claude": 5, "gemini": 1}


@pytest.mark.parametrize("target", list(PLACES))
@pytest.mark.parametrize("fault", ["400", "429:3", "500", "context", "reset", "html", "truncate"])
@pytest.mark.parametrize("sdk", list(SDKS))
def test_faults_raise_the_sdks_own_errors(stage: Stage, sdk: str, fault: str, target: str) -> None:
    """What goes wrong upstream is raised by the SDK as an error of its own, with the kind in a header."""
    stage.fail(fault, times=4)
    try:
        with pytest.raises(API_ERRORS[sdk]) as raised:
            SDKS[sdk](stage, TARGETS[target], "plain", False)
    finally:
        stage.replay.post("/__reset")
        stage.gateway.runtime.services.signals.health.record_success(TARGETS[target], 0)
    response: Any = getattr(raised.value, "response", None)
    assert response.headers["x-moegate-error"]


@pytest.mark.parametrize("target", list(PLACES))
@pytest.mark.parametrize("fault", ["reset-mid", "close-mid", "error-mid", "malformed"])
@pytest.mark.parametrize("sdk", list(SDKS))
def test_streams_that_break_raise(stage: Stage, sdk: str, fault: str, target: str) -> None:
    """A stream that breaks in the middle raises in the SDK, or ends without a finish; it never just ends well."""
    stage.fail(f"{fault}:{PLACES[target]}", times=4)
    try:
        with pytest.raises((API_ERRORS[sdk], AssertionError, AttributeError, KeyError)):
            SDKS[sdk](stage, TARGETS[target], "plain", True)
    finally:
        stage.replay.post("/__reset")
        stage.gateway.runtime.services.signals.health.record_success(TARGETS[target], 0)


def post(stage: Stage, path: str, body: Any, **headers: str) -> Any:
    """One request without an SDK."""
    sent = {"x-api-key": stage.gateway.key}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return stage.gateway.client.post(path, json=body, headers=sent)


def is_within(exchange: dict[str, Any]) -> bool:
    """Whether a recorded request is one that goes through unchanged: no tools of the provider's own, nothing that
    the provider keeps."""
    body = exchange["request"]["body"]
    text = json.dumps(body)
    if exchange["api"] == "messages":
        functions = all(tool.get("type", "custom") == "custom" for tool in body.get("tools") or ())
    else:
        functions = all(set(tool) <= {"functionDeclarations"} for tool in body.get("tools") or ())
    kept = ("file_id", "mcp_servers", "container", "cachedContent", "responseModalities", "compact")
    return functions and not any(word in text for word in kept)


@pytest.mark.parametrize(
    ("provider", "api", "named"),
    [
        ("anthropic", "messages", "recorded-anthropic"),
        ("google", "generateContent", "recorded-gemini"),
    ],
)
def test_own_format_passes_as_it_came(stage: Stage, provider: str, api: str, named: str) -> None:
    """Every recorded request in its provider's own format gets the recorded answer, byte for byte."""
    compared = 0
    for exchange in list(stage.exchanges.values()):
        if (exchange["provider"], exchange["api"]) != (provider, api):
            continue
        if exchange["response"]["status"] != 200 or not is_within(exchange):
            continue
        body = dict(exchange["request"]["body"])
        if api == "messages":
            answer = post(stage, "/v1/messages", body | {"model": f"{named}/{exchange['model']}"})
        else:
            verb = "streamGenerateContent?alt=sse" if exchange["stream"] else "generateContent"
            answer = post(stage, f"/v1beta/models/{named}/{exchange['model']}:{verb}", body)
        if answer.headers.get("x-moegate-error") in ("no_target", "policy_refused"):
            continue
        assert answer.status_code == 200, (exchange["id"], answer.text)
        said = stage.last()["response"]["body"]
        if exchange["stream"]:
            assert answer.text == said, exchange["id"]
        else:
            assert answer.json() == said, exchange["id"]
        compared += 1
    assert compared > 100
