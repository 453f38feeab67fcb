"""Past requests out of SQL, for :mod:`policies.replay`: page by page, decisions only, for there is nothing else."""

import zlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.tables import requests, teams
from policies.facts import Facts, Quote
from policies.replay import Past

PAGE_ROWS = 1000
HASHES = 2**32


class _Kept(msgspec.Struct, frozen=True):
    target: str


class _Decision(msgspec.Struct, frozen=True):
    kept: tuple[_Kept, ...]


class _Record(msgspec.Struct, frozen=True):
    """Of a recorded decision, what a replay needs."""

    facts: Facts
    quotes: dict[str, Quote]
    decision: _Decision


_decoder = msgspec.json.Decoder(_Record)


@dataclass(frozen=True, slots=True)
class Span:
    """Which requests: from ``since`` (inclusive) to ``until`` (exclusive), seconds since the epoch; of ``team`` by
    its name, if given."""

    since: float
    until: float
    team: str | None = None

    def condition(self) -> ColumnElement[bool]:
        """As SQL has it."""
        found = and_(requests.c.received_at >= self.since, requests.c.received_at < self.until)
        if self.team is None:
            return found
        named = select(teams.c.team_id).where(teams.c.name == self.team)
        return and_(found, requests.c.team_id.in_(named))


async def count_past(engine: AsyncEngine, span: Span) -> int:
    """How many requests there are."""
    async with engine.connect() as connection:
        found = await connection.execute(
            select(func.count()).select_from(requests).where(span.condition())
        )
        return int(found.scalar() or 0)


async def read_past(
    engine: AsyncEngine, span: Span, share: float = 1.0
) -> AsyncGenerator[Past | None]:
    """The requests; None in the place of one that ``share`` leaves out, the same ones each time."""
    query = select(requests.c.request_id, requests.c.decision).where(span.condition())
    limit = share * HASHES
    async with engine.connect() as connection:
        rows = await connection.stream(query.execution_options(yield_per=PAGE_ROWS))
        async for request_id, decision in rows:
            if share < 1.0 and zlib.crc32(str(request_id).encode()) >= limit:
                yield None
                continue
            record = _decoder.decode(decision)
            kept = record.decision.kept
            yield Past(request_id, record.facts, record.quotes, kept[0].target if kept else None)
