"""PostgreSQL and Valkey for a bench run, from the wheels that the tests use, on the other CPU."""

import contextlib
import os
from collections.abc import Generator, Mapping
from pathlib import Path

from tests.bench.load import STUB_CPU
from tests.servers import start_postgres, start_valkey


@contextlib.contextmanager
def production_servers(folder: Path) -> Generator[Mapping[str, str]]:
    """Both servers; the environment that points moegate at them. They inherit the CPU of their start."""
    before = os.sched_getaffinity(0)
    (folder / "valkey").mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {STUB_CPU})
    try:
        with (
            start_postgres(folder / "postgres.log") as database,
            start_valkey(folder / "valkey") as redis,
        ):
            yield {"MOEGATE_DATABASE_URL": database, "MOEGATE_REDIS_URL": redis}
    finally:
        os.sched_setaffinity(0, before)
