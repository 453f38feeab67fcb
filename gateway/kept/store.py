"""Rows of kept responses.

Promises: a row is found by its own team alone, until it expires; what is deleted is gone, with the items that were
found by it. What is read and written here raises ``SQLAlchemyError`` or ``OSError`` while the database is away.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec
from sqlalchemy import (
    CTE,
    ColumnElement,
    Table,
    and_,
    delete,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.ledger.tables import kept_items, kept_responses
from gateway.sealing import Sealer
from policies.facts import DataClass

T = TypeVar("T")

ID_CHARS_MAX = 200
"""Longer ids have no place in a row."""
TURNS_MAX = 4096
"""A conversation of more turns than this goes on from no kept response."""
PURGE_ROWS_MAX = 500
"""So many expired rows go at once."""
ROWS_AT_ONCE = 16
"""So many turns of a conversation are in memory as they are in the database."""
SPARE_SECONDS = 86_400.0
"""Turns that a conversation goes on from live so much longer than its last one, so that not every turn has to write
all those before it anew."""
USE = "kept"


class Scope(NamedTuple):
    """Whose responses: a team's, as one project's at OpenAI."""

    organisation_id: str
    team_id: str


class KeptResponse(msgspec.Struct, frozen=True):
    """One kept response. ``items`` are those of its request's own input, ``raw`` is the response: JSON, both as the
    client sent or got them. ``data_class`` is what they are at least, whoever goes on from them."""

    response_id: str
    previous_id: str | None
    items: tuple[bytes, ...]
    raw: bytes
    data_class: DataClass = "public"


class NewKept(msgspec.Struct, frozen=True):
    """A response to keep, with who asked; ``item_ids`` are those that a later input may name. Times are seconds since
    the epoch."""

    kept: KeptResponse
    request_id: str
    key_id: str
    created_at: float
    expires_at: float
    item_ids: tuple[str, ...]


class _Content(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed."""

    items: tuple[bytes, ...]
    raw: bytes
    data_class: DataClass = "public"


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Content)


class _Found(NamedTuple):
    """A row, as far as it is read."""

    response_id: str
    previous_id: str | None
    sealed: bytes


