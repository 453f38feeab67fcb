"""The money held for one request: taken before a call, settled after it, taken anew for the next."""

import asyncio

from backends.wire.failure import Failure
from gateway.admission import (
    Admission,
    AdmissionDown,
    AdmissionRefused,
    Ask,
    Denied,
    Grant,
    Reservation,
)
from gateway.case import Case
from gateway.errors import Refused

RETRY_SECONDS = 0.5


class Settler:
    """Settles reservations, and goes on trying while the store of budgets does not answer.

    Until then the money stays held: refusing early is allowed, overspending is not.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._unsettled: dict[str, tuple[Reservation, int]] = {}
        self._retry: asyncio.Task[None] | None = None

    async def settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        """Settle now, or later if the store is down; cancelling the caller does not stop it."""
        if self._admission.settles_at_once:
            await self._admission.settle(reservation, spent_nanousd)
        else:
            await asyncio.shield(asyncio.ensure_future(self._settle(reservation, spent_nanousd)))

    async def _settle(self, reservation: Reservation, spent_nanousd: int) -> None:
        try:
            await self._admission.settle(reservation, spent_nanousd)
        except AdmissionDown:
            self._try_later(reservation, spent_nanousd)

    def _try_later(self, reservation: Reservation, spent_nanousd: int) -> None:
        self._unsettled[reservation.request_id] = (reservation, spent_nanousd)
        if self._retry is None or self._retry.done():
            self._retry = asyncio.create_task(self._settle_later())

    async def _settle_later(self) -> None:
        while self._unsettled:
            await asyncio.sleep(RETRY_SECONDS)
            for request_id, (reservation, spent) in list(self._unsettled.items()):
                try:
                    await self._admission.settle(reservation, spent)
                except AdmissionRefused:
                    continue  # This one alone: the others' money is freed all the same.
                except AdmissionDown:
                    break
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
        """Stop trying. What is still unsettled stays held until its journal is replayed."""
        if self._retry is not None:
            self._retry.cancel()


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
