"""A running process, the policies in SQL and the targets at hand: it takes up what is in force and proved, and
reports what it runs.

Promises: a change, or the moment for which one is scheduled, counts within about a second; what does not work,
or is not proved with the targets of this process, is tried once for these targets and leaves everything as it was;
while SQL is away the last policies go on. Other targets prove again, and are used when that is done: where it fails they are
held back, and the policy says in each answer that it is unproven.
"""

import asyncio
import os
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import FilteringBoundLogger

from backends.adapter import ProviderAdapter
from backends.catalogue import Catalogue
from gateway.clock import Clock
from gateway.facts import target_facts
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
from gateway.policy_store.scopes import find_parents
from gateway.proving import Certifier, Gaps, Proving
from gateway.routing import RoutingTable, compile_levels, find_uncovered
from policies.document import PolicyDocument, PolicyError
from policies.facts import TargetFacts
from policies.inherit import Levels

POLL_SECONDS = 1.0

Targets = tuple[TargetFacts, ...]


class PolicyFollower:
    """What one process knows of the policies in SQL."""

    def __init__(
        self, engine: AsyncEngine, certifier: Certifier, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self._engine = engine
        self._certifier = certifier
        self._clock = clock
        self._log = log
        self._latest = 0
        self._activations: list[Activation] = []
        self._parents: dict[str, str] = {}
        """The team and organisation around what has overlays: keys can move."""
        self._tried: tuple[dict[str, Standing], dict[str, str]] = {}, {}
        """The last standing, with its parents, that was taken up or did not work: neither is tried again."""
        self._running: dict[str, Standing] = {}
        self._known: dict[int, PolicyDocument] = {}
        self._process_id = uuid.uuid4().hex
        self._started_at = clock.now()
        self._reported: tuple[str, Mapping[str, str], str, tuple[str, ...]] | None = None
        self._reported_at = 0.0

    async def load(self, facts: Targets) -> Levels:
        """What is in force at the start, with what is proved of it over the targets ``facts``.

        Raises ``PolicyError``, also for a base policy that is proved of no target at all; ``SQLAlchemyError`` and
        ``OSError``.
        """
        await self._look()
        standing = in_force(self._activations, self._clock.now())
        levels = await load_levels(self._engine, standing, self._known)
        levels, gaps = await self._certifier.certify_levels(levels, facts)
        for chain, (document, proving) in gaps.items():
            known = (levels.certificates or {}).get(document.digest, ())
            is_base = chain == levels.base.arms()[0]
            if is_base and facts and len(find_uncovered(known, facts)) == len(facts):
                raise PolicyError(_say_gaps(proving), source=document.source)
            self._tell_unproven(document, proving)
        self._tried, self._running = (standing, self._parents), standing
        return levels

    async def take_catalogue(
        self,
        routing: RoutingTable,
        catalogue: Catalogue,
        adapters: Mapping[str, ProviderAdapter],
    ) -> None:
        """Route to ``catalogue``, once the policies are proved of it."""
        facts = tuple(target_facts(target) for target in catalogue.targets)
        while True:
            before = routing.current.levels
            levels, gaps = await self._certifier.certify_levels(before, facts)
            chains = await asyncio.to_thread(compile_levels, levels, facts)
            if routing.current.levels is before:
                break
        routing.swap_catalogue(catalogue, adapters, levels, chains, facts)
        # What was not proved of the targets of before may be of these.
        self._tried = self._running, self._parents
        for document, proving in gaps.values():
            self._tell_unproven(document, proving)

    def _tell_unproven(self, document: PolicyDocument, proving: Proving) -> None:
        self._log.error(
            "policy not proved with these targets", policy=document.name, gaps=_say_gaps(proving)
        )

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
        over = [scope for scope in in_force(self._activations, self._clock.now()) if scope]
        self._parents = await find_parents(self._engine, over) if over else {}

    async def _step(self, routing: RoutingTable) -> None:
        try:
            await self._look()
        finally:
            # What is known already starts at its time, whether SQL answers or not.
            standing = in_force(self._activations, self._clock.now())
            if (standing, self._parents) != self._tried:
                await self._take_up(routing, standing)

    async def _take_up(self, routing: RoutingTable, standing: dict[str, Standing]) -> None:
        tried = standing, self._parents
        try:
            levels = await load_levels(self._engine, standing, self._known)
            while True:
                facts = routing.current.facts
                levels, gaps = await self._certifier.certify_levels(levels, facts)
                self._refuse_unproved(gaps, routing.current.levels)
                # In a thread: hundreds of rules take a while to compile, which answers under way would wait.
                compiled = await asyncio.to_thread(compile_levels, levels, facts)
                if await self._is_over(standing):
                    return
                if routing.current.facts is facts:
                    break
            routing.swap_policies(levels, compiled)
        except PolicyError as error:
            self._tried = tried
            self._log.error(
                "policy not taken up", versions=say_versions(standing), error=str(error)
            )
            return
        self._tried = tried
        for scope, one in standing.items():
            before = self._running.get(scope)
            for activation in (one.stable, one.canary):
                if activation is not None and (
                    before is None or activation not in (before.stable, before.canary)
                ):
                    self._tell(activation)
        self._running = standing

    async def _is_over(self, standing: dict[str, Standing]) -> bool:
        """Whether another change came while this one was proved, which may take minutes: one that was taken back
        meanwhile must not decide anything."""
        with suppress(SQLAlchemyError, OSError):  # SQL is away: what is known is what is in force
            await self._look()
        return in_force(self._activations, self._clock.now()) != standing

    def _refuse_unproved(self, gaps: Gaps, running: Levels) -> None:
        """Raises ``PolicyError`` for what is new here and not proved; what runs already was told of when its targets
        changed."""
        if not gaps:
            return
        present = {document.digest for document in running.to_prove().values()}
        for document, proving in gaps.values():
            if document.digest not in present:
                raise PolicyError(_say_gaps(proving), source=document.source)

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
        said = (
            current.policy.label,
            say_versions(self._running),
            current.catalogue.version,
            current.unproved,
        )
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
            said[3],
        )
        await report_process(self._engine, process)
        self._reported, self._reported_at = said, now


def _say_gaps(proving: Proving) -> str:
    """What is not proved, on one line."""
    return "; ".join(line.strip() for line in proving.gaps())
