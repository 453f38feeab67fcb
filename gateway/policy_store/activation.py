"""What is in force when: a pure function of the activations, which only ever grow.

The activation that started last counts for everybody; a canary that started after it, for a share of the keys,
until the next one for everybody starts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BASE = ""
ORGANISATION = "organisation:"
TEAM = "team:"
KEY = "key:"


@dataclass(frozen=True, slots=True)
class Activation:
    """A version put in force in a scope, by somebody, from ``starts_at`` on (seconds since the epoch).

    ``canary_share`` None: for everybody. ``override``: why it may be in force without a proof.
    """

    activation_id: int
    scope: str
    version: int
    activated_by: str
    activated_at: float
    reason: str
    starts_at: float
    canary_share: float | None
    override: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in force in one scope: ``stable`` for everybody, ``canary`` for its share."""

    stable: Activation | None
    canary: Activation | None

    @property
    def since(self) -> float:
        """When the last part of it started."""
        return max(one.starts_at for one in (self.stable, self.canary) if one is not None)


def in_force(activations: Iterable[Activation], at: float) -> dict[str, Standing]:
    """By scope, what is in force at ``at``. Of those that start together the later written counts."""
    standing: dict[str, Standing] = {}
    for one in sorted(activations, key=_order):
        if one.starts_at > at:
            continue
        if one.canary_share is None:
            standing[one.scope] = Standing(one, None)
        else:
            before = standing.get(one.scope)
            standing[one.scope] = Standing(before.stable if before else None, one)
    return standing


def scheduled(activations: Iterable[Activation], at: float) -> list[Activation]:
    """What starts after ``at``, the next first."""
    return sorted((one for one in activations if one.starts_at > at), key=_order)


def without_called_off(waiting: Iterable[Activation]) -> list[Activation]:
    """``waiting`` less those that never come to count: another for everybody, written later, starts with them."""
    every = list(waiting)
    last = {(one.scope, one.starts_at): one for one in every if one.canary_share is None}
    return [
        one
        for one in every
        if last.get((one.scope, one.starts_at), one).activation_id <= one.activation_id
    ]


def say_versions(standing: Mapping[str, Standing]) -> dict[str, str]:
    """The standing in short, by scope: ``3``, or ``3, 4 for 0.1`` with a canary."""
    shown: dict[str, str] = {}
    for scope, one in sorted(standing.items()):
        parts = [] if one.stable is None else [str(one.stable.version)]
        if one.canary is not None:
            parts.append(f"{one.canary.version} for {one.canary.canary_share:g}")
        shown[scope] = ", ".join(parts)
    return shown


def _order(one: Activation) -> tuple[float, int]:
    return one.starts_at, one.activation_id
