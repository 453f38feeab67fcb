"""``moegate policy``: apply, rollback, history, show, diff, status.

Exit codes: 0 done, 1 refused (a check failed, the document in force is another one, a drift was found).
"""

import difflib
import getpass
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import msgspec
import orjson
import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.cli.context import find_catalogue, read_settings, run_on_database
from gateway.cli.policy import AsJson, Config, show_report
from gateway.cli.table import align
from gateway.clock import Clock
from gateway.errors import StartError
from gateway.policy_store import (
    Applied,
    Certify,
    Change,
    PolicyStatus,
    Proved,
    Stale,
    StoredPolicy,
    Unfit,
    Unproved,
    activate_version,
    apply_policy,
    find_proofs,
    find_status,
    find_version,
    list_history,
    parse_scope,
)
from gateway.prepare import read_policy
from gateway.proving import Certifier, Proving, prove
from gateway.settings import Settings
from gateway.targets import find_targets
from policies.certificate import Certificate
from policies.check import check
from policies.document import PolicyDocument, parse_policy

Scope = Annotated[
    str,
    typer.Option(
        help="`organisation:NAME`, `team:NAME` (or `ID`) or `key:ID`; without it the base policy."
    ),
]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]
At = Annotated[
    datetime | None,
    typer.Option(
        help="When it starts (UTC): 2026-12-01T08:00.",
        formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"],
    ),
]
Share = Annotated[
    float | None, typer.Option("--canary", help="Only for this share of the keys: 0.1.")
]
IfMatch = Annotated[
    str | None, typer.Option(help="Only if the document with this digest is in force.")
]
Unproven = Annotated[
    str | None,
    typer.Option(
        help="Why it may be in force though its claims are not proved; every answer then says so."
    ),
]
Version = Annotated[int, typer.Argument(help="Version, as in `moegate policy history`.")]


