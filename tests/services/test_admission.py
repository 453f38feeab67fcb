"""Both admissions keep the same promises: one suite, run against the process and a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.admission import (
    Admission,
    AdmissionDown,
    Denied,
    Grant,
    Limit,
    MemoryAdmission,
    Reservation,
    left_reservation,
    memory,
    windows_on,
)
from gateway.admission.redis import RedisAdmission
from gateway.cache import MemoryStore
from tests.services.asking import DAY, NOW, TOTAL, Books, ask, held


@pytest.fixture(params=["memory", "redis"])
async def admission(request: pytest.FixtureRequest, books: Books) -> AsyncIterator[Admission]:
    """Each implementation, empty."""
    if request.param == "memory":
        yield MemoryAdmission(books.seed, MemoryStore(1_000_000).find)
        return
    url: str = request.getfixturevalue("redis_url")
    client = Redis.from_url(url)
    await client.flushdb()
    made = RedisAdmission(client, books.seed, closed_seconds=0.02)
    yield made
    await made.close()


async def test_reserves_up_to_the_limit_and_not_beyond(admission: Admission) -> None:
    """A limit of 1000 admits 600 and 400, and denies one nano-dollar more."""
    held(await admission.admit(ask("a", 600, TOTAL)))
    held(await admission.admit(ask("b", 400, TOTAL)))
    denied = await admission.admit(ask("c", 1, TOTAL))
    assert denied == Denied("budget_exhausted", "key:k1|total|", 1000, 1000)


async def test_settlement_frees_what_was_not_spent(admission: Admission) -> None:
    """After settling 100 of 1000 reserved, 900 are free again and not 901."""
    reservation = held(await admission.admit(ask("a", 1000, TOTAL)))
    await admission.settle(reservation, 100)
    assert isinstance(await admission.admit(ask("b", 901, TOTAL)), Denied)
    held(await admission.admit(ask("c", 900, TOTAL)))


async def test_second_settlement_changes_nothing(admission: Admission) -> None:
    """Settling twice books once."""
    reservation = held(await admission.admit(ask("a", 500, TOTAL)))
    await admission.settle(reservation, 500)
    await admission.settle(reservation, 500)
    held(await admission.admit(ask("b", 500, TOTAL)))


async def test_denied_by_one_limit_reserves_in_none(admission: Admission) -> None:
    """Where the day's limit denies, the total's has nothing reserved."""
    assert isinstance(await admission.admit(ask("a", 700, TOTAL, DAY)), Denied)
    held(await admission.admit(ask("b", 1000, TOTAL)))


async def test_bill_above_the_bound_is_booked(admission: Admission) -> None:
    """What was really spent counts, also when it is more than was reserved."""
    reservation = held(await admission.admit(ask("a", 10, TOTAL)))
    await admission.settle(reservation, 1000)
    assert isinstance(await admission.admit(ask("b", 1, TOTAL)), Denied)


async def test_new_window_starts_from_the_books(admission: Admission, books: Books) -> None:
    """A window that was never seen holds what SQL has booked in it."""
    books.booked["key:k1|total|"] = 999
    assert isinstance(await admission.admit(ask("a", 2, TOTAL)), Denied)
    held(await admission.admit(ask("b", 1, TOTAL)))
    assert books.asked == 1


async def test_next_day_is_a_new_window(admission: Admission) -> None:
    """A day's limit is whole again after midnight UTC, a total is not."""
    held(await admission.admit(ask("a", 600, DAY, TOTAL)))
    later = NOW + 86_400
    assert isinstance(await admission.admit(ask("b", 500, DAY, TOTAL, now=later)), Denied)
    held(await admission.admit(ask("c", 400, DAY, TOTAL, now=later)))


