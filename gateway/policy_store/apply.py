"""Changing policies: a new version where the document is new, and an activation.

Promises: an unchanged document is no new version; going back is a new activation, so that the history tells
what was in force when; what would not work together with the other levels is refused before it is written.
Of two at once the second looks again.
"""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.ledger.tables import policies, policy_activations
from gateway.policy_store.activation import BASE, Activation, in_force, scheduled
from gateway.policy_store.load import Parsed, load_levels
from gateway.policy_store.proofs import write_proofs
from gateway.policy_store.versions import (
    StoredPolicy,
    latest_activation,
    list_activations,
    read_activations,
    read_latest,
    read_version,
)
from policies.certificate import Certificate
from policies.document import PolicyDocument
from policies.inherit import DIGEST_SHOWN, label_version

TRIES = 5
STARTS_AT_MAX = 253_370_764_800.0
"""The year 9999: what shows times knows no later one."""
TRIED = 0
"""Stands for the version of a change that is not written yet."""
LAST = 2**31
"""Its activation is written after all others."""


class Stale(Exception):
    """Another document is in force than the caller said; the message tells which."""


class Unfit(Exception):
    """What was asked for cannot be; the message tells why."""


@dataclass(frozen=True, slots=True)
class Proved:
    """``certificates`` of documents, and in words, by digest, what is not proved of the others (``gaps``)."""

    certificates: Sequence[Certificate] = ()
    gaps: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])


class Unproved(Exception):
    """Not all is proved, and nobody said that it may do without; ``of`` names the documents of which it is not, which
    need not be the one that was to be put in force: overlays above it, and what is scheduled, count too."""

    def __init__(self, of: Sequence[str], gaps: Iterable[str]) -> None:
        super().__init__(
            "; ".join((f"not proved of {', '.join(of)}", *(line.strip() for line in gaps)))
        )
        self.of = of


@dataclass(frozen=True, slots=True)
class Change:
    """Who changes what, where and from when. ``scope`` has ids, as ``parse_scope`` gives them.

    ``starts_at`` None: now. ``if_match``: the digest that has to be in force in the scope (empty: none).
    ``override``: why it may be in force though it is not proved, which every answer then tells.
    """

    author: str
    scope: str = BASE
    reason: str = ""
    starts_at: float | None = None
    canary_share: float | None = None
    if_match: str | None = None
    override: str | None = None


Certify = Callable[[Sequence[PolicyDocument]], Awaitable[Proved]]
"""Proves documents, over the targets that whoever asks knows."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a change. ``is_new``: a version that was not there; ``activation`` None: nothing changed."""

    stored: StoredPolicy
    is_new: bool
    activation: Activation | None


async def apply_policy(
    engine: AsyncEngine,
    document: PolicyDocument,
    text: str,
    change: Change,
    certify: Certify,
    *,
    now: float,
) -> Applied:
    """Store ``document`` if it is new in its scope, and put it in force.

    Everything that a key may be decided by from then on, in which it has a part, has to be proved. Raises
    ``Stale``, ``Unfit``, ``Unproved``, and ``PolicyError`` if it does not go together with the other levels.
    """
    _check(change, now)
    for last in (*([False] * (TRIES - 1)), True):
        seen = await latest_activation(engine)
        chains = await _find_chains(engine, change, document, now)
        proved = await certify([one for one, _ in chains])
        if proved.gaps and change.override is None:
            raise _unproved(chains, proved.gaps, now)
        settled = change if proved.gaps else replace(change, override=None)
        try:
            async with engine.begin() as connection:
                # INVARIANT: the number is read before what it stands for, so that whoever comes between takes it
                # first, and this fails on it and looks again.
                if await read_latest(connection) == seen:
                    await write_proofs(connection, proved.certificates, now)
                    return await _write(connection, document, text, settled, seen + 1, now)
        except IntegrityError:
            if last:
                raise
    raise Unfit("others change the policies all the time: try again")


