"""The official OpenAI SDK against moegate, with real recorded exchanges as the providers behind it."""

import base64
import json
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.clients.replay import Stage, replaying
from tests.gateway_process import NewKey, wait_for
from tests.wire import test_anthropic_corpus as anthropic_corpus
from tests.wire import test_gemini_corpus as gemini_corpus

FINISHES = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls",
    "refusal": "content_filter", "pause_turn": "stop", "STOP": "stop", "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
}  # fmt: skip

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
        "0000000049454e44ae426082"
    )
).decode()
HELLO = [{"role": "user", "content": "Say hello in French."}]

REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {"messages": HELLO},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, *HELLO], "max_tokens": 100},
    "tools": {
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tools": [WEATHER],
    },
    "tool result": {
        "messages": [
            {"role": "user", "content": "What is the weather in Paris?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"},
        ],
        "tools": [WEATHER],
    },
    "image": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ],
            }
        ]
    },
    "schema": {
        "messages": HELLO,
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "greeting",
                "schema": {
                    "type": "object",
                    "properties": {"text": {"type": "string"}},
                    "required": ["text"],
                    "additionalProperties": False,
                },
            },
        },
    },
}


@dataclass
class Seen:
    """What the SDK's user sees of an answer."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    finish: str | None = None
    tokens: tuple[int, int] | None = None
    cached: int = 0


@pytest.fixture(scope="module")
def stage(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """One gateway and one replay for all tests of this module."""
    with replaying(shared, tmp_path_factory.mktemp("replay")) as running:
        yield running


@pytest.fixture
def client(stage: Stage) -> openai.OpenAI:
    """The SDK as its users set it up."""
    return openai.OpenAI(
        base_url=f"{stage.gateway.url}/v1", api_key=stage.gateway.key, max_retries=0
    )


def ask(client: openai.OpenAI, model: str, body: dict[str, Any], *, stream: bool) -> Seen:
    """One request through the SDK, plain or streamed."""
    body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    messages = body.pop("messages")
    body.pop("model", None)
    if stream:
        chunks = client.chat.completions.create(
            model=model, messages=messages, stream=True, extra_body=body,
            stream_options={"include_usage": True},
        )  # fmt: skip
        return fold(chunks)
    answer = client.chat.completions.create(model=model, messages=messages, extra_body=body)
    choice = answer.choices[0]
    seen = Seen(choice.message.content or "", finish=choice.finish_reason)
    for call in choice.message.tool_calls or ():
        assert call.type == "function"
        seen.calls.append((call.function.name, load(call.function.arguments)))
    note_usage(seen, answer.usage)
    return seen


def fold(chunks: Any) -> Seen:
    """A stream as its user puts it together."""
    seen = Seen()
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        note_usage(seen, chunk.usage)
        for choice in chunk.choices:
            if choice.index:
                continue
            seen.text += choice.delta.content or ""
            seen.finish = choice.finish_reason or seen.finish
            for call in choice.delta.tool_calls or ():
                entry = calls.setdefault(call.index, ["", ""])
                if call.function is not None:
                    entry[0] += call.function.name or ""
                    entry[1] += call.function.arguments or ""
    seen.calls = [
        (name, load(arguments)) for name, arguments in (calls[at] for at in sorted(calls))
    ]
    return seen


def load(arguments: str | None) -> Any:
    """Arguments as a value; broken ones as they are."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def note_usage(seen: Seen, usage: Any) -> None:
    """The counts of a usage object."""
    if usage is not None:
        seen.tokens = (usage.prompt_tokens, usage.completion_tokens)
        details = usage.prompt_tokens_details
        seen.cached = (details.cached_tokens or 0) if details is not None else 0