async def test_rate_is_counted_by_the_minute(admission: Admission) -> None:
    """Two a minute: the third waits until the next minute."""
    start = NOW // 60 * 60
    assert await admission.admit(ask("a", 0, rpm=2, now=start + 10)) == Grant(requests_left=1)
    counted = await admission.admit(ask("b", 1, TOTAL, rpm=2, now=start + 10))
    assert isinstance(counted, Grant)
    assert counted.requests_left == 0
    denied = await admission.admit(ask("c", 0, rpm=2, now=start + 10))
    assert isinstance(denied, Denied)
    assert (denied.kind, denied.retry_after_seconds) == ("rate_limited", 50.0)
    assert isinstance(await admission.admit(ask("d", 0, rpm=2, now=start + 60)), Grant)


async def test_tenants_do_not_share_windows(admission: Admission) -> None:
    """The same scope name in another organisation is another budget (Redis), or never occurs (ids are
    unique); either way a settlement of one does not free the other's."""
    mine = held(await admission.admit(ask("a", 1000, TOTAL)))
    other = Reservation("a", "other", mine.windows, 1000)
    if isinstance(admission, RedisAdmission):
        await admission.settle(other, 0)
        assert isinstance(await admission.admit(ask("b", 1, TOTAL)), Denied)


@pytest.mark.parametrize("runners", [40])
async def test_race_never_passes_the_limit(admission: Admission, runners: int) -> None:
    """Forty at once for 1000 in pieces of 300: exactly three get in."""
    answers = await asyncio.gather(
        *(admission.admit(ask(f"r{number}", 300, TOTAL)) for number in range(runners))
    )
    assert sum(isinstance(answer, Grant) for answer in answers) == 3


async def test_dead_redis_admits_nobody() -> None:
    """Where the store of budgets does not answer, nothing is granted."""
    books = Books()
    client = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    admission = RedisAdmission(client, books.seed, closed_seconds=0.02)
    with pytest.raises(AdmissionDown):
        await admission.admit(ask("a", 1, TOTAL))
    await admission.close()


async def test_emptied_redis_is_seeded_again(redis_url: str) -> None:
    """A Redis that lost everything hands out nothing that SQL has booked already."""
    books = Books()
    client = Redis.from_url(redis_url)
    await client.flushdb()
    admission = RedisAdmission(client, books.seed, closed_seconds=0.02)
    reservation = held(await admission.admit(ask("a", 1000, TOTAL)))
    await admission.settle(reservation, 1000)
    books.booked["key:k1|total|"] = 1000
    await client.flushdb()
    assert isinstance(await admission.admit(ask("b", 1, TOTAL)), Denied)
    await admission.close()


@pytest.fixture
async def two(redis_url: str, books: Books) -> AsyncIterator[tuple[RedisAdmission, RedisAdmission]]:
    """Two workers on one Redis."""
    clients = [Redis.from_url(redis_url) for _ in range(2)]
    made = [RedisAdmission(client, books.seed, closed_seconds=0.5) for client in clients]
    yield made[0], made[1]
    for one in made:
        await one.close()


async def test_what_is_held_outlives_redis(
    two: tuple[RedisAdmission, RedisAdmission], redis_url: str
) -> None:
    """A Redis that forgot everything is told again what each worker holds before it admits anybody;
    and settling then frees it as if nothing had been."""
    mine, other = two
    reservation = held(await mine.admit(ask("a", 700, TOTAL)))
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    assert isinstance(await other.admit(ask("b", 301, TOTAL)), Denied)
    second = held(await other.admit(ask("c", 300, TOTAL)))
    await mine.settle(reservation, 100)
    held(await other.admit(ask("d", 600, TOTAL)))
    assert isinstance(await other.admit(ask("e", 1, TOTAL)), Denied)
    await other.settle(second, 0)
    held(await mine.admit(ask("f", 300, TOTAL)))


async def test_what_ends_unknown_to_redis_counts(
    two: tuple[RedisAdmission, RedisAdmission], redis_url: str
) -> None:
    """Settled in a life of Redis that never heard of it: what was spent is spent."""
    mine, other = two
    early = held(await mine.admit(ask("a", 700, TOTAL)))
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
        await redis.hset("mg:{org}:epoch", "name", "another life")  # pyright: ignore[reportGeneralTypeIssues]  # redis-py types it for both clients
        await mine.settle(early, 600)
    assert isinstance(await other.admit(ask("b", 401, TOTAL)), Denied)
    held(await other.admit(ask("c", 400, TOTAL)))


