"""``moegate policy replay``: what another policy would have done with the requests there were."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from backends.catalogue import Catalogue
from gateway.cli.context import absent_file, find_catalogue, read_settings, run_on_database
from gateway.cli.table import align
from gateway.clock import Clock
from gateway.errors import StartError
from gateway.ledger.usage import parse_since
from gateway.policy_reports import INTERVAL, RECORDED, SAMPLE, counts_of, replay_to_json
from gateway.policy_store import find_active
from gateway.prepare import read_policy
from gateway.replay import (
    Span,
    count_records,
    read_pages,
    read_trace,
    replay_page,
    sample_threshold,
    start_replay,
)
from gateway.settings import Settings
from gateway.targets import find_targets
from policies.classify import Classifier
from policies.compile import CompiledPolicy, compile_policy
from policies.document import PolicyDocument, parse_policy
from policies.facts import TargetFacts
from policies.replay import Change, Replay, share_interval

HEAD_WIDTH = 15
SINCE = "7d"
TRACE_WORDS = "as if each had asked for `auto`, healthy targets, and nothing found in any text"


def replay_command(
    file: Annotated[str, typer.Argument(help="Policy document, or the name of a shipped one.")],
    since: Annotated[
        str | None,
        typer.Option(help=f"From this day on: {SINCE} (if left out), or 2026-11-23 (UTC)."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Up to and with this day: 1d, or 2026-11-30 (UTC).")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="About so many requests, the same each time.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="Of this team only, by name or id.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines of timestamp (ms), input_length and output_length, instead of records."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Decide recorded requests again under another policy, and tell what would change; nothing is sent."""
    settings = read_settings(config, {})
    text, source = read_policy(file)
    document = parse_policy(text, source=source)
    catalogue = find_catalogue(settings)
    targets = find_targets(catalogue)
    replay = start_replay(compile_policy(document, targets), Classifier(), catalogue.version)
    if trace is not None:
        if any(one is not None for one in (sample, team, since, until)):
            raise typer.BadParameter("--trace takes no --sample, --team, --since or --until")
        total, against = _replay_trace(settings, replay, catalogue, targets, trace)
    else:
        now = Clock().utc()
        first = parse_since(since or SINCE, now)
        span = Span(first, parse_since(until, now) if until else "", team or "")
        total = run_on_database(
            settings.database_url, lambda engine: _replay_records(engine, replay, span, sample)
        )
        against = RECORDED
    if as_json:
        typer.echo(orjson.dumps(replay_to_json(replay, total, against)).decode())
    else:
        typer.echo("\n".join(to_lines(replay, total, against)))


async def _replay_records(
    engine: AsyncEngine, replay: Replay, span: Span, sample: int | None
) -> int:
    total = await count_records(engine, span)
    if not total:
        raise StartError(
            "there are no recorded requests in this span; see --since, --team, --trace"
        )
    threshold = None if sample is None else sample_threshold(sample, total)
    with typer.progressbar(length=total, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        async for page in read_pages(engine, span):
            replay_page(replay, page, threshold)
            bar.update(len(page))
            await asyncio.sleep(0)
    return total


def _replay_trace(
    settings: Settings,
    replay: Replay,
    catalogue: Catalogue,
    targets: tuple[TargetFacts, ...],
    path: Path,
) -> tuple[int, str]:
    before: CompiledPolicy = compile_policy(_find_present(settings), targets)
    midnight = Clock().utc().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    started = datetime.timestamp(midnight)
    size = path.stat().st_size if path.is_file() else 0
    with typer.progressbar(length=size, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for request_id, recorded, length in read_trace(path, catalogue, before, started):
            replay.add(request_id, recorded)
            bar.update(length)
    if not replay.seen:
        raise StartError(f"`{path}` holds no requests")
    return replay.seen, f"{before.label} ({TRACE_WORDS})"


def _find_present(settings: Settings) -> PolicyDocument:
    """The policy in force, or the one that a first start puts in force."""
    if absent_file(settings.database_url) is None:
        active = run_on_database(settings.database_url, find_active)
        if active is not None:
            return active.parse()
    text, source = read_policy(settings.policy)
    return parse_policy(text, source=source)


def to_lines(replay: Replay, total: int, against: str) -> list[str]:
    """The report for people."""
    seen, decided = replay.seen, replay.decided
    is_sample = seen < total
    rows = [
        ("policy", replay.policy.label),
        ("against", against),
        ("looked at", f"{_share(seen, total)} requests" + (f", {SAMPLE}" if is_sample else "")),
        ("decided", _share(decided, seen)),
    ]
    rows += [
        ("undecided", f"{_share(count, seen)}: {why}")
        for why, count in replay.undecidable.most_common()
    ]
    if replay.other_catalogue:
        count = _share(replay.other_catalogue, decided)
        rows.append(
            ("catalogue", f"{count} met another version of it; targets are as they are now")
        )
    rows += [
        (words, _share(count, decided, is_sample=is_sample))
        for _n, words, count in counts_of(replay)
    ]
    rows += [
        ("cost", _words(replay.cost, 1e9, "USD", 9)),
        ("first token", _words(replay.latency, 1, "s", 3)),
        ("quality", _words(replay.quality, 1, "", 4)),
    ]
    if any("±" in text for _head, text in rows):
        rows.append(("", f"±: {INTERVAL}"))
    rows += [
        ("privacy", f"{replay.outward} to external, {replay.homeward} to self_hosted"),
    ]
    rows += [
        ("", f"{direction}, {kind} {name}: {count}")
        for (direction, kind, name), count in sorted(replay.crossings.items())
    ]
    lines = [f"{head:<{HEAD_WIDTH}}{text}" for head, text in rows]
    return [*lines, *_move_lines(replay), *_example_lines(replay)]


def _move_lines(replay: Replay) -> list[str]:
    moves = [
        (before, after, str(count), _percent(count, replay.decided))
        for (before, after), count in replay.moves.most_common()
        if before != after
    ]
    if not moves:
        return []
    return ["", align([("from", "to", "requests", "share"), *moves], numbers=(2, 3))]


def _example_lines(replay: Replay) -> list[str]:
    lines: list[str] = []
    for one in replay.examples():
        lines += [
            "",
            f"{one.request_id}: {one.facts}",
            f"  {one.before} → {one.after}: {one.reason}",
        ]
    return lines


def _words(change: Change, unit: float, name: str, digits: int) -> str:
    """The mean change of a request, and of money that of all together."""
    if not change.asked:
        return "no request has a target both times"
    if not change.known:
        return "not known of any request"
    known = f"known of {_share(change.known, change.asked)}"
    if not change.total and not change.margin:
        return f"no change; {known}"
    margin, sign = change.margin, f"{name} " if name else ""

    def say(value: float, off: float | None) -> str:
        around = "" if off is None else f" ± {off / unit:.{digits}f}"
        return f"{value / unit:+.{digits}f}{around}"

    text = f"{say(change.mean, margin)} {sign}a request"
    if name == "USD":
        whole = say(change.total, None if margin is None else margin * change.known)
        text += f", {whole} {sign}together"
    return f"{text}; {known}"


def _share(count: int, whole: int, *, is_sample: bool = False) -> str:
    """``3 of 4 (75.0 %)``; of a sample with the interval in which the share of all lies."""
    said = _percent(count, whole)
    if is_sample and whole:
        low, high = share_interval(count, whole)
        said += f", {100 * low:.1f} to {100 * high:.1f} % of all"
    return f"{count} of {whole} ({said})"


def _percent(count: int, whole: int) -> str:
    return f"{100 * count / whole:.1f} %" if whole else "-"
