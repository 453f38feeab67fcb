"""P2: a hard budget is never passed, whoever asks at once, hangs up, dies or forgets."""

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import httpx
import pytest
from redis import Redis
from sqlalchemy import func, select

from gateway.admission import Limit
from gateway.identity import NewKey, create_key
from gateway.ledger import open_database
from gateway.ledger.tables import attempts
from gateway.prepare import prepare
from tests.gateway_command import end, environment, start
from tests.gateway_process import make_settings
from tests.upstreams import Upstream, chat_answer, chat_stream, running_upstream

MODEL = "gpt-5.4-nano"
CALL_NANOUSD = 10 * 200 + 5 * 1250
"""What one answer of the host costs: 10 tokens in, 5 out, at 0.20 and 1.25 USD a million tokens."""
BUDGET_NANOUSD = 800_000
CAP = 5
CLIENTS = 12

How = Literal["plain", "stream", "hang up"]


@dataclass(slots=True)
class Fleet:
    """Gateways that share their accounts, one key with a budget, and the host behind them."""

    environs: list[dict[str, str]]
    host: Upstream
    key: str
    redis_url: str | None
    running: list[tuple["subprocess.Popen[bytes]", str]] = field(
        default_factory=list[tuple["subprocess.Popen[bytes]", str]]
    )

    def start(self) -> list[str]:
        """Start every gateway, side by side; their addresses."""
        with ThreadPoolExecutor() as pool:
            self.running = list(pool.map(start, self.environs))
        return [url for _process, url in self.running]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End every gateway; after SIGTERM everything is in SQL."""
        for process, _url in self.running:
            with contextlib.suppress(ProcessLookupError):
                end(process, how)
        self.running = []


@pytest.fixture(params=["alone", "together"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Fleet]:
    """One gateway on SQLite with budgets in its memory; two on PostgreSQL and Redis."""
    redis_url, shared = None, dict[str, str]()
    database = f"sqlite+aiosqlite:///{tmp_path}/accounts.sqlite"
    homes = [tmp_path / "home"]
    if request.param == "together":
        redis_url = str(request.getfixturevalue("redis_url"))
        database = request.getfixturevalue("postgres_database")
        homes.append(tmp_path / "another home")
        shared = {"MOEGATE_REDIS_URL": redis_url, "MOEGATE_MASTER_KEY": "one key for both of them"}
    with running_upstream() as host, running_upstream() as home:
        host.default = chat_answer()
        environs = [environment(folder, database, host, home) | shared for folder in homes]
        running = Fleet(environs, host, asyncio.run(make_key(homes[0], environs[0])), redis_url)
        try:
            yield running
        finally:
            running.stop(signal.SIGKILL)


async def make_key(home: Path, environ: dict[str, str]) -> str:
    """A prepared database with a key that has the budget."""
    await prepare(make_settings(home, environ))
    engine = open_database(environ["MOEGATE_DATABASE_URL"])
    try:
        limit = Limit("", "total", BUDGET_NANOUSD)
        token, _record = await create_key(engine, NewKey("t", limit=limit), now=time.time())
        return token
    finally:
        await engine.dispose()


async def ask(client: httpx.AsyncClient, how: How) -> int:
    """One request, or part of it; its status."""
    body = {
        "model": MODEL, "max_completion_tokens": CAP, "stream": how != "plain",
        "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        if how == "hang up" and answer.status_code == 200:
            await anext(answer.aiter_raw())
            return 200
        raw = await answer.aread()
        if answer.status_code != 200:
            assert json.loads(raw)["error"]["code"] == "insufficient_quota", raw
        return answer.status_code


async def spend_all(fleet: Fleet, urls: list[str], hows: list[How]) -> int:
    """Many clients ask at once until each was refused; how many answers there were."""
    dice = random.Random(0)

    async def go_on(url: str) -> int:
        answered = 0
        headers = {"authorization": f"Bearer {fleet.key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
            with contextlib.suppress(httpx.TransportError):
                while await ask(client, dice.choice(hows)) == 200:
                    answered += 1
        return answered

    return sum(await asyncio.gather(*(go_on(url) for url in urls * (CLIENTS // len(urls)))))


def answer_all(host: Upstream) -> None:
    """The host answers plain questions plainly and streams slowly, with its count at the end."""
    streamed = replace(
        chat_stream(("he", "l", "l", "o"), pause=0.003), headers={"connection": "close"}
    )
    host.answer_by = lambda sent: streamed if b'"stream":true' in sent.body else chat_answer()


async def booked(fleet: Fleet) -> tuple[int, int]:
    """Nano-dollars in SQL, and the most that one request had reserved."""
    engine = open_database(fleet.environs[0]["MOEGATE_DATABASE_URL"])
    costs = select(func.sum(attempts.c.cost_nanousd), func.max(attempts.c.reserved_nanousd))
    async with engine.connect() as connection:
        spent, worst = (await connection.execute(costs)).one()
    await engine.dispose()
    return int(spent), int(worst)


async def test_many_at_once_stay_within_it(fleet: Fleet) -> None:
    """Concurrent requests, over two processes too, spend all of a budget but what a request might
    still cost, and not a nano-dollar more; the cap that makes this true reached the host."""
    urls = await asyncio.to_thread(fleet.start)
    answered = await spend_all(fleet, urls, ["plain"])
    await spend_all(fleet, urls[:1], ["plain"])  # what was held at the end is free by now
    await asyncio.to_thread(fleet.stop)
    spent, worst = await booked(fleet)
    assert answered > 20
    assert spent == CALL_NANOUSD * len(fleet.host.requests) <= BUDGET_NANOUSD
    assert spent + worst > BUDGET_NANOUSD
    assert {sent.json["max_completion_tokens"] for sent in fleet.host.requests} == {CAP}


async def test_hanging_up_does_not_pass_it(fleet: Fleet) -> None:
    """Who reads the beginning of streams and hangs up spends from the same budget."""
    answer_all(fleet.host)
    urls = await asyncio.to_thread(fleet.start)
    await spend_all(fleet, urls, ["plain", "stream", "hang up"])
    await asyncio.to_thread(fleet.stop)
    spent, _worst = await booked(fleet)
    assert CALL_NANOUSD * 5 < spent <= BUDGET_NANOUSD


async def test_kills_do_not_pass_it(fleet: Fleet) -> None:
    """``kill -9`` in the midst of calls, twice: what was in flight counts with its worst case."""
    answer_all(fleet.host)
    for _ in range(2):
        urls = await asyncio.to_thread(fleet.start)
        spending = asyncio.create_task(spend_all(fleet, urls, ["plain", "stream"]))
        calls = len(fleet.host.requests)
        async with asyncio.timeout(20):
            while len(fleet.host.requests) < calls + 4 and not spending.done():
                await asyncio.sleep(0.002)
        await asyncio.to_thread(fleet.stop, signal.SIGKILL)
        await spending
    urls = await asyncio.to_thread(fleet.start)
    await spend_all(fleet, urls, ["plain", "stream"])
    await asyncio.to_thread(fleet.stop)
    spent, _worst = await booked(fleet)
    assert CALL_NANOUSD * 5 < spent <= BUDGET_NANOUSD


@pytest.mark.parametrize("fleet", ["together"], indirect=True)
async def test_an_emptied_redis_does_not_pass_it(fleet: Fleet) -> None:
    """What Redis forgets is learned anew from SQL before the next request is admitted."""
    assert fleet.redis_url is not None
    urls = await asyncio.to_thread(fleet.start)
    headers = {"authorization": f"Bearer {fleet.key}"}
    with Redis.from_url(fleet.redis_url) as redis:
        for url in urls * 4:
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
                assert await ask(client, "plain") == 200
            redis.flushdb()
        await spend_all(fleet, urls, ["plain"])
        redis.flushdb()
        await spend_all(fleet, urls, ["plain"])
    await asyncio.to_thread(fleet.stop)
    spent, worst = await booked(fleet)
    assert spent + worst > BUDGET_NANOUSD
    assert spent == CALL_NANOUSD * len(fleet.host.requests) <= BUDGET_NANOUSD
