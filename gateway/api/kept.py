"""Kept responses over HTTP, as OpenAI's SDK asks for them: look up, delete, list the input.

Source: OpenAI's API reference and the OpenAPI document of 2026-08-21 (``/responses/{response_id}``).
"""

from typing import NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backends.wire.openai_responses.kept import list_item, output_items
from backends.wire.prompt import Json
from gateway.api.serving import JSON, Guard, guarded, invalid
from gateway.errors import Refused, refuse
from gateway.identity import Principal
from gateway.kept import KeptResponse, Scope
from gateway.services import Services

PAGE, PAGE_MAX = 20, 100
ORDERS = ("asc", "desc")


class _Said(NamedTuple):
    """The items of one turn."""

    response_id: str
    asked: tuple[bytes, ...]
    answered: tuple[bytes, ...]


class KeptApi:
    """The endpoints, over one gateway's services. ``guard`` finds the key's principal and answers errors."""

    def __init__(self, services: Services, guard: Guard) -> None:
        self._services = services
        self._guard = guard

    def routes(self) -> list[Route]:
        """What is served, by path."""
        retrieve, delete = (guarded(self._guard, one) for one in (self._retrieve, self._delete))
        items, cancel = (guarded(self._guard, one) for one in (self._input_items, self._cancel))
        return [
            Route("/v1/responses/{response_id}", retrieve, methods=["GET"]),
            Route("/v1/responses/{response_id}", delete, methods=["DELETE"]),
            Route("/v1/responses/{response_id}/input_items", items, methods=["GET"]),
            Route("/v1/responses/{response_id}/cancel", cancel, methods=["POST"]),
        ]

    async def _retrieve(self, request: Request, principal: Principal) -> Response:
        if request.query_params.get("stream") in ("true", "1"):
            raise invalid("a kept response is not streamed again; ask without `stream`", "stream")
        found = await self._find(request, principal)
        return Response(found.raw, media_type=JSON)

    async def _delete(self, request: Request, principal: Principal) -> Response:
        response_id = _asked(request)
        now = self._services.clock.now()
        store = self._services.kept.store
        if not await store.delete(_scope(principal), response_id, now):
            raise _missing(response_id)
        body = {"id": response_id, "object": "response", "deleted": True}
        return Response(orjson.dumps(body), media_type=JSON)

    async def _cancel(self, request: Request, principal: Principal) -> Response:
        await self._find(request, principal)
        raise invalid("only a response that is made in the background can be cancelled", None)

    async def _input_items(self, request: Request, principal: Principal) -> Response:
        found = await self._find(request, principal)
        limit, order = _limit(request), request.query_params.get("order", "desc")
        if order not in ORDERS:
            raise invalid(f"`{order[:20]}` is no order; it is `asc` or `desc`", "order")
        items = await self._whole_input(found, principal)
        if order == "desc":
            items.reverse()
        after = request.query_params.get("after")
        if after is not None:
            at = next((at for at, item in enumerate(items) if _id(item) == after), None)
            if at is None:
                raise invalid(f"no item of this input has the id `{after[:100]}`", "after")
            items = items[at + 1 :]
        page = items[:limit]
        body = {
            "object": "list",
            "data": page,
            "first_id": _id(page[0]) if page else None,
            "last_id": _id(page[-1]) if page else None,
            "has_more": len(items) > limit,
        }
        return Response(orjson.dumps(body), media_type=JSON)

    async def _whole_input(self, found: KeptResponse, principal: Principal) -> list[Json]:
        """Everything that the response answers, oldest first: also what it goes on from."""
        now = self._services.clock.now()
        store = self._services.kept.store
        turns = await store.trace(_scope(principal), found.response_id, now, _read)
        return [
            list_item(raw, said.response_id, at)
            for said in turns or (_read(found),)
            for at, raw in enumerate(
                said.asked if said.response_id == found.response_id else said.asked + said.answered
            )
        ]

    async def _find(self, request: Request, principal: Principal) -> KeptResponse:
        response_id = _asked(request)
        now = self._services.clock.now()
        found = await self._services.kept.store.find(_scope(principal), response_id, now)
        if found is None:
            raise _missing(response_id)
        return found


def _asked(request: Request) -> str:
    """The id in the address; what no id can be is not looked for."""
    response_id = str(request.path_params["response_id"])
    if "\0" in response_id:
        raise _missing(response_id.replace("\0", ""))
    return response_id


def _read(kept: KeptResponse) -> _Said:
    return _Said(kept.response_id, kept.items, tuple(output_items(kept.raw)))


def _scope(principal: Principal) -> Scope:
    return Scope(principal.organisation_id, principal.team_id)


def _id(item: Json) -> Json:
    return item.get("id") if isinstance(item, dict) else None


def _limit(request: Request) -> int:
    said = request.query_params.get("limit", str(PAGE))
    if not (said.isascii() and said.isdecimal() and len(said) <= 4 and 1 <= int(said) <= PAGE_MAX):
        raise invalid(f"`limit` must be between 1 and {PAGE_MAX}", "limit")
    return int(said)


def _missing(response_id: str) -> Refused:
    message = (
        f"the response `{response_id[:100]}` is not kept here: it is unknown, deleted or expired"
    )
    return refuse("invalid_request", message, code="not_found")
