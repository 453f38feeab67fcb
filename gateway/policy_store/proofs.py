"""Certificates in SQL: what was proved of a document over a catalogue, so that no other process proves it again.

A document is what decides for a key: a base policy, or a base with overlays, whose digest names every part.
"""

from collections.abc import Iterable

import msgspec
from sqlalchemy import ColumnElement, and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.ledger.tables import policy_proofs
from policies.certificate import Certificate, parse_certificate

READ_AT_ONCE = 200


async def read_proofs(engine: AsyncEngine, digests: Iterable[str]) -> dict[str, list[Certificate]]:
    """What was proved of each document; one of which nothing was is left out."""
    wanted, found = sorted(set(digests)), dict[str, list[Certificate]]()
    for at in range(0, len(wanted), READ_AT_ONCE):
        some = policy_proofs.c.policy.in_(wanted[at : at + READ_AT_ONCE])
        for one in await _read(engine, some):
            found.setdefault(one.policy, []).append(one)
    return found


async def find_proofs(engine: AsyncEngine, digest: str) -> list[Certificate]:
    """What was proved of the document of a version, by itself or under or over others."""
    column = policy_proofs.c.policy
    with_others = column.startswith(digest + "+") | column.contains("+" + digest)
    return await _read(engine, (column == digest) | with_others)


async def _read(engine: AsyncEngine, some: ColumnElement[bool]) -> list[Certificate]:
    query = select(policy_proofs.c.certificate).where(some)
    query = query.order_by(policy_proofs.c.proved_at, policy_proofs.c.catalogue)
    async with engine.connect() as connection:
        rows = await connection.execute(query)
        return [one for (text,) in rows if (one := _parse(str(text))) is not None]


async def write_proofs(
    connection: AsyncConnection, certificates: Iterable[Certificate], now: float
) -> None:
    """Keep what is not there yet; a proof takes the place of a try that was none. Of two who write the same at once
    the second fails (``IntegrityError``)."""
    for one in certificates:
        key = and_(
            policy_proofs.c.policy == one.policy,
            policy_proofs.c.catalogue == one.catalogue,
            policy_proofs.c.verifier == one.verifier,
        )
        text = (await connection.execute(select(policy_proofs.c.certificate).where(key))).scalar()
        values = {"certificate": msgspec.json.encode(one).decode(), "proved_at": now}
        if text is None:
            names = {"policy": one.policy, "catalogue": one.catalogue, "verifier": one.verifier}
            await connection.execute(insert(policy_proofs).values(names | values))
        elif one.is_proof and not ((stored := _parse(str(text))) and stored.is_proof):
            await connection.execute(update(policy_proofs).where(key).values(values))


def _parse(text: str) -> Certificate | None:
    """None for one that another release wrote in a form of its own: it proves nothing here."""
    try:
        return parse_certificate(text)
    except msgspec.DecodeError:
        return None
