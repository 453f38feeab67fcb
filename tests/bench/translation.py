"""What a stream of 64 pieces costs in another format than the target's, beside passing the target's own on.

The stub plays a provider of each format; the same text comes from all of them. Rounds over all pairs of formats
are repeated, so that what else the machine does falls on every pair.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import SENTENCE, STAMP, Scenario
from tests.bench.measuring import STUB_PORT, Question, run_scenario, running_side
from tests.bench.report import Measured
from tests.bench.sides import Prepared, Unavailable, prepare_litellm, prepare_moegate

NAME = "translation"
PORT, PEER_PORT = 9207, 9208
THINKER = "gpt-5-stub"
"""Only where a model thinks is OpenAI asked in Responses by clients of other formats, and never by chat clients."""
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
    """One wire format as clients ask in it: ``path`` with the model to be put in, ``end`` of a good stream.

    ``thinking``: what a body says besides to a model that thinks.
    """

    name: str
    path: str
    end: str
    body: Mapping[str, object]
    thinking: Mapping[str, object] = field(default_factory=dict[str, object])


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
            {**_TEXT_ONLY, "system": _SYSTEM, "messages": _SAID, "max_tokens": 2048},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "temperature": 1},
        ),
        Format(
            "responses", "/v1/responses", '"response.completed"',
            {**_TEXT_ONLY, "instructions": _SYSTEM, "input": _SAID, "max_output_tokens": 256,
             "store": False},
            {"reasoning": {"effort": "low"}},
        ),
        Format(
            "gemini", "/v1beta/models/{model}:streamGenerateContent?alt=sse", '"STOP"',
            {"systemInstruction": {"parts": [{"text": _SYSTEM}]},
             "contents": [{"role": "user", "parts": [{"text": _TEXT}]}],
             "generationConfig": _GEMINI_CONFIG},
            {"generationConfig": {**_GEMINI_CONFIG, "thinkingConfig": {"includeThoughts": True}}},
        ),
    )
}  # fmt: skip

TARGETS: Mapping[str, str] = {
    "chat": "stub-chat",
    "messages": "stub-messages",
    "gemini": "stub-gemini",
    "responses": THINKER,
}
"""The model that the stub answers in each format."""


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
    Pair("responses", "messages"),
    Pair("responses", "gemini"),
)
PEER_PAIRS = (
    Pair("chat", "chat"),
    Pair("chat", "messages"),
    Pair("messages", "messages"),
    Pair("messages", "chat"),
    Pair("gemini", "chat"),
)
"""What LiteLLM is asked for."""


Round = Mapping[Pair, Measured]


@dataclass(slots=True)
class Translation:
    """What was measured, round by round: events back to back, 10 ms apart, and LiteLLM's back to back.

    ``errors``: sides without figures, and why.
    """

    together: list[Round] = field(default_factory=list[Round])
    paced: list[Round] = field(default_factory=list[Round])
    peer: list[Round] = field(default_factory=list[Round])
    errors: list[str] = field(default_factory=list[str])
    load_average: float = 0.0

    def to_json(self) -> Mapping[str, object]:
        """Every figure of every round, by ``TARGET to CLIENT``."""
        taken = {"together": self.together, "paced": self.paced, "litellm": self.peer}
        return {
            name: [
                {f"{pair.target} to {pair.client}": dataclasses.asdict(one[pair]) for pair in one}
                for one in rounds
            ]
            for name, rounds in taken.items()
        }


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
    seconds = 1.0 if quick else 1.5
    with running_side(home, NAME, prepared, first) as (roots, _start_s):
        _run(home, PORT, prepared, PAIRS, roots, 0.5, 0.0)
        for _ in range(reps):
            found.together.append(_run(home, PORT, prepared, PAIRS, roots, seconds, 0.0))
            found.paced.append(_run(home, PORT, prepared, PAIRS, roots, seconds, RATE))


def _measure_peer(
    home: Path, prepared: Prepared, found: Translation, reps: int, *, quick: bool
) -> None:
    first = _ask(home, PEER_PORT, prepared, PEER_PAIRS[0])
    seconds = 1.0 if quick else 3.0
    with running_side(home, f"{NAME}-litellm", prepared, first) as (roots, _start_s):
        _run(home, PEER_PORT, prepared, PEER_PAIRS, roots, 0.5, 0.0)
        for _ in range(reps):
            found.peer.append(_run(home, PEER_PORT, prepared, PEER_PAIRS, roots, seconds, 0.0))


def _run(
    home: Path, port: int, prepared: Prepared, pairs: Sequence[Pair], roots: list[int],
    seconds: float, rate: float,
) -> Round:  # fmt: skip
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
    thinking = client.thinking if model == THINKER else {}
    body.write_text(json.dumps({**named, **client.body, **thinking}))
    return Question(port, client.path.format(model=model), body, prepared.headers)


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
    for pair in PAIRS:
        ours, theirs = _cpu(found.together, pair), _cpu(found.peer, pair)
        cells = [
            _show(ours, 3), _show(_times_passing(found.together, pair), 2),
            _show(_cpu(found.paced, pair), 2), _show(_times_passing(found.paced, pair), 2),
            _show(theirs, 1), _show(theirs / ours if theirs and ours else None, 0),
        ]  # fmt: skip
        client = f"{pair.client} (passed on)" if pair.passes else pair.client
        lines.append(f"| {pair.target} | {client} | {' | '.join(cells)} |")
    bad = sum(one.bad for taken in (found.together, found.paced, found.peer)
              for made in taken for one in made.values())  # fmt: skip
    lines += ["", *(f"- {error}" for error in found.errors)]
    lines += [
        f"Medians of the rounds ({len(found.together)}); of the ratios too, each within its round. "
        f"Bad answers: {bad}.",
        f"One-minute load average at most {found.load_average:.1f}, the bench's own included.",
    ]
    return "\n".join(lines)


def _cpu(rounds: Sequence[Round], pair: Pair) -> float | None:
    """Milliseconds a stream; None if it was not measured."""
    return statistics.median([one[pair].cpu_ms for one in rounds if pair in one] or [0.0]) or None


def _times_passing(rounds: Sequence[Round], pair: Pair) -> float | None:
    passed = Pair(pair.target, pair.target)
    ratios = [one[pair].cpu_ms / one[passed].cpu_ms for one in rounds if one[passed].cpu_ms]
    return statistics.median(ratios) if ratios else None


def _show(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
