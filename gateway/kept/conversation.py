"""Conversations that go on from a kept response, and answers that are kept.

Promises: what a request goes on from is put in front of its own input before anything else looks at it, so labels,
prices and targets are those of the whole conversation, and its data class is the highest of its turns'; what was not
kept, or is another team's, or was deleted, is not found, and nothing is sent. An answer is kept before its end goes out, or the client and the record are told.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from backends.wire.codec import RequestCodec
from backends.wire.openai_responses.kept import (
    REFERENCE,
    find_final,
    item_ids,
    join,
    output_items,
    own_items,
    previous_id,
    read_final,
    referred_ids,
    resolve,
    wants_kept,
)
from backends.wire.prompt import Kept, Opaque, Prompt
from backends.wire.reading import too_many
from gateway.errors import Refused, refuse
from gateway.identity import Principal
from gateway.kept.store import (
    ID_CHARS_MAX,
    KeptResponse,
    KeptStore,
    NewKept,
    Scope,
    can_be_kept,
)
from policies.facts import DATA_CLASSES, DataClass

RETRY_SECONDS = 5.0
READ_SECONDS = 10.0
KEEP_SECONDS = 5.0
"""An answer waits for SQL no longer than this."""
DAY_SECONDS = 86_400
ID_BYTES = 24
"""Random bytes of an id: nobody's guess."""
REFERENCES_MAX = 1024
"""Items that one input may name."""


class TakenUp(NamedTuple):
    """A prompt with all that it goes on from; ``data_class``: what that is at least."""

    prompt: Prompt
    data_class: DataClass


class _Turn(NamedTuple):
    """What was said in one turn, by both."""

    items: list[bytes]
    data_class: DataClass


