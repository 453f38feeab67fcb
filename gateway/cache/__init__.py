"""Answers that may be given again: exact, inside one organisation, sealed, streams as streams.

The look-up happens in admission's round trip; this package makes the key, seals what is kept and
opens what was found. Twins behind one interface: :class:`MemoryStore`, :class:`RedisStore`.
"""

from gateway.cache.entry import CacheEntry, Sealer, cache_key
from gateway.cache.store import CacheStore, MemoryStore, RedisStore

__all__ = ["CacheEntry", "CacheStore", "MemoryStore", "RedisStore", "Sealer", "cache_key"]
