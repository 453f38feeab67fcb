"""Sealed answers kept in Redis, for every process that uses it."""

from redis.asyncio import Redis


class RedisStore:
    """Entries with a time to live in Redis: they leave by age, for Redis must not evict."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def store(self, key: bytes, value: bytes, ttl_seconds: int, now: float) -> None:
        """See :class:`gateway.cache.store.CacheStore`; ``now`` is Redis's own."""
        del now
        await self._client.set(key, value, ex=max(1, ttl_seconds))
