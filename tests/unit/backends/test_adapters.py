"""Each adapter's request: address, headers, where the key stands, body; and what errors of hosts become."""

import json
from collections.abc import Mapping
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.adapter import Outbound, ProviderAdapter, Terms
from backends.adapters import build_adapters
from backends.target import Adapter, Endpoint, Secret, Target
from backends.transport import is_under
from backends.wire.failure import WireError
from backends.wire.gemini.parsing import parse_request as parse_gemini
from backends.wire.openai_chat import parse_request
from backends.wire.prompt import Asked, Message, Prompt, Text, WireFormat

KEY = "key-0123456789-abc"
REPLICAS = ("http://10.0.0.1:30000", "http://10.0.0.2:30000", "http://10.0.0.3:30000")
ENDPOINTS = {
    "openai": Endpoint("openai", ("https://api.openai.test/v1",), Secret(KEY)),
    "groq": Endpoint("groq", ("https://api.groq.test/openai/v1",), Secret(KEY)),
    "mistral": Endpoint("mistral", ("https://api.mistral.test/v1",), Secret(KEY)),
    "anthropic": Endpoint("anthropic", ("https://api.anthropic.test",), Secret(KEY)),
    "gemini": Endpoint("gemini", ("https://gemini.test",), Secret(KEY)),
    "sglang": Endpoint("sglang", REPLICAS, Secret(KEY)),
    "open": Endpoint("open", (REPLICAS[0],), None, extra_headers=(("x-org", "o"),)),
}
OF: Mapping[str, tuple[Adapter, WireFormat]] = {
    "openai": ("gpt", "openai-chat"), "groq": ("gpt", "openai-chat"),
    "mistral": ("gpt", "openai-chat"), "anthropic": ("claude", "anthropic-messages"),
    "gemini": ("gemini", "gemini"), "sglang": ("sglang", "openai-chat"),
    "open": ("sglang", "openai-chat"),
}  # fmt: skip


def make_target(provider: str, model: str = "model-1") -> Target:
    adapter, form = OF[provider]
    return Target(
        name=f"{provider}/{model}", provider=provider, adapter=adapter, format=form, model=model,
        endpoint=provider, boundary="external", region="us", capabilities=frozenset({"tools"}),
        context_tokens_max=128_000, output_tokens_max=4096,
    )  # fmt: skip


def adapter_of(provider: str) -> ProviderAdapter:
    return build_adapters(ENDPOINTS)[OF[provider][0]]


def prepare(
    provider: str,
    said: Mapping[str, object] | None = None,
    *,
    cap: int | None = None,
    model: str = "model-1",
    **more: object,
) -> Outbound:
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": "auto", "messages": messages, **more, **(said or {})}
    prompt = parse_request(json.dumps(body).encode())
    return adapter_of(provider).prepare(prompt, make_target(provider, model), Terms(cap))


def test_every_kind_of_adapter_is_there() -> None:
    """The catalogue's word for each way to speak has an implementation, and none is heavy."""
    adapters = build_adapters(ENDPOINTS)
    assert set(adapters) == set(get_args(Adapter))
    assert [name for name, adapter in adapters.items() if adapter.load is not None] == ["longtail"]


@pytest.mark.parametrize(
    ("provider", "url", "stream_url", "key_header"),
    [
        ("openai", "https://api.openai.test/v1/chat/completions", "", "authorization"),
        ("groq", "https://api.groq.test/openai/v1/chat/completions", "", "authorization"),
        ("anthropic", "https://api.anthropic.test/v1/messages", "", "x-api-key"),
        (
            "gemini",
            "https://gemini.test/v1beta/models/model-1:generateContent",
            "https://gemini.test/v1beta/models/model-1:streamGenerateContent?alt=sse",
            "x-goog-api-key",
        ),
        ("sglang", "http://10.0.0.1:30000/v1/chat/completions", "", "authorization"),
    ],
)
def test_address_and_key(provider: str, url: str, stream_url: str, key_header: str) -> None:
    """Where it goes, and the key in one header: never in the address, never in the body."""
    for is_stream, wanted in ((False, url), (True, stream_url or url)):
        sent = prepare(provider, stream=is_stream)
        assert (sent.url, sent.target, sent.is_stream) == (wanted, f"{provider}/model-1", is_stream)
        assert is_under(sent.url, ENDPOINTS[provider].base_urls)
        names = [name for name, _ in sent.headers]
        assert len(names) == len(set(names))
        assert [name for name, value in sent.headers if KEY in value] == [key_header]
        assert KEY.encode() not in sent.body
        assert KEY not in sent.url
        assert ("content-type", "application/json") in sent.headers


