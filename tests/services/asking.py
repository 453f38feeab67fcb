"""What tests of admission ask, and the books that it is seeded from."""

import asyncio
from collections.abc import Sequence

from gateway.admission import Ask, Denied, Grant, Limit, Reservation

SEGMENT = 256 * 1024
NOW = 1_795_000_000.0
TOTAL = Limit("key:k1", "total", 1000)
DAY = Limit("key:k1", "day", 600)


class Books:
    """Amounts booked in SQL, by window, and how often they were asked for."""

    def __init__(self) -> None:
        self.booked: dict[str, int] = {}
        self.asked = 0

    async def seed(self, windows: Sequence[str]) -> dict[str, int]:
        self.asked += 1
        await asyncio.sleep(0)
        return {window: self.booked.get(window, 0) for window in windows}


def ask(
    request_id: str,
    amount: int,
    *limits: Limit,
    less: tuple[int, ...] = (),
    rpm: int | None = None,
    now: float = NOW,
) -> Ask:
    """An ask of one key, for ``amount`` or, where that does not fit, ``less``."""
    return Ask(
        request_id=request_id,
        organisation_id="org",
        now=now,
        asked_at=now,
        limits=limits,
        amounts_nanousd=(amount, *less),
        rate_scope="key:k1",
        requests_per_minute=rpm,
    )


def held(granted: Grant | Denied) -> Reservation:
    """The reservation of a grant."""
    assert isinstance(granted, Grant)
    assert granted.reservation is not None
    return granted.reservation
