"""Measure what a request costs: moegate beside its peers, all in one run against one fast stub.

    make bench                             everything; the first run installs the peers into .bench/
    make bench ARGS="--only moegate"       some sides (comma separated)
    make bench ARGS="--only translation"   a stream between formats, beside passing it on
    make bench ARGS="--only replay"        recorded decisions under another policy
    make bench ARGS="--only policies"      expressions beside other engines, decisions, proofs
    make bench ARGS="--quick"              short runs, one repetition

Each side runs on CPU 0; stub, load and databases on CPU 1. CPU time is the run time of the side's whole
process tree, so it holds up on a busy machine better than rates do. Bounded: it ends by itself, after some eleven
minutes where everything is installed; `translation` alone takes five, `--quick` four.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bench import load, process
from tests.bench.deciding import NAME as POLICIES
from tests.bench.deciding import measure_policies
from tests.bench.measuring import (
    STUB_PORT,
    Question,
    median,
    run_scenario,
    running_side,
    running_stub,
)
from tests.bench.replaying import NAME as REPLAY
from tests.bench.replaying import measure_replay
from tests.bench.report import Result, render
from tests.bench.servers import production_servers
from tests.bench.sides import REPOSITORY, SIDES, Prepared, Side, Unavailable, prepare_moegate
from tests.bench.translation import NAME as TRANSLATION
from tests.bench.translation import Translation, measure_translation, render_translation

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
    unknown = set(wanted) - {side.name for side in SIDES} - {TRANSLATION, REPLAY, POLICIES}
    if unknown:
        parser.error(f"no side is called {', '.join(sorted(unknown))}")
    home = Path(os.environ.get("BENCH_HOME", REPOSITORY / ".bench"))
    home.mkdir(exist_ok=True)
    load.build(home)
    reps = 1 if asked.quick else asked.reps
    results: list[Result] = []
    found: Translation | None = None
    with running_stub(home):
        for side in SIDES:
            if not wanted or side.name in wanted:
                sys.stderr.write(f"{side.name} …\n")
                results.append(run_side(home, side, reps, quick=asked.quick))
        if not wanted or TRANSLATION in wanted:
            sys.stderr.write(f"{TRANSLATION} …\n")
            found = measure_translation(home, reps, quick=asked.quick)
    tables = [render(results)] if results else []
    if found is not None:
        tables.append(render_translation(found))
    if not wanted or REPLAY in wanted:
        sys.stderr.write(f"{REPLAY} …\n")
        tables.append(measure_replay(home, 10_000 if asked.quick else 100_000))
    if not wanted or POLICIES in wanted:
        sys.stderr.write(f"{POLICIES} …\n")
        tables.append(measure_policies())
    print("\n\n".join(tables))
    if asked.json is not None:
        figures: dict[str, object] = {
            "sides": [dataclasses.asdict(result) for result in results],
            "translation": {} if found is None else found.to_json(),
        }
        asked.json.write_text(json.dumps(figures, indent=1))


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
    bodies = load.write_bodies(home, side.model)

    def ask(name: str) -> Question:
        return Question(side.port or STUB_PORT, PATH, bodies / f"{name}.json", prepared.headers)

    with running_side(home, side.name, prepared, ask("small")) as (roots, start_s):
        result.start_s = start_s
        first = load.SCENARIOS[0]
        run_scenario(home, first, ask(first.body), roots, seconds=1.0, rate=first.rate)
        for scenario in load.SCENARIOS:
            seconds = (1.0 if quick else scenario.seconds) * side.seconds_factor
            rate = side.rates.get(scenario.name, scenario.rate)
            taken = [
                run_scenario(home, scenario, ask(scenario.body), roots, seconds=seconds, rate=rate)
                for _ in range(reps)
            ]
            one = result.scenarios[scenario.name] = median(taken)
            sys.stderr.write(
                f"  {scenario.name:<13} cpu {one.cpu_ms:8.3f} ms  {one.rps:9.1f}/s  "
                f"p50 {one.p50_ms:8.3f} ms  bad {one.bad}\n"
            )
        result.resident_mib = process.used(roots).resident_mib
        result.load_average = os.getloadavg()[0]


if __name__ == "__main__":
    main()
