"""From a key to its principal: a table in memory in front of SQL.

Promises: nothing slower than a dictionary on the hot path; a revoked key works for at most
``FRESH_SECONDS`` more; while SQL is away keys known before go on for ``GRACE_SECONDS``, and unknown ones
are told to come back, never that they are wrong; the table is bounded whatever clients send.
"""

import asyncio
import hashlib
from collections import OrderedDict
from enum import Enum
from typing import Final, Literal

from sqlalchemy import Row, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.admission import Limit
from gateway.identity.principal import Principal
from gateway.ledger.tables import keys, organisations, teams

FRESH_SECONDS = 5.0
GRACE_SECONDS = 900.0
UNKNOWN_SECONDS = 2.0
ENTRIES_MAX = 50_000
TOKEN_BYTES_MAX = 512


class _Miss(Enum):
    MISS = "miss"


Miss: Final = _Miss.MISS
"""Not in the table, or too old: ask SQL with :meth:`Identity.load`."""


class IdentityDown(Exception):
    """SQL does not answer and the key is not known from before."""


class Identity:
    """Looks keys up."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known: OrderedDict[bytes, tuple[Principal | None, float]] = OrderedDict()
        self._loading: dict[bytes, asyncio.Task[Principal | None]] = {}

    def find(self, token: bytes, now: float) -> Principal | None | Literal[_Miss.MISS]:
        """The principal; None for a key that SQL does not know; ``Miss`` if SQL has to be asked."""
        entry = self._known.get(hashlib.sha256(token).digest())
        if entry is None:
            return Miss
        principal, loaded_at = entry
        if now - loaded_at > (UNKNOWN_SECONDS if principal is None else FRESH_SECONDS):
            return Miss
        return principal

    async def load(self, token: bytes, now: float) -> Principal | None:
        """Ask SQL; many at once for the same key ask once. Raises :class:`IdentityDown`."""
        if len(token) > TOKEN_BYTES_MAX:
            return None
        digest = hashlib.sha256(token).digest()
        task = self._loading.get(digest)
        if task is None:
            task = asyncio.create_task(self._load(digest, now))
            self._loading[digest] = task
            task.add_done_callback(lambda _done: self._loading.pop(digest, None))
        return await asyncio.shield(task)

    async def _load(self, digest: bytes, now: float) -> Principal | None:
        try:
            principal = await self._read(digest)
        except (SQLAlchemyError, OSError) as error:
            known = self._known.get(digest)
            if known is not None and known[0] is not None and now - known[1] < GRACE_SECONDS:
                return known[0]
            raise IdentityDown(type(error).__name__) from error
        self._known[digest] = (principal, now)
        self._known.move_to_end(digest)
        if len(self._known) > ENTRIES_MAX:
            self._known.popitem(last=False)
        return principal

    async def _read(self, digest: bytes) -> Principal | None:
        query = (
            select(keys, teams.c.name, organisations)
            .join(teams, teams.c.team_id == keys.c.team_id)
            .join(organisations, organisations.c.organisation_id == teams.c.organisation_id)
            .where(keys.c.digest == digest, keys.c.revoked_at.is_(None))
        )
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _principal(row)


def _principal(row: "Row[tuple[object, ...]]") -> Principal:
    said = row._mapping  # noqa: SLF001  # SQLAlchemy's documented way to read by column
    budget, period = said[keys.c.budget_nanousd], said[keys.c.budget_period]
    key_id = said[keys.c.key_id]
    limits = () if budget is None else (Limit(f"key:{key_id}", period, budget),)
    return Principal(
        key_id=key_id,
        key_name=said[keys.c.name],
        team_id=said[keys.c.team_id],
        team=said[teams.c.name],
        organisation_id=said[organisations.c.organisation_id],
        organisation=said[organisations.c.name],
        residency=said[organisations.c.residency],
        data_class=said[keys.c.data_class],
        roles=frozenset(said[keys.c.roles].split()),
        budgets=limits,
        requests_per_minute=said[keys.c.requests_per_minute],
    )
