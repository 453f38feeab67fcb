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
from gateway.cli.catalogue import format_rate, read_everything
from gateway.cli.context import find_catalogue, read_settings
from gateway.clock import Clock
from gateway.errors import StartError
from gateway.settings import nearest


def price(
    model: Annotated[str, typer.Option(help="Target, model or alias.")],
    usage: Annotated[
        str,
        typer.Option(
            help="File with a usage object of OpenAI, Anthropic, Gemini or moegate, or an answer that "
            "holds one; - for stdin."
        ),
    ],
    provider: Annotated[str | None, typer.Option(help="Where, if several serve it.")] = None,
    at: Annotated[
        str | None, typer.Option(help="When (ISO 8601; without a zone it is UTC); now if absent.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """What a usage costs at a target, exactly, with every line of the bill.

    The sum of all lines is rounded once, half up, to whole nano-dollars. An unknown price is an error.
    """
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
            f"{line.name:<16} {line.tokens:>12} tokens at {format_rate(line.nanousd_per_mtok)} USD/Mtok"
        )
    typer.echo(f"{target.name}: {cost.nanousd // 10**9}.{cost.nanousd % 10**9:09d} USD")


def _find(config: Path | None, model: str, provider: str | None) -> Target:
    known = read_everything(config)
    # Servers at home and the simulator are looked for only if nobody else has it: that takes a moment.
    everywhere = known.find(model) or find_catalogue(read_settings(config, {})).find(model)
    found = [one for one in everywhere if provider in (None, one.provider)]
    if everywhere and not found:
        others = ", ".join(sorted({f"`{one.provider}`" for one in everywhere}))
        raise StartError(f"`{provider}` does not have `{model}`; it is at {others}")
    if not found:
        names = [word for one in known.targets for word in (one.name, one.model, *one.aliases)]
        hint = nearest(model, tuple(names)) or "; see `moegate catalogue --all`"
        raise StartError(f"the catalogue has no model `{model}`{hint}")
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
