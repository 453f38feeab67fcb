"""Budgets, rates and cached answers that many processes share: the parts that stand on Redis.

Imported only where a Redis is set: its client costs a gateway without one six MiB and a tenth of a second.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from gateway.admission import Seed
from gateway.admission.redis import RedisAdmission
from gateway.cache.redis import RedisStore
from gateway.errors import StartError

TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class SharedState:
    """What one connection pool serves. Closing ``admission`` closes the pool."""

    admission: RedisAdmission
    cache: RedisStore
    ping: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """``evicts``: the policy by which it forgets keys when it is full, None if it never does."""

    version: str
    evicts: str | None


def open_shared_state(url: str, seed: Seed) -> SharedState:
    """Connects at first use; ``seed`` gives what SQL has booked. Raises ``StartError`` for a bad URL."""
    client = _open(url, TIMEOUT_SECONDS)

    async def ping() -> None:
        await client.ping()

    return SharedState(RedisAdmission(client, seed), RedisStore(client), ping)


async def ask_redis(url: str, timeout_seconds: float) -> RedisFacts:
    """What a Redis says of itself. Raises ``StartError`` for a bad URL, ``RedisError`` or ``OSError`` when it
    does not answer."""
    client = _open(url, timeout_seconds)
    try:
        about = await client.info("server")
        memory = await client.info("memory")
    finally:
        await client.aclose()
    policy = memory.get("maxmemory_policy")
    return RedisFacts(
        str(about.get("valkey_version") or about.get("redis_version")),
        None if policy in ("noeviction", None) else str(policy),
    )


def check_url(url: str) -> None:
    """Raises ``StartError`` for what is no Redis URL."""
    _open(url, TIMEOUT_SECONDS)


def _open(url: str, timeout_seconds: float) -> Redis:
    try:
        return Redis.from_url(
            url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
        )
    except ValueError:
        # Its words may quote a password that was not escaped.
        raise StartError(
            "`MOEGATE_REDIS_URL` is not a Redis URL, such as `redis://cache.internal:6379/0` (or "
            "`rediss://`, `unix://`); a password in it is percent-encoded"
        ) from None
