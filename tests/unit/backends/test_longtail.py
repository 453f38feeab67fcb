"""The long tail: LiteLLM's transforms under our adapter, against the wire of real providers."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from backends.adapter import Terms
from backends.longtail import LongtailAdapter, ProviderConfig, Translation
from backends.target import Endpoint, Secret, Target
from backends.wire.failure import WireError
from backends.wire.openai_chat import parse_request
from backends.wire.prompt import Prompt

pytestmark = pytest.mark.filterwarnings("ignore:Item:UserWarning:pydantic")  # of LiteLLM's types

KEY = "test-key-0123456789"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ENDPOINTS = {
    name: Endpoint(name, (f"https://{name.replace('_', '-')}.test/v1",), Secret(KEY))
    for name in ("mistral", "databricks", "dashscope", "watsonx", "nlp_cloud", "sambanova", "none")
} | {"cohere": Endpoint("cohere", ("https://api.cohere.test",), Secret(KEY))}


@pytest.fixture(scope="module")
def adapter() -> LongtailAdapter:
    """The adapter with LiteLLM in it; the import is what takes the time of this module."""
    adapter = LongtailAdapter(ENDPOINTS, now=lambda: 1_700_000_000.5)
    adapter.warm()
    return adapter


def make_target(provider: str, model: str = "model-1") -> Target:
    return Target(
        name=f"{provider}/{model}", provider=provider, adapter="longtail", format="openai-chat",
        model=model, endpoint=provider, boundary="external", region="us",
        capabilities=frozenset({"tools"}), context_tokens_max=128_000, output_tokens_max=4096,
    )  # fmt: skip


def ask(text: str = "hi", **more: object) -> Prompt:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], **more}
    return parse_request(json.dumps(body).encode())


def events_of(raw: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in raw.decode().split("\n\n") if line]
    return [json.loads(line) if line != "[DONE]" else line for line in lines]


def sse(*events: Mapping[str, object] | str) -> bytes:
    """Events as Cohere and OpenAI's relatives send them."""
    out = b""
    for event in events:
        if isinstance(event, str):
            out += f"data: {event}\n\n".encode()
        else:
            name = f"event: {event['type']}\n" if "type" in event else ""
            out += f"{name}data: {json.dumps(event)}\n\n".encode()
    return out


def text_delta(text: str) -> dict[str, object]:
    return {
        "type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}
    }  # fmt: skip


def message_end(reason: str = "COMPLETE", **more: object) -> dict[str, object]:
    usage = {
        "billed_units": {"input_tokens": 17, "output_tokens": 9},
        "tokens": {"input_tokens": 83, "output_tokens": 11},
    }
    delta = {"finish_reason": reason, "usage": usage, **more}
    return {"type": "message-end", "delta": delta}


START = {
    "id": "29f14a5a", "type": "message-start",
    "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}},
}  # fmt: skip


def cohere_call(kind: str, index: int, **call: object) -> dict[str, object]:
    return {"type": kind, "index": index, "delta": {"message": {"tool_calls": call}}}


TEXT_STREAM = sse(
    START,
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    text_delta("Hel"), text_delta("lo é"), {"type": "content-end", "index": 0},
    message_end(), "[DONE]",
)  # fmt: skip
CALL_STREAM = sse(
    START,
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I look."}}},
    cohere_call("tool-call-start", 0, id="a1", type="function", function={"name": "get_weather", "arguments": ""}),
    cohere_call("tool-call-delta", 0, function={"arguments": '{"city":'}),
    cohere_call("tool-call-delta", 0, function={"arguments": '"Rome"}'}),
    {"type": "tool-call-end", "index": 0},
    cohere_call("tool-call-start", 1, id="b2", type="function", function={"name": "get_time", "arguments": ""}),
    cohere_call("tool-call-delta", 1, function={"arguments": "{}"}),
    {"type": "tool-call-end", "index": 1},
    message_end("TOOL_CALL"),
)  # fmt: skip


