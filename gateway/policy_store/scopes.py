"""Scopes: the gateway's base policy, an organisation's overlay, a team's, a key's."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.errors import StartError
from gateway.ledger.tables import keys, organisations, teams
from gateway.policy_store.activation import BASE, KEY, ORGANISATION, TEAM

WRITTEN = "it is empty, `organisation:` or `team:` with a name or an id, or `key:` with an id"


async def parse_scope(engine: AsyncEngine, written: str) -> str:
    """``written`` with ids for names: empty, ``organisation:NAME``, ``team:NAME`` (or ``ID``), ``key:ID``. Raises
    ``StartError``."""
    async with engine.connect() as connection:
        if written == BASE:
            return BASE
        if written.startswith(ORGANISATION):
            name = written.removeprefix(ORGANISATION)
            return ORGANISATION + await _find_organisation(connection, name)
        if written.startswith(TEAM):
            return TEAM + await _find_team(connection, written.removeprefix(TEAM))
        if written.startswith(KEY):
            key_id = written.removeprefix(KEY)
            query = select(keys.c.key_id).where(keys.c.key_id == key_id)
            if (await connection.execute(query)).scalar() is None:
                raise StartError(
                    f"there is no key with the id `{key_id[:80]}`; see `moegate keys list`"
                )
            return written
    raise StartError(f"`{written[:80]}` is no scope: {WRITTEN}")


async def _find_organisation(connection: AsyncConnection, name: str) -> str:
    table = organisations.c
    query = select(table.organisation_id).where(
        (table.organisation_id == name) | (table.name == name)
    )
    found = (await connection.execute(query)).scalars().first()
    if found is None:
        raise StartError(f"there is no organisation `{name[:80]}`; see `moegate keys list`")
    return str(found)


async def _find_team(connection: AsyncConnection, name: str) -> str:
    query = select(teams.c.team_id).where((teams.c.team_id == name) | (teams.c.name == name))
    found = [str(one) for one in (await connection.execute(query)).scalars()]
    if not found:
        raise StartError(f"there is no team `{name[:80]}`; see `moegate keys list`")
    if len(found) > 1:
        raise StartError(
            f"several organisations have a team `{name[:80]}`: name one by its id, of {', '.join(found)}"
        )
    return found[0]


async def find_parents(engine: AsyncEngine, scopes: Sequence[str]) -> dict[str, str]:
    """The scope around each of ``scopes``, and around those: a key's team, a team's organisation."""
    key_ids = [one.removeprefix(KEY) for one in scopes if one.startswith(KEY)]
    query = select(keys.c.key_id, keys.c.team_id).where(keys.c.key_id.in_(key_ids))
    async with engine.connect() as connection:
        parents = {
            KEY + str(key): TEAM + str(team) for key, team in await connection.execute(query)
        }
        named = {one for one in (*scopes, *parents.values()) if one.startswith(TEAM)}
        team_ids = [one.removeprefix(TEAM) for one in named]
        query = select(teams.c.team_id, teams.c.organisation_id).where(
            teams.c.team_id.in_(team_ids)
        )
        around = await connection.execute(query)
        return parents | {TEAM + str(team): ORGANISATION + str(one) for team, one in around}
