"""Hosts that fail and come back, through the whole gateway: skipped, tried by one, taken back."""

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from backends.health import FAILURES_TO_OPEN
from gateway.attempts import RETRY_PAUSE_SECONDS
from tests.gateway_process import RunningGateway, Scene, running_gateway, two_sided, wait_for
from tests.upstreams import Scripted, Upstream, chat_answer, chat_stream, plain, running_upstream

HOME = "sglang/home-model"
OUT = "openai/gpt-5.5"
BOOM = plain({"error": {"message": "boom, says the prompt"}}, status=500)


def is_healthy(scene: Scene, target: str = HOME) -> bool:
    return scene.gateway.runtime.services.signals.health.state(target, time.time())[0]


def target_of(scene: Scene) -> str:
    answer = scene.gateway.say("hi")
    assert answer.status_code == 200, answer.text
    return answer.headers["x-moegate-target"]


def test_target_that_keeps_failing_is_skipped_and_taken_back(scene: Scene) -> None:
    """After three failures nobody is sent there; after the pause one is, and then everybody again."""
    scene.home.script.extend([BOOM] * FAILURES_TO_OPEN)
    answers = [scene.gateway.say("hi") for _ in range(FAILURES_TO_OPEN)]
    assert [answer.headers["x-moegate-attempts"] for answer in answers] == ["2"] * FAILURES_TO_OPEN
    assert not is_healthy(scene)
    for _ in range(3):
        assert target_of(scene) != HOME
    assert len(scene.home.requests) == FAILURES_TO_OPEN
    refused = scene.gateway.say("hi", HOME)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert "it failed with status 500" in refused.json()["error"]["message"]
    assert "prompt" not in refused.text
    wait_for(lambda: target_of(scene) == HOME, seconds=10)
    assert len(scene.home.requests) == FAILURES_TO_OPEN + 1
    assert [target_of(scene) for _ in range(3)] == [HOME] * 3


def test_one_request_tries_while_the_others_go_elsewhere(scene: Scene) -> None:
    """Of many that come after the pause one finds out; nobody else waits for it."""
    scene.home.script.append(plain({}, status=429, retry_after="1"))
    assert target_of(scene) != HOME
    wait_for(lambda: is_healthy(scene))
    before = len(scene.home.requests)
    scene.home.default = replace(chat_answer(), pause=1.0)
    with ThreadPoolExecutor(8) as pool:
        targets = list(pool.map(lambda _: target_of(scene), range(8)))
    assert targets.count(HOME) == 1
    assert len(scene.home.requests) == before + 1
    assert is_healthy(scene)
    scene.home.default = chat_answer()
    assert target_of(scene) == HOME


def test_failed_try_sends_it_away_again(scene: Scene) -> None:
    """Half-open is no pardon: one more failure is enough."""
    wait = plain({}, status=429, retry_after="1")
    scene.home.script.extend([wait, BOOM])
    assert target_of(scene) != HOME
    wait_for(lambda: is_healthy(scene))
    assert target_of(scene) != HOME
    assert len(scene.home.requests) == 2
    assert not is_healthy(scene)


def test_cancelled_try_does_not_shut_a_target_out_for_good(scene: Scene) -> None:
    """A client that leaves in the middle of the try decides nothing; another may try soon."""
    scene.home.script.append(plain({}, status=429, retry_after="1"))
    assert target_of(scene) != HOME
    wait_for(lambda: is_healthy(scene))
    health, now = scene.gateway.runtime.services.signals.health, time.time()
    assert health.begin(HOME, now)
    assert not is_healthy(scene)
    assert health.state(HOME, now + 11)[0]


def test_only_target_is_asked_again_after_a_pause(scene: Scene) -> None:
    """Where there is no other: once more, a moment later, and both calls are booked."""
    scene.outside.script.append(BOOM)
    started = time.monotonic()
    answer = scene.gateway.say("hi", OUT)
    assert (answer.status_code, answer.headers["x-moegate-attempts"]) == (200, "2")
    assert time.monotonic() - started > RETRY_PAUSE_SECONDS
    states = sorted(row["state"] for row in scene.gateway.rows("attempts"))
    assert states == ["failed", "settled"]


def test_connection_that_breaks_unanswered_is_asked_again_only_where_it_is_free(
    scene: Scene,
) -> None:
    """What may be billed is never sent twice; at home nobody bills, and the next connection may hold."""
    scene.home.script.append(Scripted(fault="reset"))
    answer = scene.gateway.say("hi", HOME)
    assert (answer.status_code, answer.headers["x-moegate-attempts"]) == (200, "2")
    scene.outside.script.append(Scripted(fault="reset"))
    answer = scene.gateway.say("hi", OUT)
    assert (answer.status_code, answer.headers["x-moegate-attempts"]) == (502, "1")
    assert (len(scene.home.requests), len(scene.outside.requests)) == (2, 1)


def test_only_target_that_asks_to_wait_is_not_asked_again(scene: Scene) -> None:
    """It said how long; asking sooner would make it worse."""
    scene.outside.script.append(plain({}, status=503, retry_after="30"))
    answer = scene.gateway.say("hi", OUT)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert len(scene.outside.requests) == 1


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_error_with_a_broken_body_is_still_that_error(scene: Scene, fault: str) -> None:
    """A 400 whose body never came whole: the client's to mend, and nothing in doubt."""
    broken = Scripted(status=400, chunks=(b'{"error": {"mess',), is_stream=True)
    scene.outside.script.append(replace(broken, fault="cut" if fault == "cut" else "reset"))
    answer = scene.gateway.say("hi", OUT)
    assert (answer.status_code, answer.headers["x-moegate-error"]) == (400, "invalid_request")
    (row,) = scene.gateway.rows("attempts")
    assert (row["state"], row["cost_nanousd"]) == ("failed", 0)


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[tuple[RunningGateway, Upstream, Upstream]]:
    """A gateway with two replicas at home, and a host outside."""
    with (
        running_upstream() as outside,
        running_upstream() as first,
        running_upstream() as second,
    ):
        environ = two_sided(outside, first) | {"SGLANG_URLS": f"{first.url},{second.url}"}
        with running_gateway(tmp_path / "home", environ) as gateway:
            yield gateway, first, second


def test_dead_replica_does_not_take_its_target_along(
    cluster: tuple[RunningGateway, Upstream, Upstream],
) -> None:
    """One of two workers dies: every request is answered at home, and the dead one is asked no more."""
    gateway, first, second = cluster
    second.default = first.default = chat_stream()
    for _ in range(4):
        gateway.say("hi", HOME, stream=True)
    assert (len(first.requests), len(second.requests)) == (2, 2)
    first.stop()

    def ask() -> str:
        answer = gateway.say("hi", HOME, stream=True)
        assert (answer.status_code, answer.headers["x-moegate-target"]) == (200, HOME)
        assert answer.text.endswith("data: [DONE]\n\n")
        return answer.headers["x-moegate-attempts"]

    # Once, and once more if the machine is so slow that its pause is over.
    assert [ask() for _ in range(6)].count("2") <= 2
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: ask(), range(40))) <= {"1", "2"}
    health = gateway.runtime.services.signals.health
    assert health.state(HOME, time.time()) == (True, "")
    for row in gateway.rows("attempts"):
        assert row["state"] in ("settled", "failed")
        assert row["state"] == "settled" or row["failure"] == "upstream_failed"
