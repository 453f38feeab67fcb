"""P8: what happens when a part is taken away is a contract; here each part is, and is given back.

What is answered then, what is refused and how, stands in docs/degraded-modes.md; a detector that fails and
hosts that do are taken away in the tests of P1 and of routing.
"""

import re
import resource
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.admission import Limit
from gateway.clock import Clock
from gateway.identity import NewKey
from tests.gate import Gate, gate_before
from tests.gateway_command import (
    MOEGATE,
    REPOSITORY,
    TOKEN,
    command,
    end,
    environment,
    read_rows,
    start,
)
from tests.gateway_process import (
    RunningGateway,
    Scene,
    running_gateway,
    two_sided,
    wait_for,
)
from tests.upstreams import Upstream, chat_answer, chat_stream, plain, running_upstream

BUDGET = Limit("", "total", 10**9)
PRICED = "openai/gpt-5.4-nano"


@contextmanager
def gateway_on(
    home: Path, environ: dict[str, str]
) -> Generator[tuple[RunningGateway, Upstream, Upstream]]:
    """A gateway between a host outside and one at home."""
    with running_upstream() as outside, running_upstream() as inside:
        outside.default = inside.default = chat_answer()
        with running_gateway(home, two_sided(outside, inside) | environ) as gateway:
            yield gateway, outside, inside


@pytest.fixture
def database_url(postgres_database: str) -> str:
    """A fresh database; made by a fixture with a loop, used by tests without one."""
    return postgres_database


