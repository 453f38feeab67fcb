"""The simulator: like a captured real worker in every shape, honest about what it is, timed as set."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends.sglang.simulator import SimulatorSettings, build_simulator
from backends.sglang.simulator.engine import PrefixCache, tokenize
from tests.sglang.asgi_server import serving
from tests.sglang.conformance import BODY, check, converse

CAPTURES = Path(__file__).resolve().parents[3] / "fixtures" / "sglang"


@pytest.mark.parametrize("architecture", ["qwen3_moe", "deepseek_v3"])
def test_simulator_is_shaped_like_the_captured_server(architecture: str) -> None:
    """Fields, stream shape, errors, load and metrics names are those of a real SGLang."""
    reference = json.loads((CAPTURES / f"{architecture}.json").read_text())
    with serving(build_simulator(SimulatorSettings(model="tiny", context_tokens_max=4096))) as url:
        check(converse(url, "tiny"), reference)


def ask(app_settings: SimulatorSettings, **more: Any) -> Any:
    """One plain chat."""
    with serving(build_simulator(app_settings)) as url:
        return httpx.post(f"{url}/v1/chat/completions", json=BODY | more, timeout=10).json()


def test_it_says_that_it_is_one() -> None:
    """The words, the owner of the model and a header."""
    answer = ask(SimulatorSettings(), max_tokens=100)
    assert "simulator, not a model" in answer["choices"][0]["message"]["content"]
    with serving(build_simulator(SimulatorSettings())) as url:
        models = httpx.get(f"{url}/v1/models")
    assert models.json()["data"][0]["owned_by"] == "moegate-simulator"
    assert models.headers["x-moegate-simulator"] == "true"


def test_caps_stops_tools_and_schemas() -> None:
    """The features that clients use are honoured."""
    assert ask(SimulatorSettings(), max_tokens=3)["usage"]["completion_tokens"] == 3
    stopped = ask(SimulatorSettings(), max_tokens=100, stop=["simulator"])
    assert stopped["choices"][0]["message"]["content"] == "This is the moegate "
    assert stopped["choices"][0]["matched_stop"] == "simulator"
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    called = ask(SimulatorSettings(), tools=[tool], tool_choice="required")
    call = called["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("f", {"n": 0})
    assert called["choices"][0]["finish_reason"] == "tool_calls"
    shape = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": parameters},
    }
    fitted = ask(SimulatorSettings(), response_format=shape, max_tokens=100)
    assert json.loads(fitted["choices"][0]["message"]["content"]) == {"n": 0}


def test_time_is_as_set() -> None:
    """Time to the first token and for each further one are lower bounds of the answer's time."""
    started = time.monotonic()
    ask(SimulatorSettings(ttft_ms=100, tpot_ms=20), max_tokens=5)
    assert time.monotonic() - started >= 0.2


def test_prefix_cache_shares_and_forgets() -> None:
    """Shared beginnings are cached, what lies after a difference is not, and room is bounded."""
    cache = PrefixCache(64)
    first = tokenize("the quick brown fox " * 20)
    assert cache.use(first[:48]) == 0
    assert cache.use(first[:48]) == 47
    assert cache.use([*first[:20], *tokenize("something else entirely " * 10)]) == 16
    assert cache.tokens <= 64
    cache.clear()
    assert cache.use(first[:48]) == 0


def test_client_that_leaves_ends_its_generation() -> None:
    """A dropped stream stops, and is counted as aborted."""
    settings = SimulatorSettings(tpot_ms=20)
    with (
        serving(build_simulator(settings)) as url,
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        with client.stream(
            "POST", "/v1/chat/completions", json=BODY | {"stream": True, "max_tokens": 500}
        ) as answer:
            next(answer.iter_lines())
        deadline = time.monotonic() + 5
        while (
            "num_aborted_requests_total{" not in (text := client.get("/metrics").text)
            or "} 1.0" not in text.split("num_aborted_requests_total{")[-1].split("\n")[0]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert client.get("/v1/loads").json()["loads"][0]["num_running_reqs"] == 0


def test_an_embedder_gives_vectors_and_nothing_else() -> None:
    """The same vector for the same text, of length one, closer for texts that share words; no chats."""
    texts = ["a quiet lake", "a quiet sea", "seven engines"]
    with serving(build_simulator(SimulatorSettings(is_embedder=True))) as url:
        said = httpx.post(f"{url}/v1/embeddings", json={"input": texts * 2, "model": "m"}).json()
        short = httpx.post(f"{url}/v1/embeddings", json={"input": "x", "dimensions": 8}).json()
        numbers = httpx.post(f"{url}/v1/embeddings", json={"input": [[1, 2], [3]]}).json()
        refused = [
            httpx.post(f"{url}/v1/chat/completions", json=BODY),
            httpx.post(f"{url}/v1/completions", json={"prompt": "x"}),
            httpx.post(f"{url}/v1/embeddings", json={"input": []}),
            httpx.post(f"{url}/v1/embeddings", json={"input": "x", "dimensions": 65}),
            httpx.post(f"{url}/v1/embeddings", json={"input": "word " * 40_000}),
        ]
        info = httpx.get(f"{url}/model_info").json()
    vectors = [one["embedding"] for one in said["data"]]
    assert vectors[:3] == vectors[3:]
    lake, sea, engines = vectors[:3]
    assert sum(one * one for one in lake) == pytest.approx(1)
    likeness = [sum(a * b for a, b in zip(lake, other, strict=True)) for other in (sea, engines)]
    assert likeness[0] > likeness[1]
    assert said["usage"]["prompt_tokens"] == said["usage"]["total_tokens"] > 6
    assert len(short["data"][0]["embedding"]) == 8
    assert numbers["usage"]["prompt_tokens"] == 3
    assert [answer.status_code for answer in refused] == [400] * 5
    assert info["is_generation"] is False
    with serving(build_simulator(SimulatorSettings())) as url:
        refusal = httpx.post(f"{url}/v1/embeddings", json={"input": "x"})
    assert refusal.status_code == 400
