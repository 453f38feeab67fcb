"""What a stream of 64 pieces costs in another format than the target's, beside passing the target's own on.

The stub plays a provider of each format; the same text comes from all of them. Rounds over all pairs of formats
are repeated, so that what else the machine does falls on every pair.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import SENTENCE, STAMP, Scenario
from tests.bench.measuring import STUB_PORT, Question, median, run_scenario, running_side
from tests.bench.report import Measured
from tests.bench.sides import Prepared, Unavailable, prepare_litellm, prepare_moegate

NAME = "translation"
PORT, PEER_PORT = 9207, 9208
RATE = 20.0
"""Paced streams a second."""
EVENT_US = 10_000

_TEXT = (STAMP + SENTENCE * 6)[:500]
_SYSTEM = "You are a careful assistant."
_GEMINI_CONFIG = {"maxOutputTokens": 256, "temperature": 0.2}
_TEXT_ONLY = {"temperature": 0.2, "stream": True}
_SAID = [{"role": "user", "content": _TEXT}]


@dataclass(frozen=True, slots=True)
class Format:
    """One wire format as clients ask in it: ``path`` with the model to be put in, ``end`` of a good stream."""

    name: str
    path: str
    end: str
    body: Mapping[str, object]


FORMATS = {
    one.name: one
    for one in (
        Format(
            "chat", "/v1/chat/completions", "[DONE]",
            {**_TEXT_ONLY, "messages": [{"role": "system", "content": _SYSTEM}, *_SAID],
             "max_tokens": 256, "stream_options": {"include_usage": True}},
        ),
        Format(
            "messages", "/v1/messages", '"message_stop"',
            {**_TEXT_ONLY, "system": _SYSTEM, "messages": _SAID, "max_tokens": 256},
        ),
        Format(
            "responses", "/v1/responses", '"response.completed"',
            {**_TEXT_ONLY, "instructions": _SYSTEM, "input": _SAID, "max_output_tokens": 256,
             "store": False},
        ),
        Format(
            "gemini", "/v1beta/models/{model}:streamGenerateContent?alt=sse", '"STOP"',
            {"systemInstruction": {"parts": [{"text": _SYSTEM}]},
             "contents": [{"role": "user", "parts": [{"text": _TEXT}]}],
             "generationConfig": _GEMINI_CONFIG},
        ),
    )
}  # fmt: skip

TARGETS: Mapping[str, str] = {
    "chat": "stub-chat",
    "messages": "stub-messages",
    "gemini": "stub-gemini",
    "responses": "stub-model",
}
"""The model that the stub answers in each format. Responses are asked for by clients of that format only."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The format that the target answers in and the one that the client speaks."""

    target: str
    client: str

    @property
    def passes(self) -> bool:
        """Whether nothing has to be translated."""
        return self.target == self.client


PAIRS = (
    *(
        Pair(target, client)
        for target in ("chat", "messages", "gemini")
        for client in sorted(FORMATS, key=lambda client: client != target)
    ),
    Pair("responses", "responses"),
)
PEER_PAIRS = (
    Pair("chat", "chat"),
    Pair("chat", "messages"),
    Pair("messages", "messages"),
    Pair("messages", "chat"),
    Pair("gemini", "chat"),
)
"""What LiteLLM is asked for."""


@dataclass(slots=True)
class Translation:
    """What was measured: by pair, events back to back and 10 ms apart. ``errors``: sides without figures."""

    together: dict[Pair, Measured] = field(default_factory=dict[Pair, Measured])
    paced: dict[Pair, Measured] = field(default_factory=dict[Pair, Measured])
    peer: dict[Pair, Measured] = field(default_factory=dict[Pair, Measured])
    errors: list[str] = field(default_factory=list[str])
    load_average: float = 0.0

    def to_json(self) -> Mapping[str, object]:
        """Every figure, by ``TARGET to CLIENT``."""
        return {
            name: {
                f"{pair.target} to {pair.client}": dataclasses.asdict(one)
                for pair, one in figures.items()
            }
            for name, figures in (
                ("together", self.together), ("paced", self.paced), ("litellm", self.peer),
            )
        }  # fmt: skip


def measure_translation(home: Path, reps: int, *, quick: bool) -> Translation:
    """Measure moegate and LiteLLM, which may be missing, one after the other."""
    found = Translation()
    sides = (("moegate", prepare_ours), ("litellm", prepare_litellm))
    for name, prepare in sides:
        try:
            if name == "moegate":
                _measure_ours(home, prepare(home, PORT, STUB_PORT), found, reps, quick=quick)
            else:
                _measure_peer(home, prepare(home, PEER_PORT, STUB_PORT), found, reps, quick=quick)
        except (Unavailable, OSError, RuntimeError, subprocess.CalledProcessError) as error:
            found.errors.append(f"{name}: not measured: {error}")
            sys.stderr.write(f"  {found.errors[-1]}\n")
        found.load_average = max(found.load_average, os.getloadavg()[0])
    return found