def recorded_chat(exchange: dict[str, Any]) -> Seen:
    """The recorded OpenAI answer by an independent reading of its raw body."""
    body = exchange["response"]["body"]
    if not exchange["stream"]:
        choice = body["choices"][0]
        message = choice["message"]
        seen = Seen(message.get("content") or "", finish=choice["finish_reason"])
        for call in message.get("tool_calls") or ():
            seen.calls.append((call["function"]["name"], load(call["function"]["arguments"])))
        usage = body.get("usage")
    else:
        seen, usage = Seen(), None
        calls: dict[int, list[str]] = {}
        for line in body.splitlines():
            if not line.startswith("data:") or line[5:].strip() == "[DONE]":
                continue
            chunk = json.loads(line[5:])
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                if choice["index"]:
                    continue
                delta = choice["delta"]
                seen.text += delta.get("content") or ""
                seen.finish = choice.get("finish_reason") or seen.finish
                for call in delta.get("tool_calls") or ():
                    entry = calls.setdefault(call["index"], ["", ""])
                    entry[0] += call["function"].get("name") or ""
                    entry[1] += call["function"].get("arguments") or ""
        seen.calls = [(name, load(text)) for name, text in (calls[at] for at in sorted(calls))]
    if usage:
        seen.tokens = (usage["prompt_tokens"], usage["completion_tokens"])
        seen.cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return seen


def test_every_recorded_openai_chat(stage: Stage, client: openai.OpenAI) -> None:
    """All recorded chats: text, calls, finish reason and usage as recorded, plain and streamed."""
    compared = 0
    for exchange in list(stage.exchanges.values()):
        request = exchange["request"]["body"]
        if (exchange["provider"], exchange["api"]) != ("openai", "chat"):
            continue
        if exchange["response"]["status"] != 200 or not is_within(request):
            continue
        model = f"recorded-openai/{exchange['model']}"
        seen = ask(client, model, dict(request), stream=exchange["stream"])
        answered = stage.last()
        assert answered["seen"]["match"] == "exact", exchange["id"]
        wanted = recorded_chat(answered)
        assert (seen.text, seen.calls, seen.finish) == (wanted.text, wanted.calls, wanted.finish)
        if wanted.tokens is not None:
            assert (seen.tokens, seen.cached) == (wanted.tokens, wanted.cached)
        compared += 1
    assert compared > 100


