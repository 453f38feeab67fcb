"""The servers that the tests start are real, fresh, and gone when a killed run is gone."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
from redis import Redis

from tests.servers import listens

ROOT = Path(__file__).resolve().parents[2]
GONE_SECONDS = 10.0

PARENT = """
import sys, time
from pathlib import Path
from tests.servers import start_postgres, start_valkey
folder = Path(sys.argv[1])
with start_postgres(folder / "postgres.log") as postgres, start_valkey(folder) as valkey:
    print(postgres, valkey, flush=True)
    time.sleep(600)
"""


async def test_database_is_postgres_18_and_empty(postgres_database: str) -> None:
    """A test gets a database of its own in a PostgreSQL 18."""
    plain = postgres_database.replace("postgresql+asyncpg://", "postgresql://")
    connection = await asyncpg.connect(plain)
    try:
        assert await connection.fetchval("SHOW server_version_num") >= "180000"
        count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.fetchval(count) == 0
    finally:
        await connection.close()


def test_redis_runs_scripts_and_is_empty(redis_url: str) -> None:
    """A test gets an empty server that runs Lua, as admission needs."""
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, "k", "v") == b"OK"


def test_redis_of_the_next_test_is_empty_too(redis_url: str) -> None:
    """What one test wrote, whichever came first, another does not see."""
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_killed_run_leaves_no_server_behind(tmp_path: Path) -> None:
    """After kill -9 of the process that started them, neither server listens any more."""
    with tempfile.TemporaryDirectory(prefix="moegate-killed-") as scratch:
        # Here lies what a killed process cannot remove; PostgreSQL may run as nobody.
        Path(scratch).chmod(0o711)
        ports = start_and_kill(tmp_path, scratch)
        deadline = time.monotonic() + GONE_SECONDS
        while any(listens(port) for port in ports):
            assert time.monotonic() < deadline, f"still listening on one of {ports}"
            time.sleep(0.02)


def start_and_kill(folder: Path, scratch: str) -> list[int]:
    """The ports of two servers that listened while their parent lived, which is dead now."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": scratch},
    ) as parent:
        assert parent.stdout is not None
        urls = parent.stdout.readline().split()
        ports = [int(url.rpartition(":")[2].partition("/")[0]) for url in urls]
        assert len(ports) == 2
        assert all(listens(port) for port in ports)
        parent.send_signal(signal.SIGKILL)
    return ports
