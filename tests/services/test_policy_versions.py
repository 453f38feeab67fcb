"""Versions of policies in real databases: what is stored, what is in force when, what is refused."""

import asyncio

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.errors import StartError
from gateway.identity import NewKey, create_key
from gateway.ledger import migrate, open_database
from gateway.policy_store import (
    Applied,
    Change,
    Process,
    Stale,
    Unfit,
    activate_version,
    apply_policy,
    find_active,
    find_standing,
    find_status,
    find_version,
    list_activations,
    list_history,
    list_processes,
    load_levels,
    parse_scope,
    report_process,
    say_versions,
)
from gateway.policy_store.processes import STALE_SECONDS
from gateway.policy_store.status import SWITCH_SECONDS
from policies.document import PolicyError, parse_policy
from tests.policy_changes import ask_nothing, refute
from tests.services.test_migrations import alembic_config

NOW = 1_795_000_000.0


async def put(engine: AsyncEngine, name: str, at: float = NOW, **said: object) -> Applied:
    """Apply a policy of one line."""
    more = str(said.pop("more", ""))
    written = f"policy: {name}\n{more}"
    certify = refute if said.get("override") else ask_nothing
    change = Change(author="ann", **said)  # pyright: ignore[reportArgumentType]  # each has its type
    return await apply_policy(
        engine, parse_policy(written, source="test"), written, change, certify, now=at
    )


async def standing(engine: AsyncEngine, at: float) -> dict[str, str]:
    return say_versions(await find_standing(engine, at))


async def test_a_change_is_a_version_with_its_difference(engine: AsyncEngine) -> None:
    """Author, reason and difference are kept, and an unchanged document is none."""
    await put(engine, "one", reason="first")
    second = (await put(engine, "two", NOW + 1, reason="second")).stored
    assert (await put(engine, "two", NOW + 2)).activation is None
    first, again = await find_version(engine, 1), await find_version(engine, 2)
    assert first is not None
    assert (first.author, first.reason, first.diff) == ("ann", "first", "")
    assert again == second
    assert second.diff.splitlines()[-2:] == ["-policy: one", "+policy: two"]
    assert [one.version for one in await list_history(engine)] == [2, 1]


async def test_going_back_is_an_activation_and_no_version(engine: AsyncEngine) -> None:
    """The history only grows, and the past stays what it was."""
    for at, name in enumerate(("one", "two")):
        await put(engine, name, NOW + at)
    change = Change(author="bob", reason="oops")
    back = await activate_version(engine, 1, change, ask_nothing, now=NOW + 2)
    assert not back.is_new
    assert (await put(engine, "two", NOW + 3)).stored.version == 2
    assert [await standing(engine, NOW + at) for at in range(-1, 4)] == [
        {}, {"": "1"}, {"": "2"}, {"": "1"}, {"": "2"},
    ]  # fmt: skip
    assert [one.reason for one in await list_activations(engine)] == ["", "", "oops", ""]
    with pytest.raises(LookupError):
        await activate_version(engine, 9, Change(author="bob"), ask_nothing, now=NOW)


async def test_a_proof_takes_the_override_away(engine: AsyncEngine) -> None:
    """The same document put in force without a proof, then with one: an activation, and no version."""
    await put(engine, "one", override="fire")
    levels = await load_levels(engine, await find_standing(engine, NOW))
    assert levels.unproven == {1}
    again = await put(engine, "one", NOW + 1)
    assert (again.is_new, again.activation is None) == (False, False)
    levels = await load_levels(engine, await find_standing(engine, NOW + 1))
    assert levels.unproven == set()


async def test_a_schedule_starts_at_its_time_and_may_be_called_off(engine: AsyncEngine) -> None:
    """Also after something else was applied meanwhile; the later written of one moment counts."""
    await put(engine, "one")
    await put(engine, "two", starts_at=NOW + 100)
    await put(engine, "three", NOW + 10)
    assert await standing(engine, NOW + 99) == {"": "3"}
    assert await standing(engine, NOW + 100) == {"": "2"}
    await put(engine, "three", NOW + 20, starts_at=NOW + 100)
    assert await standing(engine, NOW + 100) == {"": "3"}
    with pytest.raises(Unfit, match="past"):
        await put(engine, "four", NOW + 20, starts_at=NOW)
    assert (await find_active(engine, NOW + 5)).version == 1  # pyright: ignore[reportOptionalMemberAccess]


async def test_a_canary_ends_with_the_next_for_everybody(engine: AsyncEngine) -> None:
    """Promoted by applying it without a share, ended by applying the stable one again."""
    with pytest.raises(Unfit, match="base policy"):
        await put(engine, "one", canary_share=0.5)
    await put(engine, "one")
    await put(engine, "two", NOW + 1, canary_share=0.1)
    assert await standing(engine, NOW + 1) == {"": "1, 2 for 0.1"}
    await put(engine, "one", NOW + 2)
    assert await standing(engine, NOW + 2) == {"": "1"}
    await put(engine, "two", NOW + 3, canary_share=0.2)
    await put(engine, "two", NOW + 4)
    assert await standing(engine, NOW + 4) == {"": "2"}
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(Unfit, match="between 0 and 1"):
            await put(engine, "one", NOW + 5, canary_share=share)


