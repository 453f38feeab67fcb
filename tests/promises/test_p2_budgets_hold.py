"""P2: a hard budget is never passed, whoever asks at once, hangs up or dies."""

import asyncio
import json
import signal
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.admission import Limit
from gateway.clock import DAY_SECONDS, Clock
from gateway.identity import NewKey
from tests.fleet import (
    BODY,
    BUDGET_NANOUSD,
    CALL_NANOUSD,
    CAP,
    Fleet,
    answer_all,
    answer_dearly,
    booked,
    open_fleet,
    spend_all,
)
from tests.gateway_process import running_gateway, two_sided
from tests.upstreams import Scripted, chat_answer, chat_stream, plain, running_upstream


@pytest.fixture(params=["alone", "together"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Fleet]:
    """One gateway on SQLite with budgets in its memory; two on PostgreSQL and Redis."""
    yield from open_fleet(request, tmp_path, request.param)


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


async def test_a_host_that_never_counts_does_not_pass_it(fleet: Fleet) -> None:
    """Answers without a usage, plain and streamed, are booked at a bound of what they were."""
    uncounted = replace(chat_stream(), headers={"connection": "close"})
    uncounted = replace(uncounted, chunks=(*uncounted.chunks[:-2], uncounted.chunks[-1]))
    body = json.loads(chat_answer().chunks[0])
    del body["usage"]
    fleet.host.answer_by = lambda sent: uncounted if b'"stream":true' in sent.body else plain(body)
    urls = await asyncio.to_thread(fleet.start)
    assert await spend_all(fleet, urls, ["plain", "stream"]) >= 2
    await asyncio.to_thread(fleet.stop)
    spent, worst = await booked(fleet)
    assert BUDGET_NANOUSD - worst < spent <= BUDGET_NANOUSD
    assert spent >= CALL_NANOUSD * len(fleet.host.requests)


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_midnight_gives_a_new_budget_and_moves_no_bill(
    tmp_path: Path, store: str, request: pytest.FixtureRequest
) -> None:
    """A stream that begins before midnight (UTC) and ends after it is the old day's; each day, asked for
    until it is refused, stays within its budget."""
    ahead = [DAY_SECONDS - time.time() % DAY_SECONDS - 60]
    clock = Clock(now=lambda: time.time() + ahead[0])
    with running_upstream() as outside, running_upstream() as inside:
        environ = two_sided(outside, inside)
        if store == "redis":
            environ["MOEGATE_REDIS_URL"] = request.getfixturevalue("redis_url")
        with running_gateway(tmp_path, environ, clock) as gateway:
            key = gateway.make_key(NewKey("t", limit=Limit("", "day", BUDGET_NANOUSD)))
            headers = {"authorization": f"Bearer {key}"}

            def spend() -> int:
                return gateway.client.post(
                    "/v1/chat/completions", json=BODY, headers=headers
                ).status_code

            opened = answer_dearly(outside)
            with gateway.client.stream(
                "POST", "/v1/chat/completions", json=BODY | {"stream": True}, headers=headers
            ) as streamed:
                while spend() == 200:
                    assert len(outside.requests) < 10, "the budget does not hold"
                ahead[0] += 120
                while spend() == 200:
                    assert len(outside.requests) < 20, "the budget does not hold"
                opened.set()
                assert streamed.read().endswith(b"data: [DONE]\n\n")
            rows = gateway.rows("attempts")
    days = sorted({row["day"] for row in rows})
    assert len(days) == 2
    assert len(rows) == len(outside.requests)
    assert [row["day"] for row in rows if row["ended_at"] - row["started_at"] > 60] == days[:1]
    for day in days:
        spent = sum(row["cost_nanousd"] for row in rows if row["day"] == day)
        worst = max(row["reserved_nanousd"] for row in rows)
        assert BUDGET_NANOUSD - worst < spent <= BUDGET_NANOUSD


def test_no_hour_at_which_an_answer_ends_costs_more_than_was_held(tmp_path: Path) -> None:
    """Asked for at noon, with a price that rises at 12:30 and again at 13:30: what is held covers every hour in
    which an answer may end; a clock that was set meanwhile moves the bill out of none."""
    noon = (
        DAY_SECONDS * 3 / 2 - time.time() % DAY_SECONDS
    )  # Tomorrow's: a policy is in force by then.
    ahead, during = [noon], [0]
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(
        "targets:\n  openai/gpt-5.4-nano:\n    price: {input: 0.001, output: 0.001}\n    windows:\n"
        "      - {from: 10:00, until: 11:30, input: 1000, output: 1000}\n"
        "      - {from: 12:30, until: 13:30, input: 1, output: 1}\n"
        "      - {from: 13:30, until: 00:00, input: 1000, output: 1000}\n"
    )
    passing = {0: 1, 29: 1, 30: 1000, 58: 1000, 7 * 60: 1000, -60: 1}
    with running_upstream() as outside, running_upstream() as inside:
        environ = two_sided(outside, inside) | {"MOEGATE_CATALOGUE": str(catalogue)}
        clock = Clock(now=lambda: time.time() + ahead[0])
        with running_gateway(tmp_path / "home", environ, clock) as gateway:

            def answer(_sent: object) -> Scripted:
                ahead[0] = noon + during[0] * 60
                return chat_answer()

            outside.answer_by = answer
            for minutes in passing:
                ahead[0], during[0] = noon, minutes
                assert gateway.say("hi", model="openai/gpt-5.4-nano").status_code == 200
            rows = gateway.rows("attempts")
    found = {
        round((row["ended_at"] - row["started_at"]) / 60): row["cost_nanousd"]
        // (row["input_tokens"] + row["output_tokens"])
        for row in rows
    }
    assert found == passing
    assert all(row["cost_nanousd"] <= row["reserved_nanousd"] for row in rows)
