"""How one side is measured: the stub before it, its start, one run of load, the median of several."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import load, process
from tests.bench.answers import write_answers
from tests.bench.report import Measured
from tests.bench.sides import Prepared

STUB_PORT = 9101
SIDE_CPU = 0
START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to ask what: a request that every scenario repeats."""

    port: int
    path: str
    body: Path
    headers: Sequence[str]


@contextlib.contextmanager
def running_stub(home: Path) -> Generator[None]:
    """The one upstream of every side."""
    write_answers(home / "answers")
    with (home / "stub.log").open("wb") as log:
        stub = process.start(
            [str(home / "stub"), str(STUB_PORT), str(home / "answers")],
            cpu=load.STUB_CPU,
            log=log,
            cwd=home,
            environ=os.environ,
        )
        try:
            time.sleep(0.3)
            if stub.poll() is not None:
                sys.exit(f"bench: the stub did not start; is port {STUB_PORT} taken?")
            yield
        finally:
            process.stop(stub)


@contextlib.contextmanager
def running_side(
    home: Path, name: str, prepared: Prepared, question: Question
) -> Generator[tuple[list[int], float]]:
    """A side that answers ``question``: the roots of its process trees, and how many seconds it took to start."""
    with (home / f"{name}.log").open("wb") as log:
        began = time.monotonic()
        running = None
        if prepared.command:
            running = process.start(
                prepared.command,
                cpu=SIDE_CPU,
                log=log,
                cwd=home,
                environ=os.environ | prepared.environ,
            )
        try:
            wait_for_answer(question, running)
            yield [running.pid] if running is not None else [], time.monotonic() - began
        finally:
            if running is not None:
                process.stop(running)


def wait_for_answer(question: Question, running: "subprocess.Popen[bytes] | None") -> None:
    """Ask until the first good answer comes."""
    headers = dict(header.split(": ", 1) for header in question.headers)
    deadline = time.monotonic() + START_SECONDS
    last = ""
    while time.monotonic() < deadline:
        if running is not None and running.poll() is not None:
            raise RuntimeError("it ended at its start; see its log in .bench/")
        request = urllib.request.Request(
            f"http://127.0.0.1:{question.port}{question.path}",
            question.body.read_bytes(),
            {"content-type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                if b"usage" in answer.read():
                    return
        except urllib.error.HTTPError as error:
            last = f"{error.code} {error.read()[:200]!r}"
        except OSError as error:
            last = str(error)
        time.sleep(0.02)
    raise RuntimeError(f"no first answer: {last}")


def run_scenario(
    home: Path,
    scenario: load.Scenario,
    question: Question,
    roots: list[int],
    *,
    seconds: float,
    rate: float,
) -> Measured:
    """One run of one scenario: CPU from before its warm-up to after its last answer."""
    load.ask_stub(STUB_PORT, f"/__delay/{scenario.event_us}")
    served = _served()
    before = process.used(roots)
    seen = load.run_load(
        home, scenario, port=question.port, path=question.path, body=question.body,
        headers=question.headers, seconds=seconds, warm_seconds=0.5, rate=rate,
    )  # fmt: skip
    after = process.used(roots)
    total = max(1, seen.good_all + seen.bad)
    if seen.bad:
        sys.stderr.write(f"  first bad answer: {seen.first_bad[:200]}\n")
    return Measured(
        cpu_ms=(after.cpu_ms - before.cpu_ms) / total,
        rps=seen.rps,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        ttfb_p50_ms=seen.ttfb_p50_ms,
        ttfb_p99_ms=seen.ttfb_p99_ms,
        chunks=seen.chunks,
        bad=seen.bad,
        upstream_per_request=(_served() - served) / total,
    )


def _served() -> int:
    stats: Mapping[str, int] = json.loads(load.ask_stub(STUB_PORT, "/__stats"))
    return stats["served"]


def median(taken: list[Measured]) -> Measured:
    """Field by field."""
    return Measured(
        **{
            name: statistics.median(getattr(one, name) for one in taken)
            for name in Measured.__dataclass_fields__
        }
    )
