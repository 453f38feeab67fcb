"""Where requests go, what happens when hosts fail, and that each attempt is booked."""

import json
import threading
import time

import httpx

from tests.gateway_process import Scene, wait_for
from tests.upstreams import Scripted, chat_answer, chat_stream, plain

OUT = "openai/gpt-5.5"


def test_pass_through_changes_the_model_and_nothing_else(scene: Scene) -> None:
    """A host of the same format gets the client's bytes with the model's name patched."""
    raw = b'{ "messages":[{"role":"user","content":"h\\u00e9 \xc3\xa9"}],\n "model" : "openai/gpt-5.5", "x-own": 1.50}'
    headers = {"authorization": f"Bearer {scene.gateway.key}", "content-type": "application/json"}
    scene.gateway.client.post("/v1/chat/completions", content=raw, headers=headers)
    sent = scene.outside.requests[0]
    assert sent.body == raw.replace(b"openai/gpt-5.5", b"gpt-5.5")
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-test-outside"
    assert scene.gateway.key not in str(sent)


def test_auto_prefers_home_and_names_reasons(scene: Scene) -> None:
    """The first policy takes the cheapest that is good enough; headers and record say so."""
    answer = scene.gateway.say("hi")
    assert answer.headers["x-moegate-target"] == "sglang/home-model"
    assert answer.headers["x-moegate-policy"].startswith("balanced@")
    assert answer.headers["x-moegate-attempts"] == "1"
    assert answer.headers["x-moegate-cost-usd"] == "0.000000000"
    assert answer.headers["x-request-id"] == answer.headers["x-moegate-request-id"]
    scene.gateway.rows("requests")
    record = scene.gateway.client.get(
        f"/admin/api/v1/requests/{answer.headers['x-moegate-request-id']}",
        headers={"authorization": f"Bearer {scene.gateway.key}"},
    )
    assert "1. sglang/home-model" in record.json()["explanation"]
    assert record.json()["attempts"][0]["input_tokens"] == 10


def test_named_models_and_preferences(scene: Scene) -> None:
    """A target, a model, `auto:best` and `auto:private` go where they say."""
    for model, target in (
        (OUT, OUT),
        ("gpt-5.5", OUT),
        ("auto:best", "openai/gpt-6-sol"),
        ("auto:private", "sglang/home-model"),
        ("auto:cheap", "sglang/home-model"),
    ):
        assert scene.gateway.say("hi", model).headers["x-moegate-target"] == target


def test_failed_host_is_followed_by_the_next(scene: Scene) -> None:
    """500 at home, an answer outside: the client sees the answer, SQL both attempts."""
    scene.home.script.append(plain({"error": {"message": "boom"}}, status=500))
    answer = scene.gateway.say("hi")
    assert answer.status_code == 200
    assert answer.headers["x-moegate-attempts"] == "2"
    rows = sorted(scene.gateway.rows("attempts"), key=lambda row: row["ordinal"])
    assert [(row["state"], row["failure"], row["upstream_status"]) for row in rows] == [
        ("failed", "upstream_failed", 500),
        ("settled", None, None),
    ]
    assert rows[0]["cost_nanousd"] == 0
    assert rows[1]["cost_nanousd"] > 0


def test_stream_that_fails_before_its_first_byte_moves_on(scene: Scene) -> None:
    """An error event at the very start, and a reset before any: the next target streams."""
    scene.outside.default = chat_stream()
    scene.home.script.append(
        Scripted(chunks=(b'data: {"error":{"message":"no"}}\n\n',), is_stream=True)
    )
    answer = scene.gateway.say("hi", stream=True)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.headers["x-moegate-target"] != "sglang/home-model"
    scene.home.script.append(Scripted(fault="reset"))
    answer = scene.gateway.say("hi", stream=True)
    assert answer.text.endswith("data: [DONE]\n\n")