def test_cohere_request(adapter: LongtailAdapter) -> None:
    """Address, key in the header alone, and the body in Cohere's words."""
    prompt = ask(
        tools=[TOOL], tool_choice="required", max_completion_tokens=50, temperature=0.5, stop="END",
        top_k=7, seed=3, user="u", store=False,
    )  # fmt: skip
    sent = adapter.prepare(prompt, make_target("cohere", "command-a-03-2025"), Terms())
    assert sent.url == "https://api.cohere.test/v2/chat"
    assert dict(sent.headers)["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in sent.body
    assert json.loads(sent.body) == {
        "model": "command-a-03-2025", "messages": [{"role": "user", "content": "hi"}],
        "tools": [TOOL], "tool_choice": "REQUIRED", "max_tokens": 50, "temperature": 0.5,
        "stop_sequences": ["END"], "k": 7, "seed": 3,
    }  # fmt: skip
    assert sent.dropped == ("user",)


def test_developer_is_system_elsewhere(adapter: LongtailAdapter) -> None:
    """OpenAI's own word for the system role is understood by nobody else."""
    raw = json.dumps({"model": "auto", "messages": [{"role": "developer", "content": "be brief"}]})
    sent = adapter.prepare(parse_request(raw.encode()), make_target("cohere"), Terms())
    assert json.loads(sent.body)["messages"][0]["role"] == "system"


def test_enforced_cap_replaces_the_clients(adapter: LongtailAdapter) -> None:
    """A budget's cap is what travels, whatever name the provider has for it."""
    for provider in ("cohere", "mistral", "databricks"):
        sent = adapter.prepare(ask(max_completion_tokens=9000), make_target(provider), Terms(123))
        assert json.loads(sent.body)["max_tokens"] == 123
        assert b"9000" not in sent.body


def test_losses_are_listed(adapter: LongtailAdapter) -> None:
    """What LiteLLM does not know, and what it calls supported and then leaves out, is named."""
    named = {"type": "function", "function": {"name": "get_weather"}}
    prompt = ask(tools=[TOOL], tool_choice=named, logit_bias={"1": 2}, own_member=1, n=1)
    sent = adapter.prepare(prompt, make_target("cohere"), Terms())
    assert set(sent.dropped) == {"tool_choice", "logit_bias", "unknown.own_member"}
    assert b"own_member" not in sent.body


def test_signatures_of_others_do_not_reach_litellm(adapter: LongtailAdapter) -> None:
    """Some of its transforms know the members in which moegate gives them to chat clients."""
    detail = {"type": "reasoning.text", "text": "hm", "signature": "mg1.anthropic.c2ln"}
    said = {"role": "assistant", "content": "a", "reasoning_details": [detail]}
    prompt = ask(
        messages=[{"role": "user", "content": "q"}, said, {"role": "user", "content": "r"}]
    )
    sent = adapter.prepare(prompt, make_target("cohere"), Terms())
    assert sent.dropped == ("messages[].reasoning_content",)
    assert b"mg1." not in sent.body


def test_sdk_parameters_do_not_come_from_the_wire(adapter: LongtailAdapter) -> None:
    """A client cannot set headers, addresses or keys through members that LiteLLM obeys in process."""
    prompt = ask(extra_headers={"x-a": "b"}, api_base="http://evil.test", api_key="k2")
    for provider in ("cohere", "mistral", "dashscope"):
        sent = adapter.prepare(prompt, make_target(provider), Terms())
        assert sent.url.startswith(ENDPOINTS[provider].base_urls[0])
        assert dict(sent.headers)["authorization"] == f"Bearer {KEY}"
        for word in (b"evil", b"x-a", b"k2"):
            assert word not in sent.body


def test_failed_translation_names_the_parameter(adapter: LongtailAdapter) -> None:
    """The client learns which member of its request is the reason, and no key."""

    class Picky:
        """A provider's configuration as LiteLLM has them, of the kind that refuses."""

        def get_supported_openai_params(self, model: str) -> list[str]:
            return ["temperature", "top_p", "max_tokens"]

        def map_openai_params(self, *, non_default_params: dict[str, Any], **_: Any) -> Any:
            if "top_p" in non_default_params:
                raise ValueError(f"no {KEY} here")
            return non_default_params

    config = cast("ProviderConfig", Picky())  # only what is reached
    prompt = ask(temperature=1, top_p=0.5)
    translation = Translation(config, make_target("cohere"), ENDPOINTS["cohere"], prompt)
    with pytest.raises(WireError) as caught:
        translation.render(None)
    failure = caught.value.failure
    assert (failure.kind, failure.param) == ("invalid_request", "top_p")
    assert failure.message == (
        "`cohere/model-1` cannot take this request because of `top_p`: no [hidden] here"
    )


def test_cap_that_would_get_lost_is_refused(adapter: LongtailAdapter) -> None:
    """Without a cap upstream a budget has no bound: no such request leaves."""

    class Capless:
        def get_supported_openai_params(self, model: str) -> list[str]:
            return ["max_tokens"]

        def map_openai_params(self, **_: Any) -> Any:
            return {}

    config = cast("ProviderConfig", Capless())  # only what is reached
    translation = Translation(config, make_target("cohere"), ENDPOINTS["cohere"], ask())
    with pytest.raises(WireError, match="takes no output cap"):
        translation.render(100)


def test_unknown_provider_is_refused(adapter: LongtailAdapter) -> None:
    """LiteLLM has no transforms for it."""
    with pytest.raises(WireError, match="cannot be reached through the long tail"):
        adapter.prepare(ask(), make_target("none"), Terms())


def test_provider_that_calls_out_for_a_token_is_refused(adapter: LongtailAdapter) -> None:
    """LiteLLM's watsonx fetches a token by itself: sealed off, the request fails before it leaves."""
    with pytest.raises(WireError, match="call out by itself"):
        adapter.prepare(ask(), make_target("watsonx"), Terms())


def test_provider_without_stream_reader_is_refused_before_it_costs(
    adapter: LongtailAdapter,
) -> None:
    """A stream that nobody here could read is not asked for."""
    with pytest.raises(WireError) as caught:
        adapter.prepare(ask(stream=True), make_target("nlp_cloud"), Terms())
    assert caught.value.failure.param == "stream"


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_cohere_text_stream(adapter: LongtailAdapter, step: int) -> None:
    """Text, finish and billed usage, at any chunk borders."""
    prompt = ask(stream=True, stream_options={"include_usage": True})
    relay = adapter.open_stream(prompt, make_target("cohere", "command-a"))
    raw = b"".join(
        relay.feed(TEXT_STREAM[at : at + step]) for at in range(0, len(TEXT_STREAM), step)
    )
    raw += relay.finish()
    said = events_of(raw)
    assert said.pop() == "[DONE]"
    text = "".join(
        choice["delta"].get("content", "") for event in said for choice in event["choices"]
    )
    assert text == "Hello é"
    assert said[-2]["choices"][0]["finish_reason"] == "stop"
    assert said[-1]["usage"]["prompt_tokens"] == 17
    outcome = relay.outcome
    assert outcome.is_complete
    assert outcome.usage is not None
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (17, 9)
    assert outcome.response_id == "chatcmpl-29f14a5a"


def test_cohere_call_stream(adapter: LongtailAdapter) -> None:
    """Parallel calls arrive with their ids, in order, their arguments whole."""
    relay = adapter.open_stream(ask(stream=True), make_target("cohere"))
    said = events_of(relay.feed(CALL_STREAM) + relay.finish())
    calls: dict[int, list[str]] = {}
    for event in said[:-1]:
        for choice in event["choices"]:
            for call in choice["delta"].get("tool_calls", ()):
                kept = calls.setdefault(call["index"], ["", "", ""])
                kept[0] += call.get("id", "")
                kept[1] += call["function"].get("name", "")
                kept[2] += call["function"]["arguments"]
    assert calls == {
        0: ["a1", "get_weather", '{"city":"Rome"}'],
        1: ["b2", "get_time", "{}"],
    }
    assert said[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_cohere_streams_that_break(adapter: LongtailAdapter) -> None:
    """Cut, error finish, error event and broken data: a typed error, no made-up end; usage is kept."""
    for raw, has_usage in (
        (sse(START, text_delta("a")), False),
        (sse(START, text_delta("a"), message_end("ERROR")), True),
        (sse(START, text_delta("a"), message_end("TIMEOUT", error="it took too long")), False),
        (sse(START, text_delta("a")) + b"data: {broken\n\n", False),
        (sse(START, text_delta("a"), {"message": "internal server error"}), False),
    ):
        relay = adapter.open_stream(ask(stream=True), make_target("cohere"))
        out = relay.feed(raw) + relay.finish()
        assert b"[DONE]" not in out
        assert b'"error"' in out
        failure = relay.outcome.failure
        assert failure is not None
        assert (failure.kind, failure.may_have_spent) == ("upstream_failed", True)
        assert (relay.outcome.usage is not None) == has_usage


def plain_cohere(**more: object) -> bytes:
    body = {
        "id": "c14c80c3", "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        "usage": {"billed_units": {"input_tokens": 5, "output_tokens": 2},
                  "tokens": {"input_tokens": 71, "output_tokens": 4}},
    }  # fmt: skip
    return json.dumps(body | more).encode()


def test_cohere_plain_answer(adapter: LongtailAdapter) -> None:
    """Text, finish and billed usage of a whole answer."""
    answer = adapter.read_answer(ask(), make_target("cohere"), plain_cohere())
    said = json.loads(answer.body)
    assert said["choices"][0]["message"]["content"] == "Hello"
    assert said["choices"][0]["finish_reason"] == "stop"
    assert said["usage"]["total_tokens"] == 7
    assert answer.outcome.usage is not None
    assert answer.outcome.usage.input_tokens == 5
    cut = adapter.read_answer(
        ask(), make_target("cohere"), plain_cohere(finish_reason="MAX_TOKENS")
    )
    assert json.loads(cut.body)["choices"][0]["finish_reason"] == "length"


def test_cohere_plain_calls(adapter: LongtailAdapter) -> None:
    """Calls of a whole answer, with the plan as its text."""
    message = {
        "role": "assistant", "tool_plan": "I look.",
        "tool_calls": [{"id": "a1", "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}],
    }  # fmt: skip
    body = plain_cohere(message=message, finish_reason="TOOL_CALL")
    said = json.loads(adapter.read_answer(ask(), make_target("cohere"), body).body)
    choice = said["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "I look."
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city":"Rome"}'


def test_answer_without_a_count_has_no_usage(adapter: LongtailAdapter) -> None:
    """Nothing counted is not zero: the accounts then take the bound."""
    for usage in (None, {}, {"tokens": {"input_tokens": 0, "output_tokens": 0}}):
        answer = adapter.read_answer(ask(), make_target("cohere"), plain_cohere(usage=usage))
        assert answer.outcome.usage is None
    body = {"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"},
                                    "finish_reason": "stop"}], "model": "m", "created": 1}  # fmt: skip
    answer = adapter.read_answer(ask(), make_target("dashscope"), json.dumps(body).encode())
    assert answer.outcome.usage is None


def test_broken_answers_fail(adapter: LongtailAdapter) -> None:
    """What is no answer of the provider's is its failure, and may have cost."""
    for provider in ("cohere", "mistral", "databricks", "dashscope"):
        for body in (b"", b"<html>", b"[]", b"{}", b'{"message": 1}', b'{"choices": []}', b"\xff"):
            with pytest.raises(WireError) as caught:
                adapter.read_answer(ask(), make_target(provider), body)
            failure = caught.value.failure
            assert (failure.kind, failure.may_have_spent) == ("upstream_failed", True)


def chunk(delta: dict[str, object], finish: str | None = None, **more: object) -> dict[str, object]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": choices, **more}  # fmt: skip


USAGE = {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16,
         "prompt_tokens_details": {"cached_tokens": 8}}  # fmt: skip


@pytest.mark.parametrize("provider", ["mistral", "databricks", "dashscope", "sambanova"])
def test_relatives_of_openai(adapter: LongtailAdapter, provider: str) -> None:
    """Text, calls, usage, plain and streamed, of providers whose wire is near OpenAI's."""
    target = make_target(provider)
    sent = adapter.prepare(ask(max_tokens=5), target, Terms())
    assert sent.url == f"{ENDPOINTS[provider].base_urls[0]}/chat/completions"
    call = {"id": "c9", "type": "function", "index": 0,
            "function": {"name": "get_weather", "arguments": "{}"}}  # fmt: skip
    message = {"role": "assistant", "content": "Hi", "tool_calls": [call]}
    plain = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
             "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}  # fmt: skip
    answer = adapter.read_answer(ask(), target, json.dumps(plain).encode())
    said = json.loads(answer.body)["choices"][0]
    assert said["message"]["content"] == "Hi"
    assert said["message"]["tool_calls"][0]["id"] == "c9"
    assert said["finish_reason"] == "tool_calls"
    assert answer.outcome.usage is not None
    assert (answer.outcome.usage.input_tokens, answer.outcome.usage.cache_read_tokens) == (12, 8)
    relay = adapter.open_stream(ask(stream=True), target)
    out = relay.feed(
        sse(
            chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi"}),
            chunk({"tool_calls": [call]}),
            # Some repeat the id with every piece.
            chunk({"tool_calls": [{**call, "function": {"arguments": " "}}]}),
            chunk({}, "tool_calls", usage=USAGE), "[DONE]",
        )
    )  # fmt: skip
    assert out.endswith(b"data: [DONE]\n\n")
    starts = [line for line in events_of(out)[:-1] if '"name"' in json.dumps(line)]
    assert len(starts) == 1
    assert relay.outcome.finish_reason == "tool_call"
    assert relay.outcome.usage is not None
    assert relay.outcome.usage.output_tokens == 4


def test_what_stands_beside_the_text_of_a_relative(adapter: LongtailAdapter) -> None:
    """Log probabilities come through, plain and streamed."""
    token = {"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    beside = {"content": [token], "refusal": None}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Hi"},
        "logprobs": beside,
        "finish_reason": "stop",
    }
    plain = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    target = make_target("sambanova")
    answer = adapter.read_answer(ask(logprobs=True), target, json.dumps(plain).encode())
    assert json.loads(answer.body)["choices"][0]["logprobs"] == beside
    relay = adapter.open_stream(ask(stream=True, logprobs=True), target)
    said = chunk({"content": "Hi"}, "stop")
    said["choices"][0]["logprobs"] = beside  # type: ignore[index]  # the list that chunk made
    out = relay.feed(sse(said, "[DONE]"))
    given = [one["choices"][0].get("logprobs") for one in events_of(out)[:-1] if one["choices"]]
    assert beside in given


