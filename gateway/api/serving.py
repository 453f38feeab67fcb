"""What the endpoints that are not hot share: who may ask, bodies in JSON, answers in JSON."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.asgi import AsgiBody
from gateway.errors import Refused, refuse
from gateway.identity import Principal
from gateway.identity.keys import ADMIN, DEFAULT_ORGANISATION
from policies.document import TEXT_BYTES_MAX

Asked = TypeVar("Asked", bound=msgspec.Struct)
Endpoint = Callable[[Request], Awaitable[Response]]
Served = Callable[[Request, Principal], Awaitable[Response]]
Guard = Callable[[Request, Served], Awaitable[Response]]
"""Finds the principal of a request's key, has it served, and answers errors."""

JSON = "application/json"
BODY_BYTES_MAX = 2 * TEXT_BYTES_MAX + 65_536
"""A document with each of its characters escaped, and what is said about it."""
BODY_SECONDS = 30.0


def guarded(guard: Guard, serve: Served) -> Endpoint:
    """``serve`` for everybody with a key."""

    async def endpoint(request: Request) -> Response:
        return await guard(request, serve)

    return endpoint


def for_operators(guard: Guard, serve: Served) -> Endpoint:
    """``serve`` for administrators of the organisation that the first admin key belongs to."""

    async def allowed(request: Request, principal: Principal) -> Response:
        if ADMIN not in principal.roles or principal.organisation != DEFAULT_ORGANISATION:
            raise refuse(
                "policy_refused",
                f"policies are for keys with the role `{ADMIN}` in the organisation "
                f"`{DEFAULT_ORGANISATION}`",
                code="not_admin",
            )
        return await serve(request, principal)

    return guarded(guard, allowed)


async def read_body(request: Request, kind: type[Asked], bytes_max: int = BODY_BYTES_MAX) -> Asked:
    """The body as ``kind``; an empty one as ``{}``. Raises ``Refused``."""
    raw = await AsgiBody(request.scope, request.receive).read(bytes_max, BODY_SECONDS)
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words = str(error)[:300]
        if not words.startswith("JSON"):
            words = words[:1].lower() + words[1:]
        raise invalid(f"the body does not fit: {words}", None) from error


def answer_json(body: object, status: int = 200, etag: str | None = None) -> Response:
    """``body`` as JSON."""
    headers = {} if etag is None else {"etag": f'"{etag}"'}
    return Response(orjson.dumps(body), status, headers, JSON)


def invalid(message: str, param: str | None) -> Refused:
    """A member of the body, or the body, is wrong."""
    return refuse("invalid_request", message, code="invalid_value", param=param)
