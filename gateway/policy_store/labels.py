"""From what answers and records call a policy to the documents that it is made of."""

import asyncio
import re

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.tables import policies
from gateway.policy_store.versions import StoredPolicy
from policies.document import PolicyDocument
from policies.inherit import DIGEST_SHOWN, inherit

_PART = re.compile(rf"([^@+]+)@([0-9a-f]{{{DIGEST_SHOWN}}})")


async def find_labelled(engine: AsyncEngine, label: str) -> PolicyDocument | None:
    """The document called ``label`` (``base@digest+overlay@digest``); None if a part is not in the history, or is
    not told from another.

    Raises ``PolicyError`` for one that this release cannot read.
    """
    parts: list[PolicyDocument] = []
    for part in label.split("+"):
        named = _PART.fullmatch(part)
        if named is None:
            return None
        is_it = (policies.c.name == named[1]) & policies.c.digest.startswith(named[2])
        async with engine.connect() as connection:
            rows = await connection.execute(select(policies).where(is_it))
            found = [StoredPolicy(*row) for row in rows]
        if len({one.digest for one in found}) != 1:
            return None
        # In a thread: a long document takes a tenth of a second, which answers under way would wait.
        parts.append(await asyncio.to_thread(found[0].parse))
    return await asyncio.to_thread(inherit, *parts)
