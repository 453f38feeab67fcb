"""Counting tokens: the target's own count where it has one, an estimate elsewhere; decided like any prompt, never billed."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.admission import Limit
from gateway.identity import NewKey
from tests.gateway_process import RunningGateway, running_gateway, wait_for
from tests.upstreams import Recorded, Scripted, Upstream, plain, running_upstream

HOME = "auto:private"
CARD = "my card is 4111 1111 1111 1111"
TARGETS = {
    "claude": "anthropic/claude-opus-4-6",
    "gpt": "openai/gpt-5.5",
    "gemini": "gemini/gemini-2.5-flash",
}
ADDRESSES = {
    "claude": "/v1/messages/count_tokens",
    "gpt": "/v1/responses/input_tokens",
    "gemini": "/v1beta/models/gemini-2.5-flash:countTokens",
}
OWN = {
    "claude": {"input_tokens": 17, "odd": "kept"},
    "gpt": {"object": "response.input_tokens", "input_tokens": 17, "odd": "kept"},
    "gemini": {"totalTokens": 17, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 17}]},
}
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}


class Street:
    """A gateway between one host that is every provider, and one at home."""

    def __init__(self, gateway: RunningGateway, outside: Upstream, home: Upstream) -> None:
        self.gateway = gateway
        self.outside = outside
        self.home = home


@pytest.fixture
def street(tmp_path: Path) -> Generator[Street]:
    """A fresh one."""
    with running_upstream() as outside, running_upstream() as home:
        environ = {
            "OPENAI_API_KEY": "sk-o", "OPENAI_BASE_URL": f"{outside.url}/v1",
            "ANTHROPIC_API_KEY": "sk-a", "ANTHROPIC_BASE_URL": outside.url,
            "GEMINI_API_KEY": "sk-g", "GOOGLE_GEMINI_BASE_URL": outside.url,
            "SGLANG_URLS": home.url,
        }  # fmt: skip
        with running_gateway(tmp_path / "home", environ) as gateway:
            yield Street(gateway, outside, home)


def ask(
    gateway: RunningGateway, client: str, model: str, text: str = "hi", key: str = "", **more: Any
) -> httpx.Response:
    """One question of a client's, with a system prompt and a tool."""
    sent = {"x-api-key": key or gateway.key}
    if client == "gemini":
        body: dict[str, Any] = {
            "contents": [{"role": "user", "parts": [{"text": text}]}],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": TOOL}]}],
        }
        asked = {"generateContentRequest": {"model": f"models/{model}"} | body | more}
        path = f"/v1beta/models/{model}:countTokens"
        return gateway.client.post(path, json=asked, headers=sent)
    if client == "claude":
        body = {
            "messages": [{"role": "user", "content": text}], "system": "Be brief.",
            "tools": [{"name": "f", "input_schema": TOOL}],
        }  # fmt: skip
    else:
        tool = {"type": "function", "name": "f", "parameters": TOOL, "strict": False}
        body = {"input": text, "instructions": "Be brief.", "tools": [tool]}
    return gateway.client.post(ADDRESSES[client], json={"model": model} | body | more, headers=sent)


def number(answer: httpx.Response) -> int:
    """What a client reads."""
    body = answer.json()
    return int(body.get("totalTokens") or body["input_tokens"])


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("client", list(TARGETS))
def test_any_client_gets_any_targets_own_count(street: Street, client: str, target: str) -> None:
    """The provider is asked at its own address in its own format, for the whole prompt; its client gets its answer
    as it came; a call is booked, and costs nothing."""
    street.outside.default = plain(OWN[target])
    answer = ask(street.gateway, client, TARGETS[target])
    assert answer.status_code == 200, answer.text
    assert number(answer) == 17
    assert answer.headers["x-moegate-tokens"] == "counted"
    if client == target:
        assert answer.json() == OWN[target]
    [seen] = street.outside.requests
    sent: Any = seen.json
    model = TARGETS[target].split("/")[1]
    if target == "gemini":
        assert seen.path == f"/v1beta/models/{model}:countTokens"
        sent = sent["generateContentRequest"]
        assert sent["model"] == f"models/{model}"
        assert sent["tools"][0]["functionDeclarations"][0]["name"] == "f"
    else:
        assert seen.path == ADDRESSES[target]
        assert sent["model"] == model
        assert sent["tools"][0]["name"] == "f"
        assert {"max_tokens", "max_output_tokens", "stream", "store"}.isdisjoint(sent)
    for word in ("hi", "Be brief."):
        assert json.dumps(word) in json.dumps(sent)
    [row] = street.gateway.rows("attempts")
    assert (row["state"], row["cost_nanousd"], row["input_tokens"]) == ("settled", 0, 0)
    [asked] = street.gateway.rows("requests")
    assert (asked["state"], asked["format"][-6:]) == ("answered", ":count")


def test_what_only_a_chat_would_answer_is_counted(street: Street) -> None:
    """Neither a small cap nor several answers change what a prompt has, though OpenAI's Responses take neither."""
    street.outside.default = plain(OWN["gpt"])
    config = {"maxOutputTokens": 4, "candidateCount": 2}
    answer = ask(street.gateway, "gemini", TARGETS["gpt"], generationConfig=config)
    assert (answer.status_code, answer.json()) == (200, {"totalTokens": 17})


