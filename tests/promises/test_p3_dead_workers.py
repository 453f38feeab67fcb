"""P3 and P5: what a killed gateway had begun is booked, and can be explained, by whoever lives."""

import json
import signal
import threading
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.gateway_command import command, end, environment, read_rows, start
from tests.gateway_process import wait_for
from tests.upstreams import chat_stream, running_upstream

PRICED = "openai/gpt-5.4-nano"


@pytest.fixture
def database_url(postgres_database: str) -> str:
    """A fresh database; made by a fixture with a loop, used by tests without one."""
    return postgres_database


def test_a_killed_worker_is_booked_by_one_that_lives(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    """Nobody starts in its place, yet its call is booked in doubt, its request has its row with the
    decision, and the money that it held in Redis is spent."""
    with running_upstream() as outside, running_upstream() as inside:
        outside.default = chat_stream(held_back=threading.Event())
        environ = environment(tmp_path, database_url, outside, inside)
        environ |= {"MOEGATE_REDIS_URL": redis_url}
        command(environ, "init", "--quiet")
        made = command(
            environ,
            "keys",
            "create",
            "--team",
            "t",
            "--budget-usd",
            "1",
            "--period",
            "day",
            "--json",
        )
        headers = {"authorization": f"Bearer {json.loads(made)['key']}"}
        victim, at = start(environ)
        heir, _url = start(environ)
        try:
            body = {
                "model": PRICED, "stream": True, "messages": [{"role": "user", "content": "hi"}]
            }  # fmt: skip
            with httpx.stream(
                "POST", f"{at}/v1/chat/completions", json=body, headers=headers, timeout=20
            ) as answer:
                request_id = answer.headers["x-moegate-request-id"]
                end(victim, signal.SIGKILL)
            wait_for(lambda: bool(read_rows(database_url, "attempts")), 20)
            [attempt] = read_rows(database_url, "attempts")
            assert (attempt["state"], attempt["usage_source"]) == ("in_doubt", "bound")
            assert attempt["cost_nanousd"] == attempt["reserved_nanousd"] > 0
            [request] = read_rows(database_url, "requests")
            assert (request["request_id"], request["state"]) == (request_id, "interrupted")
            assert (request["attempts"], request["target"]) == (1, PRICED)
            assert request["cost_nanousd"] == attempt["cost_nanousd"]
            assert PRICED in command(environ, "policy", "explain", request_id)
            wait_for(lambda: spent_in_redis(redis_url) == (attempt["cost_nanousd"], 0))
            wait_for(lambda: len(list((tmp_path / "journal").iterdir())) == 1)
        finally:
            end(heir, signal.SIGTERM)


def spent_in_redis(url: str) -> tuple[int, int]:
    """Nano-dollars spent and reserved in the only window that Redis knows."""
    with Redis.from_url(url) as redis:
        [window] = redis.scan_iter("mg:*|day|*")
        spent, reserved = redis.hmget(window, "spent", "reserved")
        return int(spent or 0), int(reserved or 0)
