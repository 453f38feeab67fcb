"""Texts that become vectors go the way of every prompt: looked at, decided about, bounded, booked, kept."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from backends.sglang.simulator import SimulatorSettings, build_simulator
from gateway.admission import Limit
from gateway.identity import NewKey
from tests.gateway_process import Scene, running_gateway
from tests.sglang.asgi_server import serving
from tests.upstreams import Recorded, Scripted, chat_answer, plain, running_upstream

SHARED = "text-embedding-3-small"
"""Served outside and at home: where it goes the policy says."""
OUTSIDE, HOME = f"openai/{SHARED}", f"sglang/{SHARED}"
CARD = "please charge 4111 1111 1111 1111 today"
SECRET = "deploy with AKIAIOSFODNN7EXAMPLA please"
TOKENS = 7


def vectors(asked: Recorded) -> Scripted:
    """What OpenAI would answer."""
    said: Any = asked.json
    count = 1 if isinstance(said["input"], str) else len(said["input"])
    data = [{"object": "embedding", "index": at, "embedding": [0.5, at]} for at in range(count)]
    usage = {"prompt_tokens": TOKENS, "total_tokens": TOKENS}
    return plain({"object": "list", "data": data, "model": SHARED, "usage": usage})


@pytest.fixture
def scene(tmp_path: Path) -> Generator[Scene]:
    """A gateway between OpenAI and a worker of one's own, which both give vectors."""
    simulator = build_simulator(SimulatorSettings(model=SHARED, is_embedder=True))
    with running_upstream() as outside, serving(simulator) as url:
        outside.answer_by = vectors
        environ = {
            "OPENAI_API_KEY": "sk-outside", "OPENAI_BASE_URL": f"{outside.url}/v1", "SGLANG_URLS": url,
        }  # fmt: skip
        with running_gateway(tmp_path / "home", environ) as gateway:
            yield Scene(gateway, outside, outside)


