"""A running gateway as its pages and its readiness check see it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.proving import Certifier
from gateway.services import Services

PROBE_SECONDS = 2.0
"""Orchestrators ask with a deadline of a few seconds themselves; what hangs is away."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a gateway stands on. ``is_needed``: without it requests are refused."""

    name: str
    is_ok: bool
    is_needed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The services and what only the pages need. ``started_at`` is seconds since the epoch."""

    services: Services
    engine: AsyncEngine
    certifier: Certifier
    ping_redis: Callable[[], Awaitable[None]] | None
    started_at: float

    async def check(self) -> list[Check]:
        """What works. SQL may be away for a while (the journal keeps the accounts); Redis, where it is
        in use, and the journal may not."""
        services = self.services
        checks = [await self._check_sql()]
        if self.ping_redis is not None:
            checks.append(await _check("redis", self.ping_redis, is_needed=True))
        journal = services.journal
        checks.append(Check("journal", journal.is_writable, is_needed=True))
        routing = services.routing.current
        now = services.clock.now()
        healthy = [
            one.name for one in routing.targets if services.signals.health.state(one.name, now)[0]
        ]
        checks.append(
            Check(
                "targets",
                bool(healthy),
                is_needed=False,
                detail=f"{len(healthy)} of {len(routing.targets)} healthy",
            )
        )
        checks.append(Check("policy", is_ok=True, is_needed=True, detail=routing.policy.label))
        return checks

    async def _check_sql(self) -> Check:
        async def ping() -> None:
            async with self.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

        return await _check("sql", ping, is_needed=False)


async def _check(name: str, probe: Callable[[], Awaitable[None]], *, is_needed: bool) -> Check:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except Exception as error:  # a probe: any failure is its answer
        return Check(name, is_ok=False, is_needed=is_needed, detail=type(error).__name__)
    return Check(name, is_ok=True, is_needed=is_needed)
