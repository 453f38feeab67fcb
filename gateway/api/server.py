"""The HTTP server's protocol: uvicorn's, which also tells a request at once that its client hung up, and
which lets no client keep a connection for nothing.

uvicorn tells of a hang-up through ``receive``; waiting there takes a task for every request, and cancelling
that task again when the answer is out. A callback that the request leaves in its scope costs a dictionary
entry. Deadlines are looked at by a timer of the connection every few seconds: nothing is armed for a request.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.asgi import AsgiApp

GRACE_SECONDS = 30
KEEP_ALIVE_SECONDS = 75
BACKLOG = 4096
HANG_UP = "moegate.hang_up"
"""Where a request leaves the callback in its scope."""
HEAD_BYTES_MAX = 256 * 1024
"""Of a request's line and headers. nginx takes 32 KiB, Envoy 60; a prompt stands in the body."""
HEAD_SECONDS = 30.0
"""For a request's head, and for the rest of a body that was refused."""
STALL_SECONDS = 120.0
"""For a client to take what waits for it: the 48 KiB between the marks of the write buffer, or its last 64."""
LOOK_SECONDS = 5.0
"""Deadlines are kept to within this."""


def server_config(app: AsgiApp | str, workers: int = 1) -> uvicorn.Config:
    """How uvicorn serves ``app``, or what the function of that name makes, in each of ``workers``."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class _Nowhere(list[tuple[bytes, bytes]]):
    """Takes what stands behind a body in the place of headers, which nobody asked for, and keeps none of it."""

    def append(self, _header: tuple[bytes, bytes], /) -> None:
        """Forget it."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _is_head = False
    """Whether a head has begun and not ended."""
    _head_bytes = 0
    _since = 0.0
    """When the client last owed something: its first request, the end of a head, of a refused body, of reading."""
    _paused_since: float | None = None
    """Since when so much waits for the client that we wait for it."""
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """See :class:`asyncio.Protocol`."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look = self.loop.call_later(LOOK_SECONDS, self._look_at_deadlines)

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        cycle = self.cycle
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            hang_up = cast("Callable[[], None] | None", cycle.scope.get(HANG_UP))
            if hang_up is not None:
                hang_up()

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        super().data_received(data)
        if self._is_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """The parser saw the first byte of a request."""
        super().on_message_begin()
        self._is_head = True
        self._head_bytes = 0
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """The parser saw the end of a head."""
        self._is_head = False
        super().on_headers_complete()
        self.headers = _Nowhere()

    def on_response_complete(self) -> None:
        """An answer was written, if not yet sent."""
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """More waits for the client than the transport likes."""
        self._paused_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client took most of what waited for it."""
        self._paused_since = None
        super().resume_writing()

    def _look_at_deadlines(self) -> None:
        self._look = self.loop.call_later(LOOK_SECONDS, self._look_at_deadlines)
        now = self.loop.time()
        cycle = self.cycle
        if self._paused_since is not None:
            is_late = now - self._paused_since > STALL_SECONDS
        elif cycle is not None and not cycle.response_complete:
            is_late = False  # A request is being worked on, and has deadlines of its own.
        elif self._is_head or cycle is None or cycle.more_body:
            is_late = now - self._since > HEAD_SECONDS
        else:
            # Between requests uvicorn's own timer closes; that waits for a client which does not read.
            is_late = self.transport.is_closing() and now - self._since > STALL_SECONDS
        if is_late:
            self.transport.abort()
