"""Keys in real databases: found, refused, revoked, and remembered while SQL is away."""

import asyncio
import hashlib
import re

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.admission import Limit
from gateway.admission.seam import LIMIT_NANOUSD_MAX
from gateway.errors import StartError
from gateway.identity import (
    Identity,
    NewKey,
    Principal,
    create_key,
    ensure_admin,
    list_keys,
    lookup,
    revoke_key,
)
from gateway.identity.lookup import (
    FRESH_SECONDS,
    GRACE_SECONDS,
    OUTAGE_SECONDS,
    UNKNOWN_SECONDS,
    IdentityDown,
    Miss,
)
from gateway.ledger.tables import keys, organisations, teams

NOW = 1_795_000_000.0


async def take_sql_away(engine: AsyncEngine) -> None:
    """Make every look-up fail, as an outage does."""
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE keys RENAME TO away"))


async def bring_sql_back(engine: AsyncEngine) -> None:
    """Undo :func:`take_sql_away`."""
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO keys"))


async def test_key_leads_to_its_principal(engine: AsyncEngine) -> None:
    """Everything that was asked for at its making is known when it is used."""
    asked = NewKey(
        "Research", name="laptop", limit=Limit("", "day", 12_500_000_001), requests_per_minute=30,
        data_class="confidential", roles=frozenset({"admin", "auditor"}),
    )  # fmt: skip
    token, key_id = await create_key(engine, asked, now=NOW)
    found = await Identity(engine).load(token.encode(), NOW)
    assert isinstance(found, Principal)
    assert (found.key_id, found.key_name, found.team) == (key_id, "laptop", "Research")
    assert (found.organisation, found.residency) == ("default", "")
    assert found.budgets == (Limit(f"key:{key_id}", "day", 12_500_000_001),)
    assert (found.requests_per_minute, found.data_class) == (30, "confidential")
    assert found.roles == {"admin", "auditor"}


async def test_only_digests_are_kept(engine: AsyncEngine) -> None:
    """A key has 256 random bits, and nowhere in SQL stands more of it than its first four letters."""
    token, _key_id = await create_key(engine, NewKey("T"), now=NOW)
    assert re.fullmatch(r"mg-[A-Za-z0-9_-]{43}", token)
    async with engine.connect() as connection:
        row = (await connection.execute(select(keys))).mappings().one()
    assert row["digest"] == hashlib.sha256(token.encode()).digest()
    assert row["shown"] == token[:7]
    assert not any(token[:8] in str(value) for value in row.values())


async def test_token_that_somebody_thought_of_shows_less(engine: AsyncEngine) -> None:
    """Of an administrator's own token only four letters are kept: it may be guessable."""
    own = "correct horse battery staple"
    await create_key(engine, NewKey("T"), now=NOW, token=own)
    assert [record.shown for record in await list_keys(engine)] == [own[:4]]


async def test_key_is_found_without_sql_while_fresh(engine: AsyncEngine) -> None:
    """A look-up in memory answers until the entry is old; a clock set back makes it old as well."""
    token, _key_id = await create_key(engine, NewKey("T"), now=NOW)
    identity = Identity(engine)
    assert identity.find(token.encode(), NOW) is Miss
    await identity.load(token.encode(), NOW)
    assert isinstance(identity.find(token.encode(), NOW + FRESH_SECONDS), Principal)
    assert identity.find(token.encode(), NOW + FRESH_SECONDS + 1) is Miss
    assert identity.find(token.encode(), NOW - 1) is Miss


async def test_unknown_keys_are_remembered_shortly(engine: AsyncEngine) -> None:
    """A wrong key does not ask SQL each time, and works soon after it was made."""
    identity = Identity(engine)
    token = "mg-" + "x" * 43
    assert await identity.load(token.encode(), NOW) is None
    assert identity.find(token.encode(), NOW + UNKNOWN_SECONDS) is None
    await create_key(engine, NewKey("T"), now=NOW, token=token)
    assert identity.find(token.encode(), NOW + UNKNOWN_SECONDS + 1) is Miss
    assert isinstance(await identity.load(token.encode(), NOW + 3), Principal)
    assert isinstance(identity.find(token.encode(), NOW + 3), Principal)


@pytest.mark.parametrize("token", [b"", b"\xff\xfe", b"a\0b", b"x" * 100_000])
async def test_nonsense_is_nobody(engine: AsyncEngine, token: bytes) -> None:
    """Whatever bytes a client sends as a key: nobody, and no error."""
    assert await Identity(engine).load(token, NOW) is None


async def test_revoked_key_ends_within_its_freshness(engine: AsyncEngine) -> None:
    """The next look-up after a revocation refuses, and the key cannot be revoked twice."""
    token, key_id = await create_key(engine, NewKey("T"), now=NOW)
    identity = Identity(engine)
    await identity.load(token.encode(), NOW)
    assert await revoke_key(engine, key_id, now=NOW)
    assert not await revoke_key(engine, key_id, now=NOW + 1)
    later = NOW + FRESH_SECONDS + 0.1
    assert identity.find(token.encode(), later) is Miss
    assert await identity.load(token.encode(), later) is None
    await take_sql_away(engine)
    with pytest.raises(IdentityDown):  # the grace of an outage is not for the revoked
        await identity.load(token.encode(), later + UNKNOWN_SECONDS + 1)