async def test_writers_at_once_lose_nothing(engine: AsyncEngine) -> None:
    """Each gets a version and an activation; with the digest they saw, one of them."""
    first = await put(engine, "one")
    await asyncio.gather(*(put(engine, f"p{at}", NOW + 1) for at in range(3)))
    assert [one.version for one in await list_history(engine)] == [4, 3, 2, 1]
    assert [one.activation_id for one in await list_activations(engine)] == [1, 2, 3, 4]
    with pytest.raises(Stale, match="is `"):
        await put(engine, "late", NOW + 2, if_match=first.stored.digest)
    active = await find_active(engine, NOW + 2)
    assert active is not None
    matched = await asyncio.gather(
        *(put(engine, f"q{at}", NOW + 2, if_match=active.digest) for at in range(3)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in matched) == ["Applied", "Stale", "Stale"]


async def test_levels_stand_in_the_order_of_who_belongs_to_whom(engine: AsyncEngine) -> None:
    """A key's overlay stands over its team's, and that over its organisation's; nobody else has them."""
    _, key_id = await create_key(engine, NewKey("search", organisation="acme"), now=NOW)
    await create_key(engine, NewKey("other", organisation="else"), now=NOW)
    organisation, team = [
        await parse_scope(engine, one) for one in ("organisation:acme", "team:search")
    ]
    await put(engine, "base")
    for name, scope in (("mine", f"key:{key_id}"), ("ours", team), ("all", organisation)):
        await put(engine, name, scope=scope)
    levels = await load_levels(engine, await find_standing(engine, NOW))
    assert levels.parents == {f"key:{key_id}": team, team: organisation}
    assert set(levels.merged()) == {(1,), (1, 4), (1, 4, 3), (1, 4, 3, 2)}
    assert levels.chain(key_id, (organisation, team, f"key:{key_id}")) == (1, 4, 3, 2)
    for wrong in ("organisation:nobody", "team:nobody", "key:nobody", "club:acme"):
        with pytest.raises(StartError):
            await parse_scope(engine, wrong)


async def test_an_overlay_that_does_not_fit_is_not_written(engine: AsyncEngine) -> None:
    """Neither one under the base, nor a base over it that would redefine its labels."""
    _, key_id = await create_key(engine, NewKey("search"), now=NOW)
    scope = await parse_scope(engine, "team:search")
    assert await parse_scope(engine, scope) == scope
    with pytest.raises(Unfit, match="overlay needs a base"):
        await put(engine, "over", scope=scope)
    label = "labels: {a: {detect: [%s]}}\n"
    await put(engine, "base")
    await put(engine, "over", scope=scope, more=label % "pii.email")
    await put(engine, "mine", scope=f"key:{key_id}")
    with pytest.raises(PolicyError, match="the label `a`"):
        await put(engine, "base", NOW + 1, more=label % "pii.card")
    assert len(await list_activations(engine)) == 3
    levels = await load_levels(engine, await find_standing(engine, NOW + 1))
    assert levels.chain(key_id, (scope, f"key:{key_id}")) == (1, 2, 3)
    assert (1, 2, 3) in levels.merged()
    for wrong in ("team:none", "key:none", "everybody"):
        with pytest.raises(StartError):
            await parse_scope(engine, wrong)


async def test_processes_report_and_vanish(engine: AsyncEngine) -> None:
    """What one runs is written over, drift is told once it had time to switch, and silence is forgotten."""
    await put(engine, "one")
    process = Process("p1", "host", 7, NOW, NOW, "one@1", {"": "1"}, "c")
    await report_process(engine, process)
    assert (await find_status(engine, NOW + 5)).drift == ()
    await put(engine, "two", NOW + 10)
    assert (await find_status(engine, NOW + 11)).drift == ()
    [drift] = (await find_status(engine, NOW + 10 + SWITCH_SECONDS)).drift
    assert drift.startswith("process 7 on host: runs base 1 instead of base 2")
    await report_process(engine, Process("p2", "host", 8, NOW, NOW + 30, "two@1", {"": "2"}, "c"))
    assert [one.pid for one in await list_processes(engine, NOW + 31)] == [7, 8]
    assert [one.pid for one in await list_processes(engine, NOW + STALE_SECONDS + 1)] == [8]
    other = parse_policy("policy: other\n", source="other.yaml")
    shown = await find_status(engine, NOW + STALE_SECONDS + 1, other)
    assert [line.split(":")[0] for line in shown.drift] == ["`other.yaml`"]


async def test_an_old_history_is_taken_over(database_url: str) -> None:
    """Each entry becomes a version and an activation; the newest is in force, though a clock went back."""
    config: Config = alembic_config(database_url)
    await asyncio.to_thread(command.upgrade, config, "0002")
    engine = open_database(database_url)
    try:
        async with engine.begin() as connection:
            for version, name, at in ((1, "one", NOW), (2, "two", NOW + 9), (3, "three", NOW + 3)):
                await connection.execute(
                    text("INSERT INTO policies VALUES (:v, :n, :n, :t, 'ann', :at)"),
                    {"v": version, "n": name, "t": f"policy: {name}\n", "at": at},
                )
        await migrate(database_url)
        active = await find_active(engine, NOW + 9)
        assert active is not None
        assert (active.version, active.author, active.created_at) == (3, "ann", NOW + 3)
        assert await standing(engine, NOW + 8) == {"": "1"}
        assert (await put(engine, "four", NOW + 20)).stored.version == 4
        await engine.dispose()
        await asyncio.to_thread(command.downgrade, config, "0002")
        async with engine.connect() as connection:
            found = await connection.execute(text("SELECT applied_by FROM policies"))
            assert len(list(found)) == 4
    finally:
        await engine.dispose()
