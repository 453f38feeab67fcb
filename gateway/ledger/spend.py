"""What SQL has booked in a budget's window: where a window of admission starts from."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.tables import attempts


async def booked(engine: AsyncEngine, windows: Sequence[str]) -> dict[str, int]:
    """Nano-dollars booked in each of ``windows`` (``key:ID|day|2026-11-23``, ``…|month|2026-11``,
    ``…|total|``), attempts in doubt at their bound. Raises ``SQLAlchemyError``, ``ValueError``."""
    found: dict[str, int] = {}
    async with engine.connect() as connection:
        for window in windows:
            scope, period, start = window.split("|")
            kind, _, identifier = scope.partition(":")
            if kind != "key":
                raise ValueError(f"unknown scope `{scope}`")
            query = select(func.coalesce(func.sum(attempts.c.cost_nanousd), 0)).where(
                attempts.c.key_id == identifier
            )
            if period == "day":
                query = query.where(attempts.c.day == start)
            elif period == "month":
                query = query.where(attempts.c.day.between(f"{start}-01", f"{start}-31"))
            found[window] = int((await connection.execute(query)).scalar_one())
    return found
