"""Rows of kept responses on both dialects: found by their team, in order, until deleted or expired."""

import asyncio

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.kept import KeptResponse, KeptStore, Scope
from gateway.kept.store import PURGE_ROWS_MAX, SPARE_SECONDS, NewKept
from gateway.ledger.tables import kept_items, kept_responses
from gateway.sealing import Sealer

MINE, TEAM, OTHER = Scope("org", "team"), Scope("org", "team2"), Scope("org2", "team")


def new(name: str, previous: str | None = None, until: float = 100.0) -> NewKept:
    """A response of that name, which answers with one item."""
    items, raw = (b'{"role":"user"}',), b'{"id":"%b"}' % name.encode()
    kept = KeptResponse(name, previous, items, raw)
    return NewKept(kept, "req", "key", created_at=0.0, expires_at=until, item_ids=(f"msg_{name}",))


@pytest.fixture
def store(engine: AsyncEngine) -> KeptStore:
    """A store on an empty database."""
    return KeptStore(engine, Sealer(b"master"))


async def names(store: KeptStore, scope: Scope, name: str, now: float = 0.0) -> list[str] | None:
    """The conversation up to ``name``."""
    return await store.trace(scope, name, now, lambda turn: turn.response_id)


async def test_conversations_are_traced_to_their_beginning(store: KeptStore) -> None:
    """Also where two go on from one; from the oldest turn to the newest."""
    for name, previous in (("a", None), ("b", "a"), ("c", "b"), ("c2", "b")):
        await store.keep(MINE, new(name, previous))
    assert await names(store, MINE, "c") == ["a", "b", "c"]
    assert await names(store, MINE, "c2") == ["a", "b", "c2"]
    assert await store.find(MINE, "b", 0.0) == new("b", "a").kept
    assert await names(store, MINE, "never") is None


async def test_a_long_conversation_is_one_question(store: KeptStore) -> None:
    """Hundreds of turns, in order."""
    turns = [f"r{at}" for at in range(300)]
    for at, name in enumerate(turns):
        await store.keep(MINE, new(name, turns[at - 1] if at else None))
    assert await names(store, MINE, "r299") == turns


async def test_a_circle_ends(store: KeptStore) -> None:
    """Rows that lead back to themselves, which nobody writes, are no conversation; and the question ends."""
    await store.keep(MINE, new("a", "b"))
    await store.keep(MINE, new("b", "a"))
    assert await names(store, MINE, "b") is None


async def test_teams_are_apart(store: KeptStore) -> None:
    """The same id in another team or organisation is another response, also in the middle of a conversation."""
    await store.keep(MINE, new("a"))
    for scope in (TEAM, OTHER):
        assert await store.find(scope, "a", 0.0) is None
        assert await names(store, scope, "a") is None
        assert await store.find_holders(scope, ["msg_a"]) == {}
        assert not await store.delete(scope, "a", 0.0)
        await store.keep(scope, new("b", "a"))
        assert await names(store, scope, "b") is None
    assert await names(store, MINE, "a") == ["a"]


async def test_a_row_opens_in_its_own_place_only(store: KeptStore, engine: AsyncEngine) -> None:
    """Moved to another team or id by whoever can write to the database, or under another master key, it is none."""
    await store.keep(MINE, new("a"))
    async with engine.begin() as connection:
        row = dict((await connection.execute(select(kept_responses))).mappings().one())
        for change in ({"team_id": "team2"}, {"organisation_id": "org2"}, {"response_id": "x"}):
            await connection.execute(kept_responses.insert().values(row | change))
    assert await store.find(TEAM, "a", 0.0) is None
    assert await store.find(OTHER, "a", 0.0) is None
    assert await store.find(MINE, "x", 0.0) is None
    assert await store.find(MINE, "a", 0.0) is not None
    assert await KeptStore(engine, Sealer(b"other")).find(MINE, "a", 0.0) is None


async def test_what_expires_is_not_found_and_then_gone(
    store: KeptStore, engine: AsyncEngine
) -> None:
    """Before the purge and after it; what a conversation goes on from lives as long as the conversation."""
    await store.keep(MINE, new("a", until=10.0))
    await store.keep(MINE, new("old", until=10.0))
    await store.keep(MINE, new("b", "a", until=50.0))
    assert await store.find(MINE, "old", 10.0) is None
    assert not await store.delete(MINE, "old", 10.0)
    assert await names(store, MINE, "b", 20.0) == ["a", "b"]
    assert await store.purge(20.0) == 1
    assert await names(store, MINE, "b", 20.0) == ["a", "b"]
    assert await names(store, MINE, "b", 50.0) is None
    assert await store.purge(50.0) == 1
    # What a conversation goes on from is written anew once a day, for a day more.
    assert await store.find(MINE, "a", 50.0 + SPARE_SECONDS - 1) is not None
    await store.keep(MINE, new("c", "a", until=60.0))
    assert await store.purge(50.0 + SPARE_SECONDS) == 2
    async with engine.connect() as connection:
        for table in (kept_responses, kept_items):
            left = (await connection.execute(select(func.count()).select_from(table))).scalar()
            assert left == 0


async def test_a_purge_is_bounded(store: KeptStore) -> None:
    """Many expired rows go in several steps, so that no step takes long."""
    for at in range(PURGE_ROWS_MAX + 3):
        await store.keep(MINE, expired(at))
    assert await store.purge(20.0) == PURGE_ROWS_MAX
    assert await store.purge(20.0) == 3


def expired(at: int) -> NewKept:
    """A response without items, which has expired."""
    return NewKept(KeptResponse(f"r{at}", None, (), b"{}"), "req", "key", 0.0, 10.0, ())


async def test_ids_that_no_row_can_have_are_not_found(store: KeptStore) -> None:
    """Nothing that a client or a host may send as an id is an error of the database's."""
    strange = ("a\0b", "", "x" * 10**6, "'; --", "\U0001f9a6")
    odd = NewKept(KeptResponse("a", None, (), b"{}"), "req", "key", 0.0, 10.0, ("msg", *strange))
    await store.keep(MINE, odd)
    for one in strange:
        assert await store.find(MINE, one, 0.0) is None
        assert await names(store, MINE, one) is None
        assert not await store.delete(MINE, one, 0.0)
    assert await store.find_holders(MINE, ["msg", *strange]) == {
        "msg": "a", "": "a", "'; --": "a", "\U0001f9a6": "a",
    }  # fmt: skip


async def test_deleting_takes_the_items_along(store: KeptStore) -> None:
    """An item of a deleted answer is nobody's any more."""
    await store.keep(MINE, new("a"))
    assert await store.find_holders(MINE, ["msg_a", "msg_b"]) == {"msg_a": "a"}
    assert await store.delete(MINE, "a", 0.0)
    assert await store.find_holders(MINE, ["msg_a"]) == {}


async def test_the_same_response_twice_is_the_later_one(store: KeptStore) -> None:
    """An answer from the cache is kept once more; also by many at once, of whom none fails. So are answers of a host
    that calls all its items the same."""
    await store.keep(MINE, new("a", until=10.0))
    await store.keep(MINE, new("a", until=90.0))
    assert await store.find(MINE, "a", 50.0) is not None
    await asyncio.gather(*(store.keep(MINE, new("b")) for _ in range(8)))
    same = [NewKept(new(f"c{at}").kept, "req", "key", 0.0, 90.0, ("x", "y")) for at in range(8)]
    await asyncio.gather(*(store.keep(MINE, one) for one in same))
    holders = await store.find_holders(MINE, ["x", "y"])
    assert len(holders) == 2
    assert await store.find(MINE, "b", 0.0) == new("b").kept
