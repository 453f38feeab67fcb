"""The stub, the load, and the scenarios: what every side is asked to do."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SENTENCE = (
    "The cluster served requests within budget while the policy kept private text on local models. "
)
STAMP = "stamp-aaaaaaaaaa "
"""The load generator counts these letters up: no two requests are the same."""
STUB_CPU = 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load. ``rate`` 0: as fast as ``connections`` allow, else requests a second.

    ``event_us`` is the pause between streamed events. ``expect`` must stand in a good answer.
    """

    name: str
    body: str
    connections: int
    rate: float
    event_us: int
    seconds: float
    expect: str


SCENARIOS = (
    Scenario("chat", "small", 16, 0, 0, 2.0, "usage"),
    Scenario("chat_100k", "large", 16, 0, 0, 2.0, "usage"),
    Scenario("stream", "small-stream", 16, 0, 0, 2.0, "[DONE]"),
    Scenario("paced_chat", "small", 64, 50, 0, 3.0, "usage"),
    Scenario("paced_stream", "small-stream", 64, 20, 10_000, 3.0, "[DONE]"),
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What the load generator saw: milliseconds, counts over the measured time and over all of it.

    ``chunks``: how many pieces an answer came in, on average; 0 where it was not chunked."""

    good_all: int
    bad: int
    rps: float
    p50_ms: float
    p99_ms: float
    ttfb_p50_ms: float
    ttfb_p99_ms: float
    chunks: float
    first_bad: str


def build(home: Path) -> None:
    """Compile the stub and the load generator. Ends the program where there is no C compiler."""
    for name in ("stub", "loadgen"):
        source, program = HERE / f"{name}.c", home / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            try:
                subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
            except FileNotFoundError:
                sys.exit("bench: a C compiler (`cc`) is needed")


def write_bodies(home: Path, model: str) -> Path:
    """The request bodies for ``model``: 0.7 KB and 100 KB, plain and streamed."""
    folder = home / "bodies" / model.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    for size, length in (("small", 500), ("large", 100_000)):
        text = (STAMP + SENTENCE * (length // len(SENTENCE) + 1))[:length]
        messages = [
            {"role": "system", "content": "You are a careful assistant."},
            {"role": "user", "content": text},
        ]
        body = {"model": model, "messages": messages, "max_tokens": 256, "temperature": 0.2}
        (folder / f"{size}.json").write_text(json.dumps(body))
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        (folder / f"{size}-stream.json").write_text(json.dumps(body))
    return folder


def ask_stub(port: int, path: str) -> bytes:
    """One of the stub's own pages: ``/__delay/US``, ``/__stats``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return bytes(answer.read())


def run_load(
    home: Path,
    scenario: Scenario,
    *,
    port: int,
    path: str,
    body: Path,
    headers: Sequence[str],
    seconds: float,
    warm_seconds: float,
    rate: float,
) -> Answered:
    """Load one side; the generator shares its CPU with the stub."""
    command = ["taskset", "-c", str(STUB_CPU), str(home / "loadgen"), "-p", str(port), "-u", path]
    command += ["-b", str(body), "-c", str(scenario.connections), "-d", str(seconds)]
    command += ["-w", str(warm_seconds), "-e", scenario.expect]
    for header in headers:
        command += ["-H", header]
    if rate:
        command += ["-r", str(rate)]
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return Answered(
        good_all=int(seen["good_all"]),
        bad=int(seen["bad"]),
        rps=float(seen["rps"]),
        p50_ms=float(seen["p50_ms"]),
        p99_ms=float(seen["p99_ms"]),
        ttfb_p50_ms=float(seen["ttfb_p50_ms"]),
        ttfb_p99_ms=float(seen["ttfb_p99_ms"]),
        chunks=float(seen["chunks"]),
        first_bad=str(seen["first_bad"]),
    )
