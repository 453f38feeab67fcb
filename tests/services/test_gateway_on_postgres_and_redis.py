"""The gateway as it runs in production: two workers, accounts in PostgreSQL, budgets and cache in Redis."""

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from gateway.ledger import open_database
from tests.gateway_command import TOKEN, command, end, environment, start
from tests.gateway_process import wait_for
from tests.upstreams import Upstream, chat_answer, chat_stream, running_upstream

SAID = {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


@dataclass(slots=True)
class Stack:
    """A gateway of two workers at ``url`` before a host outside."""

    url: str
    environ: dict[str, str]
    host: Upstream
    process: "subprocess.Popen[bytes]"

    def client(self) -> httpx.Client:
        """A client with the administrator's key, on a connection of its own: any worker may answer."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def chat(self, **more: object) -> httpx.Response:
        """One request."""
        with self.client() as client:
            return client.post("/v1/chat/completions", json=SAID | more)

    def workers(self) -> list[psutil.Process]:
        """Its processes that serve."""
        children = psutil.Process(self.process.pid).children()
        return [
            child
            for child in children
            if child.is_running()
            and child.status() != psutil.STATUS_ZOMBIE
            and "spawn_main" in " ".join(child.cmdline())
        ]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """What stands in SQL, in the order of time."""

        async def read() -> list[dict[str, Any]]:
            engine = open_database(self.environ["MOEGATE_DATABASE_URL"])
            async with engine.connect() as connection:
                found = await connection.execute(text(f"SELECT * FROM {table} ORDER BY request_id"))
                rows = [dict(row) for row in found.mappings()]
            await engine.dispose()
            return rows

        return asyncio.run(read())


@pytest.fixture
def database_url(postgres_database: str) -> str:
    """A fresh database; made by a fixture with a loop, used by tests without one."""
    return postgres_database


@pytest.fixture
def stack(tmp_path: Path, database_url: str, redis_url: str) -> Generator[Stack]:
    """As the README starts it: the schema first, then the workers."""
    with running_upstream() as host, running_upstream() as home:
        host.default = chat_answer()
        environ = environment(tmp_path / "home", database_url, host, home)
        environ |= {"MOEGATE_REDIS_URL": redis_url, "MOEGATE_MASTER_KEY": "a key of this test"}
        command(environ, "init", "--quiet")
        process, url = start(environ, "--workers", "2")
        try:
            yield Stack(url, environ, host, process)
        finally:
            end(process, signal.SIGTERM)


def test_answers_are_cached_across_workers(stack: Stack) -> None:
    """The same question twice is one call and one bill, plain and streamed; byte for byte the same."""
    first, *again = [stack.chat() for _ in range(6)]
    assert first.headers["x-moegate-cache"] == "miss"
    assert {answer.headers["x-moegate-cache"] for answer in again} == {"hit"}
    assert {answer.content for answer in again} == {first.content}
    assert len(stack.host.requests) == 1

    stack.host.default = chat_stream()
    streamed, repeated = stack.chat(stream=True), stack.chat(stream=True)
    assert repeated.headers["x-moegate-cache"] == "hit"
    assert repeated.headers["content-type"] == streamed.headers["content-type"]
    assert repeated.content == streamed.content
    assert streamed.content.endswith(b"data: [DONE]\n\n")
    assert len(stack.host.requests) == 2
    stack.chat(temperature=0.7)
    assert len(stack.host.requests) == 3, "what is sampled is not answered from memory"


def test_accounts_are_the_providers(stack: Stack) -> None:
    """Every call of both workers stands in PostgreSQL with the provider's counts and its exact price,
    and `moegate usage` adds them up."""
    stack.host.default = chat_answer(
        usage={
            "prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500,
            "prompt_tokens_details": {"cached_tokens": 400},
            "completion_tokens_details": {"reasoning_tokens": 100},
        }
    )  # fmt: skip
    ids = {stack.chat(seed=number).headers["x-moegate-request-id"] for number in range(12)}
    with stack.client() as client:
        for request_id in ids:
            record = wait_for_record(client, request_id)
            assert record["target"] == "openai/gpt-5.4-nano"
    rows = stack.rows("attempts")
    assert {row["request_id"] for row in rows} == ids
    # 600 at 0.20, 400 cached at 0.02, 500 at 1.25 USD a million tokens
    cost = 600 * 200 + 400 * 20 + 500 * 1250
    for row in rows:
        assert (row["input_tokens"], row["cache_read_tokens"]) == (1000, 400)
        assert (row["output_tokens"], row["reasoning_tokens"]) == (500, 100)
        assert (row["usage_source"], row["state"]) == ("provider", "settled")
        assert row["cost_nanousd"] == cost
    report = json.loads(command(stack.environ, "usage", "--by", "model", "--format", "json"))
    assert "12" in json.dumps(report)
    assert str(12 * cost) in json.dumps(report)


def test_pages_for_operators(stack: Stack) -> None:
    """Live, ready with every part named, and metrics that count."""
    stack.chat()
    with stack.client() as client:
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert {"sql", "redis", "journal"} <= set(json.dumps(ready.json()).split('"'))
        assert "moegate_requests" in client.get("/metrics").text


def test_a_killed_worker_is_replaced(stack: Stack) -> None:
    """``kill -9`` of one worker: the other goes on answering, a new one comes, every answer is booked."""
    workers = stack.workers()
    assert len(workers) == 2
    ids = {stack.chat(seed=1).headers["x-moegate-request-id"]}
    with stack.client() as client:
        for (
            request_id
        ) in ids:  # Whoever is killed between an answer and its record leaves it to be replayed.
            wait_for_record(client, request_id)
    workers[0].kill()
    psutil.wait_procs(workers[:1], 10)
    answered = [ask_through_a_kill(stack, seed) for seed in range(2, 8)]
    ids |= {answer.headers["x-moegate-request-id"] for answer in answered}
    wait_for(lambda: len(stack.workers()) == 2, 30)
    with stack.client() as client:
        for request_id in ids:
            assert wait_for_record(client, request_id)["state"] == "answered"


def test_decisions_and_policies_are_told_over_http(stack: Stack) -> None:
    """Out of PostgreSQL, by any worker: why a request was refused and what would have let it pass, and what another
    policy would have done with it."""
    refused = stack.chat(messages=[{"role": "user", "content": "card 4111 1111 1111 1111"}])
    assert refused.status_code == 403
    request_id = refused.headers["x-moegate-request-id"]
    root = "/admin/api/v1"
    with stack.client() as client:
        wait_for_record(client, request_id)
        said = client.get(f"{root}/requests/{request_id}/decision").json()
        assert [one["change"] for one in said["would_pass"]] == [
            "without what makes it `client_data`: pii.card"
        ]
        words = client.get(f"{root}/requests/{request_id}/decision", headers={"accept": "text/*"})
        assert "\nwould pass\n  without what makes it `client_data`" in words.text
        assert client.get(f"{root}/requests/%00/decision").status_code == 404
        replayed = client.post(f"{root}/policies/replay", json={"document": "policy: open\n"})
        assert (replayed.json()["decided"], replayed.json()["newly_allowed"]) == (1, 1)
        bad = client.post(f"{root}/policies/replay", json={"document": "policy: p\n", "team": "\0"})
        assert bad.status_code == 400
        checked = client.post(f"{root}/policies/check", json={"document": "policy: open\n"})
        assert checked.json()["ok"] is True


def ask_through_a_kill(stack: Stack, seed: int) -> httpx.Response:
    """A connection that the dead worker had not taken yet is lost with it: asked again."""
    for _ in range(20):
        with contextlib.suppress(httpx.TransportError):
            answer = stack.chat(seed=seed)
            assert answer.status_code == 200
            return answer
    raise AssertionError("nobody answers")


def wait_for_record(client: httpx.Client, request_id: str) -> dict[str, Any]:
    """The record of a request, once it has been shipped."""
    for _ in range(200):
        answer = client.get(f"/admin/api/v1/requests/{request_id}")
        if answer.status_code == 200:
            record: dict[str, Any] = answer.json()
            return record
        asyncio.run(asyncio.sleep(0.02))
    raise AssertionError(f"{request_id} never came into SQL")