def ask(scene: Scene, model: str, text: object = "hi", **headers: str) -> httpx.Response:
    """One request in OpenAI's format."""
    sent = {"authorization": f"Bearer {scene.gateway.key}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"model": model, "input": text}
    return scene.gateway.client.post("/v1/embeddings", json=body, headers=sent)


def ask_google(scene: Scene, model: str, *requests: dict[str, Any]) -> httpx.Response:
    """One request in Google's."""
    headers = {"x-goog-api-key": scene.gateway.key}
    path = f"/v1beta/models/{model}:batchEmbedContents"
    return scene.gateway.client.post(path, json={"requests": requests}, headers=headers)


def content(text: str, **more: Any) -> dict[str, Any]:
    """One of Google's requests."""
    return {"content": {"parts": [{"text": text}]}, **more}


@pytest.mark.parametrize("text", [CARD, SECRET])
def test_private_texts_stay_at_home(scene: Scene, text: str) -> None:
    """In either format, wherever they stand: at home if the model is there, else nowhere."""
    for answer in (
        ask(scene, SHARED, text),
        ask(scene, SHARED, ["hi", text]),
        ask_google(scene, SHARED, content("hi"), content(text)),
        ask_google(scene, SHARED, content("hi", title=text)),
        ask_google(scene, SHARED, content("hi", odd={"deep": [text]})),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-moegate-target"] == HOME
    refused = ask(scene, OUTSIDE, text)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_target")
    refused = ask_google(scene, OUTSIDE, content(text))
    assert (refused.status_code, refused.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert ask(scene, OUTSIDE, x_data_class="confidential").status_code == 403
    assert scene.outside.requests == []


def test_tokens_are_looked_into(scene: Scene) -> None:
    """A card number stays at home in them too, and what leaves is the text that was looked at."""
    tokens = [220 if letter == " " else ord(letter) - ord("!") for letter in CARD]
    for said in (tokens, ["hi", tokens]):
        assert ask(scene, SHARED, said).headers["x-moegate-target"] == HOME
        assert ask(scene, OUTSIDE, said).status_code == 403
    assert scene.outside.requests == []
    assert ask(scene, OUTSIDE, [[15339, 1917], [9642]]).status_code == 200
    assert scene.outside.requests[-1].json["input"] == ["hello world", "Yes"]


def test_the_worker_at_home_gives_vectors(scene: Scene) -> None:
    """It was found as what it is; the SDK reads its numbers, and the same text has the same ones."""
    with openai.OpenAI(
        base_url=f"{scene.gateway.url}/v1", api_key=scene.gateway.key, max_retries=0
    ) as client:
        answer = client.embeddings.create(model=HOME, input=["one", "two", "one"])
    one, two, again = (entry.embedding for entry in answer.data)
    assert one == again != two
    assert sum(number * number for number in one) == pytest.approx(1)
    google = ask_google(scene, HOME, content("one")).json()["embeddings"][0]["values"]
    assert google == pytest.approx(one)
    row = max(scene.gateway.rows("attempts"), key=lambda row: row["started_at"])
    assert (row["target"], row["cost_nanousd"], row["usage_source"]) == (HOME, 0, "provider")


def test_books_are_exact(scene: Scene) -> None:
    """The request with its decision, the attempt with its counts and its cost to the nano-dollar."""
    answer = ask(scene, OUTSIDE, ["a", "b"])
    assert answer.headers["x-moegate-cost-usd"] == "0.000000140"
    (request,) = scene.gateway.rows("requests")
    (attempt,) = scene.gateway.rows("attempts")
    assert (request["format"], request["state"]) == ("openai-embeddings", "answered")
    assert (attempt["input_tokens"], attempt["output_tokens"]) == (TOKENS, 0)
    assert attempt["cost_nanousd"] == request["cost_nanousd"] == TOKENS * 20
    assert attempt["reserved_nanousd"] >= attempt["cost_nanousd"]
    shown = scene.gateway.client.get(
        f"/admin/api/v1/requests/{answer.headers['x-moegate-request-id']}",
        headers={"authorization": f"Bearer {scene.gateway.key}"},
    )
    assert OUTSIDE in json.dumps(shown.json()["explanation"])


def test_a_budget_holds(scene: Scene) -> None:
    """The bytes of the texts are reserved: what does not fit is refused before it leaves."""
    key = scene.gateway.make_key(NewKey("poor", limit=Limit("", "month", 2000)))
    poor = {"authorization": f"Bearer {key}"}
    refused = ask(scene, OUTSIDE, "x" * 101, **poor)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert scene.outside.requests == []
    assert ask(scene, OUTSIDE, "x" * 84, **poor).status_code == 200
    assert ask(scene, OUTSIDE, "y" * 84, **poor).status_code == 429  # 140 of 2000 are gone.
    assert ask(scene, OUTSIDE, "y" * 76, **poor).status_code == 200


def test_a_bound_is_booked_where_nobody_counts(scene: Scene) -> None:
    """A host that gives vectors and no count: the bytes of the texts, never zero; nothing is made up."""
    scene.outside.answer_by = None
    data = [{"object": "embedding", "index": 0, "embedding": [1]}]
    scene.outside.default = plain({"object": "list", "data": data, "model": "m"})
    answer = ask(scene, OUTSIDE, "x" * 100)
    assert "usage" not in answer.json()
    (attempt,) = scene.gateway.rows("attempts")
    assert (attempt["usage_source"], attempt["input_tokens"]) == ("bound", 116)
    assert attempt["cost_nanousd"] == attempt["reserved_nanousd"] == 116 * 20


def test_a_broken_answer_is_an_error(scene: Scene) -> None:
    """One vector for two texts: a failure that may have cost something, never a short list."""
    scene.outside.answer_by = None
    data = [{"object": "embedding", "index": 0, "embedding": [1]}]
    scene.outside.default = plain({"object": "list", "data": data, "model": "m"})
    failed = ask(scene, OUTSIDE, ["a", "b"])
    assert (failed.status_code, failed.headers["x-moegate-error"]) == (502, "upstream_failed")
    (attempt,) = scene.gateway.rows("attempts")
    assert attempt["cost_nanousd"] == attempt["reserved_nanousd"] > 0


def test_an_answer_is_kept(scene: Scene) -> None:
    """The same texts again cost nothing and ask nobody; a client that wants them fresh gets them so."""
    first, second = ask(scene, OUTSIDE), ask(scene, OUTSIDE)
    assert second.json() == first.json()
    assert [one.headers["x-moegate-cache"] for one in (first, second)] == ["miss", "hit"]
    assert second.headers["x-moegate-cost-usd"] == "0.000000000"
    assert ask(scene, OUTSIDE, x_moegate_cache="off").headers["x-moegate-cache"] == "off"
    assert len(scene.outside.requests) == 2


@pytest.mark.parametrize("model", ["auto", "auto:cheap", "auto:private"])
def test_auto_chooses_no_model_for_vectors(scene: Scene, model: str) -> None:
    """Vectors of different models cannot be compared: who asks has to say which."""
    refused = ask(scene, model)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    assert "cannot be compared" in refused.json()["error"]["message"]


def test_chats_and_vectors_are_kept_apart(scene: Scene) -> None:
    """A model that gives vectors takes no chat, one that answers gives none, and `auto` finds neither wrong."""
    scene.outside.answer_by = None
    scene.outside.default = chat_answer()
    refused = scene.gateway.say(model=SHARED)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_target")
    assert "gives vectors" in refused.json()["error"]["message"]
    refused = ask(scene, "openai/gpt-5.4-nano")
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "model")
    assert scene.outside.requests == []
    assert scene.gateway.say().headers["x-moegate-target"].startswith("openai/gpt")


def test_many_texts_are_not_one_long_one(scene: Scene) -> None:
    """Each has a context of its own: all together may be longer, one alone may not."""
    assert ask(scene, OUTSIDE, ["word " * 5000] * 40).status_code == 200
    refused = ask(scene, OUTSIDE, ["word " * 20_000])
    assert refused.json()["error"]["code"] == "context_length_exceeded"


def test_strict_clients_get_all_or_nothing(scene: Scene) -> None:
    """What the host has no word for refuses them, and is listed for everybody else."""
    said = content("a", taskType="RETRIEVAL_QUERY")
    assert ask_google(scene, OUTSIDE, said).headers["x-moegate-dropped"] == "requests[].taskType"
    headers = {"x-goog-api-key": scene.gateway.key, "x-moegate-strict": "true"}
    path = f"/v1/models/{OUTSIDE}:embedContent"
    strict = scene.gateway.client.post(path, json=said, headers=headers)
    assert (strict.status_code, strict.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_models_are_listed_as_their_providers_do(scene: Scene) -> None:
    """With the method that is theirs at Google's address; not at all at Anthropic's."""
    client, key = scene.gateway.client, {"x-api-key": scene.gateway.key}
    google = client.get(f"/v1beta/models/{OUTSIDE}", headers=key).json()
    assert google["supportedGenerationMethods"] == ["embedContent"]
    assert (google["inputTokenLimit"], google["outputTokenLimit"]) == (8191, 1)
    ours = client.get(f"/v1/models/{HOME}", headers=key).json()
    assert (ours["type"], ours["boundary"]) == ("embedding", "self_hosted")
    theirs = client.get("/v1/models", headers=key | {"anthropic-version": "2023-06-01"}).json()
    assert not any("embedding" in one["id"] for one in theirs["data"])
