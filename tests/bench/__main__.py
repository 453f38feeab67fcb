"""Measure what a request costs: moegate beside its peers, all in one run against one fast stub.

    make bench                             everything; the first run installs the peers into .bench/
    make bench ARGS="--only moegate"       some sides (comma separated)
    make bench ARGS="--quick"              short runs, one repetition

Each side runs on CPU 0; stub, load and databases on CPU 1. CPU time is the run time of the side's whole
process tree, so it holds up on a busy machine better than rates do. Bounded: it ends by itself.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path

from tests.bench import load, process
from tests.bench.report import Measured, Result, render
from tests.bench.servers import production_servers
from tests.bench.sides import REPOSITORY, SIDES, Prepared, Side, Unavailable, prepare_moegate

STUB_PORT = 9101
SIDE_CPU = 0
START_SECONDS = 120.0
PATH = "/v1/chat/completions"


def main() -> None:
    """Run the chosen sides and print the table."""
    parser = argparse.ArgumentParser(
        prog="make bench", description="CPU per request of moegate and its peers."
    )
    parser.add_argument("--only", default="", help="sides, comma separated")
    parser.add_argument("--reps", type=int, default=3, help="repetitions; the median counts")
    parser.add_argument("--quick", action="store_true", help="short runs, one repetition")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    asked = parser.parse_args()
    wanted = [name for name in asked.only.split(",") if name]
    unknown = set(wanted) - {side.name for side in SIDES}
    if unknown:
        parser.error(f"no side is called {', '.join(sorted(unknown))}")
    home = Path(os.environ.get("BENCH_HOME", REPOSITORY / ".bench"))
    home.mkdir(exist_ok=True)
    load.build(home)
    results: list[Result] = []
    with running_stub(home):
        for side in SIDES:
            if not wanted or side.name in wanted:
                sys.stderr.write(f"{side.name} …\n")
                results.append(
                    run_side(home, side, 1 if asked.quick else asked.reps, quick=asked.quick)
                )
    print(render(results))
    if asked.json is not None:
        import dataclasses

        asked.json.write_text(
            json.dumps([dataclasses.asdict(result) for result in results], indent=1)
        )


@contextlib.contextmanager
def running_stub(home: Path) -> Generator[None]:
    """The one upstream of every side."""
    with (home / "stub.log").open("wb") as log:
        stub = process.start(
            [str(home / "stub"), str(STUB_PORT)],
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


def run_side(home: Path, side: Side, reps: int, *, quick: bool) -> Result:
    """Prepare, start, load and stop one side; a side that cannot run says why."""
    result = Result(side.name, side.does)
    try:
        with contextlib.ExitStack() as stack:
            if side.needs_servers:
                environ = stack.enter_context(production_servers(home / "servers"))
                prepared = prepare_moegate(home, side.port, STUB_PORT, side.name, environ)
            else:
                prepared = side.prepare(home, side.port, STUB_PORT) if side.prepare else Prepared()
            measure(home, side, prepared, result, reps, quick=quick)
    except (Unavailable, OSError, RuntimeError, subprocess.CalledProcessError) as error:
        result.error = f"not measured: {error}"
        sys.stderr.write(f"  {result.error}\n")
    return result


def measure(
    home: Path, side: Side, prepared: Prepared, result: Result, reps: int, *, quick: bool
) -> None:
    """Every scenario of one side."""
    port = side.port or STUB_PORT
    bodies = load.write_bodies(home, side.model)
    with (home / f"{side.name}.log").open("wb") as log:
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
            wait_for_answer(port, bodies / "small.json", prepared, running)
            result.start_s = time.monotonic() - began
            roots = [running.pid] if running is not None else []
            run_scenario(home, side, load.SCENARIOS[0], prepared, roots, seconds=1.0)
            for scenario in load.SCENARIOS:
                seconds = (1.0 if quick else scenario.seconds) * side.seconds_factor
                taken = [
                    run_scenario(home, side, scenario, prepared, roots, seconds=seconds)
                    for _ in range(reps)
                ]
                result.scenarios[scenario.name] = median(taken)
                one = result.scenarios[scenario.name]
                sys.stderr.write(
                    f"  {scenario.name:<13} cpu {one.cpu_ms:8.3f} ms  {one.rps:9.1f}/s  "
                    f"p50 {one.p50_ms:8.3f} ms  bad {one.bad}\n"
                )
            result.resident_mib = process.used(roots).resident_mib
            result.load_average = os.getloadavg()[0]
        finally:
            if running is not None:
                process.stop(running)


def wait_for_answer(
    port: int, body: Path, prepared: Prepared, running: "subprocess.Popen[bytes] | None"
) -> None:
    """Ask until the first good answer comes."""
    headers = dict(header.split(": ", 1) for header in prepared.headers)
    deadline = time.monotonic() + START_SECONDS
    last = ""
    while time.monotonic() < deadline:
        if running is not None and running.poll() is not None:
            raise RuntimeError("it ended at its start; see its log in .bench/")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{PATH}",
            body.read_bytes(),
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
    side: Side,
    scenario: load.Scenario,
    prepared: Prepared,
    roots: list[int],
    *,
    seconds: float,
) -> Measured:
    """One run of one scenario: CPU from before its warm-up to after its last answer."""
    load.ask_stub(STUB_PORT, f"/__delay/{scenario.event_us}")
    served = _served()
    before = process.used(roots)
    seen = load.run_load(
        home, scenario, port=side.port or STUB_PORT, path=PATH,
        body=load.write_bodies(home, side.model) / f"{scenario.body}.json", headers=prepared.headers,
        seconds=seconds, warm_seconds=0.5, rate=side.rates.get(scenario.name, scenario.rate),
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


if __name__ == "__main__":
    main()
