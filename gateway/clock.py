"""Time and ids, injected wherever they are needed so that tests can hold them still."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """``now``: seconds since the epoch (UTC). ``monotonic``: seconds that never go back."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def utc(self) -> datetime:
        """The present moment, aware."""
        return datetime.fromtimestamp(self.now(), UTC)


def make_request_id(now: float) -> str:
    """``req_`` and 32 hex digits that sort by time: 48 bits of milliseconds, 80 random bits."""
    return f"req_{int(now * 1000):012x}{os.urandom(10).hex()}"