class KeptResponses:
    """The kept responses of a gateway. ``keeping`` is the setting ``responses_kept``."""

    def __init__(self, store: KeptStore, *, keeping: str, days: int, body_bytes_max: int) -> None:
        self.store = store
        self._keeping = keeping
        self._seconds = days * DAY_SECONDS
        self._body_bytes_max = body_bytes_max
        self._given_up: set[asyncio.Task[None]] = set()

    async def take_up(
        self, prompt: Prompt, codec: RequestCodec, principal: Principal, now: float
    ) -> TakenUp:
        """The prompt with all that it goes on from, marked if its answer is to be kept.

        Raises ``Refused``, ``WireError``.
        """
        previous = previous_id(prompt.unknown)
        kept = None
        if not prompt.is_count and self._is_to_keep(prompt.unknown):
            kept = Kept(f"resp_{secrets.token_hex(ID_BYTES)}", prompt.raw, previous)
        data_class: DataClass = "public"
        if previous is not None or _holds_references(prompt):
            scope = Scope(principal.organisation_id, principal.team_id)
            try:
                async with asyncio.timeout(READ_SECONDS):
                    turn = await self._gather(scope, prompt.raw, previous, now)
            except (SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
                raise _away() from error
            self._check_size(sum(map(len, turn.items)) + len(turn.items))
            raw = join(prompt.raw, turn.items)
            self._check_size(len(raw))
            prompt, data_class = codec.parse_request(raw, prompt.asked), turn.data_class
        if kept is not None:
            prompt = msgspec.structs.replace(prompt, kept=kept)
        return TakenUp(prompt, data_class)

    def _check_size(self, size: int) -> None:
        """Raises ``Refused``: an item may be named many times, so this comes before anything is joined."""
        if size > self._body_bytes_max:
            raise refuse(
                "too_large",
                f"this input and what it goes on from (`previous_response_id`, items that it names) are {size} bytes "
                f"together, of {self._body_bytes_max} at most",
                param="previous_response_id",
            )

    async def _gather(self, scope: Scope, raw: bytes, previous: str | None, now: float) -> _Turn:
        """All items of the conversation up to the end of the request ``raw``."""
        turns = [] if previous is None else await self._before(scope, previous, now)
        turns.append(_Turn(own_items(raw), "public"))
        items = [item for turn in turns for item in turn.items]
        known = await self._look_up(scope, items, now)
        classes: list[DataClass] = [turn.data_class for turn in (*turns, *known.values())]
        items = resolve(items, {name: turn.items[0] for name, turn in known.items()})
        return _Turn(items, max(classes, key=DATA_CLASSES.index))

    def _is_to_keep(self, unknown: Mapping[str, bytes]) -> bool:
        said = wants_kept(unknown)
        if self._keeping == "never":
            return False
        return said is True or (said is None and self._keeping == "default")

    async def _before(self, scope: Scope, response_id: str, now: float) -> list[_Turn]:
        """The turns of a whole conversation up to the answer ``response_id``."""
        turns = await self.store.trace(scope, response_id, now, _read_turn)
        if turns is None:
            raise refuse(
                "invalid_request",
                f"the response `{response_id[:ID_CHARS_MAX]}` is not kept: it is unknown here, was sent with "
                "`store` false, has been deleted or has expired, or goes on from one of which that is true; "
                "send the whole conversation as `input`",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        return turns

    async def _look_up(self, scope: Scope, items: Sequence[bytes], now: float) -> dict[str, _Turn]:
        """The items of kept answers that an input names, by their ids."""
        wanted = list(dict.fromkeys(referred_ids(items)))
        if not wanted:
            return {}
        if len(wanted) > REFERENCES_MAX:
            raise too_many("input", REFERENCES_MAX)
        known: dict[str, _Turn] = {}
        size = 0
        holders = await self.store.find_holders(scope, wanted)
        for response_id in dict.fromkeys(holders.values()):
            response = await self.store.find(scope, response_id, now)
            for item in output_items(response.raw) if response is not None else ():
                [name] = item_ids((item,)) or [""]
                if response is not None and holders.get(name) == response_id:
                    known[name] = _Turn([item], response.data_class)
                    size += len(item)
            self._check_size(size)
        missing = [one for one in wanted if one not in known]
        if missing:
            raise refuse(
                "invalid_request",
                f"the item `{missing[0][:ID_CHARS_MAX]}` is in no kept response; send the item itself",
                code="item_not_found",
                param="input",
            )
        return known

    async def keep_answer(
        self,
        prompt: Prompt,
        shown: bytes,
        principal: Principal,
        request_id: str,
        now: float,
        *,
        data_class: DataClass,
        is_cached: bool = False,
    ) -> bool:
        """Keep what an answer ends in: the whole of a plain one, the last bytes of a stream. False if that could
        not be done. An answer says the id that was made for it, or, cached, for the one that it repeats: a host that
        chose another could replace what is kept."""
        kept = prompt.kept
        final = find_final(shown) if prompt.is_stream else read_final(shown)
        if kept is None or final is None:
            return False
        if not can_be_kept(final.id) or not (is_cached or final.id == kept.response_id):
            return False
        try:
            items = tuple(own_items(kept.raw))
            response = KeptResponse(final.id, kept.previous_id, items, final.raw, data_class)
            new = NewKept(
                response,
                request_id=request_id,
                key_id=principal.key_id,
                created_at=now,
                expires_at=now + self._seconds,
                item_ids=tuple(item_ids(output_items(final.raw))),
            )
            scope = Scope(principal.organisation_id, principal.team_id)
            await self._finish_in(KEEP_SECONDS, self.store.keep(scope, new))
        except (SQLAlchemyError, OSError, UnicodeError, msgspec.DecodeError):
            return False
        return True

    async def _finish_in(self, seconds: float, work: Coroutine[None, None, None]) -> None:
        """Raises ``TimeoutError`` if ``work`` takes longer: it is given up, but not waited for, since a database that
        does not answer takes its time to roll back too."""
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
            if not done:
                raise TimeoutError
        except BaseException:
            self._given_up.add(task)
            task.add_done_callback(self._forget)
            task.cancel()
            raise
        task.result()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()


def _holds_references(prompt: Prompt) -> bool:
    return any(
        isinstance(part, Opaque) and part.kind == REFERENCE
        for message in prompt.messages
        for part in message.parts
    )


def _read_turn(kept: KeptResponse) -> _Turn:
    return _Turn([*kept.items, *output_items(kept.raw)], kept.data_class)


def _away() -> Refused:
    return refuse(
        "overloaded",
        "kept responses cannot be read at the moment; try again later",
        retry_after_seconds=RETRY_SECONDS,
    )