def prepare_ours(home: Path, port: int, stub: int) -> Prepared:
    """moegate with everything on, as in the other table, and a provider of each format."""
    base = f"http://127.0.0.1:{stub}"
    providers = {
        "ANTHROPIC_API_KEY": "sk-bench",
        "ANTHROPIC_BASE_URL": base,
        "GEMINI_API_KEY": "sk-bench",
        "GOOGLE_GEMINI_BASE_URL": base,
        "TOGETHER_API_KEY": "sk-bench",
        "TOGETHER_BASE_URL": f"{base}/v1",
    }
    return prepare_moegate(home, port, stub, NAME, providers)


def _measure_ours(
    home: Path, prepared: Prepared, found: Translation, reps: int, *, quick: bool
) -> None:
    first = _ask(home, PORT, prepared, PAIRS[0])
    seconds = 1.0 if quick else 2.0
    with running_side(home, NAME, prepared, first) as (roots, _start_s):
        _run(home, PORT, prepared, PAIRS, roots, 1.0, 0.0)
        together = [_run(home, PORT, prepared, PAIRS, roots, seconds, 0.0) for _ in range(reps)]
        paced = [_run(home, PORT, prepared, PAIRS, roots, seconds, RATE) for _ in range(reps)]
    found.together, found.paced = _medians(together), _medians(paced)


def _measure_peer(
    home: Path, prepared: Prepared, found: Translation, reps: int, *, quick: bool
) -> None:
    first = _ask(home, PEER_PORT, prepared, PEER_PAIRS[0])
    seconds = 1.0 if quick else 3.0
    with running_side(home, f"{NAME}-litellm", prepared, first) as (roots, _start_s):
        rounds = [
            _run(home, PEER_PORT, prepared, PEER_PAIRS, roots, seconds, 0.0) for _ in range(reps)
        ]
    found.peer = _medians(rounds)


def _run(
    home: Path, port: int, prepared: Prepared, pairs: Sequence[Pair], roots: list[int],
    seconds: float, rate: float,
) -> dict[Pair, Measured]:  # fmt: skip
    """One round over ``pairs``. ``rate`` 0: sixteen streams at a time, their events back to back."""
    taken: dict[Pair, Measured] = {}
    for pair in pairs:
        scenario = Scenario(
            name=pair.client, body="", connections=64 if rate else 16, rate=rate,
            event_us=EVENT_US if rate else 0, seconds=seconds, expect=FORMATS[pair.client].end,
        )  # fmt: skip
        question = _ask(home, port, prepared, pair)
        one = run_scenario(home, scenario, question, roots, seconds=seconds, rate=rate)
        taken[pair] = one
        sys.stderr.write(
            f"  {pair.target:>9} → {pair.client:<9} {'paced' if rate else '':<5} "
            f"cpu {one.cpu_ms:8.3f} ms  {one.rps:8.1f}/s  in {one.chunks:4.1f} chunks  bad {one.bad}\n"
        )
    return taken


def _ask(home: Path, port: int, prepared: Prepared, pair: Pair) -> Question:
    model, client = TARGETS[pair.target], FORMATS[pair.client]
    folder = home / "bodies" / model
    folder.mkdir(parents=True, exist_ok=True)
    body = folder / f"{client.name}-stream.json"
    named = {} if "{model}" in client.path else {"model": model}
    body.write_text(json.dumps({**named, **client.body}))
    return Question(port, client.path.format(model=model), body, prepared.headers)


def _medians(rounds: Sequence[Mapping[Pair, Measured]]) -> dict[Pair, Measured]:
    return {pair: median([one[pair] for one in rounds]) for pair in rounds[0]}


def render_translation(found: Translation) -> str:
    """CPU of each pair, how many times that of passing on, and LiteLLM's beside it."""
    lines = [
        "CPU milliseconds a stream of 64 pieces, and how many times as much as passing the target's own on",
        "",
        (
            "| target speaks | client speaks | back to back | times passing | 10 ms apart | "
            "times passing | litellm | times moegate |"
        ),
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for pair in found.together:
        cells = [
            *_cells(pair, found.together),
            *_cells(pair, found.paced),
            *_peer_cells(pair, found),
        ]
        client = f"{pair.client} (passed on)" if pair.passes else pair.client
        lines.append(f"| {pair.target} | {client} | {' | '.join(cells)} |")
    lines += ["", *(f"- {error}" for error in found.errors)]
    lines.append(
        f"One-minute load average at most {found.load_average:.1f}, the bench's own included."
    )
    return "\n".join(lines)


def _cells(pair: Pair, figures: Mapping[Pair, Measured]) -> tuple[str, str]:
    one, passed = figures.get(pair), figures.get(Pair(pair.target, pair.target))
    if one is None:
        return "–", "–"
    cost = f"{one.cpu_ms:.3f}" + (" (errors)" if one.bad else "")
    if pair.passes or passed is None or not passed.cpu_ms:
        return cost, "–" if passed is None else "1"
    return cost, f"{one.cpu_ms / passed.cpu_ms:.2f}"


def _peer_cells(pair: Pair, found: Translation) -> tuple[str, str]:
    theirs, ours = found.peer.get(pair), found.together[pair]
    if theirs is None or not ours.cpu_ms:
        return "–", "–"
    cost = f"{theirs.cpu_ms:.1f}" + (" (errors)" if theirs.bad else "")
    return cost, f"{theirs.cpu_ms / ours.cpu_ms:.0f}"
