"""``moegate policy``: check, apply, history, rollback, explain."""

import asyncio
import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
from sqlalchemy import select

from gateway.cli.context import find_catalogue, read_settings, surroundings
from gateway.clock import Clock
from gateway.decision_record import DecisionRecord, parse_decision, render_decision
from gateway.dry_run import dry_run
from gateway.errors import StartError
from gateway.facts import target_facts
from gateway.ledger import open_database, tables
from gateway.policy_store import (
    StoredPolicy,
    apply_policy,
    find_active,
    find_version,
    list_history,
)
from gateway.prepare import read_policy
from gateway.settings import Settings
from policies.check import Report, check
from policies.document import PolicyDocument, parse_policy
from policies.explain import explain
from policies.facts import TargetFacts

policy = typer.Typer(
    help="The policy in force: look at it, try it, change it, explain what it did.",
    no_args_is_help=True,
)

Config = Annotated[Path | None, typer.Option(help="Configuration file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@policy.command("check")
def check_command(
    file: Annotated[str, typer.Argument(help="Policy document, or the name of a shipped one.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check a document against the catalogue and run its examples; nothing changes."""
    _document, report = _checked(read_settings(config, {}), file)
    _show_report(report, as_json=as_json)
    if not report.is_ok:
        raise typer.Exit(1)


@policy.command("apply")
def apply_command(
    file: Annotated[str, typer.Argument(help="Policy document, or the name of a shipped one.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check a document and put it in force; running gateways take it up within a second."""
    settings = read_settings(config, {})
    document, report = _checked(settings, file)
    if not report.is_ok:
        _show_report(report, as_json=as_json)
        raise typer.Exit(1)
    _apply(settings, document, read_policy(file)[0], as_json=as_json)


@policy.command()
def history(config: Config = None, as_json: AsJson = False) -> None:
    """What was in force, newest first."""
    settings = read_settings(config, {})

    async def read() -> list[dict[str, object]]:
        engine = open_database(settings.database_url)
        try:
            return [
                {
                    "version": entry.version,
                    "name": entry.name,
                    "digest": entry.digest,
                    "applied_by": entry.applied_by,
                    "applied_at": datetime.fromtimestamp(entry.applied_at, UTC).isoformat(),
                }
                for entry in await list_history(engine)
            ]
        finally:
            await engine.dispose()

    entries = asyncio.run(read())
    if as_json:
        typer.echo(orjson.dumps(entries).decode())
        return
    for entry in entries:
        typer.echo(
            f"{entry['version']:>4}  {entry['name']:<24}  {str(entry['digest'])[:12]}  "
            f"{entry['applied_at']}  {entry['applied_by']}"
        )


@policy.command()
def rollback(
    version: Annotated[int, typer.Argument(help="Entry of the history to put in force again.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put an earlier document in force again, as a new entry of the history."""
    settings = read_settings(config, {})

    async def read() -> tuple[PolicyDocument, str]:
        engine = open_database(settings.database_url)
        try:
            stored = await find_version(engine, version)
        finally:
            await engine.dispose()
        if stored is None:
            raise StartError(f"there is no policy version {version}; see `moegate policy history`")
        return stored.parse(), stored.text

    document, text = asyncio.run(read())
    report = check(document, _facts(settings))
    if not report.is_ok:
        _show_report(report, as_json=as_json)
        raise typer.Exit(1)
    _apply(settings, document, text, as_json=as_json)


@policy.command("explain")
def explain_command(
    request_id: Annotated[
        str | None, typer.Argument(help="Request, as in x-moegate-request-id.")
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(help="Chat request (JSON) to decide now instead, sending nothing."),
    ] = None,
    data_class: Annotated[
        str | None, typer.Option(help="With --request: its x-data-class.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Why a request went where it went: every target kept or struck, with the reason."""
    settings = read_settings(config, {})
    if (request_id is None) == (request is None):
        raise typer.BadParameter("give a request id, or a file with --request")
    if request is not None:
        record = asyncio.run(_decide_now(settings, _read_request(request), data_class))
    else:
        record = asyncio.run(_read_record(settings, request_id or ""))
    if as_json:
        typer.echo(render_decision(record))
        return
    typer.echo(explain(record.decision, record.facts))


async def _decide_now(settings: Settings, raw: bytes, data_class: str | None) -> DecisionRecord:
    engine = open_database(settings.database_url)
    try:
        active = await find_active(engine)
    except Exception as error:
        raise StartError(
            f"the policy in force cannot be read ({type(error).__name__}): run `moegate init`, or look "
            "at `MOEGATE_DATABASE_URL`"
        ) from error
    finally:
        await engine.dispose()
    if active is None:
        raise StartError("no policy is in force: run `moegate init`")
    async with surroundings(settings) as world:
        return dry_run(world.catalogue, active.parse(), raw, data_class, Clock().now())


def _read_request(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read `{path}`: {error.strerror}") from error


async def _read_record(settings: Settings, request_id: str) -> DecisionRecord:
    engine = open_database(settings.database_url)
    try:
        async with engine.connect() as connection:
            query = select(tables.requests.c.decision).where(
                tables.requests.c.request_id == request_id
            )
            text = (await connection.execute(query)).scalar()
    finally:
        await engine.dispose()
    if text is None:
        raise StartError(f"there is no request `{request_id}` in the database")
    return parse_decision(text)


def _checked(settings: Settings, file: str) -> tuple[PolicyDocument, Report]:
    text, source = read_policy(file)
    document = parse_policy(text, source=source)
    return document, check(document, _facts(settings))


def _facts(settings: Settings) -> tuple[TargetFacts, ...]:
    return tuple(target_facts(target) for target in find_catalogue(settings).targets)


def _apply(settings: Settings, document: PolicyDocument, text: str, *, as_json: bool) -> None:
    async def write() -> tuple[StoredPolicy, bool]:
        engine = open_database(settings.database_url)
        try:
            return await apply_policy(
                engine, document, text, applied_by=getpass.getuser(), now=Clock().now()
            )
        finally:
            await engine.dispose()

    stored, is_new = asyncio.run(write())
    if as_json:
        said = {"version": stored.version, "name": stored.name, "digest": stored.digest}
        typer.echo(orjson.dumps(said | {"is_new": is_new}).decode())
    else:
        typer.echo(f"{'in force' if is_new else 'already in force'}: {stored.label}")


def _show_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(report.to_json()).decode())
        return
    for line in report.lines():
        typer.echo(line)
