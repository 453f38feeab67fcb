"""Usage reports: what was used and what it cost, by team, key, model, target or day."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.errors import StartError
from gateway.ledger.tables import attempts, keys, organisations, teams

By = Literal["team", "key", "model", "target", "day"]

GROUPS: Mapping[By, tuple[str, ...]] = {
    "team": ("organisation", "team"),
    "key": ("key_id", "name"),
    "model": ("model",),
    "target": ("target",),
    "day": ("day",),
}
"""What tells the lines of a report apart: two organisations may each have a team of one name."""


class UsageLine(msgspec.Struct, frozen=True):
    """One line of a report. ``group`` are the values of ``GROUPS``; ``requests`` counts requests with at
    least one attempt in this group; ``in_doubt`` counts attempts that are booked at their bound."""

    group: tuple[str, ...]
    requests: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    reasoning_tokens: int
    in_doubt: int
    cost_nano_usd: int


def parse_since(text: str, now: datetime) -> str:
    """``7d`` or a date as the UTC date it means. Raises ``StartError``."""
    if match := re.fullmatch(r"(\d{1,5})d", text):
        return (now.astimezone(UTC) - timedelta(days=int(match[1]))).strftime("%Y-%m-%d")
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d")
    except ValueError:
        raise StartError(
            f"`{text}` is neither a number of days (7d) nor a date (2026-11-23)"
        ) from None


async def usage_report(
    engine: AsyncEngine, *, by: By, since_day: str | None, organisation: str | None = None
) -> list[UsageLine]:
    """The lines, the dearest first (days in order), of everybody or of one ``organisation`` by its name;
    ``since_day`` is a UTC date, inclusive. Raises ``StartError`` for an organisation that is not there."""
    columns = {
        "organisation": func.coalesce(organisations.c.name, attempts.c.organisation_id),
        "team": func.coalesce(teams.c.name, attempts.c.team_id),
        "key_id": attempts.c.key_id,
        "name": func.coalesce(keys.c.name, ""),
        "model": attempts.c.model,
        "target": attempts.c.target,
        "day": attempts.c.day,
    }
    group = [columns[name] for name in GROUPS[by]]
    total = func.coalesce(func.sum(attempts.c.cost_nanousd), 0)
    query = (
        select(
            *group,
            func.count(attempts.c.request_id.distinct()),
            func.count(),
            func.coalesce(func.sum(attempts.c.input_tokens), 0),
            func.coalesce(func.sum(attempts.c.output_tokens), 0),
            func.coalesce(func.sum(attempts.c.cache_read_tokens), 0),
            func.coalesce(func.sum(attempts.c.reasoning_tokens), 0),
            func.coalesce(func.sum(case((attempts.c.state == "in_doubt", 1), else_=0)), 0),
            total,
        )
        .select_from(
            attempts.outerjoin(teams, teams.c.team_id == attempts.c.team_id)
            .outerjoin(keys, keys.c.key_id == attempts.c.key_id)
            .outerjoin(organisations, organisations.c.organisation_id == attempts.c.organisation_id)
        )
        .group_by(*group)
        .order_by(*([] if by == "day" else [total.desc()]), *group)
    )
    if since_day is not None:
        query = query.where(attempts.c.day >= since_day)
    if organisation is not None:
        query = query.where(organisations.c.name == organisation)
    async with engine.connect() as connection:
        rows = (await connection.execute(query)).all()
        if not rows and organisation is not None:
            known = select(organisations.c.name).where(organisations.c.name == organisation)
            if (await connection.execute(known)).first() is None:
                raise StartError(f"there is no organisation `{organisation}`")
    at = len(group)
    return [
        UsageLine(tuple(map(str, row[:at])), *(int(value) for value in row[at:])) for row in rows
    ]