def apply_command(
    file: Annotated[str, typer.Argument(help="Policy document, or the name of a shipped one.")],
    scope: Scope = "",
    reason: Reason = "",
    at: At = None,
    canary: Share = None,
    if_match: IfMatch = None,
    unproven: Unproven = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check and prove a document and put it in force; running gateways take it up within a second.

    With --canary for a share of the keys first: apply it again without, and everybody has it; apply or roll back
    to another, and the canary is over.
    """
    text, source = read_policy(file)
    settings, document = read_settings(config, {}), parse_policy(text, source=source)
    if unproven is not None and not unproven.strip():
        raise StartError("`--unproven` needs a reason")
    now = Clock().now()

    async def work(engine: AsyncEngine, certify: Certify) -> Applied:
        change = Change(
            author=getpass.getuser(),
            scope=await parse_scope(engine, scope),
            reason=reason,
            starts_at=_seconds(at),
            canary_share=canary,
            if_match=if_match,
            override=unproven,
        )
        return await apply_policy(engine, document, text, change, certify, now=now)

    _show_applied(_change(settings, document, work, as_json=as_json), as_json=as_json)


def rollback(
    version: Version,
    reason: Reason = "",
    at: At = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put an earlier version in force again, in its own scope; the history tells it."""
    settings, now = read_settings(config, {}), Clock().now()
    stored = run_on_database(settings.database_url, lambda engine: _get_version(engine, version))
    change = Change(author=getpass.getuser(), reason=reason, starts_at=_seconds(at))

    async def work(engine: AsyncEngine, certify: Certify) -> Applied:
        return await activate_version(engine, version, change, certify, now=now)

    _show_applied(_change(settings, stored.parse(), work, as_json=as_json), as_json=as_json)


def history(
    scope: Annotated[
        str | None,
        typer.Option(
            help="Only `organisation:NAME`, `team:NAME` or `key:ID`; `base` for the base policy."
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Every version, the newest first."""

    async def work(engine: AsyncEngine) -> list[StoredPolicy]:
        if scope is None:
            return await list_history(engine)
        wanted = await parse_scope(engine, "" if scope == "base" else scope)
        return await list_history(engine, scope=wanted)

    entries = run_on_database(read_settings(config, {}).database_url, work)
    if as_json:
        typer.echo(orjson.dumps([_brief(entry) for entry in entries]).decode())
        return
    rows = [
        (
            str(entry.version), entry.scope or "base", entry.name, entry.digest[:12], _time(entry.created_at),
            entry.author, entry.reason,
        )
        for entry in entries
    ]  # fmt: skip
    typer.echo(align([HISTORY_COLUMNS, *rows], numbers=(0,)))


HISTORY_COLUMNS = ("version", "scope", "name", "digest", "created_at", "author", "reason")


def show(version: Version, config: Config = None, as_json: AsJson = False) -> None:
    """The document of a version, as it was written; with --json also what was proved of it, over which targets."""

    async def work(engine: AsyncEngine) -> tuple[StoredPolicy, list[Certificate]]:
        stored = await _get_version(engine, version)
        return stored, await find_proofs(engine, stored.digest)

    stored, proofs = run_on_database(read_settings(config, {}).database_url, work)
    said = asdict(stored) | {"proofs": msgspec.to_builtins(proofs)}
    typer.echo(orjson.dumps(said).decode() if as_json else stored.text, nl=as_json)


def diff(
    version: Version,
    other: Annotated[int, typer.Argument(help="The version to compare it with.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """What changes from one version to another, as a unified diff."""

    async def work(engine: AsyncEngine) -> tuple[StoredPolicy, StoredPolicy]:
        return await _get_version(engine, version), await _get_version(engine, other)

    one, two = run_on_database(read_settings(config, {}).database_url, work)
    lines = list(
        difflib.unified_diff(
            one.text.splitlines(), two.text.splitlines(), one.label, two.label, lineterm=""
        )
    )
    if as_json:
        typer.echo(orjson.dumps({"from": version, "to": other, "diff": lines}).decode())
    elif lines:
        typer.echo("\n".join(lines))


def status(
    file: Annotated[
        str | None, typer.Argument(help="The document that should be in force.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """What is in force, scheduled and tried, what each process runs, and what differs (exit code 1)."""
    settings, now = read_settings(config, {}), Clock().now()
    named = file or (settings.policy if settings.policy != Settings().policy else None)
    written = None
    if named is not None:
        text, source = read_policy(named)
        written = parse_policy(text, source=source)
    found = run_on_database(settings.database_url, lambda engine: find_status(engine, now, written))
    if as_json:
        typer.echo(orjson.dumps(found.to_json()).decode())
    else:
        _show_status(found, now)
    if found.drift:
        raise typer.Exit(1)


def add_to(policy: typer.Typer) -> None:
    """Register the commands."""
    policy.command("apply")(apply_command)
    for command in (rollback, history, show, diff, status):
        policy.command()(command)


def _change(
    settings: Settings,
    document: PolicyDocument,
    work: Callable[[AsyncEngine, Certify], Awaitable[Applied]],
    *,
    as_json: bool,
) -> Applied:
    """What ``work`` does, if ``document`` passes its check and all that it wants proved is, with the targets that are
    seen from here; else tells what is in the way and ends."""
    catalogue = find_catalogue(settings)
    targets = find_targets(catalogue)
    report = check(document, targets)
    if not report.is_ok:
        show_report(report, prove(document, targets), catalogue, as_json=as_json)
        _show_refused(["it has problems"], as_json=as_json)
    failed: list[Proving] = []

    async def attempt(engine: AsyncEngine) -> Applied:
        certifier = Certifier(engine)

        async def certify(documents: Sequence[PolicyDocument]) -> Proved:
            found = await certifier.certify(documents, targets)
            failed[:] = found.failed.values()
            return found.to_proved()

        return await work(engine, certify)

    try:
        return run_on_database(settings.database_url, attempt)
    except (Stale, Unfit) as error:
        raise StartError(str(error)) from error
    except Unproved as error:
        show_report(report, failed[0], catalogue, as_json=as_json)
        _show_refused([f"not proved of {one}" for one in error.of], as_json=as_json)


def _show_refused(reasons: Sequence[str], *, as_json: bool) -> NoReturn:
    """End, with why nothing was changed: the report above looks like that of a check."""
    if not as_json:
        for reason in reasons:
            typer.echo(f"not applied: {reason}")
    raise typer.Exit(1)


async def _get_version(engine: AsyncEngine, version: int) -> StoredPolicy:
    stored = await find_version(engine, version)
    if stored is None:
        raise StartError(f"there is no policy version {version}; see `moegate policy history`")
    return stored


def _show_applied(applied: Applied, *, as_json: bool) -> None:
    stored, activation = applied.stored, applied.activation
    if as_json:
        said = {"version": stored.version, "name": stored.name, "digest": stored.digest}
        more = {"is_new": applied.is_new, "activation": activation and asdict(activation)}
        typer.echo(orjson.dumps(said | more).decode())
        return
    if activation is None:
        words = "already in force"
    elif activation.starts_at > activation.activated_at:
        words = f"in force from {_time(activation.starts_at)} on"
    else:
        words = "in force"
    if activation is not None and activation.canary_share is not None:
        words += f" for {activation.canary_share:g} of the keys"
    if stored.scope:
        words += f" over `{stored.scope}`"
    if activation is not None and activation.override is not None:
        words += ", unproven"
    typer.echo(f"{words}: {stored.label}")


def _show_status(found: PolicyStatus, now: float) -> None:
    rows: list[Sequence[str]] = [("scope", "policy", "version", "for", "since", "by", "reason")]
    for scope, stored, one in found.in_force:
        share = "everybody" if one.canary_share is None else f"{one.canary_share:g} of the keys"
        name = "" if stored is None else f"{stored.name}@{stored.digest[:12]}"
        why = [one.reason] if one.reason else []
        if one.override is not None:
            name, why = f"{name}-unproven", [*why, f"unproven: {one.override}"]
        rows.append(
            (scope or "base", name, str(one.version), share, _time(one.starts_at), one.activated_by, "; ".join(why))
        )  # fmt: skip
    typer.echo(align(rows))
    for one in found.scheduled:
        typer.echo(
            f"scheduled: version {one.version} over {one.scope or 'base'} at {_time(one.starts_at)}"
        )
    for process in found.processes:
        typer.echo(
            f"process {process.pid} on {process.host}: {process.policy}, catalogue {process.catalogue}, "
            f"seen {max(0, now - process.seen_at):.0f} s ago"
        )
    for line in found.drift:
        typer.echo(f"drift: {line}")


def _brief(stored: StoredPolicy) -> dict[str, object]:
    shown: dict[str, object] = asdict(stored)
    del shown["text"], shown["diff"]
    return shown | {"created_at": _time(stored.created_at)}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.replace(tzinfo=UTC).timestamp()