def test_anthropic_says_its_version() -> None:
    """The header without which the API refuses."""
    assert dict(prepare("anthropic").headers)["anthropic-version"] == "2023-06-01"


def test_host_without_a_key_gets_none() -> None:
    """No empty bearer; headers of the endpoint's own go along."""
    headers = dict(prepare("open").headers)
    assert "authorization" not in headers
    assert headers["x-org"] == "o"


def test_replicas_take_turns() -> None:
    """Each worker of a cluster gets its share."""
    adapter, target = adapter_of("sglang"), make_target("sglang")
    prompt = parse_request(b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}')
    urls = [adapter.prepare(prompt, target, Terms()).url for _ in range(6)]
    assert urls == [f"{base}/v1/chat/completions" for base in REPLICAS] * 2


@given(model=st.text(min_size=1, max_size=30))
def test_model_names_stay_in_their_place(model: str) -> None:
    """Whatever a catalogue calls a model, Gemini's address stays below the base, or is refused there."""
    url = prepare("gemini", model=model.encode("utf-8", "replace").decode()).url
    if is_under(url, ENDPOINTS["gemini"].base_urls):
        assert url.startswith("https://gemini.test/v1beta/models/")
        assert url.endswith(":generateContent")
        assert url.count("/") == 5


@pytest.mark.parametrize("provider", sorted(OF))
def test_enforced_cap_travels(provider: str) -> None:
    """A budget's cap is what the host reads, whatever the client asked for or did not ask for."""
    for asked in ({}, {"max_tokens": 100_000}, {"max_completion_tokens": 100_000}):
        body = json.loads(prepare(provider, asked, cap=77).body)
        flat = body | body.get("generationConfig", {})
        caps = [
            flat[name]
            for name in ("max_tokens", "max_completion_tokens", "maxOutputTokens")
            if name in flat
        ]
        assert caps == [77]


def test_cap_has_the_name_that_the_host_knows() -> None:
    """OpenAI's newer models refuse `max_tokens`, SGLang and Mistral do not know the other."""
    assert "max_completion_tokens" in json.loads(prepare("openai", cap=7).body)
    assert "max_completion_tokens" in json.loads(prepare("groq", cap=7).body)
    assert "max_tokens" in json.loads(prepare("sglang", cap=7).body)
    assert "max_tokens" in json.loads(prepare("mistral", cap=7).body)


def test_usage_is_always_asked_for() -> None:
    """Streams of OpenAI's format count their tokens only when asked."""
    for provider in ("openai", "sglang", "mistral"):
        assert json.loads(prepare(provider, stream=True).body)["stream_options"] == {
            "include_usage": True
        }
        assert "stream_options" not in json.loads(prepare(provider).body)


def test_what_a_host_refuses_is_left_out_and_listed() -> None:
    """Members that would be an error there; a null says nothing and is not listed."""
    sent = prepare("mistral", user="u", metadata={"a": "b"}, top_k=3, store=None)
    assert sent.dropped == ("metadata", "top_k", "user")
    assert set(json.loads(sent.body)) == {"model", "messages"}
    kept = prepare("sglang", user="u", top_k=3)
    assert kept.dropped == ()
    assert json.loads(kept.body)["top_k"] == 3


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_losses_of_translations_are_listed(provider: str) -> None:
    """Formats without a place for it name what they leave out."""
    assert "logit_bias" in prepare(provider, logit_bias={"1": 5}).dropped


