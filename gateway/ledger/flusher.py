"""The thread of one journal: whatever about its files may wait for the disk happens here.

Promises: what was written before :meth:`Flusher.flushed` was called is on the disk when it returns, also
across a rotation; a disk that refuses once is not trusted again until the next start (what it failed to
keep may be gone from memory too, so that a second fsync would say yes to nothing). Does not write
records and does not decide when a segment may go: that is the journal.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from gateway.ledger.segment import Segment

SYNC_SECONDS = 0.01
CLOSE_SECONDS = 5.0

T = TypeVar("T")


class JournalDown(Exception):
    """Nothing can be journalled (disk full, read-only, SQL away too long); nothing may leave."""


class Flusher:
    """Syncs what was written, makes the next segment before it is needed, deletes what is done with."""

    def __init__(self, make_segment: Callable[[], Segment]) -> None:
        """Raises ``OSError`` when there is no room for a first segment."""
        self._make_segment = make_segment
        self.current = make_segment()
        self.fault: str | None = None
        """Why the disk is not trusted any more."""
        self._rotated: deque[Segment] = deque()
        self._finished: deque[Segment] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._spare: Segment | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def note_write(self) -> None:
        """Something was written to the current segment."""
        if not self._wake.is_set():  # asking is ten times cheaper than setting
            self._wake.set()

    def rotate(self) -> Segment:
        """Go on in the next segment: the one made ahead, or one made now. Raises ``OSError``."""
        following = self._spare
        if following is None:
            following = self._make_segment()
        else:
            self._spare = None
        # In this order, and read in the other by the thread: none of the two is ever missed.
        self._rotated.append(self.current)
        self.current = following
        self._wake.set()
        return following

    def finish(self, segment: Segment) -> None:
        """Everything in ``segment`` is in SQL: delete it when there is time."""
        self._finished.append(segment)
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until everything written so far is on the disk. Raises :class:`JournalDown`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wake.set()
        await waiter

    def close(self) -> None:
        """Bring the rest to the disk and end the thread; segments stay for the caller to close."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=CLOSE_SECONDS)
        self._sync_once()
        if self._spare is not None:
            self._spare.close(remove=True)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._sync_once()
            self._stop.wait(SYNC_SECONDS)

    def _sync_once(self) -> None:
        waiters = _empty(self._waiters)
        current = self.current
        try:
            for segment in (*_empty(self._rotated), current):
                segment.sync()
        except OSError as error:
            self.fault = error.strerror or type(error).__name__
        for waiter in waiters:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                waiter.get_loop().call_soon_threadsafe(_answer, waiter, self.fault)
        if self._spare is None and current.used > current.size // 2 and not self._stop.is_set():
            # A full disk is said by the rotation that finds no spare one.
            with contextlib.suppress(OSError):
                self._spare = self._make_segment()
        for segment in _empty(self._finished):
            segment.close(remove=True)


def _empty(queue: deque[T]) -> list[T]:
    return [queue.popleft() for _ in range(len(queue))]


def _answer(waiter: "asyncio.Future[None]", fault: str | None) -> None:
    if waiter.done():
        return
    if fault is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(JournalDown(f"the journal does not reach the disk: {fault}"))
