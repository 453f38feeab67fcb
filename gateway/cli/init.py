"""``moegate init``: schema, first admin key, first policy. For shared databases: run it before the
gateways, and again after an upgrade."""

import asyncio
from pathlib import Path
from typing import Annotated

import orjson
import typer

from gateway.cli.context import read_settings
from gateway.prepare import prepare


def init(
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    quiet: Annotated[bool, typer.Option(help="Do not show the admin key.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Bring the database up to date; make the first admin key and policy if there are none."""
    prepared = asyncio.run(prepare(read_settings(config, {})))
    key = None if quiet else prepared.admin_key
    if as_json:
        typer.echo(orjson.dumps({"admin_key": key, "policy": prepared.policy}).decode())
        return
    typer.echo(f"the database is up to date; policy in force: {prepared.policy}")
    if key is not None:
        typer.echo(f"admin key (shown this once): {key}")
