"""``moegate policy``: check, explain. What changes policies stands in ``policy_versions``."""

from pathlib import Path
from typing import Annotated

import orjson
import typer

from backends.catalogue import Catalogue
from gateway.cli.context import find_catalogue, read_settings, run_on_database
from gateway.cli.replay import replay_command
from gateway.clock import Clock
from gateway.dry_run import CODECS, Trial, dry_run, find_format, trial_to_json
from gateway.errors import StartError
from gateway.explaining import explain_booked, is_refused
from gateway.ledger.lookup import find_request
from gateway.policy_reports import check_to_json
from gateway.policy_store import find_active
from gateway.prepare import read_policy
from gateway.proving import Proving, prove
from gateway.routing import make_routing, plain
from gateway.settings import Settings
from gateway.targets import count_targets, find_targets
from policies.check import Report, check
from policies.document import parse_policy
from policies.explain import explain
from policies.json_schema import render_schema

policy = typer.Typer(
    help="The policy in force: look at it, try it, change it, explain what it did.",
    no_args_is_help=True,
)

policy.command("replay")(replay_command)

Config = Annotated[Path | None, typer.Option(help="Configuration file (YAML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@policy.command("check")
def check_command(
    file: Annotated[str, typer.Argument(help="Policy document, or the name of a shipped one.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check a document against the catalogue, run its examples, prove its claims; nothing changes."""
    text, source = read_policy(file)
    catalogue = find_catalogue(read_settings(config, {}))
    document = parse_policy(text, source=source)
    targets = find_targets(catalogue)
    report = check(document, targets)
    proving = prove(document, targets, analyses=True)
    show_report(report, proving, catalogue, as_json=as_json)
    if not (report.is_ok and proving.certificate.is_proof):
        raise typer.Exit(1)


@policy.command("schema")
def schema_command() -> None:
    """The JSON Schema of a document, for editors."""
    typer.echo(render_schema(), nl=False)


@policy.command("explain")
def explain_command(
    request_id: Annotated[
        str | None, typer.Argument(help="Request, as in x-moegate-request-id.")
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(help="Request's body (JSON) to decide now instead, sending nothing."),
    ] = None,
    format: Annotated[
        str, typer.Option(help=f"With --request: its format, of {', '.join(CODECS)}.")
    ] = "openai-chat",
    model: Annotated[
        str, typer.Option(help="With --request: the model, where the format has it in the address.")
    ] = "auto",
    data_class: Annotated[
        str | None, typer.Option(help="With --request: its x-data-class.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="With --request: its x-moegate-task.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Why a request went where it went: every target kept or struck, with the reason, and how it ended."""
    settings = read_settings(config, {})
    if (request_id is None) == (request is None):
        raise typer.BadParameter("give a request id, or a file with --request")
    if request is not None:
        trial = Trial(_read_request(request), find_format(format), model, task)
        _explain_now(settings, trial, data_class, as_json=as_json)
    else:
        _explain_ended(settings, request_id or "", as_json=as_json)


def _explain_now(
    settings: Settings, trial: Trial, data_class: str | None, *, as_json: bool
) -> None:
    active = run_on_database(settings.database_url, find_active)
    if active is None:
        raise StartError("no policy is in force: run `moegate init`")
    catalogue = find_catalogue(settings)
    routing = make_routing(catalogue, plain(active.parse()), {})
    record, remedies = dry_run(routing, trial, data_class, Clock().now())
    if as_json:
        typer.echo(orjson.dumps(trial_to_json(record, remedies, catalogue)).decode())
        return
    typer.echo(explain(record.decision, record.facts, record.quotes, remedies=remedies))
    typer.echo(f"\n{_say_against(catalogue)}")


def _explain_ended(settings: Settings, request_id: str, *, as_json: bool) -> None:
    url = settings.database_url
    found = run_on_database(url, lambda engine: find_request(engine, request_id))
    if found is None:
        raise StartError(f"there is no request `{request_id}` in the database")
    catalogue = find_catalogue(settings) if is_refused(found) else None
    said = run_on_database(url, lambda engine: explain_booked(engine, found, catalogue))
    typer.echo(orjson.dumps(said.to_json()).decode() if as_json else said.to_text())


def _read_request(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read `{path}`: {error.strerror}") from error


def _say_against(catalogue: Catalogue) -> str:
    """The surroundings are those of this shell, which need not be the gateway's."""
    counts = count_targets(catalogue)
    shown = ", ".join(f"{provider} {count}" for provider, count in counts.items())
    total = sum(counts.values())
    return f"against {total} {'target' if total == 1 else 'targets'}{shown and ': '}{shown}"


def show_report(report: Report, proving: Proving, catalogue: Catalogue, *, as_json: bool) -> None:
    """Print what a check found and what is proved."""
    if as_json:
        typer.echo(orjson.dumps(check_to_json(report, proving, catalogue)).decode())
        return
    for line in (*report.lines(), *proving.lines(), _say_against(catalogue)):
        typer.echo(line)
