"""How Alembic reaches the database: one connection, one transaction, also for two that run at once.

SQLite too gets all of it or nothing: its driver would begin the transaction only before the first
insert, and a process that dies between two tables would leave a schema that no later start can mend.
"""

import asyncio
import sqlite3

from alembic import context
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.ledger.store import BUSY_MS
from gateway.ledger.tables import metadata

LOCK = 7_246_113
"""Any number, the same in every moegate: two migrations of one PostgreSQL take turns."""


def _run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _begin_ourselves(engine: AsyncEngine) -> None:
    def connect(connection: sqlite3.Connection, record: object) -> None:
        del record
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", connect)
    event.listen(engine.sync_engine, "begin", begin)


async def _connect() -> None:
    engine = create_async_engine(context.config.attributes["url"])
    if engine.dialect.name == "sqlite":
        _begin_ourselves(engine)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


asyncio.run(_connect())
