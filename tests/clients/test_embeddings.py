"""The SDKs of OpenAI and Google ask for vectors, each at both kinds of hosts: what they read is what was recorded."""

import base64
import json
import struct
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from google import genai
from google.genai import types

from tests.clients.replay import read_exchanges
from tests.gateway_process import RunningGateway, running_gateway
from tests.servers import find_free_port, listens, running

HOSTS = {"openai": "openai", "mistral": "mistral", "google": "gemini"}
GEMINI_TEXT = "Ruby is great"
UNCACHED = {"x-moegate-cache": "off"}
MISTRAL_TEXTS = ["Why is the sky blue?", "What is your age?"]


@dataclass(slots=True)
class Stage:
    """A gateway before recorded hosts, and the SDKs as their users set them up."""

    gateway: RunningGateway
    replay: httpx.Client
    exchanges: dict[str, dict[str, Any]]
    openai: openai.OpenAI
    google: genai.Client

    def last(self) -> dict[str, Any]:
        """The recording that answered last, and what the replay saw of the request."""
        entry = next(one for one in reversed(self.replay.get("/__log").json()) if one["exchange"])
        return self.exchanges[entry["exchange"]] | {"seen": entry}

    def post(self, path: str, body: object) -> httpx.Response:
        """One request without an SDK."""
        headers = {"x-api-key": self.gateway.key, **UNCACHED}
        return self.gateway.client.post(path, json=body, headers=headers)


