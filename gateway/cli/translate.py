"""``moegate translate``: what a body becomes in another format, for people who debug."""

import sys
from pathlib import Path
from typing import Annotated, get_args

import orjson
import typer

from backends.wire.clients import CLIENTS
from backends.wire.events import Event
from backends.wire.failure import WireError
from backends.wire.outcome import Outcome
from backends.wire.prompt import Asked, Prompt, WireFormat
from backends.wire.relay import TranslatingRelay, fold_answer
from backends.wire.rendering import name_losses
from backends.wire.targets import TARGETS
from gateway.errors import StartError
from gateway.settings import nearest

FORMATS: tuple[WireFormat, ...] = get_args(WireFormat)
KINDS = ("request", "response", "stream")
OUTPUT_TOKENS_DEFAULT = 4096
"""The cap of a request that names none, for a format that demands one."""


def translate(
    source: Annotated[str, typer.Option("--from", help=f"Its format: {', '.join(TARGETS)}.")],
    wanted: Annotated[str, typer.Option("--to", help="The format wanted, one of the same.")],
    kind: Annotated[str, typer.Option(help="What it is: request, response or stream.")],
    model: Annotated[
        str, typer.Option(help="The model that a request is for: what it takes decides.")
    ] = "auto",
    file: Annotated[str, typer.Argument(help="The body's file; - for standard input.")] = "-",
) -> None:
    """Translate a request, an answer or a stream between two formats, as the gateway does.

    The result goes to standard output, the list of what it does not carry as JSON to standard error. Nothing is
    sent. The exit code is 1 if the body cannot be translated.
    """
    before, after = _format(source), _format(wanted)
    if kind not in KINDS:
        raise StartError(f"`{kind}` is no kind; it is one of {', '.join(KINDS)}")
    raw = sys.stdin.buffer.read() if file == "-" else _read(Path(file))
    try:
        if kind == "request":
            body, dropped = _request(raw, before, after, model)
        elif kind == "response":
            body, dropped = _response(raw, before, after, model)
        else:
            body, dropped = _stream(raw, before, after, model)
    except WireError as error:
        failure = error.failure
        place = f" (at `{failure.param}`)" if failure.param else ""
        raise StartError(f"{failure.message}{place}") from error
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()
    sys.stderr.write(orjson.dumps({"dropped": dropped}).decode() + "\n")


def _format(name: str) -> WireFormat:
    for known in FORMATS:
        if known == name and known in TARGETS:
            return known
    near = nearest(name, tuple(TARGETS)) or f"; it is one of {', '.join(TARGETS)}"
    raise StartError(f"`{name}` is no format{near}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read `{path}`: {error.strerror}") from error


def _request(
    raw: bytes, before: WireFormat, after: WireFormat, model: str
) -> tuple[bytes, tuple[str, ...]]:
    prompt = CLIENTS[before].parse_request(raw, Asked(model=model))
    rendered = TARGETS[after].render_request(
        prompt, model=model, output_cap=None, output_tokens_default=OUTPUT_TOKENS_DEFAULT
    )
    return rendered.body, rendered.dropped


def _asker(after: WireFormat, model: str) -> Prompt:
    """Somebody who wants to see everything that an answer may hold."""
    return Prompt(
        after, b"{}", model, (), is_stream=True, wants_usage=True, shows_reasoning=True,
        asked=Asked(model=model, is_stream=True),
    )  # fmt: skip


def _response(
    raw: bytes, before: WireFormat, after: WireFormat, model: str
) -> tuple[bytes, tuple[str, ...]]:
    parser = TARGETS[before].open_parser()
    events: list[Event] = parser.read_answer(raw)
    answer = fold_answer(_asker(after, model), events, tuple(parser.dropped))
    return answer.body, answer.outcome.dropped


def _stream(
    raw: bytes, before: WireFormat, after: WireFormat, model: str
) -> tuple[bytes, tuple[str, ...]]:
    relay = TranslatingRelay(TARGETS[before].open_parser(), _asker(after, model))
    body = relay.feed(raw) + relay.finish()
    outcome: Outcome = relay.outcome
    return body, name_losses(outcome.dropped)
