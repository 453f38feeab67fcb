"""``moegate catalogue``: what can be called, at which price."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from backends.catalogue import read_providers
from backends.pricing import find_price
from backends.target import Secret, Target
from gateway.cli.context import read_settings
from gateway.clock import Clock
from gateway.settings import ProviderAccess
from gateway.world import read_catalogue


def catalogue(
    show_all: Annotated[bool, typer.Option("--all", help="Also providers without a key.")] = False,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Targets with context, capabilities and prices; servers at home show in a running gateway."""
    targets = (
        every_target(config) if show_all else read_catalogue(read_settings(config, {})).targets
    )
    if as_json:
        typer.echo(msgspec.json.encode(targets).decode())
        return
    if not targets:
        typer.echo("no provider is switched on; set its key, or look at `moegate catalogue --all`")
        return
    now = Clock().utc()
    for target in targets:
        price = find_price(target, now)
        rates = "free" if target.is_free else "no price"
        if price is not None:
            rates = f"{_usd(price.rates.input)} in, {_usd(price.rates.output)} out USD/Mtok"
        typer.echo(
            f"{target.name:<44} {target.context_tokens_max:>9} tokens  {rates:<32} "
            f"{target.region:<7} {', '.join(sorted(target.capabilities))}"
        )


def _usd(nanousd_per_mtok: int) -> str:
    return f"{(Decimal(nanousd_per_mtok) / 10**9).normalize():f}"


def every_target(config: Path | None) -> tuple[Target, ...]:
    """The catalogue with every provider switched on, whether it has a key or not."""
    everyone = {name: ProviderAccess(Secret("unused")) for name in read_providers()}
    return read_catalogue(replace(read_settings(config, {}), providers=everyone)).targets
