"""Composition root: settings → services → ASGI application. The only place that builds the parts.

Promises: start-up fails with one clear line or ends in a gateway that can serve; what was opened is closed
in the opposite order, the journal is shipped last.
"""

import asyncio
import gc
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import FilteringBoundLogger

from backends.health import Health
from backends.transport import Transport
from gateway.admission import SEED_SECONDS, Admission, MemoryAdmission, SeedDown
from gateway.alone import alone
from gateway.api.asgi import AsgiApp, Receive, Scope, Send
from gateway.api.hot import HotRoutes
from gateway.api.rest import build_rest
from gateway.background import Background
from gateway.cache import CacheStore, MemoryStore
from gateway.clock import Clock, RequestIds
from gateway.errors import StartError
from gateway.facts import target_facts
from gateway.identity import Identity
from gateway.kept import PURGE_ROWS_MAX, KeptResponses, KeptStore
from gateway.ledger import Journal, JournalDown, Shipper, booked, open_database
from gateway.observed import Observed
from gateway.pipeline import Pipeline
from gateway.policy_follow import PolicyFollower
from gateway.policy_store import find_active
from gateway.prepare import load_master_key
from gateway.proving import Certifier
from gateway.quotes import Signals
from gateway.reservations import Settler, free_left
from gateway.routing import RoutingTable, make_routing
from gateway.runtime import Runtime
from gateway.sealing import Sealer
from gateway.services import Services
from gateway.settings import Settings
from gateway.telemetry.log import LineWriter, make_logger
from gateway.telemetry.metrics import Metrics
from gateway.world import World, open_world
from policies.classify import Classifier
from policies.document import PolicyError

Ping = Callable[[], Awaitable[None]]

ADOPT_SECONDS = 2.0
PURGE_SECONDS = 600.0
STANDARD_OUTPUT = 1
GC_THRESHOLD = 20_000
"""Allocations between two looks of the youngest generation; requests hardly leave cycles behind."""


