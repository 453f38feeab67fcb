"""One engine for a database URL: SQLite in WAL mode, or PostgreSQL through asyncpg."""

import sqlite3

from sqlalchemy import event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.errors import StartError

BUSY_MS = 10_000
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 30.0
"""A PostgreSQL that takes connections and says nothing is as good as away."""


def open_database(url: str) -> AsyncEngine:
    """An engine; connects lazily. Raises ``StartError`` for URLs that are not taken."""
    scheme = url.partition("://")[0]
    if scheme not in ("sqlite+aiosqlite", "postgresql+asyncpg"):
        raise StartError("`MOEGATE_DATABASE_URL` must begin with `sqlite://` or `postgresql://`")
    try:
        if scheme == "postgresql+asyncpg":
            waits = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
            return create_async_engine(
                url, pool_size=5, max_overflow=5, pool_pre_ping=True, connect_args=waits
            )
        engine = create_async_engine(url)
    except ArgumentError as error:
        raise StartError("`MOEGATE_DATABASE_URL` is not a database URL") from error
    event.listen(engine.sync_engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: sqlite3.Connection, record: object) -> None:
    """Readers do not wait for the writer, a writer waits its turn; the journal covers power loss."""
    del record
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_MS}",  # first: switching the mode has to wait its turn too
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
