"""``moegate price``: what a usage costs, exactly, with the lines of the bill."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import orjson
import typer

from backends.pricing import UnknownPrice, price_usage
from backends.target import Target
from backends.wire.failure import WireError
from backends.wire.provider_usage import parse_provider_usage
from gateway.cli.catalogue import every_target
from gateway.clock import Clock
from gateway.errors import StartError


def price(
    model: Annotated[str, typer.Option(help="Model or target.")],
    usage: Annotated[str, typer.Option(help="File with a provider's usage object; - for stdin.")],
    provider: Annotated[str | None, typer.Option(help="Where, if several serve it.")] = None,
    at: Annotated[str | None, typer.Option(help="When (ISO 8601, UTC); now if absent.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """What a usage costs at a target, in nano-dollars, with every line."""
    target = _find(config, model, provider)
    moment = _parse_time(at)
    try:
        counted = parse_provider_usage(_read(usage))
        cost = price_usage(target, counted, moment)
    except (WireError, UnknownPrice, ValueError) as error:
        raise StartError(str(error)) from error
    if as_json:
        lines = [msgspec.to_builtins(line) for line in cost.lines]
        answer = {"target": target.name, "nano_usd": cost.nanousd, "lines": lines}
        typer.echo(orjson.dumps(answer).decode())
        return
    for line in cost.lines:
        typer.echo(
            f"{line.name:<16} {line.tokens:>12} tokens at {line.nanousd_per_mtok / 1e9:g} USD/Mtok"
        )
    typer.echo(f"{target.name}: {cost.nanousd // 10**9}.{cost.nanousd % 10**9:09d} USD")


def _find(config: Path | None, model: str, provider: str | None) -> Target:
    found = [
        target
        for target in every_target(config)
        if model in (target.name, target.model, *target.aliases)
        and provider in (None, target.provider)
    ]
    if not found:
        where = f" at `{provider}`" if provider else ""
        raise StartError(
            f"the catalogue has no model `{model}`{where}; see `moegate catalogue --all`"
        )
    if len(found) > 1:
        names = ", ".join(target.name for target in found)
        raise StartError(f"`{model}` is served as {names}; name one, or give --provider")
    return found[0]


def _parse_time(text: str | None) -> datetime:
    if text is None:
        return Clock().utc()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise StartError(f"`{text}` is no time in ISO 8601") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise StartError(f"cannot read `{name}`: {error.strerror}") from error
