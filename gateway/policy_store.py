"""Policy documents in SQL: a history that only grows, the last applied one is in force.

Promises: an unchanged document is no new version; what is stored was parsed, though maybe by another
release; going back is a new entry, so that the history tells what was in force when.
"""

from dataclasses import dataclass

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.tables import policies
from policies.document import PolicyDocument, parse_policy


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """One entry of the history. ``applied_at`` is seconds since the epoch."""

    version: int
    name: str
    digest: str
    text: str
    applied_by: str
    applied_at: float

    @property
    def label(self) -> str:
        """What answers and records call it, and where it stands in the history."""
        return f"{self.name}@{self.digest[:12]} (version {self.version})"

    def parse(self) -> PolicyDocument:
        """The document; raises ``PolicyError``."""
        return parse_policy(self.text, source=f"policy version {self.version}")


async def find_active(engine: AsyncEngine) -> StoredPolicy | None:
    """The policy in force, or None before the first."""
    query = select(policies).order_by(policies.c.version.desc()).limit(1)
    async with engine.connect() as connection:
        row = (await connection.execute(query)).first()
    return None if row is None else StoredPolicy(*row)


async def find_version(engine: AsyncEngine, version: int) -> StoredPolicy | None:
    """One entry of the history."""
    async with engine.connect() as connection:
        row = (
            await connection.execute(select(policies).where(policies.c.version == version))
        ).first()
    return None if row is None else StoredPolicy(*row)


async def list_history(engine: AsyncEngine, limit: int = 100) -> list[StoredPolicy]:
    """The newest entries first."""
    query = select(policies).order_by(policies.c.version.desc()).limit(limit)
    async with engine.connect() as connection:
        return [StoredPolicy(*row) for row in await connection.execute(query)]


async def latest_version(engine: AsyncEngine) -> int:
    """The version in force, 0 before the first: what a running gateway looks at each second."""
    async with engine.connect() as connection:
        found = (await connection.execute(select(func.max(policies.c.version)))).scalar()
    return int(found or 0)


async def apply_policy(
    engine: AsyncEngine, document: PolicyDocument, text: str, *, applied_by: str, now: float
) -> tuple[StoredPolicy, bool]:
    """Put ``document`` in force: the entry, and whether it is a new one.

    Two at once: one of them fails on the version's primary key and may try again.
    """
    active = await find_active(engine)
    if active is not None and active.digest == document.digest:
        return active, False
    version = (active.version if active is not None else 0) + 1
    stored = StoredPolicy(version, document.name, document.digest, text, applied_by, now)
    async with engine.begin() as connection:
        await connection.execute(
            insert(policies).values(
                version=version,
                name=stored.name,
                digest=stored.digest,
                text=text,
                applied_by=applied_by,
                applied_at=now,
            )
        )
    return stored, True