class Gateway:
    """The ASGI application: start and stop, hot endpoints by path, everything else Starlette."""

    def __init__(
        self,
        settings: Settings,
        announce: Callable[[Runtime], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._announce = announce
        self._clock = clock
        self._hot: HotRoutes | None = None
        self._rest: AsgiApp | None = None
        self.start_error: StartError | None = None
        """Why it could not start."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "http":
            is_post = scope["method"] == "POST"
            hot = self._hot.find(scope) if is_post and self._hot is not None else None
            if hot is not None:
                await hot(scope, receive, send)
            elif self._rest is not None:
                await self._rest(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with open_gateway(self._settings, self._clock) as runtime:
                self._hot = HotRoutes(Pipeline(runtime.services))
                self._rest = build_rest(runtime)
                await send({"type": "lifespan.startup.complete"})
                if self._announce is not None:
                    self._announce(runtime)
                await receive()
                self._hot = self._rest = None
        except StartError as error:
            self.start_error = error
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})


@asynccontextmanager
async def open_gateway(settings: Settings, clock: Clock | None = None) -> AsyncGenerator[Runtime]:
    """A running gateway for as long as the context lasts. Raises ``StartError``."""
    clock = clock or Clock()
    async with AsyncExitStack() as stack:
        writer = LineWriter(STANDARD_OUTPUT)
        stack.callback(writer.close)
        log = make_logger(writer, settings.log_level)
        engine = open_database(settings.database_url)
        stack.push_async_callback(engine.dispose)
        await _find_policy(engine)
        await stack.enter_async_context(alone(settings, engine))
        transport = Transport()
        stack.push_async_callback(transport.close)
        world = await stack.enter_async_context(open_world(settings, transport, log))
        certifier = Certifier(engine)
        follower = PolicyFollower(engine, certifier, clock, log)
        routing = await _make_table(world, follower)
        try:
            journal = Journal(
                settings.home / "journal", segment_bytes=settings.journal_segment_bytes
            )
        except JournalDown as error:
            raise StartError(str(error)) from error
        stack.callback(journal.close)
        shipper = Shipper(journal, engine, log, settings.home / "refused-rows.jsonl")
        await shipper.start()
        stack.push_async_callback(shipper.close)
        admission, cache, ping = _open_admission(settings, engine, shipper)
        stack.push_async_callback(admission.close)
        settler = Settler(admission, journal)
        stack.push_async_callback(settler.close)
        await free_left(settler, journal)
        background = Background(log)
        stack.push_async_callback(background.close)
        sealer = Sealer(load_master_key(settings))
        services = Services(
            settings=settings,
            clock=clock,
            ids=RequestIds(),
            identity=Identity(engine),
            classifier=Classifier(),
            routing=routing,
            admission=admission,
            settler=settler,
            cache=cache,
            sealer=sealer,
            kept=_make_kept(settings, engine, sealer),
            journal=journal,
            transport=transport,
            signals=Signals(Health(), Observed()),
            background=background,
            metrics=Metrics(str(os.getpid()) if settings.workers > 1 else ""),
            log=log,
        )
        background.keep(lambda: follower.follow(routing), "policy")
        background.keep(lambda: world.follow(partial(follower.take_catalogue, routing)), "targets")
        background.keep(lambda: _adopt_left(journal, shipper, settler, log), "dead workers")
        background.keep(lambda: _forget_expired(services.kept.store, clock), "expired responses")
        _settle_memory()
        yield Runtime(services, engine, certifier, ping, clock.now())


def _make_kept(settings: Settings, engine: AsyncEngine, sealer: Sealer) -> KeptResponses:
    return KeptResponses(
        KeptStore(engine, sealer),
        keeping=settings.responses_kept,
        days=settings.responses_kept_days,
        body_bytes_max=settings.body_bytes_max,
    )


def _settle_memory() -> None:
    """What stands now lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


async def check_start(settings: Settings) -> None:
    """What every process needs to start, looked at once before several do. Raises ``StartError``."""
    if settings.redis_url:
        from gateway.shared_state import check_url  # noqa: PLC0415  # see there: it costs memory

        check_url(settings.redis_url)
    async with AsyncExitStack() as stack:
        writer = LineWriter(STANDARD_OUTPUT)
        stack.callback(writer.close)
        log = make_logger(writer, settings.log_level)
        engine = open_database(settings.database_url)
        stack.push_async_callback(engine.dispose)
        await _find_policy(engine)
        transport = Transport()
        stack.push_async_callback(transport.close)
        world = World(settings, transport, log)
        await world.look()
        # What is proved here is in the database for the others.
        await _make_table(world, PolicyFollower(engine, Certifier(engine), Clock(), log))


async def _find_policy(engine: AsyncEngine) -> None:
    try:
        active = await find_active(engine)
    except (SQLAlchemyError, OSError) as error:
        raise StartError(
            f"the database cannot be read ({type(error).__name__}): run `moegate init`, or look at "
            "`MOEGATE_DATABASE_URL`"
        ) from error
    if active is None:
        raise StartError("no policy is in force: run `moegate init`")


async def _make_table(world: World, follower: PolicyFollower) -> RoutingTable:
    facts = tuple(target_facts(target) for target in world.catalogue.targets)
    try:
        levels = await follower.load(facts)
        return RoutingTable(make_routing(world.catalogue, levels, world.adapters, facts=facts))
    except PolicyError as error:
        raise StartError(f"the policy in force does not work: {error}") from error


def _open_admission(
    settings: Settings, engine: AsyncEngine, shipper: Shipper
) -> tuple[Admission, CacheStore, Ping | None]:
    async def seed(windows: Sequence[str]) -> dict[str, int]:
        try:
            async with asyncio.timeout(SEED_SECONDS):
                await shipper.drain()
                return await booked(engine, windows)
        except (SQLAlchemyError, OSError) as error:
            raise SeedDown(type(error).__name__) from error

    if not settings.redis_url:
        memory = MemoryStore(settings.cache_bytes_max)
        return MemoryAdmission(seed, memory.find), memory, None
    from gateway.shared_state import open_shared_state  # noqa: PLC0415  # see there: it costs memory

    shared = open_shared_state(settings.redis_url, seed)
    return shared.admission, shared.cache, shared.ping


async def _adopt_left(
    journal: Journal, shipper: Shipper, settler: Settler, log: FilteringBoundLogger
) -> None:
    """Book what workers left that die while we live: nobody may start in their place."""
    while True:
        await asyncio.sleep(ADOPT_SECONDS)
        try:
            await shipper.adopt()
        except (OSError, JournalDown) as error:
            log.error("a dead worker's journal cannot be read", error=str(error))
        if left := journal.unfreed:
            log.info(
                "a dead worker's calls are booked", attempts=sum(len(one.attempts) for one in left)
            )
            await free_left(settler, journal)


async def _forget_expired(store: KeptStore, clock: Clock) -> None:
    """Kept responses go when their time is over."""
    while True:
        await asyncio.sleep(PURGE_SECONDS)
        while await store.purge(clock.now()) == PURGE_ROWS_MAX:
            pass
