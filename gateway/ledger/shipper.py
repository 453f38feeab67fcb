"""Brings journalled rows into SQL, in batches, each once: insert-or-ignore by id, in one transaction.

Promises: a row leaves the journal only after its commit; while SQL is away rows wait and nothing is lost;
words that SQL cannot hold (too long, a NUL) are cut to fit; a batch that SQL refuses for its content is
tried row by row, and a row that it will never take is logged and set aside in a file rather than lost
or retried for ever. One bad row never holds up the others.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from sqlalchemy import String, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import FilteringBoundLogger

from gateway.ledger.journal import Journal
from gateway.ledger.rows import AttemptRow, Row
from gateway.ledger.tables import attempts, requests

SHIP_SECONDS = 0.2
ROWS_MAX = 200
"""Bounds how long one batch keeps the loop busy: about 25 µs a row."""
BATCH_SECONDS_MAX = 30.0
RETRY_SECONDS_MAX = 10.0
CLOSE_SECONDS = 5.0
REFUSAL_CLASSES = ("22", "23")
"""SQLSTATE classes (PostgreSQL 18, appendix A): data exception, integrity constraint violation."""

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
        self._attempt_columns = _columns(attempts)
        self._request_columns = _columns(requests)
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
            except (
                Exception
            ) as error:  # the task's boundary: accounts that stop shipping fill the disk
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
        except (DBAPIError, OverflowError, UnicodeError) as error:
            if not _is_refusal(error):
                raise
            for row in rows:
                await self._insert_or_set_aside(row)
        self._journal.shipped(len(rows))
        return len(rows)

    async def _insert(self, rows: Sequence[Row]) -> None:
        legs: list[Values] = []
        asked: list[Values] = []
        for row in rows:
            if isinstance(row, AttemptRow):
                legs.append(_values(row, self._attempt_columns))
            else:
                asked.append(_values(row, self._request_columns))
        async with asyncio.timeout(BATCH_SECONDS_MAX), self._engine.begin() as connection:
            if legs:
                await connection.execute(self._insert_attempts, legs)
            if asked:
                await connection.execute(self._insert_requests, asked)

    async def _insert_or_set_aside(self, row: Row) -> None:
        try:
            await self._insert([row])
        except (DBAPIError, OverflowError, UnicodeError) as error:
            if not _is_refusal(error):
                raise
            line = msgspec.json.encode(row) + b"\n"
            await asyncio.to_thread(_append, self._refused, line)
            self._log.error(
                "SQL refuses a row", error=type(error).__name__, file=str(self._refused)
            )

    async def close(self) -> None:
        """Ship what is left, if SQL takes it; the journal keeps the rest for the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.drain()
                self._journal.forget_replayed()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            self._log.warning("accounts left in the journal", error=type(error).__name__)


def _is_refusal(error: Exception) -> bool:
    """Whether it is the row that SQL does not want, rather than SQL that does not work."""
    if isinstance(error, IntegrityError | DataError | OverflowError | UnicodeError):
        return True
    # asyncpg's own words reach us unsorted, with PostgreSQL's code.
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(state, str) and state[:2] in REFUSAL_CLASSES


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)


def _columns(table: Table) -> tuple[tuple[str, int | None], ...]:
    """Name of each column, and how many characters it holds."""
    return tuple(
        (column.name, column.type.length if isinstance(column.type, String) else None)
        for column in table.columns
    )


def _values(row: Row, columns: tuple[tuple[str, int | None], ...]) -> Values:
    values: Values = {}
    for name, length_max in columns:
        value: object = getattr(row, name)
        if isinstance(value, tuple):
            value = ",".join(value)
        if isinstance(value, str):
            if "\0" in value:
                value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
            if length_max is not None:
                value = value[:length_max]
        values[name] = value
    return values
