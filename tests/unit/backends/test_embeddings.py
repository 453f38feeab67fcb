"""Who is asked for vectors, where and how; and who gives none."""

import json
from typing import Any

import pytest

from backends.adapter import Outbound, Terms
from backends.adapters import build_adapters
from backends.target import Adapter, Boundary, Endpoint, Secret, Target
from backends.wire.clients import EMBEDDERS
from backends.wire.failure import WireError
from backends.wire.prompt import Asked, Prompt

NAMES = ("openai", "mistral", "gemini", "sglang", "anthropic", "cohere")
ENDPOINTS = {name: Endpoint(name, (f"https://{name}.test",), Secret("k")) for name in NAMES}
ADAPTERS = build_adapters(ENDPOINTS)
BODY = {"model": "m", "input": ["a", "b"]}


def target(provider: str, adapter: Adapter, boundary: Boundary = "external") -> Target:
    """A target that gives vectors."""
    return Target(
        name=f"{provider}/e", provider=provider, adapter=adapter, format="openai-chat", model="e 1",
        endpoint=provider, boundary=boundary, region="us", capabilities=frozenset({"embed"}),
        context_tokens_max=100, output_tokens_max=0,
    )  # fmt: skip


def openai_prompt(**more: object) -> Prompt:
    """What an OpenAI client asks."""
    return EMBEDDERS["openai-embeddings"].parse_request(json.dumps(BODY | more).encode(), Asked())


def google_prompt(*, is_batch: bool = True) -> Prompt:
    """What a Google client asks."""
    said: dict[str, Any] = {"content": {"parts": [{"text": "a"}]}}
    body = {"requests": [said, said]} if is_batch else said
    asked = Asked("m", is_batch=is_batch)
    return EMBEDDERS["gemini-embeddings"].parse_request(json.dumps(body).encode(), asked)


def prepare(prompt: Prompt, at: Target) -> Outbound:
    """What is sent; there is no output that a cap could lower."""
    return ADAPTERS[at.adapter].prepare(prompt, at, Terms(output_cap=0))


def test_where_vectors_are_asked_for() -> None:
    """At each host its own address, with its key; nothing is a stream."""
    sent = {
        name: prepare(prompt, at)
        for name, prompt, at in (
            ("openai", openai_prompt(), target("openai", "gpt")),
            ("openai by google", google_prompt(), target("openai", "gpt")),
            ("home", openai_prompt(), target("sglang", "sglang", "self_hosted")),
            ("google", google_prompt(), target("gemini", "gemini")),
            ("google one", google_prompt(is_batch=False), target("gemini", "gemini")),
            ("google by openai", openai_prompt(), target("gemini", "gemini")),
        )
    }
    assert {name: one.url for name, one in sent.items()} == {
        "openai": "https://openai.test/embeddings",
        "openai by google": "https://openai.test/embeddings",
        "home": "https://sglang.test/v1/embeddings",
        "google": "https://gemini.test/v1beta/models/e%201:batchEmbedContents",
        "google one": "https://gemini.test/v1beta/models/e%201:embedContent",
        "google by openai": "https://gemini.test/v1beta/models/e%201:batchEmbedContents",
    }
    assert not any(one.is_stream for one in sent.values())
    assert ("x-goog-api-key", "k") in sent["google"].headers
    assert ("authorization", "Bearer k") in sent["home"].headers


def test_hosts_have_their_own_words() -> None:
    """Mistral writes numbers only, and calls dimensions otherwise; a server's owner decides what is his."""
    asked = openai_prompt(encoding_format="base64", dimensions=5, priority=3, messages=["x"])
    at_openai = prepare(asked, target("openai", "gpt"))
    assert json.loads(at_openai.body) == json.loads(asked.raw) | {"model": "e 1"}
    at_mistral = json.loads(prepare(asked, target("mistral", "gpt")).body)
    assert (at_mistral["encoding_format"], at_mistral["output_dimension"]) == ("float", 5)
    assert "dimensions" not in at_mistral
    home = prepare(asked, target("sglang", "sglang", "self_hosted"))
    assert home.dropped == ("messages", "priority")
    assert json.loads(home.body) == {
        **BODY,
        "model": "e 1",
        "encoding_format": "base64",
        "dimensions": 5,
    }


@pytest.mark.parametrize("adapter", ["gpt", "sglang"])
def test_an_answer_passes_or_is_written_as_it_was_asked_for(adapter: Adapter) -> None:
    """Bytes where host and client write numbers alike; else the same numbers in the other way."""
    at = target("openai" if adapter == "gpt" else "sglang", adapter)
    data = [{"object": "embedding", "index": one, "embedding": [0.5]} for one in (0, 1)]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    body = json.dumps(
        {"object": "list", "data": data, "model": "e-1", "usage": usage, "odd": 1}
    ).encode()
    read = ADAPTERS[adapter].read_answer
    same = read(openai_prompt(), at, body)
    assert same.body == body
    assert same.outcome.is_complete
    assert same.outcome.usage is not None
    assert (same.outcome.usage.input_tokens, same.outcome.response_model) == (2, "e-1")
    other = json.loads(read(openai_prompt(encoding_format="base64"), at, body).body)
    assert [one["embedding"] for one in other["data"]] == ["AAAAPw=="] * 2
    google = json.loads(read(google_prompt(), at, body).body)
    assert google["embeddings"] == [{"values": [0.5]}] * 2


def test_an_answer_of_googles() -> None:
    """Bytes to its own client, OpenAI's shape to OpenAI's."""
    body = b'{ "embeddings": [{"values":[0.50]},{"values":[1]}] }'
    read, at = ADAPTERS["gemini"].read_answer, target("gemini", "gemini")
    same = read(google_prompt(), at, body)
    assert same.body == body
    assert (same.outcome.usage, same.outcome.response_model) == (None, "e 1")
    assert b'"embedding":[0.50]' in read(openai_prompt(), at, body).body


@pytest.mark.parametrize(("provider", "adapter"), [("anthropic", "claude"), ("cohere", "longtail")])
def test_who_has_no_words_for_it_refuses(provider: str, adapter: Adapter) -> None:
    """Also where somebody's own catalogue says that it could."""
    with pytest.raises(WireError, match="gives no vectors"):
        prepare(openai_prompt(), target(provider, adapter))
