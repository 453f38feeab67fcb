"""Policies at work: in force, scheduled, canaries, what each process runs, and where these drift apart."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.policy_store.activation import (
    BASE,
    Activation,
    Standing,
    in_force,
    say_versions,
    scheduled,
    without_called_off,
)
from gateway.policy_store.processes import Process, list_processes
from gateway.policy_store.versions import StoredPolicy, find_version, list_activations
from policies.document import PolicyDocument

SWITCH_SECONDS = 3.0
"""So long after a change a process may still be on its way to it."""


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """``drift`` says in words what differs; empty: nothing does."""

    in_force: tuple[tuple[str, StoredPolicy | None, Activation], ...]
    scheduled: tuple[Activation, ...]
    processes: tuple[Process, ...]
    drift: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The status as data."""
        return {
            "in_force": [
                {**asdict(activation), "policy": stored and f"{stored.name}@{stored.digest[:12]}",
                 "digest": stored and stored.digest}
                for _scope, stored, activation in self.in_force
            ],
            "scheduled": [asdict(one) for one in self.scheduled],
            "processes": [asdict(one) for one in self.processes],
            "drift": list(self.drift),
        }  # fmt: skip


async def find_status(
    engine: AsyncEngine, now: float, written: PolicyDocument | None = None
) -> PolicyStatus:
    """How things stand; ``written`` is the file that the base policy should be."""
    activations = await list_activations(engine)
    standing = in_force(activations, now)
    running = await list_processes(engine, now)
    entries = [
        (scope, await find_version(engine, one.version), one)
        for scope, level in sorted(standing.items())
        for one in (level.stable, level.canary)
        if one is not None
    ]
    drift = [*_drift_of_file(entries, written), *_drift_of_processes(standing, running, now)]
    return PolicyStatus(
        tuple(entries),
        tuple(without_called_off(scheduled(activations, now))),
        tuple(running),
        tuple(drift),
    )


def _drift_of_file(
    entries: list[tuple[str, StoredPolicy | None, Activation]], written: PolicyDocument | None
) -> list[str]:
    if written is None:
        return []
    for scope, stored, activation in entries:
        if scope == BASE and activation.canary_share is None and stored is not None:
            if stored.digest == written.digest:
                return []
            words = f"{stored.name}@{stored.digest[:12]} is in force, not {written.name}@{written.digest[:12]}"
            return [f"`{written.source}`: {words}; apply it, or `moegate policy diff`"]
    return [f"`{written.source}`: no policy is in force"]


def _drift_of_processes(
    standing: Mapping[str, Standing], running: list[Process], now: float
) -> list[str]:
    expected = say_versions(standing)
    unproved = [
        f"process {one.pid} on {one.host}: `{label}` is not proved with its targets; its log says why"
        for one in running
        for label in one.unproven
    ]
    if any(now - one.since < SWITCH_SECONDS for one in standing.values()):
        return unproved
    return unproved + [
        f"process {one.pid} on {one.host}: runs {_say(one.versions)} instead of {_say(expected)}; its log says why"
        for one in running
        if one.versions != expected
    ]


def _say(shown: Mapping[str, str]) -> str:
    parts = [f"{scope or 'base'} {version}" for scope, version in sorted(shown.items())]
    return "; ".join(parts) or "nothing"
