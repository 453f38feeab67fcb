"""ASGI behind the pipeline's view of a client: read the body, answer.

The only module that knows how the HTTP server talks. No Request, Response or middleware objects: at
this place each of them costs more than a whole stage of the pipeline.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, cast

from gateway.arrival import ClientGone, Header
from gateway.errors import refuse

Message = MutableMapping[str, Any]  # ASGI's own message type, at this border only
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]  # likewise
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

ANSWER = "moegate.answer"
"""Where the server leaves, in a request's scope, a way to answer it whole: see :meth:`server.Protocol.answer`."""
IS_BODY_IN = "moegate.is_body_in"
"""Where it says, in the same place, that the body is there, so that nobody has to wait for it."""


class AsgiBody:
    """A request body over ``receive``."""

    __slots__ = ("_receive", "_scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive

    async def read(self, limit: int, seconds: float) -> bytes:
        """See :class:`gateway.arrival.Body`; a declared length over the limit is refused unread."""
        for name, value in self._scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > limit:
                raise _too_large(limit)
        if IS_BODY_IN in self._scope:
            return await self._read(limit)
        try:
            async with asyncio.timeout(seconds):
                return await self._read(limit)
        except TimeoutError:
            raise refuse(
                "invalid_request",
                f"the request body did not arrive within {seconds:g} seconds",
                code="request_timeout",
            ) from None

    async def _read(self, limit: int) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = cast("bytes", message.get("body", b""))
        if not message.get("more_body"):
            if len(body) > limit:
                raise _too_large(limit)
            return body
        pieces, size = [body], len(body)
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece = cast("bytes", message.get("body", b""))
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            pieces.append(piece)
        return b"".join(pieces)


def _too_large(limit: int) -> Exception:
    return refuse(
        "too_large",
        f"the request body is larger than {limit} bytes, the limit of this gateway",
        code="request_too_large",
    )


class AsgiReply:
    """An answer over ``send``, or at once where the server can."""

    __slots__ = ("_scope", "_send", "has_started")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.has_started = False

    async def whole(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """See :class:`gateway.arrival.Reply`."""
        self.has_started = True
        answer = self._scope.get(ANSWER)
        if answer is not None and answer(self._scope, status, headers, body):
            return
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, (b"content-length", b"%d" % len(body))],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, status: int, headers: Sequence[Header]) -> None:
        """See :class:`gateway.arrival.Reply`."""
        self.has_started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def chunk(self, body: bytes) -> None:
        """See :class:`gateway.arrival.Reply`."""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes = b"") -> None:
        """See :class:`gateway.arrival.Reply`."""
        await self._send({"type": "http.response.body", "body": body})
