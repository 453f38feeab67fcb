"""Every recorded request for vectors is understood or refused on purpose, and every answer keeps its numbers."""

import json
from typing import Any

import openai.types
import pytest
from google.genai import types as google

from backends.wire import gemini_embeddings, openai_embeddings
from backends.wire.clients import EMBEDDERS
from backends.wire.embeddings import Embeddings
from backends.wire.failure import WireError
from backends.wire.prompt import Asked, EmbeddingAsked, Message, Prompt, Text, WireFormat
from gateway.facts import segments
from gateway.quotes import measure
from tests.clients.replay import read_exchanges


@pytest.fixture(scope="module")
def recordings(shared: Any) -> list[dict[str, Any]]:
    """All recorded exchanges of embeddings, but for one of Ollama's own format."""
    found = [one for one in read_exchanges(shared) if one["api"] == "embeddings"]
    return [one for one in found if "prompt" not in one["request"]["body"]]


def parse(exchange: dict[str, Any]) -> Prompt:
    """The prompt of a recorded request."""
    body = exchange["request"]["body"]
    name = "gemini-embeddings" if "requests" in body else "openai-embeddings"
    asked = Asked(exchange["model"], is_batch=True)
    return EMBEDDERS[name].parse_request(json.dumps(body).encode(), asked)


def count_of(exchange: dict[str, Any]) -> int:
    """How many texts a recorded request holds."""
    body = exchange["request"]["body"]
    said = body.get("requests") or body["input"]
    return 1 if isinstance(said, str) else len(said)


def answer(exchange: dict[str, Any]) -> Embeddings:
    """A recorded answer, to somebody who asked for as many texts."""
    turns = (Message("user", (Text("x"),)),) * count_of(exchange)
    prompt = Prompt("openai-embeddings", b"{}", "m", turns, embedding=EmbeddingAsked())
    raw = json.dumps(exchange["response"]["body"]).encode()
    if "requests" in exchange["request"]["body"]:
        return gemini_embeddings.parse_answer(prompt, raw, model=exchange["model"])
    return openai_embeddings.parse_answer(prompt, raw)


def test_every_recorded_request_is_read(recordings: list[dict[str, Any]]) -> None:
    """Texts, and tokens as the texts that they are, for both kinds of hosts; pictures are refused."""
    read = refused = 0
    for exchange in recordings:
        text = json.dumps(exchange["request"]["body"])
        if "inline_data" in text:
            with pytest.raises(WireError, match="only texts"):
                parse(exchange)
            refused += 1
            continue
        prompt = parse(exchange)
        assert len(prompt.messages) == count_of(exchange)
        texts = [
            part.text for one in prompt.messages for part in one.parts if isinstance(part, Text)
        ]
        assert "[[" in text or all(json.dumps(one) in text for one in texts)
        assert not any("\ufffd" in one for one in texts)
        for body in (
            openai_embeddings.render_request(prompt, model="m").body,
            gemini_embeddings.render_request(prompt, model="m").body,
        ):
            assert all(json.dumps(one) in json.dumps(json.loads(body)) for one in texts)
        read += 1
    assert (read > 35, refused) == (True, 1)


def test_every_recorded_answer_keeps_its_numbers(recordings: list[dict[str, Any]]) -> None:
    """Counts as recorded, and the SDKs of both formats read the same vectors."""
    read = 0
    for exchange in recordings:
        if exchange["response"]["status"] != 200:
            continue
        said = answer(exchange)
        counted = exchange["usage"] or {}
        wanted = counted.get("prompt_tokens", counted.get("promptTokenCount"))
        if wanted is None:
            assert said.usage is None
        else:
            assert said.usage is not None
            assert (said.usage.input_tokens, said.usage.output_tokens) == (wanted, 0)
        turns = (Message("user", (Text("x"),)),) * len(said.vectors)
        seen: list[list[list[float]]] = []
        ways: tuple[tuple[WireFormat, Asked], ...] = (
            ("openai-embeddings", Asked()),
            ("gemini-embeddings", Asked(is_batch=True)),
        )
        for name, asked in ways:
            prompt = Prompt(name, b"{}", "m", turns, asked=asked, embedding=EmbeddingAsked())
            body = EMBEDDERS[name].render_embeddings(prompt, said)
            if name == "gemini-embeddings":
                shown = google.EmbedContentResponse.model_validate_json(body).embeddings or []
                seen.append([one.values or [] for one in shown])
            else:
                data = json.loads(body)["data"]
                seen.append([openai.types.Embedding.model_validate(one).embedding for one in data])
        assert seen[0] == seen[1]
        assert all(len(vector) > 100 for vector in seen[0])
        read += 1
    assert read > 30


def test_no_host_counted_more_than_the_bound(recordings: list[dict[str, Any]]) -> None:
    """What a recorded host billed is below what would have been reserved, and booked where nobody counts."""
    checked = 0
    for exchange in recordings:
        if exchange["usage"] is None or "inline_data" in json.dumps(exchange["request"]["body"]):
            continue
        counted = exchange["usage"].get("prompt_tokens", exchange["usage"].get("promptTokenCount"))
        prompt = parse(exchange)
        bound = measure(prompt, segments(prompt), ()).input_tokens_max
        assert counted <= bound, exchange["id"]
        checked += 1
    assert checked > 25