def test_cut_stream_ends_in_a_typed_error(scene: Scene) -> None:
    """After the first byte a cut, a reset and broken JSON are told, and no finish is made up."""
    broken = Scripted(
        chunks=(*chat_stream(("a",)).chunks[:2], b"data: {broken\n\n"), is_stream=True, pause=0.05
    )
    for scripted in (
        chat_stream(("a", "b"), has_end=False, fault="cut", pause=0.05),
        chat_stream(("a", "b"), has_end=False, fault="reset", pause=0.05),
        broken,
    ):
        scene.outside.script.append(scripted)
        answer = scene.gateway.say("hi", OUT, stream=True)
        assert answer.status_code == 200
        last = json.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["code"] in ("upstream_failed", "upstream_timeout")
        assert "[DONE]" not in answer.text
        assert '"finish_reason":"stop"' not in answer.text
        scene.gateway.runtime.services.signals.health.record_success(OUT, 0)
    for row in scene.gateway.rows("attempts"):
        assert (row["state"], row["usage_source"]) == ("failed", "bound")
        assert row["cost_nanousd"] > 0


def test_provider_errors_are_mapped(scene: Scene) -> None:
    """400, 401, 429 and 529 of a host become our kinds; its credential's trouble stays ours."""
    for status, headers, expected, code in (
        (400, {}, 400, "invalid_value"),
        (401, {}, 502, "upstream_failed"),
        (429, {"retry_after": "7"}, 429, "rate_limit_exceeded"),
        (529, {}, 503, "overloaded"),
    ):
        reply = plain({"error": {"message": "the provider says", "type": "t"}}, status, **headers)
        scene.outside.script.extend([reply, reply, reply])
        answer = scene.gateway.say("hi", OUT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (expected, code)
        assert answer.headers["x-moegate-error"]
        if status == 429:
            assert answer.headers["retry-after"] == "7"
        scene.outside.script.clear()
        scene.gateway.runtime.services.signals.health.record_success(OUT, 0)


def test_unreachable_host_is_set_aside_and_taken_back(scene: Scene) -> None:
    """After it could not be reached a target is skipped at once; the next is asked instead."""
    scene.home.stop()
    assert scene.gateway.say("hi").headers["x-moegate-attempts"] == "2"
    assert scene.gateway.say("hi").headers["x-moegate-attempts"] == "1"


def test_client_that_leaves_stops_the_upstream(scene: Scene) -> None:
    """Hanging up in the middle of a stream closes the upstream call and books what was used."""
    scene.outside.default = chat_stream(tuple("abcdefgh" * 50), pause=0.05)
    body = {"model": OUT, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {scene.gateway.key}"}
    with httpx.stream(
        "POST", f"{scene.gateway.url}/v1/chat/completions", json=body, headers=headers
    ) as answer:
        for _line in answer.iter_lines():
            break
    assert scene.outside.hung_up.wait(5)
    wait_for(lambda: len(scene.gateway.rows("requests")) == 1)
    (attempt,) = scene.gateway.rows("attempts")
    assert (attempt["state"], attempt["usage_source"]) == ("interrupted", "bound")
    assert attempt["cost_nanousd"] > 0
    (request,) = scene.gateway.rows("requests")
    assert request["state"] == "interrupted"


def test_client_that_leaves_a_plain_call_stops_it(scene: Scene) -> None:
    """The same for a plain answer that is still being made."""
    scene.outside.default = Scripted(fault="stall", is_stream=True)
    body = {"model": OUT, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {scene.gateway.key}"}

    def ask() -> None:
        try:
            httpx.post(
                f"{scene.gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=0.5
            )
        except httpx.TimeoutException:
            return

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert scene.outside.hung_up.wait(5)
    wait_for(lambda: len(scene.gateway.rows("attempts")) == 1)
    assert scene.gateway.rows("attempts")[0]["state"] == "interrupted"


def test_first_byte_is_not_held_back(scene: Scene) -> None:
    """A chunk reaches the client while the host still writes."""
    scene.outside.default = chat_stream(tuple("abcdefghij"), pause=0.1)
    body = {"model": OUT, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {scene.gateway.key}"}
    seen: list[float] = []
    with httpx.stream(
        "POST", f"{scene.gateway.url}/v1/chat/completions", json=body, headers=headers
    ) as answer:
        seen.extend(time.monotonic() for _chunk in answer.iter_raw())
    assert seen[-1] - seen[0] > 0.7
    assert len(seen) > 8


def test_usage_is_hidden_from_clients_that_did_not_ask(scene: Scene) -> None:
    """Usage is always asked for upstream; the client sees it only if it asked too."""
    scene.outside.default = chat_stream()
    quiet = scene.gateway.say("hi", OUT, stream=True).text
    assert "usage" not in quiet
    loud = scene.gateway.say("hi", OUT, stream=True, stream_options={"include_usage": True}).text
    assert '"prompt_tokens":10' in loud
    for sent in scene.outside.requests:
        assert sent.json["stream_options"] == {"include_usage": True}
    for row in scene.gateway.rows("attempts"):
        assert (row["input_tokens"], row["output_tokens"], row["cache_read_tokens"]) == (10, 5, 4)


def test_deterministic_answers_are_cached(scene: Scene) -> None:
    """Temperature 0 or a seed: the second answer is a hit, a stream as a stream; others are not kept."""
    scene.outside.default = chat_answer("kept")
    first = scene.gateway.say("same", OUT, temperature=0)
    assert first.headers["x-moegate-cache"] == "miss"
    wait_for(
        lambda: scene.gateway.say("same", OUT, temperature=0).headers["x-moegate-cache"] == "hit"
    )
    again = scene.gateway.say("same", OUT, temperature=0)
    assert again.content == first.content
    calls = len(scene.outside.requests)
    assert (
        scene.gateway.say("same", OUT, temperature=0, x_moegate_cache="off").headers[
            "x-moegate-cache"
        ]
        == "off"
    )
    assert (
        scene.gateway.say("same", OUT, temperature=0, x_moegate_cache="refresh").headers[
            "x-moegate-cache"
        ]
        == "miss"
    )
    assert len(scene.outside.requests) == calls + 2
    assert scene.gateway.say("same", OUT).headers["x-moegate-cache"] == "off"
    scene.outside.default = chat_stream()
    live = scene.gateway.say("streamed", OUT, seed=1, stream=True)
    wait_for(
        lambda: (
            scene.gateway.say("streamed", OUT, seed=1, stream=True).headers["x-moegate-cache"]
            == "hit"
        )
    )
    kept = scene.gateway.say("streamed", OUT, seed=1, stream=True)
    assert kept.content == live.content
    assert kept.headers["content-type"].startswith("text/event-stream")


def test_strict_request_takes_no_answer_from_the_cache_that_came_of_a_loss(scene: Scene) -> None:
    """The kept answer is of a request that lost something: nothing to give to one that must not."""
    said = {"top_k": 3, "temperature": 0}
    wait_for(lambda: scene.gateway.say("hi", OUT, **said).headers["x-moegate-cache"] == "hit")
    assert scene.gateway.say("hi", OUT, **said).headers["x-moegate-dropped"] == "top_k"
    refused = scene.gateway.say("hi", OUT, **said, x_moegate_strict="true")
    assert (refused.status_code, refused.headers["x-moegate-cache"]) == (400, "miss")


def test_strict_request_refuses_losses(scene: Scene) -> None:
    """What a host cannot carry is listed, or refused when the client wants no loss."""
    answer = scene.gateway.say("hi", OUT, top_k=3)
    assert answer.headers["x-moegate-dropped"] == "top_k"
    refused = scene.gateway.say("hi", OUT, top_k=3, x_moegate_strict="true")
    assert refused.status_code == 400
    assert "top_k" in refused.json()["error"]["message"]