async def test_what_the_dead_left_is_settled_once(
    two: tuple[RedisAdmission, RedisAdmission], books: Books, redis_url: str
) -> None:
    """A dead worker's hold is freed by its name in the journal; in another life of Redis its cost is
    added to windows that were seeded without it, and to no others."""
    mine, other = two
    day = "2026-11-18"
    label = held(await mine.admit(ask("a", 700, TOTAL))).label
    left = left_reservation(label, "org", windows_on("key:k1", day))
    await other.settle(left, 700)
    await other.settle(left, 700)
    assert isinstance(await other.admit(ask("b", 301, TOTAL)), Denied)
    async with Redis.from_url(redis_url) as redis:
        await mine.close()
        await redis.flushdb()
        held(await other.admit(ask("c", 100, TOTAL)))
        await other.settle(left, 700)
        assert isinstance(await other.admit(ask("d", 201, TOTAL)), Denied)
        assert await redis.keys(f"*|day|{day}") == []


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "settle"]), st.integers(0, 700), st.integers(0, 700)),
    max_size=40,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_settled_plus_reserved_never_passes_the_limit(steps: list[Step]) -> None:
    """In any order of admissions and settlements within their bounds, the limit holds."""

    async def play() -> None:
        admission = MemoryAdmission(Books().seed, MemoryStore(0).find)
        spent, open_ones = 0, list[Reservation]()
        for number, (step, amount, bill) in enumerate(steps):
            if step == "admit":
                granted = await admission.admit(ask(f"r{number}", amount, TOTAL))
                fits = spent + sum(one.amount_nanousd for one in open_ones) + amount <= 1000
                assert isinstance(granted, Grant) == fits
                if isinstance(granted, Grant):
                    open_ones.append(held(granted))
            elif open_ones:
                one = open_ones.pop(bill % len(open_ones))
                real = min(bill, one.amount_nanousd)
                spent += real
                await admission.settle(one, real)
            assert spent + sum(one.amount_nanousd for one in open_ones) <= 1000

    asyncio.run(play())


async def test_what_costs_nothing_is_settled(admission: Admission) -> None:
    """A call to a target that is free holds nothing, and its end is booked like any other's."""
    for request_id in ("r1", "r2"):
        granted = await admission.admit(ask(request_id, 0, TOTAL, DAY))
        assert isinstance(granted, Grant)
        assert granted.reservation is not None
        await admission.settle(granted.reservation, 0)
    full = await admission.admit(ask("r3", 600, TOTAL, DAY))
    assert isinstance(full, Grant)
    assert full.reservation is not None
    await admission.settle(full.reservation, 600)
    assert isinstance(await admission.admit(ask("r4", 1, TOTAL, DAY)), Denied)


async def test_rate_counts_in_the_minute_that_is(admission: Admission) -> None:
    """However long requests were on their way, and from whichever minutes: no more are let in in one."""
    now = NOW - NOW % 60 + 60
    for minute in range(10):
        answers = [
            await admission.admit(
                msgspec.structs.replace(
                    ask(f"{minute}-{number}", 0, rpm=2, now=now), asked_at=now + minute * 60
                )
            )
            for number in range(4)
        ]
        assert [isinstance(one, Grant) for one in answers] == [True, True, False, False]


async def test_what_fits_is_held(admission: Admission) -> None:
    """Of what a request could cost, depending on who answers, the dearest that fits every budget."""
    for name, less, holds in (("a", (), 500), ("b", (150, 90), 90), ("c", (20, 10), 10)):
        granted = held(await admission.admit(ask(name, 500, TOTAL, DAY, less=less)))
        assert granted.amount_nanousd == holds
    denied = await admission.admit(ask("d", 500, TOTAL, DAY, less=(1,)))
    assert isinstance(denied, Denied)
    assert (denied.window, denied.taken) == ("key:k1|day|2026-11-18", 600)
    again = held(await admission.admit(ask("e", 400, TOTAL)))
    await admission.settle(again, 0)
    assert held(await admission.admit(ask("f", 500, TOTAL, less=(400,)))).amount_nanousd == 400


