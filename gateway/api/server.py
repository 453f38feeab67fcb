"""The HTTP server's protocol: uvicorn's, which also tells a request at once that its client hung up, lets no
client keep a connection for nothing, and works on one request of a connection at a time.

uvicorn tells of a hang-up through ``receive``; waiting there takes a task for every request, and cancelling
that task again when the answer is out. A callback that the request leaves in its scope costs a dictionary
entry. Deadlines are looked at by a timer of the connection every few seconds: nothing is armed for a request.

What a client sends behind a request that is being worked on is thrown away, and the connection closed after
the answer, as RFC 9112 (9.3.2) allows; to keep it would mean to stop reading, and then no hang-up is seen.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.api.asgi import ANSWER, IS_BODY_IN, AsgiApp, Scope
from gateway.arrival import Header

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
_CONTROLS = bytes({*range(32), 127} - {ord("\t")})
"""What no header may hold (RFC 9110, 5.5)."""


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
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def render_head(status: int, headers: Sequence[Header]) -> bytes:
    """Status line and headers, up to where the body begins. Raises ``ValueError`` for one with a control
    character, which could end it early."""
    lines = [STATUS_LINE[status], *[b"%b: %b\r\n" % header for header in headers], b"\r\n"]
    head = b"".join(lines)
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls != 2 * len(lines) or head.count(b"\r\n") != len(lines):
        raise ValueError("a header with a control character")
    return head


class _Nowhere(list[tuple[bytes, bytes]]):
    """Takes what stands behind a body in the place of headers, which nobody asked for, and keeps none of it."""

    def append(self, _header: tuple[bytes, bytes], /) -> None:
        """Forget it."""


class _Behind(Exception):
    """A request begins behind one that is being worked on."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _is_deaf = False
    """Whether what comes is thrown away."""
    _is_upgrade = False
    """Whether the head that has just ended asks for another protocol."""
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
        if self.scope is not None:
            # It leads back here, and a cycle would keep the head of the last request until it is collected.
            self.scope.pop(ANSWER, None)  # type: ignore[typeddict-item]  # as HANG_UP

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        if self._is_deaf:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._decline_upgrade(data[stop.args[0] :])
        except httptools.HttpParserError:
            if not self._is_deaf:
                self.send_400_response("Invalid HTTP request received.")
            return
        if self._is_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.abort()

    def _decline_upgrade(self, rest: bytes) -> None:
        """Go on as if nobody had asked (RFC 9110, 7.8): Java's client asks for HTTP/2 with each first request.

        The parser takes what follows such a head for the other protocol, so a new one gets the head without
        the question, and ``rest``.
        """
        self._is_upgrade = False
        if self.parser.get_method() == b"CONNECT":
            self.send_400_response("This is no proxy.")
            return
        first = b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url)
        asked = (b"connection", b"upgrade", b"http2-settings")
        lines = [b"%b: %b" % header for header in self.headers if header[0] not in asked]
        if not self.parser.should_keep_alive():
            lines.append(b"connection: close")
        self.parser = httptools.HttpRequestParser(self)
        # As uvicorn's: what stands behind a last request is for `on_message_begin` to turn away.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join([first, *lines, b"", rest]))

    def on_message_begin(self) -> None:
        """The parser saw the first byte of a request. Raises to stop it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._is_deaf = True
            self.cycle.keep_alive = False
            raise _Behind
        super().on_message_begin()
        self._is_head = True
        self._head_bytes = 0
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """The parser saw the end of a head."""
        self._is_head = False
        if self.parser.should_upgrade():
            self._is_upgrade = True
            return
        super().on_headers_complete()
        self.headers = _Nowhere()
        self.scope[ANSWER] = self.answer  # type: ignore[typeddict-unknown-key]  # as HANG_UP

    def on_message_complete(self) -> None:
        """The parser saw the end of a request, or of a head that asks for another protocol."""
        if self._is_upgrade:
            return
        super().on_message_complete()
        self.scope[IS_BODY_IN] = True  # type: ignore[typeddict-unknown-key]  # as HANG_UP
        if self.cycle is not None:
            # Also of a request that was refused before its body had come.
            self.cycle.more_body = False
            self._since = self.loop.time()
        # A large body paused it, and nobody may ask for more of it: a hang-up could not be seen.
        self.flow.resume_reading()

    def answer(self, scope: Scope, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """Write a whole answer at once, which takes a third of what uvicorn does for its two messages.

        False, and nothing was written, where the usual way has to be gone: the client is slow or gone, or the
        request of ``scope`` is not the one that waits.
        """
        cycle = self.cycle
        if cycle is None or cycle.scope is not scope or cycle.response_started:
            return False
        if cycle.disconnected or self.flow.write_paused:
            return False
        head = render_head(
            status,
            [
                *self.server_state.default_headers,
                *headers,
                (b"content-length", b"%d" % len(body)),
                *(() if cycle.keep_alive else ((b"connection", b"close"),)),
            ],
        )
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.writelines((head, body))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def on_response_complete(self) -> None:
        """An answer was written, if not yet sent. No timer is armed for the next request: see the deadlines."""
        self._since = self.loop.time()
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()

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
            patience = STALL_SECONDS if self.transport.is_closing() else KEEP_ALIVE_SECONDS
            is_late = now - self._since > patience
        if is_late:
            self.transport.abort()
