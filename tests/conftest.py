"""What every test may ask for: free ports, data sets, a real PostgreSQL, a real Redis-protocol server."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings as hypothesis_settings
from redis import Redis

from tests.servers import find_free_port, start_postgres, start_valkey

hypothesis_settings.register_profile("moegate", deadline=None, print_blob=True)
hypothesis_settings.load_profile("moegate")

pytest_plugins = ["tests.gateway_process"]

REPOSITORY = Path(__file__).resolve().parent.parent
DATA_SKIP = "needs the recorded data beside the checkout (MOEGATE_SHARED)"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded and labelled data: skipped where there is none, unless it is demanded."""
    demanded = os.environ.get("MOEGATE_SHARED")
    folder = Path(demanded) if demanded else REPOSITORY.parent / "shared"
    if not folder.is_dir():
        if demanded:
            pytest.fail(f"MOEGATE_SHARED names `{demanded}`, which is not there")
        pytest.skip(DATA_SKIP)
    return folder


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at the moment."""
    return find_free_port()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL: the one of ``MOEGATE_TEST_POSTGRES_URL``, or one started for this run."""
    given = os.environ.get("MOEGATE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with start_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[str]:
    """A fresh, empty database in it; the URL as moegate takes it."""
    plain = postgres_url.replace("postgresql+asyncpg://", "postgresql://")
    name = f"t_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(plain)
    await connection.execute(f'CREATE DATABASE "{name}"')
    base, _, _ = postgres_url.rpartition("/")
    try:
        yield f"{base}/{name}"
    finally:
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await connection.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis-protocol server: the one of ``MOEGATE_TEST_REDIS_URL``, or a Valkey of this run."""
    given = os.environ.get("MOEGATE_TEST_REDIS_URL")
    if given:
        yield given
        return
    with start_valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The same, emptied."""
    with Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests a clone without the recorded data did not run."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and DATA_SKIP in str(report.longrepr[2])
    ]
    if skipped:
        terminalreporter.section("not run: the recorded data is not beside this checkout")
        for name in sorted({report.nodeid for report in skipped}):
            terminalreporter.line(name)
