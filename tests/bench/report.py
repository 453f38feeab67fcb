"""The ratio table of a run, as it stands in the README."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SCENARIO_TITLES = {
    "chat": "chat 0.7 KB",
    "chat_100k": "chat 100 KB",
    "stream": "stream, 64 pieces",
}


@dataclass(slots=True)
class Measured:
    """One scenario of one side: medians over the repetitions; times in milliseconds."""

    cpu_ms: float
    rps: float
    p50_ms: float
    p99_ms: float
    ttfb_p50_ms: float
    ttfb_p99_ms: float
    chunks: float
    bad: int
    upstream_per_request: float


@dataclass(slots=True)
class Result:
    """One side. ``error`` says why there are no figures."""

    name: str
    does: str
    start_s: float = 0.0
    resident_mib: float = 0.0
    load_average: float = 0.0
    error: str = ""
    scenarios: dict[str, Measured] = field(default_factory=dict[str, Measured])


def render(results: Sequence[Result]) -> str:
    """CPU and ratios, then rates and added latency, then what each side did."""
    by_name = {result.name: result for result in results}
    lines = ["CPU milliseconds a request (user + system of the whole process tree)", ""]
    lines += [
        "| side | "
        + " | ".join(SCENARIO_TITLES.values())
        + " | RSS MiB | start to first answer s |"
    ]
    lines += ["|---|" + "---:|" * (len(SCENARIO_TITLES) + 2)]
    for result in results:
        if not result.error and result.name != "direct":
            cells = [_cpu(result, name) for name in SCENARIO_TITLES]
            lines.append(
                f"| {result.name} | {' | '.join(cells)} | {result.resident_mib:.0f} | {result.start_s:.2f} |"
            )
    lines += [
        "",
        *_ratios(by_name),
        "",
        *_latencies(by_name),
        "",
        "What each side did a request:",
        "",
    ]
    lines += [f"- {result.name}: {result.error or result.does}" for result in results]
    worst = max((result.load_average for result in results), default=0.0)
    lines += ["", f"One-minute load average at most {worst:.1f}, the bench's own included."]
    return "\n".join(lines)


def _cpu(result: Result, scenario: str) -> str:
    found = result.scenarios.get(scenario)
    return "–" if found is None else f"{found.cpu_ms:.3f}" + (" (errors)" if found.bad else "")


def _ratios(by_name: Mapping[str, Result]) -> list[str]:
    """How many times moegate's CPU the peers take."""
    lines = ["| times the CPU of | " + " | ".join(SCENARIO_TITLES.values()) + " |"]
    lines += ["|---|" + "---:|" * len(SCENARIO_TITLES)]
    for ours in ("moegate", "moegate-full"):
        base = by_name.get(ours)
        if base is None or base.error:
            continue
        for name, peer in by_name.items():
            if name.startswith("moegate") or name == "direct" or peer.error:
                continue
            cells: list[str] = []
            for scenario in SCENARIO_TITLES:
                mine, theirs = base.scenarios.get(scenario), peer.scenarios.get(scenario)
                is_known = mine is not None and theirs is not None and mine.cpu_ms > 0
                cells.append(
                    f"{theirs.cpu_ms / mine.cpu_ms:.2f}" if is_known and mine and theirs else "–"
                )
            lines.append(f"| {name} / {ours} | {' | '.join(cells)} |")
    return lines


def _latencies(by_name: Mapping[str, Result]) -> list[str]:
    lines = [
        (
            "| side | chats/s, one core | streams/s, one core | added p50 / p99 ms, 50 chats/s | "
            "added to first byte p50 / p99 ms, 20 streams/s |"
        ),
        "|---|---:|---:|---:|---:|",
    ]
    direct = by_name.get("direct")
    for name, result in by_name.items():
        if result.error or name == "direct":
            continue
        chat, stream = result.scenarios.get("chat"), result.scenarios.get("stream")
        lines.append(
            f"| {name} | {chat.rps if chat else 0:.0f} | {stream.rps if stream else 0:.0f} | "
            f"{_added(direct, result, 'paced_chat', first_byte=False)} | "
            f"{_added(direct, result, 'paced_stream', first_byte=True)} |"
        )
    return lines


def _added(direct: Result | None, result: Result, scenario: str, *, first_byte: bool) -> str:
    base = direct.scenarios.get(scenario) if direct is not None else None
    found = result.scenarios.get(scenario)
    if base is None or found is None:
        return "–"
    if first_byte:
        pair = (found.ttfb_p50_ms - base.ttfb_p50_ms, found.ttfb_p99_ms - base.ttfb_p99_ms)
    else:
        pair = (found.p50_ms - base.p50_ms, found.p99_ms - base.p99_ms)
    return f"{pair[0]:.2f} / {pair[1]:.2f}"