class KeptStore:
    """The rows of one database."""

    def __init__(self, engine: AsyncEngine, sealer: Sealer) -> None:
        self._engine = engine
        self._sealer = sealer
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else contextlib.nullcontext()
        """SQLite has one writer, and lets those who wait try at random: here they come in order."""

    async def keep(self, scope: Scope, new: NewKept) -> None:
        """Write a response down; one of the same id is replaced. Those that it goes on from live as long as it, and
        :data:`SPARE_SECONDS` more."""
        kept = new.kept
        content = _ENCODER.encode(_Content(kept.items, kept.raw, kept.data_class))
        place = _place(scope, kept.response_id)
        row: dict[str, object] = {
            **scope._asdict(),
            "response_id": kept.response_id,
            "previous_id": kept.previous_id,
            "request_id": new.request_id,
            "key_id": new.key_id,
            "created_at": new.created_at,
            "expires_at": new.expires_at,
            "sealed": self._sealer.seal(scope.organisation_id, USE, place, content),
        }
        async with self._turn, self._engine.begin() as connection:
            await _put(connection, kept_responses, [row])
            await _name_items(connection, scope, kept.response_id, new.item_ids)
            if kept.previous_id is not None:
                chain = _chain(scope, kept.previous_id)
                ids = select(chain.c.response_id)
                await connection.execute(
                    update(kept_responses)
                    .where(_of(kept_responses, scope), kept_responses.c.response_id.in_(ids))
                    .where(kept_responses.c.expires_at < new.expires_at)
                    .values(expires_at=new.expires_at + SPARE_SECONDS)
                )

    async def find(self, scope: Scope, response_id: str, now: float) -> KeptResponse | None:
        """One response, if it is kept."""
        if not can_be_kept(response_id):
            return None
        query = select(
            kept_responses.c.response_id, kept_responses.c.previous_id, kept_responses.c.sealed
        ).where(_is(scope, response_id), kept_responses.c.expires_at > now)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else self._open(scope, _Found(*row))

    async def trace(
        self, scope: Scope, response_id: str, now: float, take: Callable[[KeptResponse], T]
    ) -> list[T] | None:
        """What ``take`` makes of a response and of all that it goes on from, oldest first; None if any of them is not
        kept any more. Each is given as it is read: responses repeat what their requests said, and all of them
        together may be far larger than what they answered."""
        if not can_be_kept(response_id):
            return None
        chain = _chain(scope, response_id)
        query = (
            select(
                kept_responses.c.response_id, kept_responses.c.previous_id, kept_responses.c.sealed
            )
            .join(chain, chain.c.response_id == kept_responses.c.response_id)
            .where(_of(kept_responses, scope), kept_responses.c.expires_at > now)
            .order_by(chain.c.depth.desc())
            .execution_options(yield_per=ROWS_AT_ONCE)
        )
        taken: list[T] = []
        before: str | None = None
        async with self._engine.connect() as connection:
            async for row in await connection.stream(query):
                found = _Found(*row)
                opened = self._open(scope, found)
                if opened is None or found.previous_id != before:
                    return None
                taken.append(take(opened))
                before = found.response_id
        return taken if before == response_id else None

    async def find_holders(self, scope: Scope, item_ids: Iterable[str]) -> Mapping[str, str]:
        """For each item that a response answered with: that response, which may have expired."""
        names = [one for one in item_ids if can_be_kept(one)]
        query = select(kept_items.c.item_id, kept_items.c.response_id).where(
            _of(kept_items, scope), kept_items.c.item_id.in_(names)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return {str(item_id): str(response_id) for item_id, response_id in rows}

    async def delete(self, scope: Scope, response_id: str, now: float) -> bool:
        """Forget a response; False if none of this id was kept."""
        if not can_be_kept(response_id):
            return False
        is_it = and_(_is(scope, response_id), kept_responses.c.expires_at > now)
        async with self._engine.begin() as connection:
            done = await connection.execute(delete(kept_responses).where(is_it))
        return done.rowcount > 0

    async def purge(self, now: float) -> int:
        """Forget some of what has expired, and how many that were."""
        table = kept_responses
        old = (
            select(table.c.organisation_id, table.c.team_id, table.c.response_id)
            .where(table.c.expires_at <= now)
            .limit(PURGE_ROWS_MAX)
        )
        async with self._engine.begin() as connection:
            rows = (await connection.execute(old)).all()
            for organisation_id, team_id, response_id in rows:
                is_it = _is(Scope(organisation_id, team_id), response_id)
                await connection.execute(delete(table).where(is_it, table.c.expires_at <= now))
        return len(rows)

    def _open(self, scope: Scope, row: _Found) -> KeptResponse | None:
        response_id, previous_id, sealed = row
        place = _place(scope, response_id)
        plain = self._sealer.open(scope.organisation_id, USE, place, sealed)
        if plain is None:
            return None  # Under another master key: as good as forgotten.
        content = _DECODER.decode(plain)
        return KeptResponse(
            response_id, previous_id, content.items, content.raw, content.data_class
        )


def can_be_kept(name: str) -> bool:
    """Whether a response or an item of that id can have a row: PostgreSQL takes no NUL."""
    return len(name) <= ID_CHARS_MAX and "\0" not in name


def _place(scope: Scope, response_id: str) -> bytes:
    return "\n".join((*scope, response_id)).encode("utf-8", "replace")


def _of(table: Table, scope: Scope) -> ColumnElement[bool]:
    return and_(table.c.organisation_id == scope.organisation_id, table.c.team_id == scope.team_id)


def _is(scope: Scope, response_id: str) -> ColumnElement[bool]:
    return and_(_of(kept_responses, scope), kept_responses.c.response_id == response_id)


def _chain(scope: Scope, response_id: str) -> CTE:
    """Ids of a response and of what it goes on from, with how far back each is."""
    table = kept_responses
    chain = (
        select(table.c.response_id, table.c.previous_id, literal(0).label("depth"))
        .where(_is(scope, response_id))
        .cte("chain", recursive=True)
    )
    before = (
        select(table.c.response_id, table.c.previous_id, (chain.c.depth + 1).label("depth"))
        .join(chain, chain.c.previous_id == table.c.response_id)
        .where(_of(table, scope), chain.c.depth < TURNS_MAX)
    )
    return chain.union_all(before)


async def _name_items(
    connection: AsyncConnection, scope: Scope, response_id: str, item_ids: Iterable[str]
) -> None:
    was_named = and_(_of(kept_items, scope), kept_items.c.response_id == response_id)
    await connection.execute(delete(kept_items).where(was_named))
    # In one order for all who write, so that none waits for one that waits for it.
    rows: list[dict[str, object]] = [
        {**scope._asdict(), "item_id": item_id, "response_id": response_id}
        for item_id in sorted(set(item_ids))
        if can_be_kept(item_id)
    ]
    if not rows:
        return
    await _put(connection, kept_items, rows)


async def _put(connection: AsyncConnection, table: Table, rows: list[dict[str, object]]) -> None:
    """Write rows, each in the place of one that has its key: also of one that somebody else writes right now."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    query = make(table)
    changed = {
        column.name: query.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    keys = [column.name for column in table.primary_key]
    await connection.execute(query.on_conflict_do_update(index_elements=keys, set_=changed), rows)
