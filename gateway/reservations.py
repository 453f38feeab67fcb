"""The money held for one request: taken before a call, settled after it, taken anew for the next."""

import asyncio
import contextlib

from backends.wire.failure import Failure
from gateway.admission import (
    Admission,
    AdmissionDown,
    AdmissionRefused,
    Ask,
    Denied,
    Grant,
    Reservation,
    left_reservation,
    windows_on,
)
from gateway.case import Case
from gateway.errors import Refused
from gateway.ledger import HoldRow, Journal, JournalDown

RETRY_SECONDS = 0.5


class Settler:
    """Settles reservations, and goes on trying while the store of budgets does not answer.

    Until then the money stays held: refusing early is allowed, overspending is not. The journal remembers
    what is held so, in case that we end before the store answers.
    """

    def __init__(self, admission: Admission, journal: Journal) -> None:
        self._admission = admission
        self._journal = journal
        self._is_away = False
        """Whether the store did not answer when last asked; then no request waits for it again."""
        self._unsettled: dict[str, tuple[Reservation, HoldRow]] = {}
        self._retry: asyncio.Task[None] | None = None

    async def settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        """Settle now, or later if the store is down; cancelling the caller does not stop it."""
        if self._admission.settles_at_once:
            await self._admission.settle(reservation, spent_nanousd)
        else:
            await asyncio.shield(asyncio.ensure_future(self._settle(reservation, spent_nanousd)))

    async def _settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        if self._is_away:
            self._try_later(reservation, spent_nanousd)
            return
        try:
            await self._admission.settle(reservation, spent_nanousd)
        except AdmissionDown as down:
            self._is_away = not isinstance(down, AdmissionRefused)
            self._try_later(reservation, spent_nanousd)

    def _try_later(self, reservation: Reservation, spent_nanousd: int) -> None:
        row = HoldRow(
            reservation.label, reservation.organisation_id, reservation.windows, spent_nanousd
        )
        # Without room in the journal it is remembered for as long as we live.
        with contextlib.suppress(JournalDown):
            self._journal.hold(row)
        self._unsettled[reservation.request_id] = (reservation, row)
        if self._retry is None or self._retry.done():
            self._retry = asyncio.create_task(self._settle_later())

    async def _settle_later(self) -> None:
        while self._unsettled:
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
        try:
            return await self._admission.admit(ask)
        except BaseException:
            if ask.limits and not self._admission.settles_at_once:
                unknown = Reservation(ask.request_id, ask.organisation_id, (), 0)
                self._try_later(unknown, 0)
            raise

    async def close(self) -> None:
        """Stop trying. What is still unsettled stays held until our journal is replayed."""
        if self._retry is not None:
            self._retry.cancel()
            await asyncio.gather(self._retry, return_exceptions=True)


async def free_left(settler: Settler, journal: Journal) -> None:
    """Free what dead workers hold in the store of budgets, once, and let their folders go."""
    for orphan in journal.unfreed:
        for row in orphan.attempts:
            if row.reservation_id:
                windows = windows_on(f"key:{row.key_id}", row.day)
                held = left_reservation(row.reservation_id, row.organisation_id, windows)
                await settler.settle(held, row.cost_nanousd)
        for hold in orphan.holds:
            held = left_reservation(hold.label, hold.organisation_id, hold.windows)
            await settler.settle(held, hold.spent_nanousd)
        orphan.is_freed = True


class Hold:
    """The reservation of one request's present leg."""

    __slots__ = ("_is_calling", "_reservation", "_settler")

    def __init__(self, settler: Settler) -> None:
        self._settler = settler
        self._is_calling = False
        self._reservation: Reservation | None = None

    @property
    def reservation_label(self) -> str:
        """What the journal keeps of the present hold; empty without one."""
        return "" if self._reservation is None else self._reservation.label

    def take(self, reservation: Reservation | None) -> None:
        """Hold what admission granted."""
        self._reservation = reservation

    async def ensure(self, case: Case, attempts: int) -> None:
        """Hold the worst case of what is still to be tried, if an earlier leg has used the hold up.

        Raises ``Refused`` (``budget_exhausted``) and ``AdmissionDown``.
        """
        if self._reservation is not None or not case.principal.budgets:
            return
        ask = Ask(
            request_id=f"{case.request_id}-{attempts + 1}",
            organisation_id=case.principal.organisation_id,
            now=case.received_at,
            limits=case.principal.budgets,
            amount_nanousd=worst_case(case),
        )
        granted = await self._settler.admit(ask)
        if isinstance(granted, Denied):
            raise Refused(denied_failure(granted))
        self._reservation = granted.reservation

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


def worst_case(case: Case) -> int:
    """Nano-dollars that no single leg of this request can pass."""
    kept = case.decision.kept[: case.decision.attempts_max]
    return max((one.worst_case_nanousd or 0 for one in kept), default=0)


def denied_failure(denied: Denied) -> Failure:
    """A denial in the client's words: which limit, how much is left, when to come back."""
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
        "free, and this request may cost more; lower `max_completion_tokens` or ask for more budget",
        code="insufficient_quota",
    )


def _usd(nanousd: int) -> str:
    whole, rest = divmod(nanousd, 10**9)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
