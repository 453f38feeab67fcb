"""Where sealed answers are kept: in this process (Redis: :mod:`gateway.cache.redis`)."""

from collections import OrderedDict
from typing import Protocol


class CacheStore(Protocol):
    """Keeps sealed answers for a while. Losing one is harmless."""

    async def store(self, key: bytes, value: bytes, ttl_seconds: int, now: float) -> None:
        """Keep ``value`` for ``ttl_seconds``. Raises ``RedisError`` or ``OSError`` when it cannot."""
        ...


class MemoryStore:
    """Least recently used entries of one process, bounded in bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._entries: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def find(self, key: bytes, now: float) -> bytes | None:
        """The value kept under ``key``, or None when it is not there or too old."""
        found = self._entries.get(key)
        if found is None:
            return None
        if found[1] <= now:
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return found[0]

    async def store(self, key: bytes, value: bytes, ttl_seconds: int, now: float) -> None:
        """See :class:`CacheStore`."""
        if key in self._entries:
            self._forget(key)
        if len(value) > self._bytes_max:
            return
        self._entries[key] = (value, now + ttl_seconds)
        self._bytes += len(value)
        while self._bytes > self._bytes_max:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: bytes) -> None:
        self._bytes -= len(self._entries.pop(key)[0])
