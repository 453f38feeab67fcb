"""P3, from outside: the whole gateway is killed under load, and its books agree with the providers'."""

import asyncio
import contextlib
import random
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from gateway.ledger import open_database
from gateway.ledger.tables import attempts
from tests.gateway_command import TOKEN, command, end, environment, start
from tests.upstreams import chat_answer, chat_stream, running_upstream

CLIENTS = 8
KILLS = 3


@dataclass(slots=True)
class Seen:
    """What the clients saw: ids of requests that were answered whole, by target."""

    whole: dict[str, str] = field(default_factory=dict[str, str])
    begun: set[str] = field(default_factory=set[str])


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each dialect."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/accounts.sqlite"
    url: str = request.getfixturevalue("postgres_database")
    return url


async def ask_on(client: httpx.AsyncClient, seen: Seen, dice: random.Random) -> None:
    """One client after another answer, until the gateway is gone."""
    with contextlib.suppress(httpx.TransportError):
        while True:
            is_stream = dice.random() < 0.5
            body = {
                "model": "gpt-5.4-nano" if is_stream else "sglang/home-model",
                "messages": [{"role": "user", "content": "hi"}],
                "stream": is_stream,
            }
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                request_id = answer.headers["x-moegate-request-id"]
                seen.begun.add(request_id)
                assert answer.status_code == 200, await answer.aread()
                raw = await answer.aread()
            if not is_stream or b"[DONE]" in raw:
                seen.whole[request_id] = "stream" if is_stream else "plain"


async def load_until_killed(environ: dict[str, str], seen: Seen, dice: random.Random) -> None:
    """Start a gateway, let clients ask, kill it with ``kill -9`` in the midst of it."""
    process, url = await asyncio.to_thread(start, environ)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        asking = [asyncio.create_task(ask_on(client, seen, dice)) for _ in range(CLIENTS)]
        before = len(seen.whole)
        async with asyncio.timeout(30):
            while len(seen.whole) < before + 20 and not any(one.done() for one in asking):
                await asyncio.sleep(0.01)
        await asyncio.sleep(dice.random() * 0.1)
        await asyncio.to_thread(end, process, signal.SIGKILL)
        await asyncio.gather(*asking)


async def test_books_agree_with_the_providers_after_kills(
    database_url: str, tmp_path: Path
) -> None:
    """Killed under load, again and again: every call that reached a provider has its attempt, every
    answer that a client has whole is booked at the provider's count, and what nobody knows is in
    doubt: never more than there were calls in flight."""
    seed = random.randrange(2**32)
    print("seed", seed)
    dice, seen = random.Random(seed), Seen()
    with running_upstream() as outside, running_upstream() as inside:
        # The host hangs up after a stream; it has to say so, or the next call may meet a closing door.
        hangs_up = {"connection": "close"}
        outside.default = replace(chat_stream(("he", "l", "l", "o"), pause=0.004), headers=hangs_up)
        inside.default = chat_answer()
        environ = environment(tmp_path / "home", database_url, outside, inside)
        await asyncio.to_thread(command, environ, "init", "--quiet")
        for _ in range(KILLS):
            await load_until_killed(environ, seen, dice)
        reached = len(outside.requests) + len(inside.requests)
        last, _url = await asyncio.to_thread(start, environ)
        await asyncio.to_thread(end, last, signal.SIGTERM)

    booked = await _read(database_url)
    in_flight_max = CLIENTS * KILLS
    assert len(seen.whole) >= 20 * KILLS
    assert reached <= len(booked) <= reached + in_flight_max
    by_request = {row[0]: row for row in booked}
    assert len(by_request) == len(booked), "a request without failures was attempted twice"
    for request_id, shape in seen.whole.items():
        _request_id, state, source, tokens_in, tokens_out, cost = by_request[request_id]
        assert (state, source, tokens_in, tokens_out) == ("settled", "provider", 10, 5)
        assert (cost > 0) == (shape == "stream")
    assert len({row[5] for row in booked if row[1] == "settled" and row[5] > 0}) == 1
    assert seen.begun <= by_request.keys()
    doubtful = [row for row in booked if row[1] == "in_doubt"]
    assert len(doubtful) <= in_flight_max
    assert {row[1] for row in booked} <= {"settled", "in_doubt"}
    assert all(row[2] == "bound" for row in doubtful)


async def _read(url: str) -> list[tuple[str, str, str, int, int, int]]:
    columns = (
        attempts.c.request_id, attempts.c.state, attempts.c.usage_source,
        attempts.c.input_tokens, attempts.c.output_tokens, attempts.c.cost_nanousd,
    )  # fmt: skip
    engine = open_database(url)
    async with engine.connect() as connection:
        rows = (await connection.execute(select(*columns))).all()
    await engine.dispose()
    return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in rows]