@pytest.mark.parametrize(
    ("provider", "more", "param"),
    [
        ("anthropic", {"messages": [{"role": "user", "content": [
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]}, "messages[0]"),
        ("anthropic", {"n": 2}, "n"),
    ],
)  # fmt: skip
def test_failed_translation_names_the_parameter(
    provider: str, more: dict[str, object], param: str
) -> None:
    """What a format cannot carry at all is refused before it leaves, with the place in the request."""
    with pytest.raises(WireError) as caught:
        prepare(provider, more)
    failure = caught.value.failure
    assert failure.kind == "invalid_request"
    assert (failure.param or "").startswith(param)
    assert not failure.may_have_spent


def test_hosts_of_the_format_are_asked_in_it_by_every_client() -> None:
    """A prompt of another format is rendered anew: none of its own bytes travel."""
    prompt = Prompt(
        format="gemini",
        raw=b'{"contents": []}',
        request_model="m",
        messages=(Message("user", (Text("hello"),)),),
    )
    for provider in ("openai", "sglang"):
        sent = adapter_of(provider).prepare(prompt, make_target(provider), Terms()).body
        assert b'"messages":[{"role":"user","content":"hello"}]' in sent
        assert b"contents" not in sent


def test_cluster_controls_of_a_client_stay_outside() -> None:
    """Scheduling, cache scopes, templates and code are the cluster owner's; sampling is the client's."""
    controls = {"rid": "other-request", "priority": 9, "lora_path": "a", "chat_template": "{{ x }}",
                "custom_logit_processor": "code", "bootstrap_host": "10.0.0.9", "cache_salt": "b",
                "logits_processors": ["os.system"], "input_ids": [1, 2]}  # fmt: skip
    said = {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "top_k": 3, "min_p": 0.1, **controls,
    }  # fmt: skip
    prompt = parse_request(json.dumps(said).encode())
    at_home = msgspec.structs.replace(make_target("sglang"), boundary="self_hosted")
    outbound = adapter_of("sglang").prepare(prompt, at_home, Terms())
    assert set(outbound.dropped) == set(controls)
    sent = json.loads(outbound.body)
    assert (sent["top_k"], sent["min_p"]) == (3, 0.1)
    assert not controls.keys() & sent.keys()


@pytest.mark.parametrize(
    ("options", "is_kept"),
    [
        ({"enable_thinking": False, "thinking_budget": 100, "reasoning_effort": "low", "a": None}, True),
        ({}, True),
        (None, True),
        ({"enable_thinking": False, "chat_template": "{{ x }}"}, False),
        ({"tokenize": False}, False),
        ({"tools": "x"}, False),
        ({"conversation": "x"}, False),
        ({"documents": [{"text": "x"}]}, False),
        ({"anything": {"deep": 1}}, False),
        ({"anything": "x" * 65}, False),
        ("enable_thinking", False),
    ],
)  # fmt: skip
def test_template_of_a_worker_takes_switches_only(options: object, is_kept: bool) -> None:
    """Its options become arguments of the engine's renderer: what could be more than a switch is left out."""
    said = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "chat_template_kwargs": options}  # fmt: skip
    prompt = parse_request(json.dumps(said).encode())
    at_home = msgspec.structs.replace(make_target("sglang"), boundary="self_hosted")
    outbound = adapter_of("sglang").prepare(prompt, at_home, Terms())
    assert ("chat_template_kwargs" in json.loads(outbound.body)) == is_kept
    assert outbound.dropped == (() if is_kept else ("chat_template_kwargs",))


def openai_error(message: str = "m", **more: object) -> bytes:
    return json.dumps({"error": {"message": message, "type": "t", **more}}).encode()


def claude_error(kind: str, message: str = "m") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


def gemini_error(status: str, message: str = "m") -> bytes:
    return json.dumps({"error": {"code": 1, "status": status, "message": message}}).encode()


ERRORS = [
    ("openai", 400, openai_error(param="x"), "invalid_request"),
    ("openai", 400, openai_error(code="context_length_exceeded"), "context_too_long"),
    ("openai", 401, openai_error(f"Incorrect API key provided: {KEY}"), "upstream_failed"),
    ("openai", 403, openai_error(), "upstream_failed"),
    ("openai", 404, openai_error(code="model_not_found"), "upstream_failed"),
    ("openai", 408, b"", "upstream_timeout"),
    ("openai", 413, b"<html>", "too_large"),
    ("openai", 429, openai_error(), "rate_limited"),
    ("openai", 429, openai_error(code="insufficient_quota"), "upstream_failed"),
    ("openai", 500, b"\xff\x00", "upstream_failed"),
    ("openai", 503, openai_error(), "overloaded"),
    ("openai", 504, b"", "upstream_timeout"),
    ("anthropic", 400, claude_error("invalid_request_error"), "invalid_request"),
    ("anthropic", 400, claude_error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), "context_too_long"),
    ("anthropic", 401, claude_error("authentication_error", f"invalid x-api-key {KEY}"), "upstream_failed"),
    ("anthropic", 403, claude_error("permission_error"), "upstream_failed"),
    ("anthropic", 404, claude_error("not_found_error"), "upstream_failed"),
    ("anthropic", 413, claude_error("request_too_large"), "too_large"),
    ("anthropic", 429, claude_error("rate_limit_error"), "rate_limited"),
    ("anthropic", 500, claude_error("api_error"), "upstream_failed"),
    ("anthropic", 529, claude_error("overloaded_error"), "overloaded"),
    ("anthropic", 502, b"<html>bad gateway</html>", "upstream_failed"),
    ("gemini", 400, gemini_error("INVALID_ARGUMENT"), "invalid_request"),
    ("gemini", 401, gemini_error("UNAUTHENTICATED", KEY), "upstream_failed"),
    ("gemini", 403, gemini_error("PERMISSION_DENIED"), "upstream_failed"),
    ("gemini", 404, gemini_error("NOT_FOUND"), "upstream_failed"),
    ("gemini", 429, gemini_error("RESOURCE_EXHAUSTED"), "rate_limited"),
    ("gemini", 500, gemini_error("INTERNAL"), "upstream_failed"),
    ("gemini", 503, gemini_error("UNAVAILABLE"), "overloaded"),
    ("gemini", 504, gemini_error("DEADLINE_EXCEEDED"), "upstream_timeout"),
    ("sglang", 400, b'{"object":"error","message":"bad","type":"BadRequestError","code":400}', "invalid_request"),
    ("sglang", 503, b"", "overloaded"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "status", "body", "kind"), ERRORS)
