"""What can be called from here: providers that are switched on, servers at home, the simulator.

Promises: named workers that do not answer yet keep their place and are asked again, so that what must stay
at home is told to come back rather than that there is no place for it; servers that appear or vanish are
followed without a restart; the simulator is named as one everywhere.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from backends.adapter import ProviderAdapter
from backends.adapters import build_adapters
from backends.catalogue import Catalogue, CatalogueError, load_catalogue
from backends.sglang.discovery import (
    NamedWorkers,
    discover_local,
    discover_named,
    find_origin,
    probe_with,
)
from backends.target import Secret, SelfHosted, ServedModel
from backends.transport import Transport
from backends.wire.failure import WireError
from gateway.errors import StartError
from gateway.settings import Settings
from gateway.simulator_thread import run_simulator
from gateway.targets import UNREACHED

FOLLOW_SECONDS = 5.0
MISSES_MAX = 3
"""Looks in a row at which a server on this machine may be missing before it is gone."""
UNKNOWN_MODEL = "unknown"
"""Stands for the models of named workers that have not answered yet."""

TakeCatalogue = Callable[[Catalogue, Mapping[str, ProviderAdapter]], Awaitable[None]]
"""What routes to another catalogue."""


class World:
    """The present catalogue, its adapters, and the URLs that should answer but do not."""

    def __init__(self, settings: Settings, transport: Transport, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._get = probe_with(transport)
        self._log = log
        self._simulator: list[SelfHosted] = []
        self._found: list[SelfHosted] = []
        self._workers = NamedWorkers()
        self._local: list[SelfHosted] = []
        self._missed: dict[str, int] = {}
        self._loading: asyncio.Task[None] | None = None
        self.unreachable: tuple[str, ...] = ()
        self.catalogue: Catalogue = Catalogue((), {}, ())
        self.adapters: Mapping[str, ProviderAdapter] = {}

    async def look(self) -> bool:
        """Look around; True if what was found differs from before. Raises ``StartError``."""
        settings = self._settings
        answers = await discover_named(self._get, settings.sglang_urls, settings.sglang_api_key)
        found, unheard = self._workers.take(answers)
        if unheard:
            unknown = (ServedModel(UNKNOWN_MODEL),)
            found.append(SelfHosted(UNREACHED, "sglang", tuple(unheard), unknown))
        if settings.discover:
            found += self._keep_for_a_while(await discover_local(self._get, settings.sglang_urls))
        is_new = found != self._found or not self.adapters
        before, self._found = self._found, found
        self.unreachable = tuple(
            url for url in settings.sglang_urls if not answers[find_origin(url)]
        )
        if is_new:
            try:
                self._rebuild()
            except BaseException:
                self._found = before  # it is news at the next look, too
                raise
        return is_new

    def _keep_for_a_while(self, local: list[SelfHosted]) -> list[SelfHosted]:
        """Servers on this machine, and those that were here a moment ago: one that is busy may miss a
        look, and what must stay at home would be told that there is no place for it."""
        heard = {one.name for one in local}
        for one in self._local:
            self._missed[one.name] = 0 if one.name in heard else self._missed.get(one.name, 0) + 1
            if 0 < self._missed[one.name] < MISSES_MAX:
                local.append(one)
        self._local = sorted(local, key=lambda one: one.name)
        return self._local

    def use_simulator(self, url: str, model: str, context_tokens_max: int) -> None:
        """Offer the built-in simulator as a target."""
        served = ServedModel(model, context_tokens_max)
        self._simulator = [SelfHosted("simulator", "simulator", (url,), (served,))]
        self._rebuild()

    def _rebuild(self) -> None:
        self.catalogue = read_catalogue(self._settings, (*self._found, *self._simulator))
        self.adapters = build_adapters(self.catalogue.endpoints)

    def _start_loading(self) -> None:
        """In the background, and now rather than at the first request, which would wait for seconds."""
        used = {target.adapter for target in self.catalogue.targets}
        loads = [load for name in sorted(used) if (load := self.adapters[name].load) is not None]
        if loads:
            self._loading = asyncio.create_task(self._load(loads))

    async def _load(self, loads: list[Callable[[], Awaitable[None]]]) -> None:
        for load in loads:
            try:
                await load()
            except WireError as error:  # its targets say so to each request; the others serve
                failure = error.failure
                self._log.error(
                    "targets cannot be used", reason=failure.message, detail=failure.detail
                )

    async def follow(self, take: TakeCatalogue) -> None:
        """Look again every few seconds, for as long as somebody named workers to look for, and have what changed
        taken up.

        Also has loaded what the targets need and takes long to load.
        """
        self._start_loading()
        is_due = False
        while self._settings.sglang_urls or self._settings.discover:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                # What could not be taken up once is taken up at the next look, though that finds nothing new.
                is_due = await self.look() or is_due
                if is_due:
                    await take(self.catalogue, self.adapters)
                    is_due = False
                    self._start_loading()
                    names = [
                        target.name
                        for target in self.catalogue.targets
                        if target.boundary == "self_hosted"
                    ]
                    self._log.info("self-hosted targets changed", targets=names)
            except Exception as error:  # a task boundary: the old catalogue goes on for now
                self._log.warning("looking for servers failed", error=type(error).__name__)


@asynccontextmanager
async def open_world(
    settings: Settings, transport: Transport, log: FilteringBoundLogger
) -> AsyncGenerator[World]:
    """The world as it is now; starts the simulator if nothing else is there, or if it is wanted."""
    async with AsyncExitStack() as stack:
        world = World(settings, transport, log)
        await world.look()
        is_wanted = settings.simulator == "on" or (
            settings.simulator == "auto" and not world.catalogue.targets
        )
        if is_wanted:
            simulator = stack.enter_context(run_simulator())
            world.use_simulator(simulator.url, simulator.model, simulator.context_tokens_max)
        yield world


def read_catalogue(settings: Settings, self_hosted: tuple[SelfHosted, ...] = ()) -> Catalogue:
    """The catalogue that ``settings`` switch on. Raises ``StartError``."""
    credentials: dict[str, Secret] = {}
    base_urls: dict[str, str] = {}
    for name, access in settings.providers.items():
        if access.api_key is not None:
            credentials[name] = access.api_key
            if access.base_url is not None:
                base_urls[name] = access.base_url
    try:
        return load_catalogue(
            credentials=credentials,
            base_urls=base_urls,
            self_hosted=self_hosted,
            overrides=Path(settings.catalogue) if settings.catalogue else None,
            self_hosted_credential=settings.sglang_api_key,
        )
    except CatalogueError as error:
        raise StartError(str(error)) from error
