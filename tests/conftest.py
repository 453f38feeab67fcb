"""What every test may ask for: free ports, data sets, a real PostgreSQL, a real Redis-protocol server."""

import os
import uuid
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings as hypothesis_settings
from redis import Redis

from tests.servers import find_free_port, start_postgres, start_valkey
from tests.shared_data import DataDemanded, DataMissing, find_shared, is_data_skip

# The same examples at every run, so that red means the change; `explore` looks for new ones (CONTRIBUTING.md).
hypothesis_settings.register_profile(
    "moegate", deadline=None, print_blob=True, derandomize=True, database=None
)
hypothesis_settings.register_profile("explore", deadline=None, print_blob=True, max_examples=1000)
hypothesis_settings.load_profile("moegate")

pytest_plugins = ["tests.gateway_process"]

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded and labelled data: skipped where there is none, unless it is demanded."""
    try:
        return find_shared(os.environ.get("MOEGATE_SHARED"), REPOSITORY.parent / "shared")
    except DataMissing as missing:
        pytest.skip(str(missing))
    except DataDemanded as demanded:
        pytest.fail(str(demanded))


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at the moment."""
    return find_free_port()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A real PostgreSQL: the one of ``MOEGATE_TEST_POSTGRES_URL``, or one started for this run."""
    given = os.environ.get("MOEGATE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with start_postgres(tmp_path_factory.mktemp("postgres") / "log") as url:
        yield url


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncGenerator[str]:
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
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A real Redis-protocol server: the one of ``MOEGATE_TEST_REDIS_URL``, or a Valkey of this run."""
    given = os.environ.get("MOEGATE_TEST_REDIS_URL")
    if given:
        if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
            pytest.fail("tests beside each other would empty the one Redis: `make test JOBS=1`")
        yield given
        return
    with start_valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The same, emptied."""
    with Redis.from_url(redis_server) as client:
        client.flushdb()
    return redis_server


def skipped_for_data(config: pytest.Config) -> list[str]:
    """The tests of this run that were skipped because the recorded data are not there."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not isinstance(reporter, pytest.TerminalReporter):
        return []
    reports: list[object] = reporter.stats.get("skipped", [])
    return sorted(
        {
            report.nodeid
            for report in reports
            if isinstance(report, pytest.TestReport | pytest.CollectReport)
            and isinstance(report.longrepr, tuple)
            and is_data_skip(report.longrepr[2])
        }
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that names the data may not pass without having used them."""
    if os.environ.get("MOEGATE_SHARED") and skipped_for_data(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which tests a clone without the recorded data did not run."""
    skipped = skipped_for_data(config)
    if not skipped:
        return
    is_demanded = bool(os.environ.get("MOEGATE_SHARED"))
    verdict = "error: MOEGATE_SHARED is set, yet these" if is_demanded else "these"
    terminalreporter.section(f"{verdict} did not run for want of the recorded data")
    for name in skipped:
        terminalreporter.line(name)
