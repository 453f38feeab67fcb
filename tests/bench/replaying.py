"""How long a replay of recorded decisions takes, and how much memory: 20 rules, 30 targets, one core.

A third of the requests names a model (1 to 3 candidates), the others ask for ``auto`` (12). The database is SQLite, as
the gateway fills it. The replay runs in a process of its own, over a tenth and over all, so that its peak of memory
is its own, and shows whether it grows.
"""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from sqlalchemy import insert

from gateway.decision_record import DecisionRecord, render_decision
from gateway.ledger import migrate, open_database
from gateway.ledger.tables import requests
from gateway.replay import Span, read_pages, replay_page
from policies.compile import CompiledPolicy, compile_policy
from policies.decide import decide
from policies.document import parse_policy
from policies.facts import DATA_CLASSES, Detection, Facts, Quote, TargetFacts
from policies.replay import Replay
from tests.rows import request

NAME = "replay"
TYPES: dict[str, str] = dict.fromkeys(("pii.email", "pii.card", "secret.aws_key"), "as ever")
BATCH = 1000
SEED = 7


class Figures(msgspec.Struct, frozen=True):
    """Of one replay."""

    requests: int
    moved: int
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


def measure_replay(home: Path, rows: int) -> str:
    """The figures of a replay of ``rows`` decisions, in words."""
    path = home / f"replay-{rows}.sqlite"
    path.unlink(missing_ok=True)
    url = f"sqlite+aiosqlite:///{path}"
    asyncio.run(_fill(url, rows))
    size = path.stat().st_size
    few, all_of_them = (_run_alone(url, count) for count in (rows // 10, rows))
    path.unlink()
    return (
        f"replay: {all_of_them.requests} decisions ({size // rows} bytes each), {all_of_them.wall_seconds:.1f} s, "
        f"{all_of_them.cpu_seconds:.1f} s CPU; for a million {all_of_them.cpu_seconds * 1e6 / rows:.0f} s CPU; peak "
        f"memory {all_of_them.peak_mib:.1f} MiB, of a tenth {few.peak_mib:.1f} MiB; {all_of_them.moved} moved"
    )


def _run_alone(url: str, rows: int) -> Figures:
    done = subprocess.run(  # this interpreter, with a path of our own
        [sys.executable, "-m", "tests.bench.replaying", url, str(rows)],
        check=True,
        stdout=subprocess.PIPE,
    )
    return msgspec.json.decode(done.stdout, type=Figures)


def replay_alone(url: str, rows: int) -> Figures:
    """Replay the first ``rows`` decisions in this process, which has done nothing else."""
    replay = Replay(_policy("maximize: expected_cost_usd"), {"v1": TYPES}, TYPES, "c")
    began, before = time.monotonic(), time.process_time()
    asyncio.run(_replay(url, replay, rows))
    wall, cpu = time.monotonic() - began, time.process_time() - before
    return Figures(replay.seen, replay.moved, wall, cpu, _peak_kib() / 1024)


def _peak_kib() -> int:
    """Of this program: what ``getrusage`` tells is never less than what the process had that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


async def _replay(url: str, replay: Replay, rows: int) -> None:
    engine = open_database(url)
    async for page in read_pages(engine, Span()):
        replay_page(replay, page)
        if replay.seen >= rows:
            break
    await engine.dispose()


async def _fill(url: str, rows: int) -> None:
    await migrate(url)
    engine, policy = open_database(url), _policy("minimize: expected_cost_usd")
    dice = random.Random(SEED)  # no secrets: the same rows each time
    plain = msgspec.structs.asdict(request("r")) | {"labels": "[]", "dropped": "[]"}
    for start in range(0, rows, BATCH):
        batch = [
            plain | {"request_id": f"req_{at:09}", "decision": _decision(dice, policy)}
            for at in range(start, min(start + BATCH, rows))
        ]
        async with engine.begin() as connection:
            await connection.execute(insert(requests), batch)
    await engine.dispose()


def _targets() -> tuple[TargetFacts, ...]:
    return tuple(
        TargetFacts(
            name=f"provider-{at % 5}/model-{at}",
            provider=f"provider-{at % 5}",
            model=f"model-{at}",
            boundary="self_hosted" if at % 4 == 0 else "external",
            region=("eu", "us")[at % 2],
            capabilities=frozenset({"tools", "images", "json_schema", "stream"}),
            context_tokens_max=200_000,
            output_tokens_max=8192,
            retention_days=at % 3 * 15,
            trains_on_inputs=at % 7 == 0,
        )
        for at in range(30)
    )


def _policy(objective: str) -> CompiledPolicy:
    rules = "\n".join(
        f"  - {{name: rule {at}, when: '{when}', require: '{require}'}}"
        for at in range(20)
        for when, require in [
            (
                ('"credentials" in labels', f"request.input_tokens > {20_000 + at}")[at % 2],
                ('target.boundary == "self_hosted"', f'target.name != "provider-1/model-{at}"')[
                    at % 2
                ],
            )
        ]
    )
    text = (
        "policy: bench\nlabels:\n  credentials: {detect: [secret.*]}\n  personal: {detect: [pii.*]}\n"
        f"constraints:\n{rules}\nobjective:\n  - {objective}\n"
    )
    return compile_policy(parse_policy(text, source="bench.yaml"), _targets())


def _decision(dice: random.Random, policy: CompiledPolicy) -> str:
    chosen = dice.sample(range(30), dice.randint(1, 3) if dice.random() < 1 / 3 else 12)
    quotes = {
        policy.targets[at].name: Quote(dice.randrange(10**7), dice.randrange(10**8), quality=0.5)
        for at in chosen
    }
    found = frozenset({dice.choice(sorted(TYPES))}) if dice.random() < 0.2 else frozenset[str]()
    facts = Facts(
        organisation="default",
        team=f"team-{dice.randrange(9)}",
        key=f"key_{dice.randrange(99)}",
        residency="eu",
        data_class=dice.choice(DATA_CLASSES),
        detection=Detection(found=found, detectors="v1"),
        request_model="auto",
        prefer="policy",
        needs=frozenset({"tools"}),
        is_stream=True,
        input_tokens_estimate=dice.randrange(30_000),
        output_tokens_max=None,
        now=1.8e9,
        needs_bound=True,
    )
    return render_decision(
        DecisionRecord(facts, quotes, "c", decide(policy, facts, chosen, quotes))
    )


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(replay_alone(sys.argv[1], int(sys.argv[2]))).decode())
