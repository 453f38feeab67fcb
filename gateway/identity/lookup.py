"""From a key to its principal: a table in memory in front of SQL.

Promises: nothing slower than a dictionary on the hot path; a revoked key works for at most
``FRESH_SECONDS`` more; while SQL is away keys known before go on for ``GRACE_SECONDS`` without waiting for
it, and unknown ones are told to come back, never that they are wrong; the tables are bounded whatever
clients send, and wrong keys do not push right ones out.
"""

import asyncio
import hashlib
from collections import OrderedDict
from enum import Enum
from typing import Final, Literal, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.admission import Limit
from gateway.identity.principal import Principal
from gateway.ledger.tables import keys, organisations, teams

FRESH_SECONDS = 5.0
GRACE_SECONDS = 900.0
UNKNOWN_SECONDS = 2.0
OUTAGE_SECONDS = 1.0
"""After SQL did not answer, known keys are not asked about again for so long."""
LOAD_SECONDS_MAX = 5.0
KNOWN_MAX = 50_000
UNKNOWN_MAX = 10_000
TOKEN_BYTES_MAX = 512


V = TypeVar("V")


class _Miss(Enum):
    MISS = "miss"


Miss: Final = _Miss.MISS
"""Not in the table, or too old: ask SQL with :meth:`Identity.load`."""

_BY_DIGEST = (
    select(
        keys.c.key_id, keys.c.name, teams.c.team_id, teams.c.name, organisations.c.organisation_id,
        organisations.c.name, organisations.c.residency, keys.c.data_class, keys.c.roles,
        keys.c.budget_nanousd, keys.c.budget_period, keys.c.requests_per_minute,
    )
    .join(teams, teams.c.team_id == keys.c.team_id)
    .join(organisations, organisations.c.organisation_id == teams.c.organisation_id)
    .where(keys.c.revoked_at.is_(None))
)  # fmt: skip


class IdentityDown(Exception):
    """SQL does not answer and the key is not known from before."""


class Identity:
    """Looks keys up. Times are seconds since the epoch, given by the caller."""

    def __init__(self, engine: AsyncEngine, *, unknown_max: int = UNKNOWN_MAX) -> None:
        self._engine = engine
        self._unknown_max = unknown_max
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._loading: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._outage_at = float("-inf")

    def find(self, token: bytes, now: float) -> Principal | Literal[_Miss.MISS] | None:
        """The principal; None for a key that SQL does not know; ``Miss`` if SQL has to be asked."""
        digest = hashlib.sha256(token).digest()
        entry = self._known.get(digest)
        if entry is not None:
            principal, loaded_at = entry
            # A clock that was set back makes entries old, not young.
            if 0 <= now - loaded_at <= FRESH_SECONDS:
                return principal
            if 0 <= now - self._outage_at <= OUTAGE_SECONDS and now - loaded_at <= GRACE_SECONDS:
                return principal
            return Miss
        asked_at = self._unknown.get(digest)
        if asked_at is not None and 0 <= now - asked_at <= UNKNOWN_SECONDS:
            return None
        return Miss

    async def load(self, token: bytes, now: float) -> Principal | None:
        """Ask SQL; many at once for the same key ask once. Raises :class:`IdentityDown`."""
        if len(token) > TOKEN_BYTES_MAX:
            return None
        digest = hashlib.sha256(token).digest()
        task = self._loading.get(digest)
        if task is None:
            task = asyncio.create_task(self._load(digest, now))
            self._loading[digest] = task
            task.add_done_callback(lambda done: self._forget(digest, done))
        known = self._known.get(digest)
        is_out = now - self._outage_at <= LOAD_SECONDS_MAX + OUTAGE_SECONDS
        if is_out and known is not None and now - known[1] <= GRACE_SECONDS:
            return known[
                0
            ]  # SQL hung a moment ago: it is being asked again, and nobody waits for it.
        return await asyncio.shield(task)

    def _forget(self, digest: bytes, done: "asyncio.Task[Principal | None]") -> None:
        self._loading.pop(digest, None)
        if not done.cancelled():
            done.exception()  # taken, also when all who waited have gone

    async def _load(self, digest: bytes, now: float) -> Principal | None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(LOAD_SECONDS_MAX):
                principal = await self._read(digest)
        except (SQLAlchemyError, OSError) as error:
            # The look itself may have taken seconds: the outage is known from its end on.
            self._outage_at = now + loop.time() - started
            known = self._known.get(digest)
            if known is not None and now - known[1] <= GRACE_SECONDS:
                return known[0]
            raise IdentityDown(type(error).__name__) from error
        self._outage_at = float("-inf")
        if principal is None:
            self._known.pop(digest, None)
            _keep(self._unknown, digest, now, self._unknown_max)
        else:
            self._unknown.pop(digest, None)
            _keep(self._known, digest, (principal, now), KNOWN_MAX)
        return principal

    async def _read(self, digest: bytes) -> Principal | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(_BY_DIGEST.where(keys.c.digest == digest))).first()
        if row is None:
            return None
        (
            key_id, key_name, team_id, team, organisation_id, organisation, residency, data_class,
            roles, budget, period, requests_per_minute,
        ) = row  # fmt: skip
        return Principal(
            key_id=key_id,
            key_name=key_name,
            team_id=team_id,
            team=team,
            organisation_id=organisation_id,
            organisation=organisation,
            residency=residency,
            data_class=data_class,
            roles=frozenset(roles.split()),
            budgets=() if budget is None else (Limit(f"key:{key_id}", period, budget),),
            requests_per_minute=requests_per_minute,
        )


def _keep(table: "OrderedDict[bytes, V]", digest: bytes, value: V, entries_max: int) -> None:
    table[digest] = value
    table.move_to_end(digest)
    if len(table) > entries_max:
        table.popitem(last=False)
