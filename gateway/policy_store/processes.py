"""What each running process runs: written by itself on each change and every few seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.tables import processes

REPORT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A process that was not heard of for so long is gone."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process. ``versions`` are those it decides by, by scope; ``catalogue`` is its version; ``unproven`` are the
    labels of policies that should be proved of its targets, and are not."""

    process_id: str
    host: str
    pid: int
    started_at: float
    seen_at: float
    policy: str
    versions: dict[str, str]
    catalogue: str
    unproven: tuple[str, ...] = ()


async def report_process(engine: AsyncEngine, process: Process) -> None:
    """Write down what the process runs, and forget the others that are gone."""
    values = {name: getattr(process, name) for name in Process.__slots__}
    values["versions"] = orjson.dumps(process.versions, option=orjson.OPT_SORT_KEYS).decode()
    values["unproven"] = orjson.dumps(process.unproven).decode()
    mine = processes.c.process_id == process.process_id
    async with engine.begin() as connection:
        written = await connection.execute(update(processes).where(mine).values(values))
        if written.rowcount == 0:
            await connection.execute(insert(processes).values(values))
        gone = processes.c.seen_at < process.seen_at - STALE_SECONDS
        await connection.execute(delete(processes).where(gone))


async def list_processes(engine: AsyncEngine, now: float) -> list[Process]:
    """The processes that were heard of within the last minute, the oldest first."""
    query = select(processes).where(processes.c.seen_at >= now - STALE_SECONDS)
    async with engine.connect() as connection:
        found = await connection.execute(query.order_by(processes.c.started_at))
        return [_read(row) for row in found.mappings()]


def _read(row: Mapping[Any, Any]) -> Process:
    said: dict[str, Any] = dict(row)
    said["versions"] = orjson.loads(row["versions"])
    said["unproven"] = tuple(orjson.loads(row["unproven"]))
    return Process(**said)
