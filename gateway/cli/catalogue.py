"""``moegate catalogue``: what can be called, at which price."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec
import orjson
import typer

from backends.catalogue import Catalogue, read_providers
from backends.pricing import find_price
from backends.target import Secret, Target
from gateway.cli.context import find_catalogue, read_settings
from gateway.clock import Clock
from gateway.settings import ProviderAccess
from gateway.world import read_catalogue


def catalogue(
    show_all: Annotated[bool, typer.Option("--all", help="Also providers without a key.")] = False,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Targets with context, prices (USD per million tokens), region and capabilities."""
    on = find_catalogue(read_settings(config, {})).targets
    names = {target.name for target in on}
    shown = on
    if show_all:
        shown += tuple(one for one in read_everything(config).targets if one.name not in names)
    now = Clock().utc()
    if as_json:
        rows = [_row(target, now, is_on=target.name in names) for target in shown]
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    for target in shown:
        state = "on " if target.name in names else "off"
        typer.echo(f"{state} {_line(target, now)}")


def read_everything(config: Path | None) -> Catalogue:
    """The catalogue with every provider switched on, whether it has a key or not; nothing can be called
    with it. Raises ``StartError``."""
    settings = read_settings(config, {})
    unused = ProviderAccess(Secret("unused"))
    everyone = dict.fromkeys(read_providers(), unused)
    known = {name: one for name, one in settings.providers.items() if one.api_key is not None}
    return read_catalogue(replace(settings, providers=everyone | known))


def format_rate(nanousd_per_mtok: int) -> str:
    """A rate as exact USD per million tokens."""
    return f"{(Decimal(nanousd_per_mtok) / 10**9).normalize():f}"


def _line(target: Target, now: datetime) -> str:
    price = find_price(target, now)
    rates = "free" if target.is_free else "no price"
    if price is not None:
        rates = f"{format_rate(price.rates.input)} in, {format_rate(price.rates.output)} out"
        rates += ", by length" if price.tiers else ""
        rates += ", by hour" if any(one.windows for one in target.prices) else ""
    return (
        f"{target.name:<54} {target.context_tokens_max:>9} tokens  {rates:<30} "
        f"{target.region:<7} {' '.join(sorted(target.capabilities))}"
    )


def _row(target: Target, now: datetime, *, is_on: bool) -> dict[str, object]:
    row: dict[str, object] = msgspec.to_builtins(target)
    row["capabilities"] = sorted(target.capabilities)
    return {**row, "is_on": is_on, "price": msgspec.to_builtins(find_price(target, now))}