@pytest.fixture(scope="module")
def stage(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """One gateway and one replay for all tests of this module."""
    folder = tmp_path_factory.mktemp("embeddings")
    port = find_free_port()
    command = [sys.executable, str(shared / "tools" / "replay_upstream.py"), "--port", str(port)]
    command += ["--corpus", str(shared / "exchanges")]
    origin = f"http://127.0.0.1:{port}/p"
    environ = {
        "OPENAI_API_KEY": "a", "OPENAI_BASE_URL": f"{origin}/openai/v1",
        "MISTRAL_API_KEY": "b", "MISTRAL_BASE_URL": f"{origin}/mistral/v1",
        "GEMINI_API_KEY": "c", "GOOGLE_GEMINI_BASE_URL": f"{origin}/google",
    }  # fmt: skip
    with (
        running(command, is_up=lambda: listens(port), log=folder / "replay.log"),
        running_gateway(folder / "home", environ) as gateway,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as replay,
        openai.OpenAI(
            base_url=f"{gateway.url}/v1",
            api_key=gateway.key,
            max_retries=0,
            default_headers=UNCACHED,
        ) as ours,
        genai.Client(
            api_key=gateway.key,
            http_options=types.HttpOptions(base_url=gateway.url, headers=UNCACHED),
        ) as theirs,
    ):
        exchanges = {one["id"]: one for one in read_exchanges(shared)}
        yield Stage(gateway, replay, exchanges, ours, theirs)


def vectors(exchange: dict[str, Any]) -> list[list[float]]:
    """The recorded vectors, by an independent reading."""
    body = exchange["response"]["body"]
    if "embeddings" in body:
        return [one["values"] for one in body["embeddings"]]
    found: list[list[float]] = []
    for one in body["data"]:
        vector = one["embedding"]
        if isinstance(vector, str):
            raw = base64.b64decode(vector)
            vector = list(struct.unpack(f"<{len(raw) // 4}f", raw))
        found.append(vector)
    return found


def single(numbers: list[float]) -> list[float]:
    """Rounded to single precision, which is what base64 carries."""
    return [struct.unpack("<f", struct.pack("<f", number))[0] for number in numbers]


def test_every_recorded_request_passes_as_it_came(stage: Stage) -> None:
    """At its own host each gets its recorded answer. Numbers of tokens leave as texts; pictures are refused."""
    compared = read = refused = 0
    for exchange in list(stage.exchanges.values()):
        if exchange["api"] != "embeddings" or exchange["provider"] not in HOSTS:
            continue
        body, model = exchange["request"]["body"], exchange["model"]
        name = f"{HOSTS[exchange['provider']]}/{model}"
        if "requests" in body:
            asked = [one | {"model": f"models/{name}"} for one in body["requests"]]
            answer = stage.post(f"/v1beta/models/{name}:batchEmbedContents", {"requests": asked})
        else:
            answer = stage.post("/v1/embeddings", body | {"model": name})
        text = json.dumps(body)
        if "inline_data" in text:
            assert answer.status_code == 400, exchange["id"]
            refused += 1
            continue
        if "[[" in text:
            sent = stage.last()["seen"]["body"]["input"]
            assert [isinstance(one, str) for one in sent] == [True] * len(body["input"])
            read += 1
            continue
        assert answer.status_code == 200, (exchange["id"], answer.text)
        assert stage.last()["seen"]["match"] == "exact", exchange["id"]
        assert answer.json() == stage.last()["response"]["body"]
        compared += 1
    assert compared > 20
    assert (refused, read > 5) == (1, True)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_openai_at_openai(stage: Stage, encoding: Any) -> None:
    """Vectors and counts as recorded, however the numbers travel; the bill is exact."""
    more = {} if encoding is None else {"encoding_format": encoding}
    answer = stage.openai.embeddings.create(
        model="openai/text-embedding-3-small", input="hello", **more
    )
    wanted = stage.last()
    got = answer.data[0].embedding
    if isinstance(got, str):
        raw = base64.b64decode(got)
        got = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    assert single(got) == single(vectors(wanted)[0])
    assert answer.usage.prompt_tokens == wanted["usage"]["prompt_tokens"]
    row = max(stage.gateway.rows("attempts"), key=lambda row: row["started_at"])
    assert (row["input_tokens"], row["output_tokens"]) == (answer.usage.prompt_tokens, 0)
    assert row["cost_nanousd"] == answer.usage.prompt_tokens * 20  # 0.02 USD a million tokens
    assert (row["state"], row["usage_source"]) == ("settled", "provider")


def test_openai_at_a_relative(stage: Stage) -> None:
    """Mistral gets numbers asked for, whatever the SDK wants, and the SDK its base64."""
    answer = stage.openai.embeddings.create(model="mistral/mistral-embed", input=MISTRAL_TEXTS)
    wanted = stage.last()
    assert wanted["seen"]["body"]["encoding_format"] == "float"
    assert [one.embedding for one in answer.data] == [single(one) for one in vectors(wanted)]
    assert [one.index for one in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == 15


def test_openai_at_google(stage: Stage) -> None:
    """Google's vectors in OpenAI's shape. The model counts nothing, so a bound is booked and no usage made up."""
    answer = stage.openai.embeddings.with_raw_response.create(
        model="gemini/gemini-embedding-001", input=[GEMINI_TEXT], user="u"
    )
    wanted = stage.last()
    assert wanted["seen"]["match"] == "exact"
    body = json.loads(answer.text)
    assert single(answer.parse().data[0].embedding) == single(vectors(wanted)[0])
    assert "usage" not in body
    assert body["model"] == "gemini-embedding-001"
    assert answer.headers["x-moegate-dropped"] == "user"
    row = max(stage.gateway.rows("attempts"), key=lambda row: row["started_at"])
    assert row["usage_source"] == "bound"
    assert len(GEMINI_TEXT) <= row["input_tokens"] <= len(GEMINI_TEXT) + 40


def test_dimensions_reach_google(stage: Stage) -> None:
    """A number of dimensions has another name there; counts come back under OpenAI's."""
    answer = stage.openai.embeddings.create(
        model="gemini/gemini-embedding-2", input=["First text", "Second text"], dimensions=768
    )
    assert stage.last()["seen"]["match"] == "exact"
    assert [len(one.embedding) for one in answer.data] == [768, 768]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (4, 4)


def test_google_at_google(stage: Stage) -> None:
    """Google's SDK sees what was recorded."""
    config = types.EmbedContentConfig(output_dimensionality=768)
    answer: Any = stage.google.models.embed_content(
        model="gemini/gemini-embedding-2", contents=["First text", "Second text"], config=config
    )
    wanted = stage.last()
    assert [one.values for one in answer.embeddings] == vectors(wanted)


def test_google_at_a_relative_of_openai(stage: Stage) -> None:
    """Vectors with the digits that the host wrote; what has no place there is listed."""
    config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY")
    answer: Any = stage.google.models.embed_content(
        model="mistral/mistral-embed", contents=MISTRAL_TEXTS, config=config
    )
    wanted = stage.last()
    assert wanted["seen"]["match"] == "exact"
    assert [one.values for one in answer.embeddings] == vectors(wanted)
    assert answer.sdk_http_response.headers["x-moegate-dropped"] == "requests[].taskType"


def test_one_content_at_openai(stage: Stage) -> None:
    """The address for one gives one, with its count."""
    path = "/v1beta/models/openai/text-embedding-3-large:embedContent"
    body = {"content": {"parts": [{"text": "Test embedding"}]}, "outputDimensionality": 3072}
    answer = stage.post(path, body).json()
    wanted = stage.last()
    assert wanted["seen"]["body"]["dimensions"] == 3072
    assert single(answer["embedding"]["values"]) == single(vectors(wanted)[0])
    assert answer["usageMetadata"] == {"promptTokenCount": wanted["usage"]["prompt_tokens"]}


@pytest.mark.parametrize("model", ["openai/text-embedding-3-small", "gemini/gemini-embedding-001"])
@pytest.mark.parametrize("fault", ["400", "429:3", "500", "reset", "html", "truncate", "empty"])
def test_faults_raise_the_sdks_own_errors(stage: Stage, fault: str, model: str) -> None:
    """What goes wrong upstream is an error of either SDK, with its kind in a header."""
    ours, theirs = stage.openai, stage.google
    asks: list[Any] = [
        lambda: ours.embeddings.create(model=model, input="hello"),
        lambda: theirs.models.embed_content(model=model, contents="hello"),
    ]
    for ask in asks:
        stage.replay.post("/__fault", json={"spec": fault, "times": 4})
        try:
            with pytest.raises((openai.APIStatusError, genai.errors.APIError)) as raised:
                ask()
        finally:
            stage.replay.post("/__reset")
            stage.gateway.runtime.services.signals.health.record_success(model, 0)
        response: Any = getattr(raised.value, "response", None)
        assert response.headers["x-moegate-error"]
