"""Conversations that go on from a kept response, and answers that are kept.

Promises: what a request goes on from is put in front of its own input before anything else looks at it, so labels,
prices and targets are those of the whole conversation; what was not kept, or is another team's, or was deleted, is
not found, and nothing is sent. An answer is kept before its end goes out, or the client and the record are told.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from backends.wire.codec import RequestCodec
from backends.wire.openai_responses.kept import (
    Final,
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
from backends.wire.prompt import Kept, Prompt
from gateway.errors import Refused, refuse
from gateway.identity import Principal
from gateway.kept.store import ID_CHARS_MAX, KeptResponse, KeptStore, NewKept, Scope

RETRY_SECONDS = 5.0
READ_SECONDS = 10.0
KEEP_SECONDS = 5.0
"""An answer waits for SQL no longer than this."""
DAY_SECONDS = 86_400
ID_BYTES = 24
"""Random bytes of an id: nobody's guess."""
REFERENCES_MAX = 1024
"""Items that one input may name."""


class KeptResponses:
    """The kept responses of a gateway. ``keeping`` is the setting ``responses_kept``."""

    def __init__(self, store: KeptStore, *, keeping: str, days: int, body_bytes_max: int) -> None:
        self.store = store
        self._keeping = keeping
        self._seconds = days * DAY_SECONDS
        self._body_bytes_max = body_bytes_max

    async def take_up(
        self, prompt: Prompt, codec: RequestCodec, principal: Principal, now: float
    ) -> Prompt:
        """The prompt with all that it goes on from, marked if its answer is to be kept.

        Raises ``Refused``, ``WireError``.
        """
        previous = previous_id(prompt.unknown)
        scope = Scope(principal.organisation_id, principal.team_id)
        kept = None
        if not prompt.is_count and self._is_to_keep(prompt.unknown):
            kept = Kept(f"resp_{secrets.token_hex(ID_BYTES)}", prompt.raw, previous)
        items: list[bytes] | None = None
        try:
            async with asyncio.timeout(READ_SECONDS):
                if previous is not None:
                    before = await self._before(scope, previous, now)
                    items = [*before, *own_items(prompt.raw)]
                if _refers(items or (prompt.raw,)):
                    items = await self._resolve(scope, items or own_items(prompt.raw), now)
        except (SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
            raise _away() from error
        if items is not None:
            raw = join(prompt.raw, items)
            if len(raw) > self._body_bytes_max:
                raise refuse(
                    "too_large",
                    f"the conversation that `previous_response_id` goes on from and this input are "
                    f"{len(raw)} bytes together, of {self._body_bytes_max} at most",
                    param="previous_response_id",
                )
            prompt = codec.parse_request(raw, prompt.asked)
        return prompt if kept is None else msgspec.structs.replace(prompt, kept=kept)

    def _is_to_keep(self, unknown: Mapping[str, bytes]) -> bool:
        said = wants_kept(unknown)
        if self._keeping == "never":
            return False
        return said is True or (said is None and self._keeping == "default")

    async def _before(self, scope: Scope, response_id: str, now: float) -> list[bytes]:
        """The items of a whole conversation up to the answer ``response_id``."""
        turns = None
        if len(response_id) <= ID_CHARS_MAX:
            turns = await self.store.trace(scope, response_id, now)
        if turns is None:
            raise refuse(
                "invalid_request",
                f"the response `{response_id[:ID_CHARS_MAX]}` is not kept: it is unknown here, was sent with "
                "`store` false, has been deleted or has expired, or goes on from one of which that is true; "
                "send the whole conversation as `input`",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        items: list[bytes] = []
        for turn in turns:
            items += turn.items
            items += output_items(turn.raw)
        return items

    async def _resolve(self, scope: Scope, items: list[bytes], now: float) -> list[bytes]:
        """The input with the items of kept answers that it names."""
        wanted = list(dict.fromkeys(referred_ids(items)))[:REFERENCES_MAX]
        if not wanted:
            return items
        known: dict[str, bytes] = {}
        for item_id, response in (await self.store.find_holders(scope, wanted, now)).items():
            for item in output_items(response.raw):
                if item_ids((item,)) == [item_id]:
                    known[item_id] = item
        missing = [one for one in wanted if one not in known]
        if missing:
            raise refuse(
                "invalid_request",
                f"the item `{missing[0][:ID_CHARS_MAX]}` is in no kept response; send the item itself",
                code="item_not_found",
                param="input",
            )
        return resolve(items, known)

    async def keep_answer(
        self,
        prompt: Prompt,
        shown: bytes,
        principal: Principal,
        request_id: str,
        now: float,
        *,
        is_cached: bool = False,
    ) -> bool:
        """Keep what an answer ends in: the whole of a plain one, the last bytes of a stream. False if that could
        not be done. An answer says the id that was made for it, or, cached, for the one that it repeats: a host that
        chose another could replace what is kept."""
        kept = prompt.kept
        final = find_final(shown) if prompt.is_stream else read_final(shown)
        if kept is None or final is None:
            return False
        if len(final.id) > ID_CHARS_MAX or not (is_cached or final.id == kept.response_id):
            return False
        try:
            new = self._make(kept, final, principal, request_id, now)
            async with asyncio.timeout(KEEP_SECONDS):
                await self.store.keep(Scope(principal.organisation_id, principal.team_id), new)
        except (SQLAlchemyError, OSError, UnicodeError, msgspec.DecodeError):
            return False
        return True

    def _make(
        self, kept: Kept, final: Final, principal: Principal, request_id: str, now: float
    ) -> NewKept:
        return NewKept(
            KeptResponse(final.id, kept.previous_id, tuple(own_items(kept.raw)), final.raw),
            request_id=request_id,
            key_id=principal.key_id,
            created_at=now,
            expires_at=now + self._seconds,
            item_ids=tuple(item_ids(output_items(final.raw))),
        )


def _refers(texts: Iterable[bytes]) -> bool:
    return any(b'"item_reference"' in text for text in texts)


def _away() -> Refused:
    return refuse(
        "overloaded",
        "kept responses cannot be read at the moment; try again later",
        retry_after_seconds=RETRY_SECONDS,
    )
