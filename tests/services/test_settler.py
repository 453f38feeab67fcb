"""Settling goes on while the store of budgets is away, and past our own end."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway import reservations
from gateway.admission import (
    AdmissionDown,
    Ask,
    Denied,
    Grant,
    Limit,
    MemoryAdmission,
    Reservation,
    SeedDown,
)
from gateway.admission.redis import RedisAdmission
from gateway.cache import MemoryStore
from gateway.ledger import HoldRow, Journal, JournalDown
from gateway.reservations import Settler, free_left
from tests.services.asking import SEGMENT, TOTAL, Books, ask


async def unreachable(reservation: Reservation, spent_nanousd: int) -> None:
    raise AdmissionDown(f"{reservation.request_id} {spent_nanousd}")


async def test_one_that_cannot_be_settled_holds_up_no_other(
    redis_url: str, books: Books, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A window that somebody broke in Redis: its own money stays held, the next key's is freed."""
    client = Redis.from_url(redis_url)
    await client.flushdb()
    admission = RedisAdmission(client, books.seed, closed_seconds=0.02)
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    settler = Settler(admission, journal)
    other = Limit("key:k2", "total", 1000)
    broken = await admission.admit(ask("r1", 10, TOTAL))
    sound = await admission.admit(ask("r2", 1000, other))
    assert isinstance(broken, Grant)
    assert broken.reservation is not None
    assert isinstance(sound, Grant)
    assert sound.reservation is not None
    (key,) = await client.keys("*key:k1|total*")
    await client.set(key, "not a hash")
    await settler.settle(broken.reservation, 1)
    # As after an outage: both wait for the next try, the broken one first.
    monkeypatch.setattr(admission, "settle", unreachable)
    await settler.settle(sound.reservation, 0)
    monkeypatch.undo()
    async with asyncio.timeout(5):
        while isinstance(await admission.admit(ask("r3", 1000, other)), Denied):
            await asyncio.sleep(0.02)
    await settler.close()
    await admission.close()
    journal.close()