def is_within(request: dict[str, Any]) -> bool:
    """Whether a recorded request is one that the first policy lets through at all."""
    text = json.dumps(request)
    return not (
        set(request) & {"web_search_options", "audio", "functions"}
        or request.get("service_tier") not in (None, "auto", "default", "flex")
        or "file_id" in text
        or any(tool.get("type") != "function" for tool in request.get("tools") or ())
    )


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kind", list(REQUESTS))
@pytest.mark.parametrize(
    "model",
    ["claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-7", "claude-sonnet-5"],
)
def test_claude_behind_the_sdk(
    stage: Stage, client: openai.OpenAI, model: str, kind: str, stream: bool
) -> None:
    """Recorded Claude answers come out as OpenAI's: same text, calls, finish and counts."""
    seen = ask(client, f"recorded-anthropic/{model}", REQUESTS[kind], stream=stream)
    answered = stage.last()
    text, _thinking, calls, stop, input_tokens, output_tokens, cached = anthropic_corpus.expected(
        answered
    )
    assert seen.text == text
    assert seen.calls == [(name, arguments) for _id, name, arguments in calls]
    assert seen.finish == FINISHES[stop]
    assert seen.tokens == (input_tokens, output_tokens)
    assert seen.cached <= cached


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kind", list(REQUESTS))
@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-pro-preview"])
def test_gemini_behind_the_sdk(
    stage: Stage, client: openai.OpenAI, model: str, kind: str, stream: bool
) -> None:
    """Recorded Gemini answers come out as OpenAI's: same text, calls, finish and counts."""
    seen = ask(client, f"recorded-gemini/{model}", REQUESTS[kind], stream=stream)
    text, _thoughts, calls, _signatures, finish, counts = gemini_corpus.expected(stage.last())
    assert seen.text == text
    assert seen.calls == calls
    assert seen.finish == ("tool_calls" if calls else FINISHES[finish])
    if counts is not None:
        assert seen.tokens == counts


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_self_hosted_behind_the_sdk(stage: Stage, client: openai.OpenAI, stream: bool) -> None:
    """A worker of one's own, by the name that `auto:private` finds."""
    seen = ask(client, "auto:private", REQUESTS["plain"], stream=stream)
    answered = stage.last()
    wanted = recorded_chat(answered)
    assert answered["provider"] == "local"
    assert (seen.text, seen.calls, seen.finish) == (wanted.text, wanted.calls, wanted.finish)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("400", openai.BadRequestError),
        ("429:3", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("529", openai.InternalServerError),
        ("context", openai.BadRequestError),
        ("reset", openai.InternalServerError),
        ("html", openai.InternalServerError),
        ("empty", openai.InternalServerError),
        ("truncate", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize(
    "model",
    [
        "recorded-openai/gpt-4o",
        "recorded-anthropic/claude-sonnet-4-5",
        "recorded-gemini/gemini-2.5-flash",
    ],
)
def test_faults_raise_the_sdks_own_errors(
    stage: Stage, client: openai.OpenAI, model: str, fault: str, error: type[openai.APIStatusError]
) -> None:
    """What goes wrong upstream is raised by the SDK as what it is, in OpenAI's words."""
    stage.fail(fault, times=4)
    try:
        with pytest.raises(error) as raised:
            ask(client, model, REQUESTS["plain"], stream=False)
    finally:
        stage.replay.post("/__reset")
        stage.gateway.runtime.services.signals.health.record_success(model, 0)
    assert raised.value.response.headers["x-moegate-error"]
    if fault == "context":
        assert raised.value.code == "context_length_exceeded"
    if fault.startswith("429"):
        assert raised.value.response.headers["retry-after"]


@pytest.mark.parametrize("fault", ["reset-mid", "close-mid", "error-mid", "malformed"])
@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("recorded-openai/gpt-4o", 3),
        ("recorded-anthropic/claude-sonnet-4-5", 5),  # the first four may hold a ping
        ("recorded-gemini/gemini-2.5-flash", 1),  # its streams may be two events long
    ],
)
def test_streams_that_break_raise(
    stage: Stage, client: openai.OpenAI, model: str, place: int, fault: str
) -> None:
    """A stream that breaks in the middle raises in the SDK; it never just ends."""
    stage.fail(f"{fault}:{place}", times=4)
    try:
        with pytest.raises(openai.APIError):
            ask(client, model, REQUESTS["plain"], stream=True)
    finally:
        stage.replay.post("/__reset")
        stage.gateway.runtime.services.signals.health.record_success(model, 0)


def test_books_agree_with_what_the_providers_billed(stage: Stage) -> None:
    """A fresh key's usage in SQL is, to the token, what the providers behind it say they billed."""
    stage.replay.post("/__reset")
    key = stage.gateway.make_key(NewKey("books"))
    client = openai.OpenAI(base_url=f"{stage.gateway.url}/v1", api_key=key, max_retries=0)
    models = (
        "recorded-openai/gpt-4o",
        "recorded-anthropic/claude-sonnet-4-5",
        "recorded-gemini/gemini-2.5-flash",
    )
    for model in models:
        for stream in (False, True):
            ask(client, model, REQUESTS["plain"], stream=stream)
    billed = stage.replay.get("/__stats").json()["tokens"]["completed"]["total"]
    wait_for(lambda: stage.gateway.runtime.services.journal.unshipped == 0)
    keys = {row["key_id"] for row in stage.gateway.rows("keys") if row["name"] == "books"}
    rows = [row for row in stage.gateway.rows("attempts") if row["key_id"] in keys]
    assert len(rows) == len(models) * 2
    assert sum(row["input_tokens"] for row in rows) == billed["input"]
    assert sum(row["output_tokens"] for row in rows) == billed["output"]
    assert sum(row["cache_read_tokens"] for row in rows) == billed["cached"]


def test_models_are_listed(client: openai.OpenAI) -> None:
    """`GET /v1/models` parses in the SDK and names targets and automatic choices."""
    names = {model.id for model in client.models.list()}
    assert {"auto", "auto:cheap", "recorded-anthropic/claude-sonnet-4-5"} <= names
