"""Accounts in real databases: each row once, whatever SQL thinks of its neighbours."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import structlog
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.errors import StartError
from gateway.identity import NewKey, create_key
from gateway.ledger import AttemptRow, Journal, Shipper, booked, migrate, open_database
from gateway.ledger.tables import attempts, keys, requests, teams
from gateway.ledger.usage import By, usage_report
from tests.rows import attempt, request

SEGMENT = 1 << 20


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """A worker's journal."""
    made = Journal(tmp_path / "journal", segment_bytes=SEGMENT)
    yield made
    made.close()


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """Where rows go that SQL will never take."""
    return tmp_path / "refused.jsonl"


@pytest.fixture
def shipper(journal: Journal, engine: AsyncEngine, refused: Path) -> Shipper:
    """A shipper of the journal, not started."""
    return Shipper(journal, engine, structlog.get_logger(), refused)


def end(journal: Journal, row: AttemptRow) -> None:
    """An attempt that was made and ended as ``row`` says."""
    journal.intend(attempt(row.attempt_id))
    journal.settle(row)


def set_aside(refused: Path) -> list[str]:
    """Ids of the requests that SQL refused for good."""
    if not refused.exists():
        return []
    return [msgspec.json.decode(line)["request_id"] for line in refused.read_bytes().splitlines()]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the background does."""
    async with asyncio.timeout(20):
        while not condition():  # what is waited for has no event to wait on
            await asyncio.sleep(0.01)


async def booked_attempts(engine: AsyncEngine) -> dict[str, tuple[str, int]]:
    """State and cost by id; fails if an id stands there twice."""
    async with engine.connect() as connection:
        found = (
            await connection.execute(
                select(attempts.c.attempt_id, attempts.c.state, attempts.c.cost_nanousd)
            )
        ).all()
    assert len({row[0] for row in found}) == len(found)
    return {row[0]: (row[1], row[2]) for row in found}


async def test_every_column_arrives_as_it_was(
    journal: Journal, shipper: Shipper, engine: AsyncEngine
) -> None:
    """What is read from SQL is what was journalled, to the last nano-dollar and the last label."""
    row = msgspec.structs.replace(
        attempt("a", "settled", 2**62), input_tokens=2**53 + 1, output_tokens=3,
        cache_read_tokens=4, cache_write_tokens=5, cache_write_1h_tokens=6, reasoning_tokens=2,
        finish_reason="stop", raw_finish_reason="end_turn", response_model="m-1", failure="x",
        upstream_status=529, ended_at=2.25, dropped=("seed", "logit_bias"), usage_source="provider",
    )  # fmt: skip
    end(journal, row)
    journal.record(request("r1"))
    await shipper.drain()
    assert journal.unshipped == 0
    async with engine.connect() as connection:
        one = (await connection.execute(select(attempts))).mappings().one()
        two = (await connection.execute(select(requests))).mappings().one()
    expected: dict[str, object] = msgspec.structs.asdict(row)
    del expected["reservation_id"]
    assert dict(one) == expected | {"dropped": "seed,logit_bias"}
    said: dict[str, object] = msgspec.structs.asdict(request("r1"))
    assert dict(two) == said | {"labels": "a,b", "dropped": ""}


async def test_shipping_twice_books_once(
    journal: Journal, shipper: Shipper, engine: AsyncEngine, refused: Path
) -> None:
    """A row that SQL has already stays as it is, and its neighbours in the batch are booked."""
    end(journal, attempt("a", "settled", 7))
    await shipper.drain()
    end(journal, attempt("a", "in_doubt", 1000))
    end(journal, attempt("b", "settled", 1))
    await shipper.drain()
    assert await booked_attempts(engine) == {"a": ("settled", 7), "b": ("settled", 1)}
    assert set_aside(refused) == []


async def test_death_between_commit_and_forgetting_books_once(
    tmp_path: Path, engine: AsyncEngine, refused: Path
) -> None:
    """SQL has committed, the journal does not know: the replay changes nothing."""
    first = Journal(tmp_path / "living", segment_bytes=SEGMENT)
    end(first, attempt("a", "settled", 7))
    first.intend(attempt("b"))
    first.record(request("r1"))
    shutil.copytree(tmp_path / "living", tmp_path / "dead")
    await Shipper(first, engine, structlog.get_logger(), refused).drain()
    first.close()
    second = Journal(tmp_path / "dead", segment_bytes=SEGMENT)
    shipper = Shipper(second, engine, structlog.get_logger(), refused)
    await shipper.start()
    [orphan] = second.unfreed
    orphan.is_freed = True
    await shipper.close()
    second.close()
    assert await booked_attempts(engine) == {"a": ("settled", 7), "b": ("in_doubt", 1000)}
    assert list((tmp_path / "dead").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"raw_finish_reason": "st\0op"},
        {"response_model": "m" * 999},
        {"provider": "p" * 999},
        {"dropped": ("a\0b",)},
    ],
    ids=["nul", "long model", "long provider", "nul in a list"],
)
async def test_words_that_sql_cannot_hold_are_cut(
    journal: Journal,
    shipper: Shipper,
    engine: AsyncEngine,
    refused: Path,
    change: dict[str, str | tuple[str, ...]],
) -> None:
    """A provider's or client's wording never costs an account, nor holds up others."""
    end(journal, msgspec.structs.replace(attempt("a", "settled", 7), **change))
    end(journal, attempt("b", "settled", 8))
    await shipper.drain()
    assert await booked_attempts(engine) == {"a": ("settled", 7), "b": ("settled", 8)}
    assert set_aside(refused) == []


async def test_row_that_sql_refuses_is_set_aside_alone(
    journal: Journal, shipper: Shipper, engine: AsyncEngine, refused: Path
) -> None:
    """One row that SQL will never take is kept in a file; the others of its batch are booked."""
    for name in ("a", "b"):
        end(journal, attempt(name, "settled", 7))
    bad = request("r1")
    journal.record(msgspec.structs.replace(bad, attempts=2**63))
    journal.record(request("r2"))
    await shipper.drain()
    assert journal.unshipped == 0
    assert set(await booked_attempts(engine)) == {"a", "b"}
    async with engine.connect() as connection:
        assert (await connection.execute(select(requests.c.request_id))).scalars().all() == ["r2"]
    assert set_aside(refused) == ["r1"]


async def test_accounts_wait_for_sql_and_arrive_once(
    journal: Journal, shipper: Shipper, engine: AsyncEngine, refused: Path
) -> None:
    """While the table cannot be written rows wait; when it can, the background brings all of them."""
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE attempts RENAME TO away"))
    await shipper.start()
    for number in range(450):
        end(journal, attempt(f"a{number}", "settled", 1))
    with pytest.raises(SQLAlchemyError):
        await shipper.drain()
    assert journal.unshipped == 450
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO attempts"))
    await until(lambda: not journal.unshipped)
    await shipper.close()
    assert len(await booked_attempts(engine)) == 450
    assert set_aside(refused) == []


async def test_shipper_outlives_what_nobody_foresaw(
    journal: Journal, shipper: Shipper, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of an unknown kind does not end the background task: accounts go on being shipped."""
    calls: list[int] = []
    drain = shipper.drain

    async def broken() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("nobody foresaw this")
        await drain()

    monkeypatch.setattr(shipper, "drain", broken)
    await shipper.start()
    await until(lambda: len(calls) >= 2)
    end(journal, attempt("a", "settled", 7))
    await until(lambda: not journal.unshipped)
    await shipper.close()
    assert await booked_attempts(engine) == {"a": ("settled", 7)}


