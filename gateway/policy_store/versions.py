"""Versions and activations as SQL has them. Nothing here changes a row."""

import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.ledger.tables import policies, policy_activations
from gateway.policy_store.activation import BASE, Activation, in_force
from policies.document import PolicyDocument, parse_policy


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """One version. ``created_at`` is seconds since the epoch; ``diff`` is against the version before in its
    scope."""

    version: int
    name: str
    digest: str
    text: str
    author: str
    created_at: float
    scope: str
    reason: str
    diff: str

    @property
    def label(self) -> str:
        """What answers and records call it, and where it stands in the history."""
        return f"{self.name}@{self.digest[:12]} (version {self.version})"

    def parse(self) -> PolicyDocument:
        """The document; raises ``PolicyError``."""
        return parse_policy(self.text, source=f"policy version {self.version}")


async def find_active(engine: AsyncEngine, at: float | None = None) -> StoredPolicy | None:
    """The base policy in force at ``at`` (None: by this machine's clock), or None before the first."""
    standing = in_force(await list_activations(engine), time.time() if at is None else at).get(BASE)
    if standing is None or standing.stable is None:
        return None
    return await find_version(engine, standing.stable.version)


async def find_version(engine: AsyncEngine, version: int) -> StoredPolicy | None:
    """One version."""
    async with engine.connect() as connection:
        return await read_version(connection, version)


async def read_version(connection: AsyncConnection, version: int) -> StoredPolicy | None:
    """One version, over a connection that is open."""
    found = await connection.execute(select(policies).where(policies.c.version == version))
    row = found.first()
    return None if row is None else StoredPolicy(*row)


async def list_history(
    engine: AsyncEngine, limit: int = 100, scope: str | None = None
) -> list[StoredPolicy]:
    """The newest versions first; of one scope, or of all."""
    query = select(policies).order_by(policies.c.version.desc()).limit(limit)
    if scope is not None:
        query = query.where(policies.c.scope == scope)
    async with engine.connect() as connection:
        return [StoredPolicy(*row) for row in await connection.execute(query)]


async def latest_activation(engine: AsyncEngine) -> int:
    """The newest activation, 0 before the first: what a running gateway looks at each second."""
    async with engine.connect() as connection:
        return await read_latest(connection)


async def read_latest(connection: AsyncConnection) -> int:
    """The newest activation, over a connection that is open."""
    query = select(func.max(policy_activations.c.activation_id))
    return int((await connection.execute(query)).scalar() or 0)


async def list_activations(engine: AsyncEngine) -> list[Activation]:
    """Every activation, in the order in which they were written."""
    async with engine.connect() as connection:
        return await read_activations(connection)


async def read_activations(connection: AsyncConnection) -> list[Activation]:
    """Every activation, over a connection that is open."""
    query = select(policy_activations).order_by(policy_activations.c.activation_id)
    return [Activation(*row) for row in await connection.execute(query)]
