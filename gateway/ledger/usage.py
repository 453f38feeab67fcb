"""Usage reports: what was used and what it cost, by team, key, model, target or day."""

from typing import Literal

import msgspec
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.tables import attempts, keys, teams

By = Literal["team", "key", "model", "target", "day"]


class UsageLine(msgspec.Struct, frozen=True):
    """One line of a report. ``requests`` counts requests with at least one attempt in this group;
    ``in_doubt`` counts attempts that are booked at their bound."""

    name: str
    requests: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    reasoning_tokens: int
    in_doubt: int
    cost_nano_usd: int


async def usage_report(engine: AsyncEngine, *, by: By, since_day: str | None) -> list[UsageLine]:
    """The lines, the dearest first (days in order); ``since_day`` is a UTC date, inclusive."""
    group = {
        "team": func.coalesce(teams.c.name, attempts.c.team_id),
        "key": func.coalesce(keys.c.name, "") + " " + attempts.c.key_id,
        "model": attempts.c.model,
        "target": attempts.c.target,
        "day": attempts.c.day,
    }[by]
    total = func.coalesce(func.sum(attempts.c.cost_nanousd), 0)
    query = (
        select(
            group,
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
            attempts.outerjoin(teams, teams.c.team_id == attempts.c.team_id).outerjoin(
                keys, keys.c.key_id == attempts.c.key_id
            )
        )
        .group_by(group)
        .order_by(group if by == "day" else total.desc(), group)
    )
    if since_day is not None:
        query = query.where(attempts.c.day >= since_day)
    async with engine.connect() as connection:
        rows = (await connection.execute(query)).all()
    return [UsageLine(str(row[0]).strip(), *(int(value) for value in row[1:])) for row in rows]