async def test_end_ships_what_is_left(
    journal: Journal, shipper: Shipper, engine: AsyncEngine, tmp_path: Path
) -> None:
    """A gateway that is told to stop leaves nothing behind in its journal."""
    await shipper.start()
    end(journal, attempt("a", "settled", 7))
    await shipper.close()
    journal.close()
    assert await booked_attempts(engine) == {"a": ("settled", 7)}
    assert list((tmp_path / "journal").iterdir()) == []


async def test_windows_sum_what_is_booked(
    journal: Journal, shipper: Shipper, engine: AsyncEngine
) -> None:
    """Day, month and total of a key, attempts in doubt at their bound, other keys apart."""
    cases = [("a", "k", "2026-11-23", 5), ("b", "k", "2026-11-01", 7), ("c", "k", "2026-10-31", 11)]
    cases += [("d", "other", "2026-11-23", 100), ("f", "k", "2026-12-01", 13)]
    for name, key, day, cost in cases:
        row = msgspec.structs.replace(attempt(name, "settled", cost), key_id=key, day=day)
        end(journal, row)
    doubtful = attempt("e")
    doubtful.put_in_doubt()
    end(journal, doubtful)
    await shipper.drain()
    windows = ["key:k|day|2026-11-23", "key:k|month|2026-11", "key:k|total|", "key:none|total|"]
    assert await booked(engine, windows) == {
        "key:k|day|2026-11-23": 1005,
        "key:k|month|2026-11": 1012,
        "key:k|total|": 1036,
        "key:none|total|": 0,
    }


