"""Work that no request waits for: started, bounded, and its failures logged."""

import asyncio
from collections.abc import Callable, Coroutine

from structlog.typing import FilteringBoundLogger

TASKS_MAX = 1000
"""More work than this at once is dropped: what runs here may be lost without harm."""
CLOSE_SECONDS = 2.0
AGAIN_SECONDS = 5.0

Work = Coroutine[object, object, None]


class Background:
    """Holds the tasks so that they live to their end."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[bool]] = set()
        self._watches: list[asyncio.Task[None]] = []

    def start(self, work: Work, name: str) -> None:
        """Run ``work`` beside the requests; what it raises becomes a log line under ``name``."""
        if len(self._tasks) >= TASKS_MAX:
            work.close()
            self._log.warning("background work dropped", work=name)
            return
        task = asyncio.create_task(self._guard(work, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def keep(self, make: Callable[[], Work], name: str) -> None:
        """Run what ``make`` gives until it returns: what it raises is logged, and it is begun anew."""
        self._watches.append(asyncio.create_task(self._keep(make, name)))

    async def _keep(self, make: Callable[[], Work], name: str) -> None:
        while True:
            if await self._guard(make(), name):
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _guard(self, work: Work, name: str) -> bool:
        """Whether ``work`` came to its end."""
        try:
            await work
        except Exception as error:  # a task boundary: nobody else would hear of it
            self._log.warning("background work failed", work=name, error=type(error).__name__)
            return False
        return True

    async def close(self) -> None:
        """End what would never end, wait a moment for the rest, then cancel it."""
        for task in self._watches:
            task.cancel()
        if self._tasks:
            _done, pending = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in pending:
                task.cancel()
        await asyncio.gather(*self._watches, *self._tasks, return_exceptions=True)
