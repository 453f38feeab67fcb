"""Brings journalled rows into SQL, in batches, each once: insert-or-ignore by id, in one transaction.

Promises: a row leaves the journal only after its commit; while SQL is away rows wait and nothing is lost;
a batch that SQL refuses as a whole is tried row by row, and a row that it will never take is logged and
set aside in a file rather than lost or retried for ever.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import FilteringBoundLogger

from gateway.ledger.journal import Journal
from gateway.ledger.rows import AttemptRow, Row
from gateway.ledger.tables import attempts, requests

SHIP_SECONDS = 0.2
ROWS_MAX = 500
RETRY_SECONDS_MAX = 10.0

Values = dict[str, object]


class Shipper:
    """Ships one journal in the background."""

    def __init__(
        self, journal: Journal, engine: AsyncEngine, log: FilteringBoundLogger, refused: Path
    ) -> None:
        """``refused`` is the file for rows that SQL will never take."""
        self._journal = journal
        self._engine = engine
        self._log = log
        self._refused = refused
        insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._insert_attempts = insert(attempts).on_conflict_do_nothing(
            index_elements=["attempt_id"]
        )
        self._insert_requests = insert(requests).on_conflict_do_nothing(
            index_elements=["request_id"]
        )
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ship what dead workers left, if SQL takes it now, and go on in the background."""
        try:
            await self.drain()
            self._journal.forget_replayed()
        except (SQLAlchemyError, OSError) as error:
            self._log.warning("accounts wait for SQL", error=type(error).__name__)
        self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Ship everything that is there now. Raises ``SQLAlchemyError`` or ``OSError``."""
        async with self._turn:
            left = self._journal.unshipped
            while left > 0:
                shipped = await self._ship(min(ROWS_MAX, left))
                if shipped == 0:
                    return
                left -= shipped

    async def _run(self) -> None:
        pause = SHIP_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                await self.drain()
                self._journal.forget_replayed()
                pause = SHIP_SECONDS
            except (SQLAlchemyError, OSError) as error:
                pause = min(RETRY_SECONDS_MAX, pause * 2)
                self._log.warning(
                    "accounts wait for SQL",
                    error=type(error).__name__,
                    rows=self._journal.unshipped,
                )

    async def _ship(self, rows_max: int) -> int:
        rows = self._journal.take(rows_max)
        if not rows:
            return 0
        try:
            await self._insert(rows)
        except (IntegrityError, DataError):
            for row in rows:
                await self._insert_or_set_aside(row)
        self._journal.shipped(len(rows))
        return len(rows)

    async def _insert(self, rows: Sequence[Row]) -> None:
        legs = [_attempt_values(row) for row in rows if isinstance(row, AttemptRow)]
        asked = [_values(row, requests) for row in rows if not isinstance(row, AttemptRow)]
        async with self._engine.begin() as connection:
            if legs:
                await connection.execute(self._insert_attempts, legs)
            if asked:
                await connection.execute(self._insert_requests, asked)

    async def _insert_or_set_aside(self, row: Row) -> None:
        try:
            await self._insert([row])
        except (IntegrityError, DataError) as error:
            line = msgspec.json.encode(row) + b"\n"
            await asyncio.to_thread(_append, self._refused, line)
            self._log.error(
                "SQL refuses a row", error=type(error).__name__, file=str(self._refused)
            )

    async def close(self) -> None:
        """Ship what is left, if SQL takes it; the journal keeps the rest for the next start."""
        if self._task is not None:
            self._task.cancel()
        try:
            async with asyncio.timeout(5.0):
                await self.drain()
                self._journal.forget_replayed()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            self._log.warning("accounts left in the journal", error=type(error).__name__)


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)


def _attempt_values(row: AttemptRow) -> Values:
    return _values(row, attempts)


def _values(row: Row, table: Table) -> Values:
    values: Values = {}
    for name in table.columns.keys():  # noqa: SIM118  # a column collection iterates over columns
        value: object = getattr(row, name)
        values[name] = ",".join(value) if isinstance(value, tuple) else value
    return values
