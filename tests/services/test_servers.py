"""The servers that the tests start are real, fresh, and gone when a killed run is gone."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest
from redis import Redis

from tests.servers import PORTS, find_free_port, listens

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


def test_tests_beside_each_other_look_among_other_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers never find the same port, for neither keeps what it found until its server starts."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    found: list[set[int]] = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        found.append({find_free_port() for _ in range(100)})
    assert not found[0] & found[1]
    assert all(len(ports) > 50 for ports in found)


def test_a_taken_port_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody listens on is passed over."""
    port = find_free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "1")
        monkeypatch.setattr("tests.servers.PORTS", range(port, port + 20))
        assert port in PORTS
        assert port not in {find_free_port() for _ in range(200)}
