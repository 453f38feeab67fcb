"""The gateway as its operators run it: the command, in processes of its own."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from gateway.ledger import open_database
from tests.servers import find_free_port
from tests.upstreams import Upstream

REPOSITORY = Path(__file__).resolve().parents[1]
MOEGATE = [sys.executable, "-c", "from gateway.cli import main; main()"]
TOKEN = "an-administrators-own-token"


def environment(home: Path, url: str, outside: Upstream, inside: Upstream) -> dict[str, str]:
    """A gateway between two hosts, that looks at nothing else on this machine."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "MOEGATE_HOME": str(home), "MOEGATE_DATABASE_URL": url, "MOEGATE_ADMIN_TOKEN": TOKEN,
        "MOEGATE_DISCOVER": "off", "MOEGATE_SIMULATOR": "off", "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": f"{outside.url}/v1", "SGLANG_URLS": inside.url,
    }  # fmt: skip


def command(environ: dict[str, str], *words: str) -> str:
    """What a command that has to succeed says on standard output."""
    done = subprocess.run(
        [*MOEGATE, *words], cwd=REPOSITORY, env=environ, timeout=60, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(environ: dict[str, str], *words: str) -> "tuple[subprocess.Popen[bytes], str]":
    """A gateway process that answers, and its address."""
    port = find_free_port()
    process = subprocess.Popen(
        [*MOEGATE, "serve", "--port", str(port), "--json", *words],
        cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError, KeyError):
            url = str(json.loads(line)["url"])
            wait_until_live(url)
            return process, url
    raise AssertionError(f"the gateway ended by itself: {process.wait()}")


def wait_until_live(url: str) -> None:
    """Workers start after their parent has told its address."""
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/healthz", timeout=5).status_code == 200:
                return
        assert time.monotonic() < deadline, "no worker answers"
        time.sleep(0.02)


def end(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    """Stop it, and read what it still says so that it does not wait for a reader."""
    process.send_signal(how)
    process.communicate(timeout=40)


def read_rows(url: str, table: str) -> list[dict[str, Any]]:
    """What stands in SQL."""

    async def read() -> list[dict[str, Any]]:
        engine = open_database(url)
        async with engine.connect() as connection:
            found = await connection.execute(text(f"SELECT * FROM {table}"))
            rows = [dict(row) for row in found.mappings()]
        await engine.dispose()
        return rows

    return asyncio.run(read())
