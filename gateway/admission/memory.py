"""Admission for one process: the same rules as the Redis twin, in dictionaries.

Atomic because nothing between the check and the reservation awaits. Does not survive the process:
at the next start every window is seeded from SQL, where replay has booked what was in doubt.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.admission.seam import (
    SEED_SECONDS,
    Ask,
    Denied,
    Grant,
    Reservation,
    Seed,
    SeedDown,
    rate_window,
    window_of,
)

ACCOUNTS_MAX = 20_000
"""Windows, about 200 bytes each."""


@dataclass(slots=True)
class _Account:
    spent: int
    reserved: int = 0


class MemoryAdmission:
    """Budgets and rates of one process. ``find_cached`` answers from the in-process cache."""

    settles_at_once = True

    def __init__(self, seed: Seed, find_cached: Callable[[bytes, float], bytes | None]) -> None:
        self._seed = seed
        self._find_cached = find_cached
        self._accounts: dict[str, _Account] = {}
        self._open: dict[str, Reservation] = {}
        self._rates: dict[str, int] = {}
        self._rate_minute = 0
        self._seeding = asyncio.Lock()

    async def admit(self, ask: Ask) -> Grant | Denied:
        """See :class:`gateway.admission.seam.Admission`."""
        left = None
        if ask.requests_per_minute is not None:
            counted = self._count(ask, ask.requests_per_minute)
            if isinstance(counted, Denied):
                return counted
            left = counted
        if ask.cache_key is not None:
            cached = self._find_cached(ask.cache_key, ask.now)
            if cached is not None:
                return Grant(cached=cached, requests_left=left)
        if not ask.limits:
            return Grant(requests_left=left)
        windows = tuple(window_of(limit, ask.now) for limit in ask.limits)
        while missing := [window for window in windows if window not in self._accounts]:
            await self._load(missing)
        return self._reserve(ask, windows, left)

    def _reserve(self, ask: Ask, windows: tuple[str, ...], left: int | None) -> Grant | Denied:
        denied: Denied | None = None
        for amount in ask.amounts_nanousd:
            denied = self._find_full(ask, windows, amount)
            if denied is None:
                for window in windows:
                    self._accounts[window].reserved += amount
                reservation = Reservation(ask.request_id, ask.organisation_id, windows, amount)
                self._open[ask.request_id] = reservation
                return Grant(reservation, requests_left=left)
        return denied or Grant(requests_left=left)

    def _find_full(self, ask: Ask, windows: tuple[str, ...], amount: int) -> Denied | None:
        """The first window without room for ``amount``."""
        for window, limit in zip(windows, ask.limits, strict=True):
            account = self._accounts[window]
            taken = account.spent + account.reserved
            if taken + amount > limit.limit_nanousd:
                return Denied("budget_exhausted", window, limit.limit_nanousd, taken)
        return None

    def _count(self, ask: Ask, limit: int) -> Denied | int:
        """How many requests of the minute are left, if any was."""
        window, left = rate_window(ask.rate_scope, ask.asked_at)
        minute = int(ask.asked_at // 60)
        if minute > self._rate_minute:
            self._rates.clear()
            self._rate_minute = minute
        count = self._rates.get(window, 0)
        if count >= limit:
            return Denied("rate_limited", window, limit, count, left)
        self._rates[window] = count + 1
        return limit - count - 1

    async def _load(self, windows: list[str]) -> None:
        try:
            # Who waits for others' windows waits no longer than for its own.
            async with asyncio.timeout(SEED_SECONDS), self._seeding:
                missing = [window for window in windows if window not in self._accounts]
                if missing:
                    booked = await self._seed(missing)
                    self._forget_idle()
                    for window in missing:
                        self._accounts.setdefault(window, _Account(booked.get(window, 0)))
        except TimeoutError as error:
            raise SeedDown("SQL does not say in time what is booked") from error

    def _forget_idle(self) -> None:
        """Days and keys pass: the windows known for longest go, if nothing is held in them. Who needs one
        again reads it from SQL."""
        if len(self._accounts) < ACCOUNTS_MAX:
            return
        idle = [window for window, account in self._accounts.items() if account.reserved == 0]
        for window in idle[: ACCOUNTS_MAX // 2]:
            del self._accounts[window]

    async def settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        """See :class:`gateway.admission.seam.Admission`."""
        held = self._open.pop(reservation.request_id, None)
        if held is None:
            return
        for window in held.windows:
            account = self._accounts.get(window)
            if account is None:
                continue  # Nothing was held in it, and it was forgotten: SQL will tell what was spent.
            account.reserved -= held.amount_nanousd
            account.spent += spent_nanousd

    async def close(self) -> None:
        """Nothing to let go of."""