async def test_an_answer_lost_on_the_way_is_given_again(redis_url: str, books: Books) -> None:
    """Asked twice, granted once: what was found to fit then, whatever would fit now."""
    client = Redis.from_url(redis_url)
    await client.flushdb()
    admission = RedisAdmission(client, books.seed, closed_seconds=0.02)
    other = held(await admission.admit(ask("other", 600, TOTAL)))
    assert held(await admission.admit(ask("a", 900, TOTAL, less=(300,)))).amount_nanousd == 300
    await admission.settle(other, 0)
    assert held(await admission.admit(ask("a", 900, TOTAL, less=(300,)))).amount_nanousd == 300
    held(await admission.admit(ask("b", 700, TOTAL)))
    await admission.close()


async def test_who_waits_for_others_windows_waits_no_longer(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL hangs, thirty keys have to be read: all are refused when the first one is."""
    monkeypatch.setattr(memory, "SEED_SECONDS", 0.2)

    async def hang(_windows: Sequence[str]) -> dict[str, int]:
        await asyncio.Event().wait()
        return {}

    admission = MemoryAdmission(hang, MemoryStore(0).find)
    async with asyncio.timeout(2):
        answers = await asyncio.gather(
            *(admission.admit(ask(f"r{n}", 1, Limit(f"key:{n}", "day", 9))) for n in range(30)),
            return_exceptions=True,
        )
    assert all(isinstance(one, AdmissionDown) for one in answers)


async def test_forgotten_windows_are_read_again(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory only so many windows are kept: those that hold something stay, the others are in SQL."""
    monkeypatch.setattr(memory, "ACCOUNTS_MAX", 4)
    admission = MemoryAdmission(books.seed, MemoryStore(1_000_000).find)
    open_one = held(await admission.admit(ask("open", 700, Limit("key:open", "total", 1000))))
    free_one = held(await admission.admit(ask("free", 0, Limit("key:free", "total", 1000))))
    for number in range(20):
        limits = [Limit(f"key:{number}", period, 1000) for period in ("total", "day")]
        granted = held(await admission.admit(ask(f"r{number}", 10, *limits)))
        await admission.settle(granted, 10)
        assert len(admission._accounts) <= 6  # pyright: ignore[reportPrivateUsage]  # what it costs is the point
    asked = books.asked
    await admission.admit(ask("early", 0, Limit("key:0", "total", 1000)))
    assert books.asked == asked + 1
    await admission.settle(free_one, 0)
    denied = await admission.admit(ask("more", 400, Limit("key:open", "total", 1000)))
    assert isinstance(denied, Denied)
    await admission.settle(open_one, 0)
    assert held(await admission.admit(ask("more", 400, Limit("key:open", "total", 1000))))


async def test_an_asking_that_comes_late_holds_nothing(redis_url: str, books: Books) -> None:
    """Nobody waits for the answer any more and the hold was given back; then the store reads the asking."""
    client = Redis.from_url(redis_url)
    await client.flushdb()
    admission = RedisAdmission(client, books.seed, closed_seconds=0.02)
    given = await admission.admit(ask("r0", 1, TOTAL))
    assert isinstance(given, Grant)
    for _ in range(2):
        await admission.settle(Reservation("r1", "org", (), 0), 0)
    await admission.admit(ask("r1", 600, TOTAL))
    (key,) = await client.keys("*key:k1|total*")
    assert await client.hget(key, "reserved") == b"1"
    await admission.settle(Reservation("r1", "org", (), 0), 0)
    assert await client.hget(key, "reserved") == b"1"
    await admission.close()
