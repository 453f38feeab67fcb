"""The hot endpoints: one wire format each, all over one pipeline."""

import asyncio
from collections.abc import Callable

from backends.wire.codec import RequestCodec
from backends.wire.prompt import Asked
from gateway.api.asgi import AsgiBody, AsgiReply, Receive, Scope, Send
from gateway.api.server import HANG_UP
from gateway.arrival import Arrival
from gateway.pipeline import Pipeline


class WireEndpoint:
    """Serves one format. A client that hangs up cancels its request, which then books what was used.

    ``read_asked``: what a request's address and head say of the prompt.
    """

    def __init__(
        self, pipeline: Pipeline, codec: RequestCodec, read_asked: Callable[[Scope], Asked]
    ) -> None:
        self._pipeline = pipeline
        self._codec = codec
        self._read_asked = read_asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        arrival = Arrival(
            self._codec,
            scope["headers"],
            AsgiBody(scope, receive),
            self._read_asked(scope),
            scope["query_string"],
        )
        work = asyncio.current_task()
        is_gone = False

        def hang_up() -> None:
            nonlocal is_gone
            if work is not None and not is_gone:
                is_gone = True
                work.cancel()

        def watch() -> None:
            scope[HANG_UP] = hang_up

        try:
            await self._pipeline.run(arrival, AsgiReply(scope, send), watch)
        except asyncio.CancelledError:
            # Ours: the client is gone and everything is booked. A shutdown cancels from outside.
            if not is_gone:
                raise
            if work is not None:
                work.uncancel()
        finally:
            scope.pop(HANG_UP, None)
