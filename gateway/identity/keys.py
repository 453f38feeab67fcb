"""Making, listing and revoking keys. A key is 256 random bits; SQL keeps its SHA-256 and four letters."""

import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.admission import Limit
from gateway.admission.seam import LIMIT_NANOUSD_MAX
from gateway.errors import StartError
from gateway.ledger.tables import keys, organisations, teams
from policies.facts import DataClass

PREFIX = "mg-"
ID_PREFIX = "key_"
TOKEN_LENGTH_MIN = 20
DEFAULT_ORGANISATION = "default"
RESIDENCY = re.compile(r"[a-z]{2,32}")
ADMIN = "admin"
OWNER = "owner"
"""An administrator who may put a policy in force that is not proved."""
NAME_LENGTH_MAX = 200
SHOWN_LETTERS = 4
"""Of a key's random part, 24 of 256 bits: enough to tell one's keys apart."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is asked for. ``limit`` without a scope: the key's own id is filled in. ``residency``: where the
    organisation's prompts may be processed, a word of the policy's; None takes what it has."""

    team: str
    name: str = ""
    limit: Limit | None = None
    requests_per_minute: int | None = None
    data_class: DataClass = "internal"
    roles: frozenset[str] = frozenset()
    organisation: str = DEFAULT_ORGANISATION
    residency: str | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it may be shown: ``shown`` is its beginning."""

    key_id: str
    name: str
    organisation: str
    team: str
    shown: str
    roles: str
    data_class: str
    budget_nanousd: int | None
    budget_period: str | None
    requests_per_minute: int | None
    created_at: float
    revoked_at: float | None


async def create_key(
    engine: AsyncEngine, asked: NewKey, *, now: float, token: str | None = None
) -> tuple[str, str]:
    """The key's text, to be shown once, and its id; a team or organisation that is not there is made.

    Raises ``StartError`` for names, budgets and tokens that cannot be.
    """
    _check_name("organisation", asked.organisation)
    _check_name("team", asked.team)
    if asked.residency is not None and not RESIDENCY.fullmatch(asked.residency):
        raise StartError("a residency is a word of lower-case letters, such as eu")
    _check_name("key", asked.name or asked.team)
    if asked.limit is not None and not 0 < asked.limit.limit_nanousd <= LIMIT_NANOUSD_MAX:
        raise StartError(f"a budget must lie between 0 and {LIMIT_NANOUSD_MAX // 10**9} USD")
    if token is not None and len(token) < TOKEN_LENGTH_MIN:
        raise StartError(f"an admin token needs at least {TOKEN_LENGTH_MIN} characters")
    text = token or PREFIX + secrets.token_urlsafe(32)
    key_id = f"{ID_PREFIX}{uuid.uuid4().hex}"
    try:
        async with engine.begin() as connection:
            organisation_id = await _find_or_make_organisation(connection, asked, now)
            team_id = await _find_or_make_team(connection, organisation_id, asked.team, now)
            await connection.execute(
                insert(keys).values(
                    key_id=key_id,
                    team_id=team_id,
                    name=asked.name or asked.team,
                    digest=hashlib.sha256(text.encode()).digest(),
                    shown=_shown(text),
                    roles=" ".join(sorted(asked.roles)),
                    data_class=asked.data_class,
                    budget_nanousd=asked.limit.limit_nanousd if asked.limit else None,
                    budget_period=asked.limit.period if asked.limit else None,
                    requests_per_minute=asked.requests_per_minute,
                    created_at=now,
                )
            )
    except IntegrityError as error:
        raise StartError(
            "this key, its team or its organisation was made by somebody else just now; try again"
        ) from error
    return text, key_id


async def ensure_admin(engine: AsyncEngine, token: str | None, *, now: float) -> str | None:
    """Make the first admin key if there is none; its text if it was made up now (to be shown once)."""
    query = select(keys.c.key_id).where(keys.c.roles.contains(ADMIN), keys.c.revoked_at.is_(None))
    async with engine.connect() as connection:
        if (await connection.execute(query.limit(1))).first() is not None:
            return None
    asked = NewKey("default", name="first admin key", roles=frozenset({ADMIN, OWNER}))
    text, _key_id = await create_key(engine, asked, now=now, token=token)
    return text if token is None else None


async def list_keys(engine: AsyncEngine) -> list[KeyRecord]:
    """Every key, the newest first."""
    query = (
        select(
            keys.c.key_id, keys.c.name, organisations.c.name, teams.c.name, keys.c.shown, keys.c.roles,
            keys.c.data_class, keys.c.budget_nanousd, keys.c.budget_period,
            keys.c.requests_per_minute, keys.c.created_at, keys.c.revoked_at,
        )
        .join(teams, teams.c.team_id == keys.c.team_id)
        .join(organisations, organisations.c.organisation_id == teams.c.organisation_id)
        .order_by(keys.c.created_at.desc(), keys.c.key_id)
    )  # fmt: skip
    async with engine.connect() as connection:
        return [KeyRecord(*row) for row in await connection.execute(query)]


async def revoke_key(engine: AsyncEngine, key_id: str, *, now: float) -> bool:
    """Revoke a key by its id; False if there is none that works."""
    statement = update(keys).where(keys.c.key_id == key_id, keys.c.revoked_at.is_(None))
    async with engine.begin() as connection:
        return (await connection.execute(statement.values(revoked_at=now))).rowcount > 0


def is_key_id(text: str) -> bool:
    """Whether ``text`` looks like the id of a key, and not like the key."""
    return re.fullmatch(rf"{ID_PREFIX}[0-9a-f]{{32}}", text) is not None


def _check_name(what: str, name: str) -> None:
    if not name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise StartError(
            f"a {what}'s name needs 1 to {NAME_LENGTH_MAX} printable characters, not all spaces"
        )


def _shown(text: str) -> str:
    """The letters by which a key is told from others; fewer of a token that somebody thought of."""
    return text[: len(PREFIX) + SHOWN_LETTERS] if text.startswith(PREFIX) else text[:SHOWN_LETTERS]


async def _find_or_make_team(
    connection: AsyncConnection, organisation_id: str, name: str, now: float
) -> str:
    query = select(teams.c.team_id).where(
        teams.c.organisation_id == organisation_id, teams.c.name == name
    )
    found = (await connection.execute(query)).scalar()
    if found is not None:
        return str(found)
    team_id = f"team_{uuid.uuid4().hex}"
    await connection.execute(
        insert(teams).values(
            team_id=team_id, organisation_id=organisation_id, name=name, created_at=now
        )
    )
    return team_id


async def _find_or_make_organisation(connection: AsyncConnection, asked: NewKey, now: float) -> str:
    query = select(organisations.c.organisation_id, organisations.c.residency).where(
        organisations.c.name == asked.organisation
    )
    found = (await connection.execute(query)).first()
    if found is not None:
        organisation_id, residency = found
        if asked.residency not in (None, residency):
            # Its other keys would change with it: never as a side effect of making one more.
            raise StartError(
                f"the organisation `{asked.organisation}` is there already, "
                + (f"with the residency `{residency}`" if residency else "without a residency")
            )
        return str(organisation_id)
    organisation_id = f"org_{uuid.uuid4().hex}"
    await connection.execute(
        insert(organisations).values(
            organisation_id=organisation_id,
            name=asked.organisation,
            residency=asked.residency or "",
            created_at=now,
        )
    )
    return organisation_id
