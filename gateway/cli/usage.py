"""``moegate usage``: what was used and what it cost."""

import csv
import io
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway.cli.context import read_settings, run_on_database
from gateway.cli.table import align
from gateway.clock import Clock
from gateway.ledger.usage import GROUPS, By, UsageLine, parse_since, usage_report

COUNTS = UsageLine.__struct_fields__[1:]


class ByName(StrEnum):
    """What a line of the report stands for."""

    TEAM = "team"
    KEY = "key"
    MODEL = "model"
    TARGET = "target"
    DAY = "day"


class FormatName(StrEnum):
    """How a report is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def usage(
    by: Annotated[ByName, typer.Option(help="What a line stands for.")] = ByName.TEAM,
    since: Annotated[
        str | None, typer.Option(help="From this day on: 7d, or 2026-11-23 (UTC).")
    ] = None,
    organisation: Annotated[str | None, typer.Option(help="Of this organisation only.")] = None,
    shape: Annotated[
        FormatName, typer.Option("--format", help="How to write it.")
    ] = FormatName.TABLE,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Requests, attempts, tokens and exact cost, by team, key, model, target or day."""
    url = read_settings(config, {}).database_url
    since_day = parse_since(since, Clock().utc()) if since else None
    lines = run_on_database(
        url,
        lambda engine: usage_report(
            engine, by=by.value, since_day=since_day, organisation=organisation
        ),
    )
    typer.echo(render_usage(lines, by.value, FormatName.JSON if as_json else shape))


def render_usage(lines: list[UsageLine], by: By, shape: FormatName) -> str:
    """The report for people, or for programs: with heads and whole nano-dollars."""
    names = GROUPS[by]
    rows = [
        dict(zip(names, line.group, strict=True)) | {name: getattr(line, name) for name in COUNTS}
        for line in lines
    ]
    if shape is FormatName.JSON:
        return msgspec.json.encode(rows).decode()
    header = [*names, *COUNTS]
    if shape is FormatName.CSV:
        out = io.StringIO()
        writer = csv.DictWriter(out, header)
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue().rstrip("\r\n")
    if not rows:
        return "nothing was used"
    cells = [[_cell(name, row[name]) for name in header] for row in rows]
    return align(
        [[name.replace("cost_nano_usd", "cost_usd") for name in header], *cells],
        range(len(names), len(header)),
    )


def _cell(name: str, value: object) -> str:
    """People read dollars; machines get the whole nano-dollars that are counted."""
    return f"{Decimal(str(value)) / 10**9:.9f}" if name == "cost_nano_usd" else str(value)