def is_refused(answer: httpx.Response, kind: str) -> bool:
    """Whether a request was turned away with 503, in the client's format, to come back later."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["x-moegate-error"] == kind
    assert int(answer.headers["retry-after"]) >= 1
    return bool(answer.json()["error"]["message"])


def test_sql_away_and_back(tmp_path: Path, database_url: str) -> None:
    """Known keys are served, unknown ones are asked to come back, not told that they are wrong; every
    call that was made meanwhile is in SQL when it is back."""
    with (
        gate_before(database_url) as (gate, url),
        gateway_on(tmp_path, {"MOEGATE_DATABASE_URL": url}) as (gateway, _outside, _inside),
    ):
        stranger = gateway.make_key(NewKey("strangers"))
        assert gateway.say().status_code == 200
        gate.cut()
        ids = [gateway.say().headers["x-moegate-request-id"] for _ in range(5)]
        assert is_refused(gateway.say(authorization=f"Bearer {stranger}"), "overloaded")
        ready = gateway.client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["checks"]["sql"]["ok"] is False
        assert gateway.runtime.services.journal.unshipped >= 5
        gate.open()
        assert {row["request_id"] for row in gateway.rows("attempts")} >= set(ids)
        wait_for(lambda: gateway.say(authorization=f"Bearer {stranger}").status_code == 200)


@pytest.mark.parametrize("way", ["cut", "stall"])
def test_redis_away_and_back(tmp_path: Path, redis_url: str, way: str) -> None:
    """A budget that cannot be checked admits nobody, and nothing leaves; what needs no Redis goes on."""
    with (
        gate_before(redis_url) as (gate, url),
        gateway_on(tmp_path, {"MOEGATE_REDIS_URL": url}) as (gateway, outside, _inside),
    ):
        bounded = f"Bearer {gateway.make_key(NewKey('t', limit=BUDGET))}"
        assert gateway.say(model=PRICED, authorization=bounded).status_code == 200
        calls = len(outside.requests)
        take_away(gate, way)
        assert is_refused(gateway.say(model=PRICED, authorization=bounded), "overloaded")
        assert len(outside.requests) == calls
        assert gateway.say(model=PRICED).status_code == 200
        uncached = gateway.say(model=PRICED, temperature=0)
        assert uncached.status_code == 200, "a lost cache is no reason to refuse"
        assert uncached.headers["x-moegate-cache"] == "off"
        assert gateway.client.get("/readyz").status_code == 503
        gate.open()
        wait_for(lambda: gateway.say(model=PRICED, authorization=bounded).status_code == 200, 20)
        assert gateway.client.get("/readyz").status_code == 200


def test_redis_slow(tmp_path: Path, redis_url: str) -> None:
    """A Redis that takes its time delays what needs it, and refuses nothing."""
    with (
        gate_before(redis_url) as (gate, url),
        gateway_on(tmp_path, {"MOEGATE_REDIS_URL": url}) as (gateway, _outside, _inside),
    ):
        bounded = f"Bearer {gateway.make_key(NewKey('t', limit=BUDGET))}"
        gate.slow_down(0.05)
        for _ in range(2):
            assert gateway.say(model=PRICED, authorization=bounded).status_code == 200


def test_sql_and_redis_away(tmp_path: Path, database_url: str, redis_url: str) -> None:
    """Without both nobody's budget can be known: refused, nothing leaves; and so is a budget that has to
    be read from SQL first when only SQL is away."""
    with (
        gate_before(redis_url) as (redis_gate, redis_through),
        gate_before(database_url) as (sql_gate, sql_through),
        gateway_on(
            tmp_path,
            {"MOEGATE_REDIS_URL": redis_through, "MOEGATE_DATABASE_URL": sql_through},
        ) as (gateway, outside, inside),
    ):
        bounded, fresh = (f"Bearer {gateway.make_key(NewKey('t', limit=BUDGET))}" for _ in range(2))
        assert gateway.say(model=PRICED, authorization=bounded).status_code == 200
        listed = gateway.client.get("/v1/models", headers={"authorization": fresh})
        assert listed.status_code == 200, "known from now on, its budget is not"
        calls = len(outside.requests) + len(inside.requests)
        sql_gate.cut()
        assert is_refused(gateway.say(model=PRICED, authorization=fresh), "overloaded")
        assert gateway.say(model=PRICED, authorization=bounded).status_code == 200
        redis_gate.cut()
        assert is_refused(gateway.say(model=PRICED, authorization=bounded), "overloaded")
        assert len(outside.requests) + len(inside.requests) == calls + 1
        redis_gate.open()
        sql_gate.open()
        wait_for(lambda: gateway.say(model=PRICED, authorization=fresh).status_code == 200, 20)


def test_redis_lost_during_a_stream(tmp_path: Path, redis_url: str) -> None:
    """The stream goes on to its end, and its money is booked once Redis is back."""
    with (
        gate_before(redis_url) as (gate, url),
        gateway_on(tmp_path, {"MOEGATE_REDIS_URL": url}) as (gateway, outside, _inside),
    ):
        outside.default = chat_stream(("a", "b", "c", "d"), pause=0.05)
        key = gateway.make_key(NewKey("t", limit=BUDGET))
        body = {"model": PRICED, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {key}"}
        with gateway.client.stream(
            "POST", "/v1/chat/completions", json=body, headers=headers
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            gate.cut()
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        gate.open()
        [row] = gateway.rows("attempts")
        assert row["state"] == "settled"
        outside.default = chat_answer()
        wait_for(
            lambda: gateway.say(model=PRICED, authorization=f"Bearer {key}").status_code == 200
        )


def take_away(gate: Gate, way: str) -> None:
    """Cut, or let hang."""
    if way == "cut":
        gate.cut()
    else:
        gate.stall()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
def test_journal_without_room(tmp_path: Path, database_url: str) -> None:
    """A disk that takes no more (here: the kernel refuses files of any size to the process) refuses the
    next call before it is made; with room again it goes on, and every call is booked."""
    with running_upstream() as outside, running_upstream() as inside:
        outside.default = inside.default = chat_answer()
        environ = environment(tmp_path, database_url, outside, inside)
        environ["MOEGATE_JOURNAL_SEGMENT_BYTES"] = "65536"
        command(environ, "init", "--quiet")
        process, url = start(environ)
        headers = {"authorization": f"Bearer {TOKEN}"}
        said = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}

        def say(**more: object) -> httpx.Response:
            return httpx.post(
                f"{url}/v1/chat/completions", json=said | more, headers=headers, timeout=20
            )

        try:
            assert say().status_code == 200
            _soft, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))
            while (answer := say()).status_code == 200:
                assert len(inside.requests) < 500, "the journal never filled"
            assert is_refused(answer, "overloaded")
            reached = len(outside.requests) + len(inside.requests)
            assert is_refused(say(stream=True), "overloaded")
            assert len(outside.requests) + len(inside.requests) == reached
            assert httpx.get(f"{url}/readyz").status_code == 503
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            wait_for(lambda: say().status_code == 200)
        finally:
            end(process, signal.SIGTERM)
        booked = read_rows(database_url, "attempts")
        assert len(booked) == len(outside.requests) + len(inside.requests)
        assert {row["state"] for row in booked} == {"settled"}


def test_a_start_without_sql_says_so(tmp_path: Path, database_url: str) -> None:
    """A gateway that cannot read its database does not start half."""

    with (
        gate_before(database_url) as (gate, url),
        running_upstream() as outside,
        running_upstream() as inside,
    ):
        gate.cut()
        done = subprocess.run(
            [*MOEGATE, "serve", "--port", "1"], cwd=REPOSITORY, timeout=60, capture_output=True,
            env=environment(tmp_path, url, outside, inside), text=True, check=False,
        )  # fmt: skip
    assert done.returncode != 0
    assert "the database cannot be read" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_broken_bytes_in_a_journal(tmp_path: Path) -> None:
    """A dead worker's journal that ends in rubbish is read up to there, and the gateway starts."""
    token = {"MOEGATE_ADMIN_TOKEN": "an-administrators-own-token"}
    with gateway_on(tmp_path, token) as (gateway, _outside, _inside):
        assert gateway.say().status_code == 200
    left = tmp_path / "journal" / ("0" * 32)
    left.mkdir(parents=True)
    (left / "00000001.journal").write_bytes(b"\xff\x00rubbish" * 500)
    with gateway_on(tmp_path, token) as (gateway, _outside, _inside):
        assert gateway.say().status_code == 200
        assert [row["state"] for row in gateway.rows("attempts")] == ["settled", "settled"]


