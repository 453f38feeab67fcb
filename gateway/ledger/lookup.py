"""One request as it stands in the accounts, with its attempts in order."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.tables import attempts, requests


@dataclass(frozen=True, slots=True)
class BookedRequest:
    """``fields`` are the columns but for ``decision``, which :mod:`gateway.decision_record` reads."""

    decision: str
    fields: Mapping[str, object]
    attempts: tuple[Mapping[str, object], ...]


async def find_request(
    engine: AsyncEngine,
    request_id: str,
    *,
    organisation_id: str | None = None,
    team_id: str | None = None,
    key_id: str | None = None,
) -> BookedRequest | None:
    """The request, if it is booked and, where they are given, of this organisation, team and key."""
    query = select(requests).where(requests.c.request_id == request_id)
    if organisation_id is not None:
        query = query.where(requests.c.organisation_id == organisation_id)
    if team_id is not None:
        query = query.where(requests.c.team_id == team_id)
    if key_id is not None:
        query = query.where(requests.c.key_id == key_id)
    legs = select(attempts).where(attempts.c.request_id == request_id).order_by(attempts.c.ordinal)
    async with engine.connect() as connection:
        row = (await connection.execute(query)).mappings().first()
        if row is None:
            return None
        return BookedRequest(
            row["decision"],
            {str(name): value for name, value in row.items() if name != "decision"},
            tuple(
                {str(name): value for name, value in leg.items()}
                for leg in (await connection.execute(legs)).mappings()
            ),
        )
