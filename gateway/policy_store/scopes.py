"""Scopes: the gateway's base policy, a team's overlay, a key's."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.errors import StartError
from gateway.ledger.tables import keys, teams
from gateway.policy_store.activation import BASE, KEY, TEAM


async def parse_scope(engine: AsyncEngine, written: str) -> str:
    """``written`` with ids for names: empty, ``team:NAME`` or ``team:ID``, ``key:ID``. Raises ``StartError``."""
    if written == BASE:
        return BASE
    if written.startswith(TEAM):
        return TEAM + await _find_team(engine, written.removeprefix(TEAM))
    if written.startswith(KEY):
        key_id = written.removeprefix(KEY)
        async with engine.connect() as connection:
            query = select(keys.c.key_id).where(keys.c.key_id == key_id)
            if (await connection.execute(query)).scalar() is None:
                raise StartError(
                    f"there is no key with the id `{key_id[:80]}`; see `moegate keys list`"
                )
        return written
    raise StartError(
        f"`{written[:80]}` is no scope: it is empty, `team:` with a name or an id, or `key:` with an id"
    )


async def _find_team(engine: AsyncEngine, name: str) -> str:
    async with engine.connect() as connection:
        query = select(teams.c.team_id).where((teams.c.team_id == name) | (teams.c.name == name))
        found = [str(one) for one in (await connection.execute(query)).scalars()]
    if not found:
        raise StartError(f"there is no team `{name[:80]}`; see `moegate keys list`")
    if len(found) > 1:
        raise StartError(
            f"several organisations have a team `{name[:80]}`: name one by its id, of {', '.join(found)}"
        )
    return found[0]


async def find_teams(engine: AsyncEngine, key_ids: list[str]) -> dict[str, str]:
    """The teams of keys, by key id."""
    if not key_ids:
        return {}
    query = select(keys.c.key_id, keys.c.team_id).where(keys.c.key_id.in_(key_ids))
    async with engine.connect() as connection:
        return {str(key): str(team) for key, team in await connection.execute(query)}