async def activate_version(
    engine: AsyncEngine, version: int, change: Change, certify: Certify, *, now: float
) -> Applied:
    """Put a version in force again, in its own scope. Raises as ``apply_policy``, ``LookupError`` without one."""
    async with engine.connect() as connection:
        stored = await read_version(connection, version)
    if stored is None:
        raise LookupError(version)
    document = await asyncio.to_thread(stored.parse)
    change = replace(change, scope=stored.scope)
    return await apply_policy(engine, document, stored.text, change, certify, now=now)


def _check(change: Change, now: float) -> None:
    if change.canary_share is not None and not 0 < change.canary_share < 1:
        raise Unfit("a canary's share lies between 0 and 1; leave it out for everybody")
    if change.starts_at is not None and change.starts_at < now:
        raise Unfit(
            f"a start cannot lie in the past, and {_time(change.starts_at)} does; leave it out to start now"
        )
    if change.starts_at is not None and change.starts_at > STARTS_AT_MAX:
        raise Unfit(
            "the start lies behind the year 9998; it is in seconds since 1970, not milliseconds"
        )


async def _find_chains(
    engine: AsyncEngine, change: Change, document: PolicyDocument, now: float
) -> list[tuple[PolicyDocument, float]]:
    """What keys will be decided by in which ``document`` has a part, and from when: from its start on, and after each
    change that is scheduled for later. Raises ``PolicyError`` if some levels will not fit together."""
    activations = await list_activations(engine)
    starts_at = now if change.starts_at is None else change.starts_at
    tried = Activation(0, change.scope, TRIED, "", now, "", starts_at, change.canary_share, None)
    known: Parsed = {TRIED: document}
    chains: dict[str, tuple[PolicyDocument, float]] = {}
    for moment in (starts_at, *(one.starts_at for one in scheduled(activations, starts_at))):
        after = in_force([*activations, replace(tried, activation_id=LAST)], moment)
        base = after.get(BASE)
        if base is None or base.stable is None:
            words = "a canary" if change.scope == BASE else "an overlay"
            raise Unfit(f"{words} needs a base policy below it; apply one first")
        levels = await load_levels(engine, after, known)
        known.setdefault(TRIED, document)
        for chain, merged in (await asyncio.to_thread(levels.merged)).items():
            if TRIED in chain:
                chains.setdefault(merged.digest, (merged, moment))
    return list(chains.values())


def _unproved(
    chains: Sequence[tuple[PolicyDocument, float]], gaps: Mapping[str, Sequence[str]], now: float
) -> Unproved:
    of = [_name(document, since, now) for document, since in chains if document.digest in gaps]
    # A claim of the base fails with each overlay over it, mostly for the same reason: once is enough.
    lines = dict.fromkeys("\n".join(one) for one in gaps.values())
    return Unproved(of, [line for one in lines for line in one.split("\n")])


def _name(document: PolicyDocument, since: float, now: float) -> str:
    shown = f"`{document.name}@{label_version(document)}`"
    if since <= now:
        return shown
    return f"{shown} (in force from {_time(since)} on)"


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):  # before the calendar begins, say
        return f"{seconds:g}"


async def _write(
    connection: AsyncConnection,
    document: PolicyDocument,
    text: str,
    change: Change,
    activation_id: int,
    now: float,
) -> Applied:
    standing = in_force(await read_activations(connection), now).get(change.scope)
    stable = standing.stable if standing else None
    running = None if stable is None else await read_version(connection, stable.version)
    digest = "" if running is None else running.digest
    if change.if_match is not None and not _is_digest(change.if_match, digest):
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


def _is_digest(written: str, digest: str) -> bool:
    """Whether ``written`` is ``digest``, whole or as long as it is shown to people."""
    return written == digest or (len(written) >= DIGEST_SHOWN and digest.startswith(written))


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
