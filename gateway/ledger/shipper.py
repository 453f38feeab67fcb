"""Brings journalled rows into SQL, in batches, each once: insert-or-ignore by id, in one transaction.

Promises: a row leaves the journal only after its commit; while SQL is away rows wait and nothing is lost;
words that SQL cannot hold (too long, a NUL) are cut to fit; a batch that SQL refuses for its content is
tried row by row, and a row that it will never take is logged and set aside in a file rather than lost
or retried for ever. One bad row never holds up the others.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

import msgspec
from sqlalchemy import String, Table
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import FilteringBoundLogger

from gateway.ledger.journal import Journal
from gateway.ledger.rows import AttemptRow, Row
from gateway.ledger.tables import attempts, requests

SHIP_SECONDS = 0.2
ROWS_MAX = 512
"""In one transaction."""
ROWS_AT_ONCE = 64
"""Bounds how long requests wait for rows to be made ready: about 15 µs each."""
ROWS_A_STATEMENT = (256, 32, 4, 1)
"""Sizes of the statements that SQLite gets; it takes 32766 parameters in one (sqlite.org/limits.html)."""
BATCH_SECONDS_MAX = 30.0
RETRY_SECONDS_MAX = 10.0
CLOSE_SECONDS = 5.0
REFUSAL_CLASSES = ("22", "23")
"""SQLSTATE classes (PostgreSQL 18, appendix A): data exception, integrity constraint violation."""

FOREIGN = frozenset(
    {
        "request_model", "labels", "policy", "target", "provider", "model", "response_model",
        "raw_finish_reason", "dropped",
    }
)  # fmt: skip
"""Columns with others' words. The rest are ids and dates of ours, words of closed sets, and JSON."""

Values = tuple[object, ...]


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
        dialect = engine.dialect.name
        self._attempts = _Insert(attempts, "attempt_id", dialect)
        self._requests = _Insert(requests, "request_id", dialect)
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ship what dead workers left, if SQL takes it now, and go on in the background."""
        try:
            await self.drain()
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

    async def adopt(self) -> None:
        """Take over what workers left that died meanwhile. Raises ``OSError`` and ``JournalDown``."""
        found = await asyncio.to_thread(self._journal.find_left)
        if found:
            async with self._turn:
                self._journal.adopt(found)

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
        for number, row in enumerate(rows, 1):
            if isinstance(row, AttemptRow):
                legs.append(self._attempts.values(row))
            else:
                asked.append(self._requests.values(row))
            if number % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(BATCH_SECONDS_MAX), self._engine.begin() as connection:
            for insert, values in ((self._attempts, legs), (self._requests, asked)):
                for statement, parameters in insert.batches(values):
                    await connection.exec_driver_sql(statement, parameters)

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


class _Insert:
    """One table's statement and the values for it, in the driver's own form.

    Three times cheaper a row than a Core insert, which binds every value by name; the values are
    parameters all the same.
    """

    def __init__(self, table: Table, key: str, dialect: str) -> None:
        names = [column.name for column in table.columns]
        self._is_postgresql = dialect == "postgresql"
        marks = [f"${at}" if self._is_postgresql else "?" for at in range(1, len(names) + 1)]
        row = f"({', '.join(marks)})"
        self._statements = {
            count: (
                f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([row] * count)} "  # noqa: S608  # names of our own tables
                f"ON CONFLICT ({key}) DO NOTHING"
            )
            for count in ((1,) if self._is_postgresql else ROWS_A_STATEMENT)
        }
        self._get = attrgetter(*names)
        self._texts = tuple(
            (at, column.type.length)
            for at, column in enumerate(table.columns)
            if isinstance(column.type, String) and column.name in FOREIGN
        )

    def batches(
        self, rows: Sequence[Values]
    ) -> Iterator[tuple[str, list[Values] | tuple[object, ...]]]:
        """Statements with their parameters, for all of ``rows``.

        PostgreSQL takes many rows for one statement in one go. SQLite's driver runs a statement a row and
        lets go of the interpreter's lock around each, which the busy event loop then does not give back for
        milliseconds; so it gets statements of many rows, in a few sizes that it can keep prepared.
        """
        if self._is_postgresql:
            if rows:
                yield self._statements[1], list(rows)
            return
        at = 0
        for count, statement in self._statements.items():
            while len(rows) - at >= count:
                chunk = rows[at : at + count]
                at += count
                yield statement, tuple(itertools.chain.from_iterable(chunk))

    def values(self, row: Row) -> Values:
        """The row's columns in order; words are cut to what their column holds."""
        values: list[object] = list(self._get(row))
        for at, length_max in self._texts:
            value = values[at]
            if isinstance(value, tuple):
                value = values[at] = ",".join(value)
            if isinstance(value, str):
                if "\0" in value:
                    value = values[at] = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
                if length_max is not None and len(value) > length_max:
                    values[at] = value[:length_max]
        return tuple(values)