def test_a_clock_set_back(tmp_path: Path) -> None:
    """An hour back in time: keys stay known, a host that was set aside does not stay so for an hour, every
    call is booked, and the budget holds."""
    ahead = [3600.0]
    clock = Clock(now=lambda: time.time() + ahead[0])
    with (
        running_upstream() as outside,
        running_upstream() as inside,
        running_gateway(tmp_path, two_sided(outside, inside), clock) as gateway,
    ):
        inside.default = plain({"error": {"message": "down"}}, status=500)
        limit = Limit("", "day", 400_000)
        bounded = f"Bearer {gateway.make_key(NewKey('t', limit=limit))}"

        def spend() -> httpx.Response:
            return gateway.say(model=PRICED, max_completion_tokens=5, authorization=bounded)

        wait_for(lambda: gateway.say().headers["x-moegate-attempts"] == "1")
        assert spend().status_code == 200
        inside.default = chat_answer()
        ahead[0] = 0.0
        assert gateway.say().headers["x-moegate-target"] == "sglang/home-model"
        while (answer := spend()).status_code == 200:
            assert len(outside.requests) < 500, "the budget does not hold"
        assert answer.headers["x-moegate-error"] == "budget_exhausted"
        rows = gateway.rows("attempts")
        assert len(rows) == len(outside.requests) + len(inside.requests)
        priced = [row["cost_nanousd"] for row in rows if row["target"] == PRICED]
        assert 0 < sum(priced) <= limit.limit_nanousd


def test_every_target_away(scene: Scene) -> None:
    """Nobody there: to come back later, with the reason; what nobody may have is refused for good."""
    scene.home.stop()
    card = "card 4111 1111 1111 1111"
    assert is_refused(scene.gateway.say(card), "overloaded")
    never = scene.gateway.say(card, model="openai/gpt-5.5")
    assert (never.status_code, never.headers["x-should-retry"]) == (403, "false")
    assert never.headers["x-moegate-error"] == "no_target"
    assert scene.outside.requests == []
    scene.outside.stop()
    assert is_refused(scene.gateway.say(), "overloaded")
    assert {row["state"] for row in scene.gateway.rows("attempts")} == {"failed"}


def test_every_row_of_the_table_names_its_tests() -> None:
    """The tests that the page names are there, and it names some for everything that it says is lost."""
    page = (REPOSITORY / "docs" / "degraded-modes.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 20
    written = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert [name for name in sorted(named) if f"def {name}(" not in written] == []
