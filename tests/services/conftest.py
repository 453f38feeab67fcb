"""Databases for these tests: SQLite in a file and a real PostgreSQL, each empty; and books of admission."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger import migrate, open_database
from tests.services.asking import Books


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each dialect."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/accounts.sqlite"
    url: str = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database with the newest schema."""
    await migrate(database_url)
    made = open_database(database_url)
    yield made
    await made.dispose()


@pytest.fixture
def books() -> Books:
    """Empty books."""
    return Books()