async def test_who_ends_while_the_store_is_away_leaves_word(
    redis_url: str, books: Books, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Calls that ended, and one that was never made, are settled by the next to start; each once."""
    client = Redis.from_url(redis_url)
    await client.flushdb()
    admission = RedisAdmission(client, books.seed, closed_seconds=0.02)
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    settler = Settler(admission, journal)
    for request_id, spent in (("r1", 30), ("r2", 0)):
        granted = await admission.admit(ask(request_id, 500, TOTAL))
        assert isinstance(granted, Grant)
        assert granted.reservation is not None
        with monkeypatch.context() as away:
            away.setattr(admission, "settle", unreachable)
            await settler.settle(granted.reservation, spent)
    await settler.close()
    await admission.close()
    journal.close()
    client = Redis.from_url(redis_url)
    admission = RedisAdmission(client, books.seed, closed_seconds=0.02)
    for _start in range(2):
        journal = Journal(tmp_path, segment_bytes=SEGMENT)
        settler = Settler(admission, journal)
        await free_left(settler, journal)
        (key,) = await client.keys("*key:k1|total*")
        assert await client.hmget(key, "reserved", "spent") == [b"0", b"30"]
        await settler.close()
        journal.forget_replayed()
        journal.close()
        assert await asyncio.to_thread(os.listdir, tmp_path) == []
    await admission.close()


class Away:
    """A store of budgets that does not answer."""

    settles_at_once = False

    def __init__(self) -> None:
        self.asked = 0
        self.is_silent = False
        """Whether it leaves the caller waiting."""

    async def _fail(self, *_asked: object) -> None:
        self.asked += 1
        if self.is_silent:
            await asyncio.Event().wait()
        raise AdmissionDown("away")

    async def admit(self, ask: Ask) -> Grant | Denied:
        await self._fail(ask)
        return Grant()

    async def settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        await self._fail(reservation, spent_nanousd)

    async def close(self) -> None:
        """Nothing to close."""


async def test_refusals_fill_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away a request now and then asks it, and only that one is remembered."""
    monkeypatch.setattr(reservations, "PROBE_SECONDS", 0.05)
    journal, store = Journal(tmp_path, segment_bytes=SEGMENT), Away()
    settler = Settler(store, journal)
    for number in range(300):
        with pytest.raises(AdmissionDown):
            await settler.admit(ask(f"r{number}", 1, TOTAL))
    assert store.asked < 20
    assert len(settler._unsettled) == store.asked  # pyright: ignore[reportPrivateUsage]  # as above
    asked = store.asked
    await asyncio.sleep(0.06)
    with pytest.raises(AdmissionDown):
        await settler.admit(ask("later", 1, TOTAL))
    assert store.asked == asked + 1
    await settler.close()
    journal.close()


async def test_store_that_is_back_is_asked_again(
    redis_url: str, books: Books, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Within a moment, and from then on by everybody."""
    monkeypatch.setattr(reservations, "PROBE_SECONDS", 0.05)
    client = Redis.from_url(redis_url)
    await client.flushdb()
    admission = RedisAdmission(client, books.seed, closed_seconds=0.02)
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    settler = Settler(admission, journal)
    with monkeypatch.context() as away:
        away.setattr(admission, "admit", Away().admit)
        for number in range(2):
            with pytest.raises(AdmissionDown):
                await settler.admit(ask(f"away{number}", 1, TOTAL))
    await asyncio.sleep(0.06)
    for number in range(5):
        assert isinstance(await settler.admit(ask(f"r{number}", 1, TOTAL)), Grant)
    await settler.close()
    await admission.close()
    journal.close()


async def test_settlement_under_way_at_the_end_is_remembered(tmp_path: Path) -> None:
    """The store is silent, the client has gone, we end: the journal knows what is still held."""
    journal, store = Journal(tmp_path, segment_bytes=SEGMENT), Away()
    store.is_silent = True
    settler = Settler(store, journal)
    one = Reservation("r1", "org", ("key:k1|total|",), 500, "e")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await settler.settle(one, 30)
    await settler.close()
    journal.close()
    heir = Journal(tmp_path, segment_bytes=SEGMENT)
    [orphan] = heir.unfreed
    assert [(row.label, row.spent_nanousd) for row in orphan.holds] == [(one.label, 30)]
    heir.close()


async def test_folder_stays_while_nobody_else_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead worker's hold that neither the store nor our own journal can take stays where it is."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    journal.hold(HoldRow("r1 e", "org", ("key:k1|total|",), 7))
    journal.close()
    heir = Journal(tmp_path, segment_bytes=SEGMENT)

    def is_full(_row: HoldRow) -> None:
        raise JournalDown("full")

    settler = Settler(Away(), heir)
    with monkeypatch.context() as full:
        full.setattr(heir, "hold", is_full)
        await free_left(settler, heir)
        assert len(heir.unfreed) == 1
    await free_left(settler, heir)
    assert heir.unfreed == []
    await settler.close()
    heir.close()


async def test_silent_books_stop_nobody_else(tmp_path: Path) -> None:
    """A key whose window SQL does not tell is refused; one whose window is known goes on all the while."""
    is_out = False

    async def seed(windows: Sequence[str]) -> dict[str, int]:
        if is_out:
            raise SeedDown("SQL is away")
        return dict.fromkeys(windows, 0)

    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    settler = Settler(MemoryAdmission(seed, MemoryStore(0).find), journal)
    assert isinstance(await settler.admit(ask("first", 1, TOTAL)), Grant)
    is_out = True
    for number in range(20):
        with pytest.raises(AdmissionDown):
            await settler.admit(ask(f"new{number}", 1, Limit("key:new", "total", 9)))
        assert isinstance(await settler.admit(ask(f"known{number}", 1, TOTAL)), Grant)
    await settler.close()
    journal.close()
