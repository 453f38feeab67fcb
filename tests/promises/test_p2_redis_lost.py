"""P2 on Redis: what Redis forgets, loses or does not say passes no budget and eats none."""

import asyncio
import signal
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.fleet import (
    BODY,
    BUDGET_NANOUSD,
    CALL_NANOUSD,
    CAP,
    MODEL,
    Fleet,
    answer_dearly,
    ask,
    booked,
    open_fleet,
    spend_all,
)
from tests.servers import start_valkey


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Fleet]:
    """Two gateways on PostgreSQL and Redis."""
    yield from open_fleet(request, tmp_path, "together")


async def test_an_emptied_redis_does_not_pass_it(fleet: Fleet, redis_url: str) -> None:
    """What Redis forgets is learned anew from SQL before the next request is admitted."""
    urls = await asyncio.to_thread(fleet.start)
    headers = {"authorization": f"Bearer {fleet.key}"}
    with Redis.from_url(redis_url) as redis:
        async with httpx.AsyncClient(base_url=urls[0], headers=headers, timeout=20) as client:
            for _ in range(10):
                assert await ask(client, "plain") == 200
        redis.flushdb()
        await spend_all(fleet, urls, ["plain"])
    await asyncio.to_thread(fleet.stop)
    spent, worst = await booked(fleet)
    assert spent + worst > BUDGET_NANOUSD
    assert spent == CALL_NANOUSD * len(fleet.host.requests) <= BUDGET_NANOUSD


@pytest.mark.parametrize("way", ["emptied", "replaced by an empty one"])
async def test_what_is_in_flight_counts_when_redis_forgets(
    fleet: Fleet, way: str, redis_url: str, tmp_path: Path
) -> None:
    """Dear streams are open on both gateways when Redis loses everything: nobody gets their money."""
    opened = answer_dearly(fleet.host)
    urls = await asyncio.to_thread(fleet.start)
    headers = {"authorization": f"Bearer {fleet.key}"}

    async def stream(url: str) -> int:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            return await ask(client, "stream")

    with ExitStack() as stack:
        streams = [asyncio.create_task(stream(url)) for url in (*urls, urls[0])]
        async with asyncio.timeout(20):
            while len(fleet.host.requests) < len(streams):
                await asyncio.sleep(0.01)
        if way == "emptied":
            stack.enter_context(Redis.from_url(redis_url)).flushdb()
        else:
            assert fleet.gate is not None
            await asyncio.to_thread(fleet.gate.cut)
            fleet.gate.lead_to(stack.enter_context(start_valkey(tmp_path)))
            await asyncio.to_thread(fleet.gate.open)
        await spend_all(fleet, urls, ["plain"])
        opened.set()
        assert await asyncio.gather(*streams) == [200] * len(streams)
        await asyncio.to_thread(fleet.stop)
    spent, worst = await booked(fleet)
    assert spent > 0.9 * worst * len(fleet.host.requests), "the answers were not dear"
    assert BUDGET_NANOUSD - worst < spent <= BUDGET_NANOUSD


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_who_ends_while_redis_is_away_leaves_nothing_held(
    fleet: Fleet, redis_url: str, how: signal.Signals
) -> None:
    """A stream ends and is booked while Redis is away, then its gateway ends, cleanly or not: the next start
    tells Redis, so that the money is not held for ever."""
    assert fleet.gate is not None
    opened = answer_dearly(fleet.host)
    urls = await asyncio.to_thread(fleet.start)
    headers = {"authorization": f"Bearer {fleet.key}"}
    async with httpx.AsyncClient(base_url=urls[0], headers=headers, timeout=30) as client:
        stream = asyncio.create_task(ask(client, "stream"))
        async with asyncio.timeout(20):
            while not fleet.host.requests:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(fleet.gate.cut)
        opened.set()
        assert await stream == 200
        async with asyncio.timeout(20):
            while await booked(fleet) == (0, 0):
                await asyncio.sleep(0.05)
    await asyncio.to_thread(fleet.stop, how)
    cost, _worst = await booked(fleet)
    assert in_redis(redis_url)[1] > 0, "nothing is held: the test shows nothing"
    await asyncio.to_thread(fleet.gate.open)
    await asyncio.to_thread(fleet.start)
    assert in_redis(redis_url) == (cost, 0)
    await asyncio.to_thread(fleet.stop)
    await asyncio.to_thread(fleet.start)
    assert in_redis(redis_url) == (cost, 0)


def in_redis(url: str) -> tuple[int, int]:
    """Nano-dollars spent and reserved in the only window that Redis knows."""
    with Redis.from_url(url) as redis:
        [window] = redis.scan_iter("mg:*|total|*")
        spent, reserved = redis.hmget(window, "spent", "reserved")
        return int(spent or 0), int(reserved or 0)


async def test_an_answer_from_the_cache_costs_nothing(fleet: Fleet) -> None:
    """Who asks the same again pays once, and goes on getting it when nothing is left."""
    urls = await asyncio.to_thread(fleet.start)
    headers = {"authorization": f"Bearer {fleet.key}"}
    body = {"model": MODEL, "max_completion_tokens": CAP, "temperature": 0,
            "messages": [{"role": "user", "content": "hi"}]}  # fmt: skip
    async with httpx.AsyncClient(base_url=urls[0], headers=headers, timeout=20) as client:
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        await spend_all(fleet, urls, ["plain"])
        calls = len(fleet.host.requests)
        for _ in range(10):
            again = await client.post("/v1/chat/completions", json=body)
            assert again.headers["x-moegate-cache"] == "hit"
            assert again.headers["x-moegate-cost-usd"] == "0.000000000"
    assert len(fleet.host.requests) == calls
    await asyncio.to_thread(fleet.stop)
    spent, _worst = await booked(fleet)
    assert spent == CALL_NANOUSD * calls <= BUDGET_NANOUSD


async def test_who_gives_up_waiting_holds_nothing(fleet: Fleet) -> None:
    """Redis does what it is told and its answer is lost, the client has gone: what was granted to nobody
    is given back. The budget has room for one such request, so one that is not given back shows."""
    assert fleet.gate is not None
    answer_dearly(fleet.host)
    urls = await asyncio.to_thread(fleet.start)
    headers = {"authorization": f"Bearer {fleet.key}"}
    async with httpx.AsyncClient(base_url=urls[0], headers=headers, timeout=20) as client:
        for _ in range(2):
            assert await ask(client, "plain") == 200
        fleet.gate.stall_answers()
        with pytest.raises(httpx.TimeoutException):
            await client.post("/v1/chat/completions", json=BODY, timeout=0.3)
        assert len(fleet.host.requests) == 2
        await asyncio.to_thread(fleet.gate.open)
        async with asyncio.timeout(20):
            while (await client.post("/v1/chat/completions", json=BODY)).status_code != 200:
                await asyncio.sleep(0.05)
