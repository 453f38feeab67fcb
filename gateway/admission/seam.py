"""The words of admission: what is asked, what is granted, what is denied."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

import msgspec

from gateway.clock import day_of

Period = Literal["day", "month", "total"]
PERIODS: tuple[Period, ...] = ("day", "month", "total")

SEED_SECONDS = 5.0
"""For SQL to say what is booked, while a client waits."""
LIMIT_NANOUSD_MAX = 9_000_000 * 10**9
"""Nine million dollars: Redis scripts compare doubles, which hold integers exactly up to 2^53."""


class Limit(msgspec.Struct, frozen=True):
    """A hard budget: at most ``limit_nanousd`` in each ``period`` (UTC) of ``scope`` (``key:ID``)."""

    scope: str
    period: Period
    limit_nanousd: int


class Ask(msgspec.Struct, frozen=True):
    """One request that wants in.

    ``amounts_nanousd`` are worst cases of what it could do, falling: the first that fits is reserved, in every
    limit. ``rate_scope`` is counted against ``requests_per_minute`` when that is given, in the minute of
    ``asked_at``. ``cache_key`` is looked up in the same step; a hit reserves nothing. ``now``, of the
    request's arrival, says in which day it is booked; both are seconds since the epoch.
    """

    request_id: str
    organisation_id: str
    now: float
    asked_at: float
    limits: tuple[Limit, ...] = ()
    amounts_nanousd: tuple[int, ...] = (0,)
    rate_scope: str = ""
    requests_per_minute: int | None = None
    cache_key: bytes | None = None


class Reservation(msgspec.Struct, frozen=True):
    """Money held for one request in ``windows`` (``scope|period|start``) until it is settled.

    ``epoch`` names the life of the store in which it was made; empty where the store dies with us.
    """

    request_id: str
    organisation_id: str
    windows: tuple[str, ...]
    amount_nanousd: int
    epoch: str = ""

    @property
    def label(self) -> str:
        """What the journal keeps of it: enough to settle it after our death."""
        return f"{self.request_id} {self.epoch}" if self.epoch else self.request_id


def left_reservation(label: str, organisation_id: str, windows: tuple[str, ...]) -> Reservation:
    """The reservation that a dead worker's journal names; what it held is known to the store alone."""
    request_id, _, epoch = label.partition(" ")
    return Reservation(request_id, organisation_id, windows, 0, epoch)


class Grant(msgspec.Struct, frozen=True):
    """Admitted; ``reservation`` is None where no hard limit stands, or on a cache hit. ``requests_left`` of this
    minute, where they are counted."""

    reservation: Reservation | None = None
    cached: bytes | None = None
    requests_left: int | None = None


class Denied(msgspec.Struct, frozen=True):
    """Not admitted. ``window`` and the amounts say which budget has how much left."""

    kind: Literal["budget_exhausted", "rate_limited"]
    window: str
    limit: int = 0
    taken: int = 0
    retry_after_seconds: float = 0.0


class AdmissionDown(Exception):
    """The store of budgets did not answer; nothing was reserved for certain, nothing may leave."""


class SeedDown(AdmissionDown):
    """SQL did not say what is booked in a window: no word on the store of budgets, or on other windows."""


class AdmissionRefused(AdmissionDown):
    """The store answered, and would not do this one thing; others may well be done."""


Seed = Callable[[Sequence[str]], Awaitable[dict[str, int]]]
"""Windows → nano-dollars already booked in SQL (everything journalled before the call included). Raises
SeedDown."""


class Admission(Protocol):
    """Reserve before, settle after."""

    settles_at_once: bool
    """Whether :meth:`settle` never waits, so that nothing can come between its steps."""

    async def admit(self, ask: Ask) -> Grant | Denied:
        """Check every limit, reserve in all or in none, look the cache up. Raises AdmissionDown."""
        ...

    async def settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        """Free the reservation and book what was spent; a second call changes nothing."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def window_of(limit: Limit, now: float) -> str:
    """``scope|period|start``: the window of ``limit`` at ``now``; starts are UTC dates."""
    return _window(limit.scope, limit.period, day_of(now))


def windows_on(scope: str, day: str) -> tuple[str, ...]:
    """Every window that something spent by ``scope`` on ``day`` (a UTC date) can count in."""
    return tuple(_window(scope, period, day) for period in PERIODS)


def _window(scope: str, period: Period, day: str) -> str:
    match period:
        case "total":
            return f"{scope}|total|"
        case "month":
            return f"{scope}|month|{day[:7]}"
        case "day":
            return f"{scope}|day|{day}"


def rate_window(scope: str, now: float) -> tuple[str, float]:
    """The minute that a request counts in, and the seconds until the next one."""
    minute = int(now // 60)
    return f"{scope}|minute|{minute}", (minute + 1) * 60 - now
