"""Admission for many processes: one Lua script, one round trip, one hash slot per organisation.

A window that Redis does not know is seeded from SQL before it is used, so losing Redis loses no
booked money; reservations of calls in flight at that moment are the part that SQL learns of when
they settle. Needs Redis 7 or Valkey 8; no modules.
"""

from collections.abc import Awaitable, Sequence
from importlib.resources import files
from typing import Protocol, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.admission.seam import (
    AdmissionDown,
    Ask,
    Denied,
    Grant,
    Reservation,
    Seed,
    rate_window,
    window_of,
)

SEED_ROUNDS_MAX = 3
"""A window can vanish between seeding and use only if Redis is emptied meanwhile; then give up."""


class _Script(Protocol):
    def __call__(
        self, keys: Sequence[str | bytes], args: Sequence[str | int]
    ) -> Awaitable[object]: ...


class RedisAdmission:
    """Budgets and rates shared by every process that uses the same Redis."""

    settles_at_once = False

    def __init__(self, client: Redis, seed: Seed) -> None:
        self._client = client
        self._seed = seed
        scripts = files("gateway.admission")
        self._admit = cast(
            "_Script", client.register_script((scripts / "admit.lua").read_text(encoding="utf-8"))
        )  # redis-py types its scripts as callables of Any
        self._settle = cast(
            "_Script", client.register_script((scripts / "settle.lua").read_text(encoding="utf-8"))
        )  # as above

    async def admit(self, ask: Ask) -> Grant | Denied:
        """See :class:`gateway.admission.seam.Admission`."""
        windows = tuple(window_of(limit, ask.now) for limit in ask.limits)
        rate_key, left = rate_window(ask.rate_scope, ask.now)
        prefix = _prefix(ask.organisation_id)
        keys: list[str | bytes] = [
            prefix + rate_key,
            ask.cache_key or b"",
            prefix + "held|" + ask.request_id,
            *(prefix + window for window in windows),
        ]
        rate = -1 if ask.requests_per_minute is None else ask.requests_per_minute
        args: list[str | int] = [
            rate,
            ask.amount_nanousd,
            *(limit.limit_nanousd for limit in ask.limits),
        ]
        for _ in range(SEED_ROUNDS_MAX):
            reply = await self._call(self._admit, keys, args)
            verdict = cast("bytes", reply[0])
            if verdict == b"ok":
                if not windows:
                    return Grant()
                return Grant(
                    Reservation(ask.request_id, ask.organisation_id, windows, ask.amount_nanousd)
                )
            if verdict == b"hit":
                return Grant(cached=cast("bytes", reply[1]))
            if verdict == b"rate":
                return Denied("rate_limited", rate_key, rate, cast("int", reply[1]), left)
            if verdict == b"over":
                at = cast("int", reply[1]) - 1
                taken = int(cast("bytes", reply[2]))
                return Denied("budget_exhausted", windows[at], ask.limits[at].limit_nanousd, taken)
            await self._load(prefix, windows)
        raise AdmissionDown("budget windows vanish while they are used")

    async def _load(self, prefix: str, windows: Sequence[str]) -> None:
        booked = await self._seed(windows)
        try:
            async with self._client.pipeline(transaction=True) as pipe:
                for window in windows:
                    pipe.hsetnx(prefix + window, "spent", str(booked.get(window, 0)))
                    pipe.hsetnx(prefix + window, "reserved", "0")
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise AdmissionDown(type(error).__name__) from error

    async def settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        """See :class:`gateway.admission.seam.Admission`."""
        held = _prefix(reservation.organisation_id) + "held|" + reservation.request_id
        await self._call(self._settle, [held], [spent_nanousd])

    async def _call(
        self, script: _Script, keys: Sequence[str | bytes], args: Sequence[str | int]
    ) -> list[object]:
        try:
            reply = await script(keys, args)
        except (RedisError, OSError, TimeoutError) as error:
            raise AdmissionDown(type(error).__name__) from error
        return cast("list[object]", reply) if isinstance(reply, list) else [reply]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _prefix(organisation_id: str) -> str:
    return f"mg:{{{organisation_id}}}:"
