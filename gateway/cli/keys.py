"""``moegate keys``: create, list, revoke."""

import re
from dataclasses import asdict
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import orjson
import typer

from gateway.admission import Limit
from gateway.cli.context import read_settings, run_on_database
from gateway.cli.table import align
from gateway.clock import Clock
from gateway.errors import StartError
from gateway.identity import (
    DEFAULT_ORGANISATION,
    KeyRecord,
    NewKey,
    create_key,
    is_key_id,
    list_keys,
    revoke_key,
)
from gateway.identity.keys import ADMIN, OWNER

keys = typer.Typer(help="API keys: make, list, revoke.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option(help="Configuration file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


class PeriodName(StrEnum):
    """Periods of a budget, in UTC."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class ClassName(StrEnum):
    """Data classes in rising order."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


@keys.command()
def create(
    team: Annotated[str, typer.Option(help="Team the key belongs to; made if it is new.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    budget_usd: Annotated[
        str | None, typer.Option(help="Hard budget in USD, such as 12.50.")
    ] = None,
    period: Annotated[
        PeriodName | None, typer.Option(help="What the budget is for [month].")
    ] = None,
    rpm: Annotated[int | None, typer.Option(min=1, help="Requests a minute.")] = None,
    data_class: Annotated[
        ClassName, typer.Option(help="What its prompts are at least.")
    ] = ClassName.INTERNAL,
    admin: Annotated[bool, typer.Option("--admin", help="May use the admin API.")] = False,
    owner: Annotated[
        bool,
        typer.Option(
            "--owner", help="An admin who may also put policies in force that are not proved."
        ),
    ] = False,
    organisation: Annotated[
        str, typer.Option(help="Organisation of the team; made if it is new.")
    ] = DEFAULT_ORGANISATION,
    residency: Annotated[
        str | None,
        typer.Option(help="Of a new organisation: where its prompts may be processed, such as eu."),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown this once, only its hash is kept."""
    limit = None
    if budget_usd is not None:
        limit = Limit("", (period or PeriodName.MONTH).value, parse_usd(budget_usd))
    elif period is not None:
        raise StartError("`--period` says what a budget is for: give `--budget-usd` too")
    roles = frozenset({ADMIN, OWNER} if owner else {ADMIN} if admin else ())
    asked = NewKey(team, name, limit, rpm, data_class.value, roles, organisation, residency)
    url = read_settings(config, {}).database_url

    now = Clock().now()
    key, key_id = run_on_database(url, lambda engine: create_key(engine, asked, now=now))
    if as_json:
        made = {"key": key, "key_id": key_id, "organisation": organisation, "team": team}
        typer.echo(orjson.dumps(made | {"name": name or team}).decode())
    else:
        typer.echo(f"{key}\nshown this once; its id is {key_id}")


@keys.command("list")
def list_command(config: Config = None, as_json: AsJson = False) -> None:
    """Every key, the newest first."""
    url = read_settings(config, {}).database_url
    records = run_on_database(url, list_keys)
    if as_json:
        typer.echo(orjson.dumps([asdict(record) for record in records]).decode())
        return
    typer.echo(align([KEY_COLUMNS, *(_cells(record) for record in records)]))


KEY_COLUMNS = (
    "id",
    "key",
    "state",
    "organisation",
    "team",
    "name",
    "class",
    "budget",
    "requests a minute",
    "role",
)


def _cells(record: KeyRecord) -> tuple[str, ...]:
    budget = "none"
    if record.budget_nanousd is not None:
        usd = f"{Decimal(record.budget_nanousd) / 10**9:f} USD"
        budget = (
            f"{usd} in all"
            if record.budget_period == "total"
            else f"{usd} a {record.budget_period}"
        )
    state = "revoked" if record.revoked_at is not None else "active"
    rate = str(record.requests_per_minute or "any number")
    return (
        record.key_id, f"{record.shown}…", state, record.organisation, record.team, record.name, record.data_class, budget,
        rate, record.roles or "user",
    )  # fmt: skip


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `moegate keys list` shows it.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key; running gateways stop taking it within five seconds."""
    if not is_key_id(key_id):
        # Most likely the key itself, which must not stand in a terminal's or a job's log as well.
        raise StartError("this is no key id: give the id from `moegate keys list`, not the key")
    url = read_settings(config, {}).database_url
    now = Clock().now()
    if not run_on_database(url, lambda engine: revoke_key(engine, key_id, now=now)):
        raise StartError(f"there is no active key `{key_id}`")
    typer.echo(orjson.dumps({"revoked": key_id}).decode() if as_json else f"revoked {key_id}")


def parse_usd(text: str) -> int:
    """Dollars as exact nano-dollars. Raises ``StartError`` for what is not an amount."""
    if re.fullmatch(r"\d{1,12}(\.\d{1,30})?", text, re.ASCII) is None:
        raise StartError(f"`{text}` is not an amount in USD, such as 12.50")
    nanousd = Fraction(text) * 10**9
    if nanousd.denominator != 1:
        raise StartError(f"`{text}` is finer than a nano-dollar, in which budgets are counted")
    return nanousd.numerator
