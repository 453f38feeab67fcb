"""Work that no request waits for: started, bounded, and its failures logged."""

import asyncio
from collections.abc import Coroutine

from structlog.typing import FilteringBoundLogger

TASKS_MAX = 1000
"""More work than this at once is dropped: what runs here may be lost without harm."""


class Background:
    """Holds the tasks so that they live to their end."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run ``work`` beside the requests; what it raises becomes a log line under ``name``."""
        if len(self._tasks) >= TASKS_MAX:
            work.close()
            self._log.warning("background work dropped", work=name)
            return
        task = asyncio.create_task(self._guard(work, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[object, object, None], name: str) -> None:
        try:
            await work
        except Exception as error:  # a task boundary: nobody else would hear of it
            self._log.warning("background work failed", work=name, error=type(error).__name__)

    async def close(self) -> None:
        """Wait a moment for what runs, then cancel it."""
        if self._tasks:
            _done, pending = await asyncio.wait(self._tasks, timeout=2.0)
            for task in pending:
                task.cancel()
