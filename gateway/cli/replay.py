"""``moegate policy replay``: past requests under another policy, before it is in force."""

import re
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.cli.context import find_catalogue, read_settings, run_on_database
from gateway.cli.table import align
from gateway.clock import Clock
from gateway.errors import StartError
from gateway.facts import target_facts
from gateway.prepare import read_policy
from gateway.replay import Span, count_past, read_past
from policies.classify import Classifier
from policies.compile import compile_policy
from policies.document import parse_policy
from policies.replay import Change, Replay

SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
MOVES_SHOWN = 15


def replay(
    file: Annotated[str, typer.Argument(help="Policy document, or the name of a shipped one.")],
    since: Annotated[str, typer.Option(help="How far back: 90m, 12h, 7d, 4w.")] = "7d",
    sample: Annotated[
        int | None, typer.Option(min=1, help="Decide about so many requests, drawn evenly.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="Requests of this team alone.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Decide past requests by another policy: what would move, cost otherwise, be refused or allowed.

    Nothing is called and nothing changes. It works on the facts that each decision recorded, for prompts are not
    kept; what cannot be decided from them is reported and not guessed.
    """
    settings = read_settings(config, {})
    text, source = read_policy(file)
    document = parse_policy(text, source=source)
    targets = tuple(target_facts(one) for one in find_catalogue(settings).targets)
    now = Clock().now()
    span = Span(now - _seconds(since), now, team)
    tally = Replay(compile_policy(document, targets), Classifier().version)
    total, share = run_on_database(
        settings.database_url, lambda engine: _run(engine, span, sample, tally, quiet=as_json)
    )
    said = {"policy": tally_name(document.name, document.digest), "since": since, "found": total}
    report = said | {"sampled_share": share} | tally.to_json()
    if as_json:
        typer.echo(orjson.dumps(report).decode())
        return
    for line in _lines(tally, str(said["policy"]), since, total, share):
        typer.echo(line)


def tally_name(name: str, digest: str) -> str:
    """As answers would call the policy."""
    return f"{name}@{digest[:12]}"


def _seconds(since: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([mhdw])", since)
    if found is None:
        raise StartError(f"`{since}` is no span of time; write one as 90m, 12h, 7d or 4w")
    return int(found[1]) * SECONDS[found[2]]


async def _run(
    engine: AsyncEngine, span: Span, sample: int | None, tally: Replay, *, quiet: bool
) -> tuple[int, float]:
    """Feed ``tally``; how many requests there were, and the share that was decided about."""
    total = await count_past(engine, span)
    share = 1.0 if sample is None or sample >= total else sample / total
    is_shown = not quiet and sys.stderr.isatty()
    with typer.progressbar(
        length=total, label="deciding", file=sys.stderr, hidden=not is_shown
    ) as bar:
        waiting = 0
        async for past in read_past(engine, span, share):
            if past is not None:
                tally.add(past)
            waiting += 1
            if waiting == 1000:
                bar.update(waiting)
                waiting = 0
        bar.update(waiting)
    return total, share


def _lines(tally: Replay, name: str, since: str, total: int, share: float) -> list[str]:
    undecided = sum(tally.undecided.values())
    sampled = f" (a sample of {share:.1%})" if share < 1 else ""
    lines = [f"policy     {name}", f"requests   {total} in the last {since}{sampled}"]
    lines.append(f"decided    {tally.decided}")
    lines += [f"undecided  {count}: {why}" for why, count in tally.undecided.most_common()]
    if not tally.decided:
        return [*lines, "nothing was decided" if undecided else "there is nothing to decide about"]
    moved = sum(tally.moved.values())
    lines.append(f"moved      {moved} ({moved / tally.decided:.1%} of those decided)")
    lines.append(f"cost       {_change(tally.cost_usd, 'USD', digits=6)}")
    lines.append(f"wait       {_change(tally.ttft_seconds, 's')}")
    lines.append(f"quality    {_change(tally.quality, '')}")
    if tally.crossings:
        rows = [(kind, cls, str(count)) for (kind, cls), count in sorted(tally.crossings.items())]
        lines += ["", align([("what changes", "data class", "requests"), *rows], numbers=(2,))]
    if tally.moved:
        pairs = tally.moved.most_common(MOVES_SHOWN)
        rows = [(before, after, str(count)) for (before, after), count in pairs]
        lines += ["", align([("from", "to", "requests"), *rows], numbers=(2,))]
        if len(tally.moved) > MOVES_SHOWN:
            lines.append(f"and {len(tally.moved) - MOVES_SHOWN} more ways; see --json")
        lines += ["", "examples"]
        for one in tally.examples():
            labels = f", {', '.join(one.labels)}" if one.labels else ""
            lines.append(
                f"  {one.request_id} ({one.team}, {one.data_class}{labels}): {one.kind}, "
                f"{one.before} → {one.after}: {one.reason}"
            )
    return lines


def _change(change: Change, unit: str, digits: int = 3) -> str:
    """A request's change with its interval, and of how many it is known."""
    if not change.known:
        return "not known of any request"
    width = "" if change.interval is None else f" ± {change.interval:.{digits}f}"
    unit = f" {unit}" if unit else ""
    total = f", {change.mean * change.known:+.{digits}f}{unit} in all"
    return (
        f"{change.mean:+.{digits}f}{width}{unit} a request (95 %, known of {change.known}){total}"
    )