async def test_window_of_unknown_scope_is_refused(engine: AsyncEngine) -> None:
    """A scope that nobody sums is an error, never zero."""
    with pytest.raises(ValueError, match="unknown scope"):
        await booked(engine, ["team:t|total|"])


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("team", [("o", "Research")]),
        ("key", None),
        ("model", [("m",), ("small",)]),
        ("target", [("x",)]),
        ("day", [("2026-11-22",), ("2026-11-23",)]),
    ],
)
async def test_report_sums_by_each_group(
    journal: Journal,
    shipper: Shipper,
    engine: AsyncEngine,
    by: By,
    names: list[tuple[str, ...]] | None,
) -> None:
    """Requests are counted once however many attempts they had, and nothing is lost between groups."""
    _text, key_id = await create_key(engine, NewKey("Research", name="laptop"), now=1.0)
    async with engine.connect() as connection:
        team_id = (
            await connection.execute(select(keys.c.team_id).where(keys.c.key_id == key_id))
        ).scalar_one()
    common = {"key_id": key_id, "team_id": team_id, "input_tokens": 10, "output_tokens": 4}
    end(journal, msgspec.structs.replace(attempt("a", "failed", 0), **common))
    end(journal, msgspec.structs.replace(attempt("b", "settled", 50), **common))
    other = {"request_id": "r2", "day": "2026-11-22", "model": "small"}
    end(journal, msgspec.structs.replace(attempt("c", "settled", 3), **common, **other))
    await shipper.drain()
    lines = await usage_report(engine, by=by, since_day=None)
    assert [line.group for line in lines] == (names or [(key_id, "laptop")])
    assert sum(line.attempts for line in lines) == 3
    assert sum(line.requests for line in lines) == 2
    assert sum(line.cost_nano_usd for line in lines) == 53
    assert sum(line.input_tokens for line in lines) == 30
    later = await usage_report(engine, by=by, since_day="2026-11-23")
    assert sum(line.cost_nano_usd for line in later) == 50


async def test_teams_of_one_name_are_told_apart_by_their_organisation(
    journal: Journal, shipper: Shipper, engine: AsyncEngine
) -> None:
    """Each has its own line, and each organisation can be asked for alone."""
    for number, name in enumerate(("acme", "globex"), 1):
        _text, key_id = await create_key(engine, NewKey("search", organisation=name), now=1.0)
        async with engine.connect() as connection:
            query = select(teams.c.team_id, teams.c.organisation_id).join(keys).where(keys.c.key_id == key_id)  # fmt: skip
            team_id, organisation_id = (await connection.execute(query)).one()
        row = msgspec.structs.replace(
            attempt(name, "settled", number), key_id=key_id, team_id=team_id, organisation_id=organisation_id
        )  # fmt: skip
        end(journal, row)
    await shipper.drain()
    lines = await usage_report(engine, by="team", since_day=None)
    assert [(line.group, line.cost_nano_usd) for line in lines] == [
        (("globex", "search"), 2),
        (("acme", "search"), 1),
    ]
    (only,) = await usage_report(engine, by="day", since_day=None, organisation="acme")
    assert only.cost_nano_usd == 1
    assert await usage_report(engine, by="day", since_day="2027-01-01", organisation="acme") == []
    with pytest.raises(StartError, match="no organisation `acmee`"):
        await usage_report(engine, by="day", since_day=None, organisation="acmee")


async def test_sqlite_writers_wait_their_turn(tmp_path: Path) -> None:
    """Two processes' worth of shippers on one SQLite file: both come through."""
    url = f"sqlite+aiosqlite:///{tmp_path}/shared.sqlite"
    await migrate(url)

    async def work(name: str) -> None:
        engine = open_database(url)
        journal = Journal(tmp_path / name, segment_bytes=SEGMENT)
        shipper = Shipper(journal, engine, structlog.get_logger(), tmp_path / "refused")
        for number in range(600):
            end(journal, attempt(f"{name}{number}", "settled", 1))
            if number % 20 == 0:
                await shipper.drain()
        await shipper.close()
        journal.close()
        await engine.dispose()

    await asyncio.gather(*(work(name) for name in ("a", "b", "c")))
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        query = select(func.count()).select_from(attempts)
        assert (await connection.execute(query)).scalar_one() == 1800
    await engine.dispose()
