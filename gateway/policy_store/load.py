"""From what stands in SQL to the documents that a process decides by."""

import asyncio
from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.policy_store.activation import BASE, Activation, Standing, in_force
from gateway.policy_store.scopes import find_parents
from gateway.policy_store.versions import find_version, list_activations
from policies.document import PolicyDocument, PolicyError
from policies.inherit import Canary, Level, Levels

Parsed = dict[int, PolicyDocument]
"""Documents by version; a version never changes."""


async def find_standing(engine: AsyncEngine, at: float) -> dict[str, Standing]:
    """What is in force at ``at``, by scope."""
    return in_force(await list_activations(engine), at)


async def load_levels(
    engine: AsyncEngine, standing: Mapping[str, Standing], known: Parsed | None = None
) -> Levels:
    """The documents in force. What is not yet ``known`` is read and put there, the rest is forgotten.

    Raises ``PolicyError`` for one that does not parse here.
    """
    known = {} if known is None else known
    wanted = {
        one.version
        for level in standing.values()
        for one in (level.stable, level.canary)
        if one is not None
    }
    for version in set(known) - wanted:
        del known[version]
    for version in sorted(wanted - set(known)):
        stored = await find_version(engine, version)
        if stored is None:
            raise PolicyError("it is not in the history", source=f"policy version {version}")
        # In a thread: a long document takes a tenth of a second, which answers under way would wait.
        known[version] = await asyncio.to_thread(stored.parse)
    over = {scope: _level(one, known) for scope, one in standing.items()}
    base = over.pop(BASE, None)
    if base is None or base.version is None:
        raise PolicyError("no base policy is in force", source="the history")
    unproven = frozenset(
        one.version
        for level in standing.values()
        for one in (level.stable, level.canary)
        if one is not None and one.override is not None
    )
    return Levels(base, over, await find_parents(engine, list(over)), unproven)


def _level(standing: Standing, known: Parsed) -> Level:
    stable, canary = standing.stable, standing.canary
    return Level(
        None if stable is None else stable.version,
        None if stable is None else known[stable.version],
        None if canary is None else _canary(canary, known),
    )


def _canary(canary: Activation, known: Parsed) -> Canary:
    return Canary(canary.version, known[canary.version], canary.canary_share or 0.0)
