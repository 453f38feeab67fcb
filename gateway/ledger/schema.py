"""The schema: which revision a database is at, and bringing it to the newest."""

import asyncio
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

import migrations
from gateway.errors import StartError
from gateway.ledger.store import open_database

HEAD = "0004"
"""The newest revision under ``migrations/versions``; a test holds it to that."""

SchemaState = Literal["current", "empty", "old", "newer than this moegate"]


async def schema_state(url: str) -> SchemaState:
    """Where the database stands. Raises ``SQLAlchemyError`` or ``OSError`` if it does not answer."""
    engine = open_database(url)
    try:
        async with engine.connect() as connection:
            revision = await connection.run_sync(_find_revision)
    finally:
        await engine.dispose()
    if revision is None:
        return "empty"
    if revision == HEAD:
        return "current"
    return "old" if revision < HEAD else "newer than this moegate"


def _find_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


async def migrate(url: str) -> None:
    """Bring the database to the newest schema; nothing happens if it is there. Raises ``StartError``."""
    try:
        state = await schema_state(url)
        if state == "newer than this moegate":
            raise StartError("the database was made by a newer moegate; upgrade this one")
        if state != "current":
            await asyncio.to_thread(_upgrade, url)
    except (SQLAlchemyError, OSError) as error:
        raise StartError(
            f"the database cannot be brought up to date: {_one_line(error)}"
        ) from error


def _upgrade(url: str) -> None:
    # Alembic costs a quarter of a second to import and most starts do not need it.
    from alembic import command  # noqa: PLC0415  # see above
    from alembic.config import Config  # noqa: PLC0415  # see above

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["url"] = url
    command.upgrade(config, HEAD)


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]
