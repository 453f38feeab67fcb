"""P3: every attempt is booked exactly once, whatever is killed and whenever."""

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select as sql_select

from gateway.ledger import migrate, open_database
from gateway.ledger.tables import attempts, requests

REPOSITORY = Path(__file__).resolve().parents[2]
LEGS = 12
"""Calls that a worker has in flight at once, so at most that many are in doubt after a kill."""
KILLS = 6

WORKER = """
import asyncio, random, sys
from pathlib import Path
import msgspec, structlog
from gateway.ledger import Journal, Shipper, open_database
from tests.rows import attempt, request

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

async def call(journal, name, dice):
    while True:
        number = dice.getrandbits(60)
        row = attempt(f"{name}-{number:x}")
        row.request_id = f"r-{row.attempt_id}"
        journal.intend(row)
        say("intended", row.attempt_id)
        await asyncio.sleep(dice.random() * 0.004)
        cost = number % 997
        journal.settle(msgspec.structs.replace(row, state="settled", cost_nanousd=cost))
        say("settled", row.attempt_id, cost)
        journal.record(request(row.request_id))
        say("recorded", row.request_id)
        await asyncio.sleep(0)

async def main(url, folder, name, legs, rounds):
    engine = open_database(url)
    journal = Journal(Path(folder), segment_bytes=131072)
    shipper = Shipper(journal, engine, structlog.get_logger(), Path(folder).parent / "refused")
    await shipper.start()
    for orphan in journal.unfreed:
        orphan.is_freed = True  # these calls hold no money
    say("started")
    dice = random.Random(name)
    if rounds:
        await asyncio.gather(*(call(journal, f"{name}-{leg}", dice) for leg in range(legs)))
    await shipper.close()
    journal.close()
    await engine.dispose()

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
url, folder, name, legs, rounds = sys.argv[1:]
asyncio.run(main(url, folder, name, int(legs), int(rounds)))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each dialect."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/accounts.sqlite"
    url: str = request.getfixturevalue("postgres_database")
    return url


class Worker:
    """A process with a journal and a shipper, and everything that it has said so far."""

    def __init__(self, url: str, home: Path, name: str, *, rounds: bool = True) -> None:
        words = [url, str(home / "journal"), name, str(LEGS), str(int(rounds))]
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *words],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._said = b""

    def run_for(self, seconds: float, *, after: bytes) -> None:
        """Let it work until it has said ``after``, and for ``seconds`` more."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + 30
        until = None if after else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            assert time.monotonic() < deadline
            left = 0.05 if until is None else max(0.0, min(0.05, until - time.monotonic()))
            if select.select([descriptor], [], [], left)[0]:
                chunk = os.read(descriptor, 65536)
                assert chunk, f"the worker ended by itself: {self._process.wait()}"
                self._said += chunk
            if until is None and after in self._said:
                until = time.monotonic() + seconds

    def kill(self) -> list[list[str]]:
        """``kill -9``, and the whole lines that it had said."""
        self._process.send_signal(signal.SIGKILL)
        rest, _ = self._process.communicate(timeout=30)
        self._said += rest
        whole = self._said.rpartition(b"\n")[0]
        return [line.split() for line in whole.decode().splitlines()]

    def wait(self) -> None:
        """Let it end by itself, all well."""
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0


async def test_killed_workers_lose_nothing_and_double_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """Two workers at a time, killed at any moment, again and again, some during their replay; in the end
    SQL holds every attempt that was announced, once: at its cost where its end was announced, at its
    bound where not, and in doubt are never more than were in flight at the kills."""
    await migrate(database_url)
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    said: list[list[str]] = []
    for kill in range(KILLS):
        pair = [Worker(database_url, tmp_path, f"w{seed}-{kill}-{which}") for which in "ab"]
        is_early = kill % 3 == 2  # dies while it starts and replays
        for worker in pair:
            after, seconds = (b"", 0.9) if is_early else (b"started", 0.4)
            await asyncio.to_thread(worker.run_for, dice.random() * seconds, after=after)
        for worker in pair:
            said += worker.kill()
    Worker(database_url, tmp_path, "last", rounds=False).wait()

    booked, asked = await _read(database_url)
    intended = {words[1] for words in said if words[0] == "intended"}
    settled = {words[1]: int(words[2]) for words in said if words[0] == "settled"}
    assert len(intended) > 100, "the workers did hardly anything"
    assert intended <= booked.keys()
    for name, cost in settled.items():
        assert booked[name] == ("settled", cost)
    doubtful = {name for name, (state, _cost) in booked.items() if state == "in_doubt"}
    assert all(booked[name] == ("in_doubt", 1000) for name in doubtful)
    assert {state for state, _cost in booked.values()} <= {"settled", "in_doubt"}
    assert doubtful.isdisjoint(settled)
    assert len(doubtful) <= 2 * LEGS * KILLS
    # A killed worker may have journalled one step that it could not announce any more, per leg.
    assert len(booked.keys() - intended) <= 2 * LEGS * KILLS
    assert {words[1] for words in said if words[0] == "recorded"} <= asked
    assert not (tmp_path / "refused").exists()
    assert list((tmp_path / "journal").iterdir()) == []


async def _read(url: str) -> tuple[dict[str, tuple[str, int]], set[str]]:
    engine = open_database(url)
    columns = (attempts.c.attempt_id, attempts.c.state, attempts.c.cost_nanousd)
    async with engine.connect() as connection:
        rows = (await connection.execute(sql_select(*columns))).all()
        names = (await connection.execute(sql_select(requests.c.request_id))).scalars().all()
    await engine.dispose()
    assert len({row[0] for row in rows}) == len(rows)
    assert len(set(names)) == len(names)
    return {row[0]: (row[1], row[2]) for row in rows}, set(names)
