"""``moegate doctor``: look at everything a gateway stands on and say what to do about what is wrong."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import orjson
import typer
from sqlalchemy.exc import SQLAlchemyError

from gateway.cli.context import absent_file, read_settings, surroundings
from gateway.clock import Clock
from gateway.errors import StartError
from gateway.facts import target_facts
from gateway.ledger import open_database, schema_state
from gateway.policy_store import StoredPolicy, find_active, find_standing, load_levels
from gateway.proving import Certifier
from gateway.routing import compile_levels
from gateway.settings import Settings
from gateway.targets import count_targets
from gateway.world import World
from policies.document import PolicyError
from policies.inherit import label_version

State = Literal["ok", "warning", "broken"]
PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``advice`` says what would help."""

    name: str
    state: State
    detail: str
    advice: str = ""


def doctor(
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Check state directory, database, Redis, policy and targets; exit code 1 if one is broken."""
    settings = read_settings(config, {})
    findings = asyncio.run(examine(settings))
    if as_json:
        typer.echo(orjson.dumps([asdict(finding) for finding in findings]).decode())
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<8} {finding.name:<16} {finding.detail}")
            if finding.advice:
                typer.echo(f"{'':<8} {'':<16} → {finding.advice}")
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


async def examine(settings: Settings) -> list[Finding]:
    """Every check, each on its own: one that breaks does not hide the others."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[list[Finding]]], str]] = [
        ("state directory", _look_at_home, "let this user write there, or set `MOEGATE_HOME`"),
        ("database", _look_at_database, "start it, or correct `MOEGATE_DATABASE_URL`"),
        ("redis", _look_at_redis, "start it, or correct `MOEGATE_REDIS_URL`"),
        ("targets", _look_at_targets, "correct what is named there; a gateway does not start so"),
    ]
    findings: list[Finding] = []
    for name, look, advice in checks:
        try:
            findings.extend(await look(settings))
        except StartError as error:
            findings.append(Finding(name, "broken", str(error), advice))
        except Exception as error:  # a check: whatever breaks is its finding
            cause = getattr(error, "orig", None) or error
            words = " ".join(f"{type(error).__name__}: {cause}".split())
            findings.append(Finding(name, "broken", words[:300], advice))
    return findings


async def _look_at_home(settings: Settings) -> list[Finding]:
    home = settings.home
    if not home.is_dir():
        return [
            Finding(
                "state directory",
                "warning",
                f"`{home}` is not there yet",
                "the first start makes it",
            )
        ]
    with tempfile.NamedTemporaryFile(dir=home):
        pass
    free = os.statvfs(home)
    room = free.f_bavail * free.f_frsize
    if room < 8 * settings.journal_segment_bytes:
        return [
            Finding(
                "state directory",
                "warning",
                f"`{home}` has {room >> 20} MiB left",
                "requests are refused when the journal has no room",
            )
        ]
    return [Finding("state directory", "ok", f"`{home}`, {room >> 20} MiB free")]


async def _look_at_database(settings: Settings) -> list[Finding]:
    if absent := absent_file(settings.database_url):
        words = f"`{absent}` is not there yet"
        return [Finding("database", "warning", words, "the first start makes it")]
    state = await schema_state(settings.database_url)
    dialect = settings.database_url.partition(":")[0]
    if state == "current":
        found = [Finding("database", "ok", f"{dialect}, schema up to date")]
    else:
        return [Finding("database", "broken", f"{dialect}, schema {state}", "run `moegate init`")]
    active = await _find_policy(settings)
    if active is None:
        return [*found, Finding("policy", "broken", "none in force", "run `moegate init`")]
    return [*found, Finding("policy", "ok", active.label)]


async def _look_at_redis(settings: Settings) -> list[Finding]:
    if not settings.redis_url:
        return [Finding("redis", "ok", "not used: budgets and cache live in one process")]
    from gateway.shared_state import ask_redis  # noqa: PLC0415  # see there: it costs time

    facts = await ask_redis(settings.redis_url, PROBE_SECONDS)
    if facts.evicts is not None:
        return [
            Finding(
                "redis",
                "warning",
                f"version {facts.version} evicts ({facts.evicts})",
                "set `maxmemory-policy noeviction`: budgets must not be forgotten",
            )
        ]
    return [Finding("redis", "ok", f"version {facts.version}")]


async def _look_at_targets(settings: Settings) -> list[Finding]:
    async with surroundings(settings) as world:
        findings = _describe(world)
        findings.extend(await _check_policy_fits(settings, world))
    return findings


def _describe(world: World) -> list[Finding]:
    providers = count_targets(world.catalogue)
    advice = "start the worker, correct `SGLANG_URLS`, or look at `SGLANG_API_KEY`"
    away = [
        Finding("targets", "broken", f"`{url}` does not answer", advice)
        for url in world.unreachable
    ]
    advice = "set a provider's key or `SGLANG_URLS`; see the README"
    if not providers and not away:
        return [Finding("targets", "broken", "no target at all", advice)]
    if set(providers) == {"simulator"} and not away:
        return [Finding("targets", "warning", "only the built-in simulator", advice)]
    external = {
        target.provider for target in world.catalogue.targets if target.boundary == "external"
    }
    return [
        Finding(
            "targets",
            "ok",
            f"{provider}: {count}{' (not called)' if provider in external else ''}",
        )
        for provider, count in providers.items()
    ] + away


async def _check_policy_fits(settings: Settings, world: World) -> list[Finding]:
    """Every level of what is in force, with the targets at hand. A database that is not up to date is a finding of
    its own, told once."""
    try:
        engine = open_database(settings.database_url)
    except StartError:
        return []
    targets = tuple(target_facts(target) for target in world.catalogue.targets)
    try:
        if await find_active(engine) is None:
            return []
        levels = await load_levels(engine, await find_standing(engine, Clock().now()))
        compile_levels(levels, targets)
        _levels, gaps = await Certifier(engine).certify_levels(levels, targets)
    except (SQLAlchemyError, OSError):
        return []
    except PolicyError as error:
        words = f"what is in force does not work: {error}"
        return [Finding("policy", "broken", words, "`moegate policy apply` another")]
    finally:
        await engine.dispose()
    advice = "`moegate policy apply` another, or the same with `--unproven` and a reason"
    return [
        Finding(
            "policy",
            "broken",
            f"`{document.name}@{label_version(document)}` is not proved with these targets: {proving.gaps()[0]}",
            advice,
        )
        for document, proving in gaps.values()
    ]


async def _find_policy(settings: Settings) -> StoredPolicy | None:
    engine = open_database(settings.database_url)
    try:
        return await find_active(engine)
    finally:
        await engine.dispose()
