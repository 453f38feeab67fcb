"""Answers that may be given again: exact, inside one organisation, sealed, streams as streams.

The look-up happens in admission's round trip; this package makes the key, seals what is kept and
opens what was found. Twins behind one interface: :class:`MemoryStore`, and
:mod:`gateway.cache.redis` where a Redis is set.
"""

from gateway.cache.entry import CacheEntry, cache_key, open_entry, seal_entry
from gateway.cache.store import CacheStore, MemoryStore

__all__ = ["CacheEntry", "CacheStore", "MemoryStore", "cache_key", "open_entry", "seal_entry"]