@pytest.mark.parametrize("client", list(TARGETS))
def test_a_worker_at_home_is_estimated(street: Street, client: str) -> None:
    """It has no such question: four bytes a token, said to be an estimate, and no call is made."""
    answer = ask(street.gateway, client, HOME, "word " * 400)
    assert answer.headers["x-moegate-tokens"] == "estimated"
    assert 400 < number(answer) < 700
    assert answer.headers["x-moegate-target"].startswith("sglang/")
    assert street.home.requests == street.outside.requests == []
    assert street.gateway.rows("attempts") == []
    assert [row["state"] for row in street.gateway.rows("requests")] == ["answered"]


@pytest.mark.parametrize(
    "fault",
    [plain({"error": {}}, status=404), plain({"error": {}}, status=529), plain({"odd": 1}),
     plain({"input_tokens": -1}), Scripted(chunks=(), fault="reset")],
    ids=["none there", "overloaded", "no number", "impossible", "reset"],
)  # fmt: skip
def test_a_provider_that_does_not_count_is_estimated(street: Street, fault: Scripted) -> None:
    """And is not set aside for it: answers may be as well as ever."""
    street.outside.default = fault
    for _ in range(8):
        answer = ask(street.gateway, "claude", TARGETS["claude"])
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-moegate-tokens"] == "estimated"
    health = street.gateway.runtime.services.signals.health
    assert health.state(TARGETS["claude"], street.gateway.runtime.services.clock.now())[0]
    assert sum(row["cost_nanousd"] for row in street.gateway.rows("attempts")) == 0


def test_a_providers_refusal_is_shown(street: Street) -> None:
    """What the client has to mend is told in its own words."""
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "no good"}}
    street.outside.default = plain(error, status=400)
    answer = ask(street.gateway, "claude", TARGETS["claude"])
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("client", list(TARGETS))
def test_a_private_prompt_is_counted_nowhere_else(street: Street, client: str) -> None:
    """A count is a prompt on its way to a provider like any other."""
    at_home = ask(street.gateway, client, "auto", CARD)
    assert at_home.headers["x-moegate-target"].startswith("sglang/")
    refused = ask(street.gateway, client, TARGETS["gpt"], CARD)
    assert refused.status_code == 403
    assert street.outside.requests == []


def test_a_budget_does_not_stand_in_the_way(street: Street) -> None:
    """An empty budget counts; the rate of a key holds all the same."""
    street.outside.default = plain(OWN["claude"])
    poor = street.gateway.make_key(NewKey("poor", limit=Limit("", "month", 1)))
    assert ask(street.gateway, "claude", TARGETS["claude"], key=poor).status_code == 200
    busy = street.gateway.make_key(NewKey("busy", requests_per_minute=1))
    answers = [ask(street.gateway, "claude", TARGETS["claude"], key=busy) for _ in range(4)]
    assert 429 in {answer.status_code for answer in answers}


def test_a_count_is_no_answer_to_a_request(street: Street) -> None:
    """A body of Google's is the same for both: neither is given for the other out of the cache."""
    body = {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"temperature": 0},
    }
    answer = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    }  # fmt: skip

    def serve(request: Recorded) -> Scripted:
        return plain(OWN["gemini"] if request.path.endswith(":countTokens") else answer)

    street.outside.answer_by = serve
    sent = {"x-goog-api-key": street.gateway.key}
    path = f"/v1beta/models/{TARGETS['gemini']}"
    post = street.gateway.client.post
    assert post(f"{path}:generateContent", json=body, headers=sent).json() == answer
    wait_for(
        lambda: (
            post(f"{path}:generateContent", json=body, headers=sent).headers["x-moegate-cache"]
            == "hit"
        )
    )
    assert post(f"{path}:countTokens", json=body, headers=sent).json() == OWN["gemini"]


def test_what_a_request_goes_on_from_counts(street: Street) -> None:
    """With a kept conversation, and without being kept itself."""
    long = "word " * 4000
    street.home.default = plain(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
         "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
         "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    )  # fmt: skip
    sent = {"authorization": f"Bearer {street.gateway.key}"}
    body = {"model": HOME, "input": long}
    first = street.gateway.client.post("/v1/responses", json=body, headers=sent).json()
    short = ask(street.gateway, "gpt", HOME)
    on = ask(street.gateway, "gpt", HOME, previous_response_id=first["id"])
    assert number(on) > number(short) + 4000
    assert len(street.gateway.rows("kept_responses")) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (ADDRESSES["claude"], {"model": "auto"}, 400),
        (ADDRESSES["claude"], {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}, 404),
        (ADDRESSES["gpt"], {"model": "auto"}, 400),
        (ADDRESSES["gemini"], {"contents": []}, 400),
        (ADDRESSES["gemini"], {"contents": [{"parts": [{"text": "x"}]}], "generateContentRequest": {}}, 400),
    ],
)  # fmt: skip
def test_bad_questions(street: Street, path: str, body: dict[str, Any], status: int) -> None:
    """Refused with their place, in the client's format."""
    answer = street.gateway.client.post(path, json=body, headers={"x-api-key": street.gateway.key})
    assert answer.status_code == status, answer.text
    assert "error" in answer.json()
