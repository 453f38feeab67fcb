"""Migrations: the same schema as the code believes in, on both dialects, whole or not at all."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from gateway.errors import StartError
from gateway.ledger import migrate, open_database, schema_state
from gateway.ledger.schema import HEAD
from gateway.ledger.tables import metadata

REPOSITORY = Path(__file__).resolve().parents[2]


def alembic_config(url: str) -> Config:
    """What Alembic's own commands need, to go to a revision that is not the newest."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["url"] = url
    return config


def test_code_knows_the_newest_revision() -> None:
    """The cheap check at start compares with the head that Alembic finds."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_migrated_schema_is_the_declared_one(engine: AsyncEngine) -> None:
    """Alembic finds nothing to add, remove or change between the database and the tables in code."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_state_is_told_before_and_after(database_url: str) -> None:
    """Empty, then current, and a second run changes nothing."""
    assert await schema_state(database_url) == "empty"
    await migrate(database_url)
    await migrate(database_url)
    assert await schema_state(database_url) == "current"


async def test_newer_schema_is_left_alone(engine: AsyncEngine, database_url: str) -> None:
    """A database that a newer version made is refused, not brought back."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StartError, match="newer"):
        await migrate(database_url)


async def test_migrations_at_once_take_turns(database_url: str) -> None:
    """Gateways that start together on an empty database all find it current."""
    await asyncio.gather(*(asyncio.to_thread(_migrate_apart, database_url) for _ in range(3)))
    assert await schema_state(database_url) == "current"


def _migrate_apart(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", MIGRATE, url], cwd=REPOSITORY, timeout=60)
    assert done.returncode == 0


MIGRATE = """
import asyncio, sys
from gateway.ledger import migrate
asyncio.run(migrate(sys.argv[1]))
"""

STOPPED = """
import asyncio, os, sys
import sqlalchemy
from sqlalchemy import event
from gateway.ledger import migrate

def stop(connection, cursor, statement, parameters, context, executemany):
    if statement.strip().startswith("CREATE TABLE teams"):
        print("here", flush=True)
        sys.stdin.read()

event.listen(sqlalchemy.Engine, "after_cursor_execute", stop)
asyncio.run(migrate(sys.argv[1]))
"""


async def test_migration_killed_halfway_leaves_nothing(database_url: str) -> None:
    """Killed between two tables, a migration has made none, and the next start makes them all."""
    await asyncio.to_thread(_kill_between_tables, database_url)
    assert await _tables(database_url) == []
    await migrate(database_url)
    assert set(metadata.tables) < set(await _tables(database_url))


def _kill_between_tables(database_url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, database_url],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)


async def _tables(url: str) -> list[str]:
    engine = open_database(url)
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda one: inspect(one).get_table_names())
    await engine.dispose()
    return names


async def test_current_schema_is_noticed_quickly(engine: AsyncEngine, database_url: str) -> None:
    """A start on a current database does not pay for Alembic: it is not even imported."""
    started = time.monotonic()
    code = MIGRATE + "assert 'alembic' not in sys.modules"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code, database_url], cwd=REPOSITORY, timeout=60
    )
    assert done.returncode == 0
    assert time.monotonic() - started < 10


async def test_database_that_is_away_is_one_line() -> None:
    """Nobody listens: one line for the operator, not a traceback."""
    with pytest.raises(StartError, match="cannot be brought up to date") as caught:
        await migrate("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    assert "\n" not in str(caught.value)
