"""Admission for many processes: one Lua script, one round trip, one hash slot per organisation.

Promises: a Redis that loses everything hands out no money twice. A window that Redis does not know is
seeded from SQL before it is used, and a Redis that has forgotten its *epoch* admits nobody for
``CLOSED_SECONDS``: in that time each worker, which looks every ``WATCH_SECONDS`` while it holds something,
says again what it holds. What it cannot know: what a worker held that died before it could say so, until
its journal is replayed. Calls in flight when Redis forgets may count twice in their window, never not
at all. Needs Redis 7 or Valkey 8; no modules.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Sequence
from importlib.resources import files
from typing import Protocol, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError

from gateway.admission.seam import (
    AdmissionDown,
    AdmissionRefused,
    Ask,
    Denied,
    Grant,
    Reservation,
    Seed,
    rate_window,
    window_of,
)

ROUNDS_MAX = 8
"""Closed, seeded, admitted. More than a few are needed only if Redis is emptied again and again."""
WATCH_SECONDS = 0.1
WATCH_SECONDS_MAX = 0.3
"""A connection that says nothing for so long is given up: another may lead to a Redis that is back."""
CLOSED_SECONDS = 1.0
"""Two looks that fail and one that does not, with room for a process that is kept waiting."""
NO_ENTRY = "answer|"
"""Nothing is ever kept here."""
IDLE_SECONDS = 40 * 86_400
"""A window that nobody used for longer is seeded anew; longer than any period but ``total``."""


class _Script(Protocol):
    def __call__(
        self, keys: Sequence[str | bytes], args: Sequence[str | int]
    ) -> Awaitable[object]: ...


class RedisAdmission:
    """Budgets and rates shared by every process that uses the same Redis."""

    settles_at_once = False

    def __init__(
        self, client: Redis, seed: Seed, *, closed_seconds: float = CLOSED_SECONDS
    ) -> None:
        self._client = client
        self._seed = seed
        self._closed_ms = round(closed_seconds * 1000)
        self._admit = _load(client, "admit.lua")
        self._settle = _load(client, "settle.lua")
        self._keep = _load(client, "keep.lua")
        self._name = secrets.token_hex(8)
        self._count = itertools.count()
        self._held: dict[tuple[str, str], Reservation] = {}
        self._settling: set[tuple[str, str]] = set()
        self._saying = asyncio.Lock()
        """Locked while reservations are said again: none of them is settled in between."""
        self._watch: asyncio.Task[None] | None = None
        self._is_closed = False

    async def admit(self, ask: Ask) -> Grant | Denied:
        """See :class:`gateway.admission.seam.Admission`."""
        windows = tuple(window_of(limit, ask.now) for limit in ask.limits)
        rate_key, left = rate_window(ask.rate_scope, ask.asked_at)
        prefix = _prefix(ask.organisation_id)
        keys: list[str | bytes] = [
            prefix + rate_key,
            ask.cache_key or prefix + NO_ENTRY,
            *_keys(ask.request_id, ask.organisation_id, windows),
        ]
        rate = -1 if ask.requests_per_minute is None else ask.requests_per_minute
        for _ in range(ROUNDS_MAX):
            reply = await self._call(self._admit, keys, self._admit_args(ask, rate))
            match cast("bytes", reply[0]):
                case b"ok":
                    return self._grant(ask, windows, reply)
                case b"hit":
                    left_over = _left(reply[2])
                    return Grant(cached=cast("bytes", reply[1]), requests_left=left_over)
                case b"rate":
                    return Denied("rate_limited", rate_key, rate, cast("int", reply[1]), left)
                case b"over":
                    at = cast("int", reply[1]) - 1
                    taken = int(cast("bytes", reply[2]))
                    limit = ask.limits[at].limit_nanousd
                    return Denied("budget_exhausted", windows[at], limit, taken)
                case b"closed":
                    await asyncio.sleep((cast("int", reply[1]) + 1) / 1000)
                case _:
                    await self._load(prefix, windows)
        raise AdmissionDown("budget windows vanish while they are used")

    def _admit_args(self, ask: Ask, rate: int) -> list[str | int]:
        return [
            rate,
            self._name_epoch(),
            self._closed_ms,
            IDLE_SECONDS,
            *(limit.limit_nanousd for limit in ask.limits),
            *(ask.amounts_nanousd if ask.limits else ()),
        ]

    def _name_epoch(self) -> str:
        """What an epoch is called if this very call begins it; never given twice."""
        return f"{self._name}.{next(self._count)}"

    def _grant(self, ask: Ask, windows: tuple[str, ...], reply: list[object]) -> Grant:
        if not windows:
            return Grant(requests_left=_left(reply[3]))
        epoch, amount = cast("bytes", reply[1]).decode(), int(cast("bytes", reply[2]))
        reservation = Reservation(ask.request_id, ask.organisation_id, windows, amount, epoch)
        self._held[_name(reservation)] = reservation
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._keep_watch())
        return Grant(reservation, requests_left=_left(reply[3]))

    async def _load(self, prefix: str, windows: Sequence[str]) -> None:
        booked = await self._seed(windows)
        try:
            async with self._client.pipeline(transaction=True) as pipe:
                for window in windows:
                    pipe.hsetnx(prefix + window, "seed", str(booked.get(window, 0)))
                    pipe.expire(prefix + window, IDLE_SECONDS)
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise AdmissionDown(type(error).__name__) from error

    async def settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        """See :class:`gateway.admission.seam.Admission`."""
        if self._saying.locked():
            async with self._saying:
                pass
        name = _name(reservation)
        held = self._held.get(name, reservation)
        self._settling.add(name)
        try:
            # What a dead worker left is in SQL already, and counts from there in windows without a seed.
            is_booked = held.amount_nanousd == 0
            args: list[str | int] = [spent_nanousd, held.epoch, int(is_booked)]
            keys = _keys(held.request_id, held.organisation_id, held.windows)
            await self._call(self._settle, keys, args)
        finally:
            self._settling.discard(name)
        self._held.pop(name, None)

    async def _keep_watch(self) -> None:
        """Say what is held to a Redis that does not know it any more, until nothing is held."""
        while self._held and not self._is_closed:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                async with asyncio.timeout(WATCH_SECONDS_MAX):
                    await self._say_what_is_forgotten()
            except (RedisError, OSError, AdmissionDown):
                continue  # Away: asked again in a moment.

    async def _say_what_is_forgotten(self) -> None:
        organisations = list({one.organisation_id for one in self._held.values()})
        async with self._client.pipeline(transaction=False) as pipe:
            for organisation_id in organisations:
                pipe.hget(_prefix(organisation_id) + "epoch", "name")
            found = cast("list[bytes | None]", await pipe.execute())  # redis-py: Any
        epochs = {
            organisation_id: b"" if name is None else name
            for organisation_id, name in zip(organisations, found, strict=True)
        }
        async with self._saying:
            for one in list(self._held.values()):
                known = epochs.get(one.organisation_id)
                if known is None or known == one.epoch.encode():
                    continue
                if _name(one) in self._held and _name(one) not in self._settling:
                    await self._say_again(one)

    async def _say_again(self, one: Reservation) -> None:
        keys = _keys(one.request_id, one.organisation_id, one.windows)
        args: list[str | int] = [one.amount_nanousd, self._name_epoch(), self._closed_ms]
        [epoch] = await self._call(self._keep, keys, args)
        known = msgspec.structs.replace(one, epoch=cast("bytes", epoch).decode())
        self._held[_name(one)] = known

    async def _call(
        self, script: _Script, keys: Sequence[str | bytes], args: Sequence[str | int]
    ) -> list[object]:
        """One round trip. Every script may be sent twice: a connection that has died unnoticed is no
        reason to refuse."""
        try:
            try:
                reply = await script(keys, args)
            except ConnectionLost:
                await self._client.connection_pool.disconnect(inuse_connections=False)
                reply = await script(keys, args)
        except ResponseError as error:
            raise AdmissionRefused(type(error).__name__) from error
        except (RedisError, OSError) as error:
            raise AdmissionDown(type(error).__name__) from error
        return cast("list[object]", reply) if isinstance(reply, list) else [reply]

    async def close(self) -> None:
        """Close the connections."""
        # Said beside the cancellation, which a client that times out at that very moment may swallow.
        self._is_closed = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._client.aclose()


def _load(client: Redis, name: str) -> _Script:
    text = (files("gateway.admission") / name).read_text(encoding="utf-8")
    return cast("_Script", client.register_script(text))  # redis-py: callables of Any


def _name(reservation: Reservation) -> tuple[str, str]:
    return reservation.organisation_id, reservation.request_id


def _left(said: object) -> int | None:
    """Requests of this minute that are left, where they are counted."""
    left = cast("int", said)
    return None if left < 0 else left


def _prefix(organisation_id: str) -> str:
    return f"mg:{{{organisation_id}}}:"


def _keys(request_id: str, organisation_id: str, windows: Sequence[str]) -> list[str | bytes]:
    """The reservation, the epoch, the windows: as each script takes them."""
    prefix = _prefix(organisation_id)
    return [prefix + "held|" + request_id, prefix + "epoch", *(prefix + one for one in windows)]
