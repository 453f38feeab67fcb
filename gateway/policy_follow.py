"""A running process and the policies in SQL: it takes up what is in force, and reports what it runs.

Promises: a change, or the moment for which one is scheduled, counts within about a second; what does not work
is tried once and leaves everything as it was; while SQL is away the last policies go on.
"""

import asyncio
import os
import socket
import uuid
from collections.abc import Mapping
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import FilteringBoundLogger

from gateway.clock import Clock
from gateway.policy_store import (
    Activation,
    Process,
    Standing,
    in_force,
    latest_activation,
    list_activations,
    load_levels,
    report_process,
    say_versions,
    scheduled,
)
from gateway.policy_store.processes import REPORT_SECONDS
from gateway.routing import RoutingTable, compile_levels
from policies.document import PolicyDocument, PolicyError
from policies.inherit import Levels

POLL_SECONDS = 1.0


class PolicyFollower:
    """What one process knows of the policies in SQL."""

    def __init__(self, engine: AsyncEngine, clock: Clock, log: FilteringBoundLogger) -> None:
        self._engine = engine
        self._clock = clock
        self._log = log
        self._latest = 0
        self._activations: list[Activation] = []
        self._tried: dict[str, Standing] = {}
        """The last standing that was taken up or did not work: neither is tried again."""
        self._running: dict[str, Standing] = {}
        self._known: dict[int, PolicyDocument] = {}
        self._process_id = uuid.uuid4().hex
        self._started_at = clock.now()
        self._reported: tuple[str, Mapping[str, str], str] | None = None
        self._reported_at = 0.0

    async def load(self) -> Levels:
        """What is in force at the start. Raises ``PolicyError``, ``SQLAlchemyError`` and ``OSError``."""
        await self._look()
        standing = in_force(self._activations, self._clock.now())
        levels = await load_levels(self._engine, standing, self._known)
        self._tried = self._running = standing
        return levels

    async def follow(self, routing: RoutingTable) -> NoReturn:
        """Keep ``routing`` at what is in force, for as long as the process lives."""
        while True:
            try:
                await self._step(routing)
                await self._report(routing)
            except (SQLAlchemyError, OSError):
                pass  # SQL is away: what is in force goes on, and the next look comes in a second.
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        now = self._clock.now()
        coming = scheduled(self._activations, now)
        return min(POLL_SECONDS, coming[0].starts_at - now) if coming else POLL_SECONDS

    async def _look(self) -> None:
        latest = await latest_activation(self._engine)
        if latest != self._latest:
            self._activations = await list_activations(self._engine)
            self._latest = latest

    async def _step(self, routing: RoutingTable) -> None:
        try:
            await self._look()
        finally:
            # What is known already starts at its time, whether SQL answers or not.
            standing = in_force(self._activations, self._clock.now())
            if standing != self._tried:
                await self._take_up(routing, standing)

    async def _take_up(self, routing: RoutingTable, standing: dict[str, Standing]) -> None:
        try:
            levels = await load_levels(self._engine, standing, self._known)
            # In a thread: hundreds of rules take a while to compile, which answers under way would wait.
            compiled = await asyncio.to_thread(compile_levels, levels, routing.current.facts)
            routing.swap_policies(levels, compiled)
        except PolicyError as error:
            self._tried = standing
            self._log.error(
                "policy not taken up", versions=say_versions(standing), error=str(error)
            )
            return
        self._tried = standing
        for scope, one in standing.items():
            before = self._running.get(scope)
            for activation in (one.stable, one.canary):
                if activation is not None and (
                    before is None or activation not in (before.stable, before.canary)
                ):
                    self._tell(activation)
        self._running = standing

    def _tell(self, activation: Activation) -> None:
        document = self._known[activation.version]
        self._log.info(
            "policy in force",
            version=activation.version,
            policy=document.name,
            scope=activation.scope or "base",
            canary_share=activation.canary_share,
            activated_by=activation.activated_by,
            reason=activation.reason,
            override=activation.override,
        )

    async def _report(self, routing: RoutingTable) -> None:
        current, now = routing.current, self._clock.now()
        said = (current.policy.label, say_versions(self._running), current.catalogue.version)
        if said == self._reported and now - self._reported_at < REPORT_SECONDS:
            return
        process = Process(
            self._process_id,
            socket.gethostname()[:200],
            os.getpid(),
            self._started_at,
            now,
            said[0],
            dict(said[1]),
            said[2],
        )
        await report_process(self._engine, process)
        self._reported, self._reported_at = said, now