async def test_known_keys_outlive_an_outage_for_the_grace(engine: AsyncEngine) -> None:
    """While SQL is away a known key works, without asking at each request; an unknown one is told to
    come back; after the grace so is the known one; when SQL is back all is as before."""
    token, _key_id = await create_key(engine, NewKey("T"), now=NOW)
    identity = Identity(engine)
    await identity.load(token.encode(), NOW)
    await take_sql_away(engine)
    later = NOW + FRESH_SECONDS + 1
    assert identity.find(token.encode(), later) is Miss
    assert isinstance(await identity.load(token.encode(), later), Principal)
    assert isinstance(identity.find(token.encode(), later + OUTAGE_SECONDS), Principal)
    assert identity.find(token.encode(), later + OUTAGE_SECONDS + 0.1) is Miss
    with pytest.raises(IdentityDown):
        await identity.load(b"mg-unknown", later)
    assert identity.find(b"mg-unknown", later) is Miss
    with pytest.raises(IdentityDown):
        await identity.load(token.encode(), NOW + GRACE_SECONDS + 1)
    assert identity.find(token.encode(), NOW + GRACE_SECONDS + 1) is Miss
    await bring_sql_back(engine)
    assert isinstance(await identity.load(token.encode(), NOW + GRACE_SECONDS + 2), Principal)


async def test_many_at_once_ask_once(engine: AsyncEngine) -> None:
    """A burst with a key that is not in memory makes one query, also if some of the burst give up."""
    token, _key_id = await create_key(engine, NewKey("T"), now=NOW)
    identity = Identity(engine)
    reads: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        reads.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    burst = [asyncio.create_task(identity.load(token.encode(), NOW)) for _ in range(50)]
    await asyncio.sleep(0)
    burst[0].cancel()
    found = await asyncio.gather(*burst, return_exceptions=True)
    assert sum(isinstance(one, Principal) for one in found) == 49
    assert sum("digest" in statement for statement in reads) == 1


async def test_wrong_keys_do_not_push_right_ones_out(engine: AsyncEngine) -> None:
    """However many keys are guessed, memory is bounded and the known one stays known."""
    token, _key_id = await create_key(engine, NewKey("T"), now=NOW)
    identity = Identity(engine, unknown_max=20)
    await identity.load(token.encode(), NOW)
    guesses = [b"mg-%d" % number for number in range(50)]
    for guess in guesses:
        await identity.load(guess, NOW)
    assert [identity.find(guess, NOW) for guess in guesses] == [Miss] * 30 + [None] * 20
    assert isinstance(identity.find(token.encode(), NOW), Principal)


async def test_first_admin_is_made_once(engine: AsyncEngine) -> None:
    """The first start makes a key and shows it; later ones make none; a revoked one is replaced."""
    first = await ensure_admin(engine, None, now=NOW)
    assert first is not None
    assert await ensure_admin(engine, None, now=NOW) is None
    found = await Identity(engine).load(first.encode(), NOW)
    assert isinstance(found, Principal)
    assert (found.roles, found.team, found.organisation) == (
        {"admin", "owner"},
        "default",
        "default",
    )
    await revoke_key(engine, found.key_id, now=NOW)
    assert await ensure_admin(engine, None, now=NOW) not in (None, first)


async def test_given_admin_token_is_not_shown(engine: AsyncEngine) -> None:
    """A token from the environment works and is not handed back; a short one is refused."""
    with pytest.raises(StartError, match="at least 20"):
        await ensure_admin(engine, "short", now=NOW)
    assert await ensure_admin(engine, "t" * 20, now=NOW) is None
    assert isinstance(await Identity(engine).load(b"t" * 20, NOW), Principal)


async def test_team_is_made_once(engine: AsyncEngine) -> None:
    """Keys of one team share it, and the organisation."""
    for _ in range(3):
        await create_key(engine, NewKey("T"), now=NOW)
    async with engine.connect() as connection:
        for table in (teams, organisations):
            query = select(func.count()).select_from(table)
            assert (await connection.execute(query)).scalar_one() == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\0b", "a\nb"])
async def test_names_that_cannot_be_are_refused(engine: AsyncEngine, name: str) -> None:
    """A name that SQL could not keep or a terminal would garble is refused in one line."""
    with pytest.raises(StartError, match="printable"):
        await create_key(engine, NewKey(name), now=NOW)
    if name:
        with pytest.raises(StartError, match="printable"):
            await create_key(engine, NewKey("T", name=name), now=NOW)


@pytest.mark.parametrize("amount", [0, -1, LIMIT_NANOUSD_MAX + 1])
async def test_budgets_that_cannot_hold_are_refused(engine: AsyncEngine, amount: int) -> None:
    """A budget is more than nothing and no more than every admission can count exactly."""
    with pytest.raises(StartError, match="budget"):
        await create_key(engine, NewKey("T", limit=Limit("", "day", amount)), now=NOW)
    _token, key_id = await create_key(
        engine, NewKey("T", limit=Limit("", "total", LIMIT_NANOUSD_MAX)), now=NOW
    )
    records = {record.key_id: record.budget_nanousd for record in await list_keys(engine)}
    assert records == {key_id: LIMIT_NANOUSD_MAX}


async def test_sql_that_hangs_is_waited_for_once(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first to ask finds out; after that a known key goes on while SQL is asked behind it."""
    token, _key_id = await create_key(engine, NewKey("T"), now=NOW)
    identity = Identity(engine)
    known = await identity.load(token.encode(), NOW)

    comes_back = asyncio.Event()

    async def hang(digest: bytes) -> None:
        await comes_back.wait()

    monkeypatch.setattr(identity, "_read", hang)
    monkeypatch.setattr(lookup, "LOAD_SECONDS_MAX", 0.05)
    later = NOW + FRESH_SECONDS + 1
    assert await identity.load(token.encode(), later) is known
    monkeypatch.setattr(lookup, "LOAD_SECONDS_MAX", 30.0)
    later += OUTAGE_SECONDS + 1
    assert identity.find(token.encode(), later) is Miss
    async with asyncio.timeout(5):
        assert await identity.load(token.encode(), later) is known
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await identity.load(b"a key that nobody knows yet", later)
    comes_back.set()