def test_errors_become_our_kinds(provider: str, status: int, body: bytes, kind: str) -> None:
    """Each provider's statuses and words; its status is kept, and our credential's trouble stays ours."""
    failure = adapter_of(provider).read_failure(status, {"Retry-After": "9"}, body)
    assert failure.kind == kind
    assert failure.upstream_status == status
    assert failure.message
    if status in (401, 403):
        assert KEY not in failure.message
        assert failure.kind == "upstream_failed"
    if kind in ("rate_limited", "overloaded"):
        assert failure.retry_after_seconds == 9


def test_paths_of_a_worker_are_not_told() -> None:
    """SGLang quotes its own files; clients need not know them."""
    body = b'{"message": "failed at /srv/models/private/x.py line 3"}'
    assert "/srv" not in adapter_of("sglang").read_failure(400, {}, body).message


@given(status=st.integers(300, 599), body=st.binary(max_size=100), wait=st.text(max_size=10))
def test_no_error_answer_breaks_an_adapter(status: int, body: bytes, wait: str) -> None:
    """Whatever a host or a proxy before it sends has a meaning."""
    for provider in OF:
        failure = adapter_of(provider).read_failure(status, {"retry-after": wait}, body)
        assert failure.upstream_status == status
        assert failure.retry_after_seconds is None or failure.retry_after_seconds >= 0


@pytest.mark.parametrize("provider", sorted(OF))
def test_broken_answers_are_failures(provider: str) -> None:
    """A 200 that is no answer: the host's failure, and it may have cost."""
    prompt = parse_request(b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}')
    for body in (b"", b"<html>", b"[]", b"\xff"):
        with pytest.raises(WireError) as caught:
            adapter_of(provider).read_answer(prompt, make_target(provider), body)
        failure = caught.value.failure
        assert (failure.kind, failure.may_have_spent) == ("upstream_failed", True)


@pytest.mark.parametrize("is_array", [False, True])
def test_gemini_passes_to_gemini(is_array: bool) -> None:
    """The client's bytes but for the cap, asked for as events whatever the client wants to get."""
    raw = b'{ "contents":[{"parts":[{"text":"hi"}]}], "labels":{"a":"b"}}'
    prompt = parse_gemini(raw, Asked("auto", is_stream=True, is_array=is_array))
    target, adapter = make_target("gemini"), adapter_of("gemini")
    sent = adapter.prepare(prompt, target, Terms())
    assert sent.url == "https://gemini.test/v1beta/models/model-1:streamGenerateContent?alt=sse"
    assert sent.body == raw
    capped = adapter.prepare(prompt, target, Terms(9)).body
    assert capped == b'{"generationConfig":{"maxOutputTokens":9},' + raw[1:]
    chunk = {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}
    event = b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n"
    relay = adapter.open_stream(prompt, target)
    out = relay.feed(event) + relay.finish()
    assert (json.loads(out) == [chunk]) if is_array else (out == event)
    assert relay.outcome.is_complete
    answer = adapter.read_answer(prompt, target, json.dumps(chunk).encode())
    assert answer.body == json.dumps(chunk).encode()
    assert answer.outcome.finish_reason == "stop"
