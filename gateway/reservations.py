"""The money held for one request: taken before a call, settled after it, taken anew for the next."""

import asyncio
from typing import Any

from backends.wire.failure import Failure
from gateway.admission import (
    Admission,
    AdmissionDown,
    AdmissionRefused,
    Ask,
    Denied,
    Grant,
    Reservation,
    SeedDown,
    left_reservation,
    windows_on,
)
from gateway.case import Case
from gateway.errors import Refused
from gateway.ledger import HoldRow, Journal, JournalDown
from policies.facts import Kept

RETRY_SECONDS = 0.5
PROBE_SECONDS = 0.2
"""A store that did not answer is asked by one request in this time; the others are refused at once."""


class Settler:
    """Settles reservations, and goes on trying while the store of budgets does not answer.

    Until then the money stays held: refusing early is allowed, overspending is not. The journal remembers
    what is held so, in case that we end before the store answers.
    """

    def __init__(self, admission: Admission, journal: Journal) -> None:
        self._admission = admission
        self._journal = journal
        self._is_away = False
        """Whether the store did not answer when last asked; then hardly a request waits for it again."""
        self._probe_at = 0.0
        """When the next one may, in the loop's time."""
        self._is_closed = False
        self._settling: set[asyncio.Task[bool]] = set()
        self._unsettled: dict[str, tuple[Reservation, HoldRow]] = {}
        self._retry: asyncio.Task[None] | None = None

    async def settle(self, reservation: Reservation, spent_nanousd: int) -> bool:
        """Settle now, or later if the store is down; cancelling the caller does not stop it.

        Whether nothing is lost if we end now: it is settled, or the journal knows that it is not.
        """
        if self._admission.settles_at_once:
            await self._admission.settle(reservation, spent_nanousd)
            return True
        task = asyncio.ensure_future(self._settle(reservation, spent_nanousd))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return await asyncio.shield(task)

    async def _settle(self, reservation: Reservation, spent_nanousd: int) -> bool:
        if self._is_away:
            return self._try_later(reservation, spent_nanousd)
        try:
            await self._admission.settle(reservation, spent_nanousd)
        except AdmissionDown as down:
            self._is_away = not isinstance(down, AdmissionRefused)
            return self._try_later(reservation, spent_nanousd)
        except asyncio.CancelledError:  # We end before the store has answered.
            self._remember(reservation, spent_nanousd)
            raise
        return True

    def _try_later(self, reservation: Reservation, spent_nanousd: int) -> bool:
        is_journalled = self._remember(reservation, spent_nanousd)
        if self._retry is None or self._retry.done():
            self._retry = asyncio.create_task(self._settle_later())
        return is_journalled

    def _remember(self, reservation: Reservation, spent_nanousd: int) -> bool:
        """Whether the journal had room; else it is remembered for as long as we live."""
        row = HoldRow(
            reservation.label, reservation.organisation_id, reservation.windows, spent_nanousd
        )
        self._unsettled[reservation.request_id] = (reservation, row)
        try:
            self._journal.hold(row)
        except JournalDown:
            return False
        return True

    async def _settle_later(self) -> None:
        while self._unsettled and not self._is_closed:
            await asyncio.sleep(RETRY_SECONDS)
            for request_id, (reservation, row) in list(self._unsettled.items()):
                try:
                    await self._admission.settle(reservation, row.spent_nanousd)
                except AdmissionRefused:
                    self._is_away = False
                    continue  # This one alone: the others' money is freed all the same.
                except AdmissionDown:
                    break
                self._is_away = False
                self._journal.free(row)
                self._unsettled.pop(request_id, None)

    async def admit(self, ask: Ask) -> Grant | Denied:
        """Ask for admission. Where the answer is not waited for (the store is down, the client is gone)
        the store may have granted all the same: that is given back. Raises ``AdmissionDown``."""
        if self._is_away and not self._is_turn_to_probe():
            raise AdmissionDown("it did not answer a moment ago")
        try:
            granted = await self._admission.admit(ask)
        except (
            AdmissionRefused,
            SeedDown,
        ):  # It answered, or was not the one asked, and reserved nothing.
            raise
        except BaseException as error:
            if isinstance(error, AdmissionDown):
                self._is_away = True
            if ask.limits and not self._admission.settles_at_once:
                unknown = Reservation(ask.request_id, ask.organisation_id, (), 0)
                self._try_later(unknown, 0)
            raise
        self._is_away = False
        return granted

    def _is_turn_to_probe(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._probe_at:
            return False
        self._probe_at = now + PROBE_SECONDS
        return True

    async def close(self) -> None:
        """Stop trying. What is still unsettled stays held until our journal is replayed."""
        # Said beside the cancellation, which a client that times out at that very moment may swallow.
        self._is_closed = True
        tasks: list[asyncio.Task[Any]] = [*self._settling]
        if self._retry is not None:
            tasks.append(self._retry)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def free_left(settler: Settler, journal: Journal) -> None:
    """Free what dead workers hold in the store of budgets, once, and let their folders go: not while our own
    journal has no room to remember what the store has still to be told."""
    for orphan in journal.unfreed:
        is_safe = True
        for row in orphan.attempts:
            if row.reservation_id:
                windows = windows_on(f"key:{row.key_id}", row.day)
                held = left_reservation(row.reservation_id, row.organisation_id, windows)
                is_safe &= await settler.settle(held, row.cost_nanousd)
        for hold in orphan.holds:
            held = left_reservation(hold.label, hold.organisation_id, hold.windows)
            is_safe &= await settler.settle(held, hold.spent_nanousd)
        orphan.is_freed = is_safe


class Hold:
    """The reservation of one request's present leg."""

    __slots__ = ("_count", "_is_calling", "_reservation", "_settler", "requests_left")

    def __init__(self, settler: Settler) -> None:
        self._settler = settler
        self._count = 0
        """Of holds asked for after the first: each has an id of its own, whatever became of the others."""
        self._is_calling = False
        self._reservation: Reservation | None = None
        self.requests_left: int | None = None
        """Of the key's requests of this minute, where they are counted; said by admission."""

    @property
    def reservation_label(self) -> str:
        """What the journal keeps of the present hold; empty without one."""
        return "" if self._reservation is None else self._reservation.label

    def affords(self, case: Case, kept: Kept) -> bool:
        """Whether the first call may be to ``kept``: admission had to pass over what did not fit."""
        if self._reservation is None or not case.principal.budgets:
            return True
        return worst_case(kept) <= self._reservation.amount_nanousd

    async def admit(self, ask: Ask) -> bytes | None:
        """Hold what is granted; the kept answer, if there is one: then nothing is held.

        Raises ``Refused`` (``budget_exhausted``, ``rate_limited``) and ``AdmissionDown``.
        """
        granted = await self._settler.admit(ask)
        if isinstance(granted, Denied):
            if granted.kind == "rate_limited":
                self.requests_left = 0
            raise Refused(denied_failure(granted, ask.amounts_nanousd[-1]))
        held = granted.reservation
        if held is not None and held.amount_nanousd < ask.amounts_nanousd[-1]:
            raise AdmissionDown("less is held than was asked for")
        self._reservation = held
        if granted.requests_left is not None:
            self.requests_left = granted.requests_left
        return granted.cached

    async def ensure(self, case: Case, kept: Kept) -> None:
        """Hold the worst case of ``kept``, the next to be called. Raises as :meth:`admit`."""
        if not case.principal.budgets:
            return
        amount = worst_case(kept)
        if self._reservation is not None:
            if self._reservation.amount_nanousd >= amount:
                return
            await self.settle(0)
        self._count += 1
        await self.admit(
            Ask(
                request_id=f"{case.request_id}-{self._count}",
                organisation_id=case.principal.organisation_id,
                now=case.received_at,
                asked_at=case.received_at,
                limits=case.principal.budgets,
                amounts_nanousd=(amount,),
            )
        )

    def begin_call(self) -> None:
        """A call is about to leave under this hold."""
        self._is_calling = True

    async def give_back(self) -> None:
        """The request is over. A call that nobody settled may have cost all that was held for it."""
        held = self._reservation.amount_nanousd if self._reservation is not None else 0
        await self.settle(held if self._is_calling else 0)

    async def settle(self, spent_nanousd: int) -> None:
        """Book ``spent_nanousd`` and free the rest; without a reservation nothing happens."""
        self._is_calling = False
        reservation, self._reservation = self._reservation, None
        if reservation is not None:
            await self._settler.settle(reservation, spent_nanousd)


def worst_case(kept: Kept) -> int:
    """Nano-dollars that one call to ``kept`` cannot pass."""
    return kept.worst_case_nanousd or 0


def first_amounts(case: Case) -> tuple[int, ...]:
    """What the first call may hold, falling: the worst case of the first choice, then of those behind it that
    need less. Further calls reserve anew (:meth:`Hold.ensure`)."""
    if not case.principal.budgets:
        return (0,)
    amounts: list[int] = []
    for kept in case.decision.kept:
        amount = worst_case(kept)
        if not amounts or amount < amounts[-1]:
            amounts.append(amount)
    return tuple(amounts) or (0,)


def denied_failure(denied: Denied, amount_nanousd: int) -> Failure:
    """A denial in the client's words: which limit, how much is left and needed, when to come back."""
    scope, period, _start = denied.window.split("|")
    if denied.kind == "rate_limited":
        return Failure(
            "rate_limited",
            f"this key may send {denied.limit} requests a minute; try again in "
            f"{denied.retry_after_seconds:.0f} s",
            code="rate_limit_exceeded",
            retry_after_seconds=denied.retry_after_seconds,
        )
    left = max(0, denied.limit - denied.taken)
    return Failure(
        "budget_exhausted",
        f"the {period} budget of `{scope}` is {_usd(denied.limit)} USD, {_usd(left)} USD of it are "
        f"free, and this request may cost up to {_usd(amount_nanousd)} USD; lower "
        "`max_completion_tokens` or ask for more budget",
        code="insufficient_quota",
    )


def _usd(nanousd: int) -> str:
    whole, rest = divmod(nanousd, 10**9)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