def test_relative_that_breaks_in_the_stream(adapter: LongtailAdapter) -> None:
    """An error event is told; a stream without a finish is a cut."""
    for raw in (
        sse(chunk({"content": "a"}), {"error": {"message": "overheated", "type": "server_error"}}),
        sse(chunk({"content": "a"})),
        sse(chunk({"content": "a"}), "[DONE]"),
    ):
        relay = adapter.open_stream(ask(stream=True), make_target("dashscope"))
        out = relay.feed(raw) + relay.finish()
        assert b"[DONE]" not in out
        assert relay.outcome.failure is not None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"message": "invalid request: temperature must be"}, "invalid_request"),
        (400, {"message": "too many tokens: prompt cannot exceed 4081"}, "context_too_long"),
        (401, {"message": "invalid api token"}, "upstream_failed"),
        (404, {"message": "model 'x' not found"}, "upstream_failed"),
        (422, {"message": "tools[0].name: required"}, "invalid_request"),
        (429, {"message": "trial key limited to 10 calls a minute"}, "rate_limited"),
        (499, {"message": "request cancelled"}, "upstream_failed"),
        (500, {"message": "internal server error"}, "upstream_failed"),
        (503, {"message": "unavailable"}, "overloaded"),
    ],
)
def test_cohere_errors(
    adapter: LongtailAdapter, status: int, body: dict[str, str], kind: str
) -> None:
    """Cohere's statuses in our kinds; those of our own credential say nothing of it."""
    failure = adapter.read_failure(status, {"retry-after": "3"}, json.dumps(body).encode())
    assert failure.kind == kind
    assert failure.upstream_status == status
    assert (failure.retry_after_seconds == 3) == (status in (429, 503))
    if status == 401:
        assert "token" not in failure.message


