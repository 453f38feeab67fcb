"""Gateways that share their accounts, and clients that spend one budget through all of them."""

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import httpx
import pytest
from sqlalchemy import func, select

from gateway.admission import Limit
from gateway.identity import NewKey, create_key
from gateway.ledger import open_database
from gateway.ledger.tables import attempts
from gateway.prepare import prepare
from tests.gate import Gate, gate_before
from tests.gateway_command import end, environment, start
from tests.gateway_process import make_settings
from tests.upstreams import Upstream, chat_answer, chat_stream, running_upstream

MODEL = "gpt-5.4-nano"
CALL_NANOUSD = 10 * 200 + 5 * 1250
"""What one answer of the host costs: 10 tokens in, 5 out, at 0.20 and 1.25 USD a million tokens."""
BUDGET_NANOUSD = 800_000
CAP = 5
DEAR_TOKENS = 1100
"""Input that the bound of so short a prompt still covers (it may be sent with a template around it)."""
CLIENTS = 12
BODY = {
    "model": MODEL,
    "max_completion_tokens": CAP,
    "messages": [{"role": "user", "content": "hi"}],
}

How = Literal["plain", "stream", "hang up"]


@dataclass(slots=True)
class Fleet:
    """Gateways that share their accounts, one key with a budget, and the host behind them."""

    environs: list[dict[str, str]]
    host: Upstream
    key: str
    gate: Gate | None
    """Before their Redis."""
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


def open_fleet(request: pytest.FixtureRequest, tmp_path: Path, how: str) -> Generator[Fleet]:
    """``alone``: one gateway on SQLite with budgets in its memory; ``together``: two on PostgreSQL and
    Redis. For a fixture."""
    shared = dict[str, str]()
    database = f"sqlite+aiosqlite:///{tmp_path}/accounts.sqlite"
    homes = [tmp_path / "home"]
    gate = None
    with ExitStack() as stack:
        host, home = (stack.enter_context(running_upstream()) for _ in range(2))
        if how == "together":
            gate, url = stack.enter_context(gate_before(request.getfixturevalue("redis_url")))
            database = request.getfixturevalue("postgres_database")
            homes.append(tmp_path / "another home")
            shared = {"MOEGATE_REDIS_URL": url, "MOEGATE_MASTER_KEY": "one key for both of them"}
        host.default = chat_answer()
        environs = [environment(folder, database, host, home) | shared for folder in homes]
        running = Fleet(environs, host, asyncio.run(make_key(homes[0], environs[0])), gate)
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
    body = BODY | {"stream": how != "plain"}
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


def answer_dearly(host: Upstream) -> threading.Event:
    """Every answer costs nearly what it may cost at most, so that a reservation that is lost shows in the
    bill; streams stay open until the event is set."""
    usage: dict[str, object] = {"prompt_tokens": DEAR_TOKENS, "completion_tokens": CAP}
    opened = threading.Event()
    streamed = replace(chat_stream(usage=usage), headers={"connection": "close"}, held_back=opened)
    plainly = chat_answer(usage=usage)
    host.answer_by = lambda sent: streamed if b'"stream":true' in sent.body else plainly
    return opened


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
    return int(spent or 0), int(worst or 0)
