"""Recorded decisions out of real databases."""

import msgspec
import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.tables import organisations, requests, teams
from gateway.replay import Span, count_records, hash_of, read_pages, replay_page, sample_threshold
from policies.replay import Replay
from tests.rows import request
from tests.unit.policies.test_replay import CHEAPEST_AWAY, DEAREST, KNOWN, NOW, record

DAYS = ("2026-11-21", "2026-11-22", "2026-11-23")


@pytest.fixture
async def filled(engine: AsyncEngine) -> AsyncEngine:
    """Thirty requests of three days, one of them unreadable, of a team with a name."""
    one = record(CHEAPEST_AWAY)
    said = msgspec.json.encode(one).decode()
    rows = []
    for at in range(30):
        row = msgspec.structs.asdict(request(f"r{at:02}"))
        row |= {"day": DAYS[at % 3], "decision": "{}" if at == 0 else said}
        row |= {"labels": "[]", "dropped": "[]"}
        rows.append(row)
    async with engine.begin() as connection:
        await connection.execute(
            insert(organisations).values(
                organisation_id="o", name="o", residency="", created_at=0.0
            )
        )
        await connection.execute(
            insert(teams).values(team_id="t", organisation_id="o", name="drafts", created_at=0.0)
        )
        await connection.execute(insert(requests), rows)
    return engine


async def test_pages_hold_every_record_once(filled: AsyncEngine) -> None:
    """Whatever the size of a page, and no page is larger than asked for."""
    for rows in (1, 7, 30, 100):
        pages = [page async for page in read_pages(filled, Span(), rows)]
        assert all(len(page) <= rows for page in pages)
        assert [name for page in pages for name, _ in page] == [f"r{at:02}" for at in range(30)]


@pytest.mark.parametrize(
    ("span", "count"),
    [
        (Span(), 30),
        (Span(since=DAYS[1]), 20),
        (Span(until=DAYS[0]), 10),
        (Span(team="drafts"), 30),
        (Span(team="t"), 30),
        (Span(team="others"), 0),
    ],
)
async def test_span_is_of_days_and_of_a_team(filled: AsyncEngine, span: Span, count: int) -> None:
    """The count and the pages agree on what lies in it."""
    assert await count_records(filled, span) == count
    assert sum([len(page) async for page in read_pages(filled, span)]) == count


async def test_records_are_decided_again(filled: AsyncEngine) -> None:
    """The readable ones move as the policy says; the other is counted as unreadable."""
    replay = Replay(DEAREST, KNOWN, NOW)
    async for page in read_pages(filled, Span(), 7):
        replay_page(replay, page)
    assert replay.moves == {("cheap", "dear"): 29}
    assert dict(replay.undecidable) == {"the record cannot be read": 1}


def test_sample_is_uniform_and_the_same_each_time() -> None:
    """About as many as asked for, by a hash that no process changes."""
    names = [f"req_{at}" for at in range(20_000)]
    threshold = sample_threshold(2000, len(names))
    assert threshold is not None
    assert 1800 < sum(hash_of(name) < threshold for name in names) < 2200
    assert hash_of("req_1") == 11968446246884042208
    assert sample_threshold(5, 5) is None
