"""Time and ids, injected wherever they are needed so that tests can hold them still."""

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

DAY_SECONDS = 86_400
RANDOM_BYTES = 10
IDS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Clock:
    """``now``: seconds since the epoch (UTC). ``monotonic``: seconds that never go back."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def utc(self) -> datetime:
        """The present moment, aware."""
        return datetime.fromtimestamp(self.now(), UTC)


class RequestIds:
    """Makes the ids of requests; random bytes are fetched for many at once, each is given out once."""

    __slots__ = ("_at", "_random")

    def __init__(self) -> None:
        self._random = b""
        self._at = 0

    def make(self, now: float) -> str:
        """``req_`` and 32 hex digits that sort by time: 48 bits of milliseconds, 80 random bits."""
        if self._at == len(self._random):
            self._random, self._at = os.urandom(RANDOM_BYTES * IDS_AT_ONCE), 0
        begin, self._at = self._at, self._at + RANDOM_BYTES
        return f"req_{int(now * 1000):012x}{self._random[begin : self._at].hex()}"


def day_of(moment: float) -> str:
    """The UTC date of ``moment`` (seconds since the epoch): ``2026-11-23``."""
    return _date(int(moment // DAY_SECONDS))


@functools.lru_cache(maxsize=4)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).strftime("%Y-%m-%d")
