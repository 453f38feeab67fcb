"""Changing policies: a new version where the document is new, and an activation.

Promises: an unchanged document is no new version; going back is a new activation, so that the history tells
what was in force when; what would not work together with the other levels is refused before it is written.
Of two at once the second looks again.
"""

import asyncio
import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.ledger.tables import policies, policy_activations
from gateway.policy_store.activation import BASE, Activation, Standing, in_force
from gateway.policy_store.load import load_levels
from gateway.policy_store.versions import (
    StoredPolicy,
    list_activations,
    read_activations,
    read_latest,
    read_version,
)
from policies.document import PolicyDocument

TRIES = 5


class Stale(Exception):
    """Another document is in force than the caller said; the message tells which."""


class Unfit(Exception):
    """What was asked for cannot be; the message tells why."""


@dataclass(frozen=True, slots=True)
class Change:
    """Who changes what, where and from when. ``scope`` has ids, as ``parse_scope`` gives them.

    ``starts_at`` None: now. ``if_match``: the digest that has to be in force in the scope (empty: none).
    ``certificate``: the proof of a new version, as JSON. ``override``: why it may do without, which every answer
    then tells.
    """

    author: str
    scope: str = BASE
    reason: str = ""
    starts_at: float | None = None
    canary_share: float | None = None
    if_match: str | None = None
    certificate: str | None = None
    override: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a change. ``is_new``: a version that was not there; ``activation`` None: nothing changed."""

    stored: StoredPolicy
    is_new: bool
    activation: Activation | None


async def apply_policy(
    engine: AsyncEngine, document: PolicyDocument, text: str, change: Change, *, now: float
) -> Applied:
    """Store ``document`` if it is new in its scope, and put it in force.

    Raises ``Stale``, ``Unfit``, and ``PolicyError`` if it does not go together with the other levels.
    """
    _check(change, now)
    await _check_together(engine, change, document, now)
    for last in (*([False] * (TRIES - 1)), True):
        try:
            async with engine.begin() as connection:
                return await _write(connection, document, text, change, now)
        except IntegrityError:
            if last:
                raise
    raise AssertionError("unreachable")


async def activate_version(
    engine: AsyncEngine, version: int, change: Change, *, now: float
) -> Applied:
    """Put a version in force again, in its own scope. Raises as ``apply_policy``, ``LookupError`` without one."""
    async with engine.connect() as connection:
        stored = await read_version(connection, version)
    if stored is None:
        raise LookupError(version)
    change = Change(
        author=change.author,
        scope=stored.scope,
        reason=change.reason,
        starts_at=change.starts_at,
        canary_share=change.canary_share,
        if_match=change.if_match,
        override=change.override,
    )
    document = await asyncio.to_thread(stored.parse)
    return await apply_policy(engine, document, stored.text, change, now=now)


def _check(change: Change, now: float) -> None:
    if change.canary_share is not None and not 0 < change.canary_share < 1:
        raise Unfit("a canary's share lies between 0 and 1; leave it out for everybody")
    if change.starts_at is not None and change.starts_at < now:
        raise Unfit("what is in force was decided when it was: the start cannot lie in the past")


async def _check_together(
    engine: AsyncEngine, change: Change, document: PolicyDocument, now: float
) -> None:
    """Raises ``PolicyError`` if a key would be left with levels that do not fit together."""
    starts_at = now if change.starts_at is None else change.starts_at
    standing = in_force(await list_activations(engine), starts_at)
    tried = Activation(0, change.scope, 0, "", now, "", starts_at, change.canary_share, None)
    if change.canary_share is None:
        after: Mapping[str, Standing] = standing | {change.scope: Standing(tried, None)}
    else:
        before = standing.get(change.scope)
        stable = before.stable if before else None
        if change.scope == BASE and stable is None:
            raise Unfit("a canary needs a base policy to be tried against; apply one first")
        after = standing | {change.scope: Standing(stable, tried)}
    if BASE not in after:
        raise Unfit("an overlay needs a base policy below it; apply one first")
    levels = await load_levels(engine, after, {0: document})
    await asyncio.to_thread(levels.merged)


async def _write(
    connection: AsyncConnection, document: PolicyDocument, text: str, change: Change, now: float
) -> Applied:
    # INVARIANT: the number is read before what it stands for, so that whoever comes between takes it first,
    # and this fails on it and looks again.
    activation_id = await read_latest(connection) + 1
    standing = in_force(await read_activations(connection), now).get(change.scope)
    stable = standing.stable if standing else None
    running = None if stable is None else await read_version(connection, stable.version)
    digest = "" if running is None else running.digest
    if change.if_match is not None and change.if_match != digest:
        shown = f"`{digest}`" if digest else "none"
        raise Stale(f"the digest in force is {shown}, not `{change.if_match[:80]}`; look again")
    is_plain = change.starts_at is None and change.canary_share is None
    is_settled = (
        standing is not None
        and standing.canary is None
        and stable is not None
        and (stable.override is None) == (change.override is None)
    )
    if is_plain and is_settled and running is not None and digest == document.digest:
        return Applied(running, is_new=False, activation=None)
    found = await _find_same(connection, change.scope, document.digest)
    stored = found or await _add_version(connection, document, text, change, now)
    activation = Activation(
        activation_id,
        change.scope,
        stored.version,
        change.author,
        now,
        change.reason,
        now if change.starts_at is None else change.starts_at,
        change.canary_share,
        change.override,
    )
    values = {name: getattr(activation, name) for name in Activation.__slots__}
    await connection.execute(insert(policy_activations).values(values))
    return Applied(stored, is_new=found is None, activation=activation)


async def _find_same(connection: AsyncConnection, scope: str, digest: str) -> StoredPolicy | None:
    query = select(policies).where(policies.c.scope == scope, policies.c.digest == digest)
    row = (await connection.execute(query.order_by(policies.c.version.desc()).limit(1))).first()
    return None if row is None else StoredPolicy(*row)


async def _add_version(
    connection: AsyncConnection, document: PolicyDocument, text: str, change: Change, now: float
) -> StoredPolicy:
    newest = (await connection.execute(select(func.max(policies.c.version)))).scalar()
    query = select(policies).where(policies.c.scope == change.scope)
    row = (await connection.execute(query.order_by(policies.c.version.desc()).limit(1))).first()
    before = None if row is None else StoredPolicy(*row)
    stored = StoredPolicy(
        version=int(newest or 0) + 1,
        name=document.name,
        digest=document.digest,
        text=text,
        author=change.author,
        created_at=now,
        scope=change.scope,
        reason=change.reason,
        diff=await asyncio.to_thread(show_diff, before, document, text),
        certificate=change.certificate,
    )
    values = {name: getattr(stored, name) for name in StoredPolicy.__slots__}
    await connection.execute(insert(policies).values(values))
    return stored


def show_diff(before: StoredPolicy | None, document: PolicyDocument, text: str) -> str:
    """What ``text`` changes, as a unified diff; empty for the first of its scope."""
    if before is None:
        return ""
    lines = difflib.unified_diff(
        before.text.splitlines(), text.splitlines(),
        f"{before.name}@{before.digest[:12]}", f"{document.name}@{document.digest[:12]}", lineterm="",
    )  # fmt: skip
    return "\n".join(lines)