async def test_loading_does_not_block_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while it loads waits without holding up others, once for all; then it is done."""
    entered, threads = threading.Event(), list[int]()
    release = threading.Event()

    class Slow(LongtailAdapter):
        """An import that takes as long as the test wants."""

        def warm(self) -> None:
            threads.append(threading.get_ident())
            entered.set()
            assert release.wait(10)
            super().warm()

    slow = Slow(ENDPOINTS)
    with pytest.raises(WireError) as caught:
        slow.prepare(ask(), make_target("cohere"), Terms())
    assert caught.value.failure.kind == "overloaded"
    load = slow.load
    assert load is not None
    waiting = [asyncio.create_task(load()) for _ in range(20)]  # type: ignore[arg-type]  # a coroutine
    while not entered.is_set():
        await asyncio.sleep(0.001)
    waiting[0].cancel()
    started = time.monotonic()
    await asyncio.sleep(0)
    assert time.monotonic() - started < 1
    release.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None] * 19
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    assert slow.load is None
    assert slow.prepare(ask(), make_target("cohere"), Terms()).url


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_gateway_starts_without_heavy_imports() -> None:
    """The composition root loads neither LiteLLM nor what comes with it, nor torch."""
    ran = run_python(
        "import sys, gateway.app, backends.adapters\n"
        "backends.adapters.build_adapters({})\n"
        "print(*sorted({'litellm','pydantic','torch','openai','httpx','z3'} & set(sys.modules)))"
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "")


SEALED = """
import json, os, sys, tempfile
calls = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        calls.append(f"{event} {args[1:]}")
sys.addaudithook(watch)
folder = tempfile.mkdtemp()
os.chdir(folder)
open(".env", "w").write("STRAY=1")
import backends.longtail as longtail
from backends.adapter import Terms
from backends.target import Endpoint, Secret, Target
from backends.wire.openai_chat import parse_request
adapter = longtail.LongtailAdapter({"cohere": Endpoint("cohere", ("https://api.cohere.com",), Secret("k"))})
assert "litellm" not in sys.modules
adapter.warm()
target = Target(name="cohere/c", provider="cohere", adapter="longtail", format="openai-chat", model="command-a",
    endpoint="cohere", boundary="external", region="us", capabilities=frozenset(), context_tokens_max=1,
    output_tokens_max=1)
image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}}
for content in ("hi", [{"type": "text", "text": "look"}, image]):
    raw = json.dumps({"model": "a", "messages": [{"role": "user", "content": content}], "stream": True})
    adapter.prepare(parse_request(raw.encode()), target, Terms(5))
    adapter.open_stream(parse_request(raw.encode()), target)
print(json.dumps([calls, os.environ["LITELLM_LOCAL_MODEL_COST_MAP"], os.environ.get("STRAY")]))
"""


def test_litellm_calls_nobody() -> None:
    """From its import to a rendered request no connection is tried, and no `.env` is read."""
    ran = run_python(SEALED)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [[], "True", None]
    assert ran.stderr == ""
