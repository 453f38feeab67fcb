"""One connection and the exchange that is on it.

Promises: an answer that is cut is an error, never a short answer; what an answer may hold back is bounded (its
head, its trailers, its chunk sizes, its unread body); bytes that nobody asked for end the connection; one
that is fit for another request says so itself. Knows no deadlines and no retries.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec

HIGH_WATER_BYTES: Final = 256 * 1024
"""Of an answer that nobody reads; more is left in the socket, so that the host waits."""
_SLICE_BYTES: Final = 256 * 1024
"""Larger bodies are written in slices, so that a slow host holds back the writer."""
_INTERIM_MAX: Final = 8
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_UNREAD_MAX: Final = 256 * 1024
"""Bytes in a row that are neither head nor body: an endless line, chunk extension or trailer."""


class AnswerBroken(ConnectionError):
    """No answer, or no whole one: closed, reset, or not HTTP. Quotes nothing of what was sent."""


class HeadLimits(msgspec.Struct, frozen=True):
    """``line_bytes_max``: name and value of one header together."""

    line_bytes_max: int
    lines_max: int


class Connection(asyncio.Protocol):
    """Bytes to and from one host. One task at a time: ``exchange``, then ``next_chunk`` until ``b""``."""

    __slots__ = (
        "_chunks", "_drained", "_error", "_has_length", "_headers", "_interims", "_is_asked",
        "_is_head_in", "_is_reading_paused", "_is_surplus", "_is_writing_paused", "_limits", "_loop", "_on_lost",
        "_parser", "_poll", "_transport", "_unread", "_waiter", "buffered_bytes", "is_begun", "is_complete", "is_fit",
        "is_held_back", "is_late", "is_lost", "rested_at", "status",
    )  # fmt: skip

    def __init__(self, limits: HeadLimits, on_lost: "Callable[[Connection], None]") -> None:
        self._limits = limits
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._poll = select.poll()
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_writing_paused = self._is_reading_paused = False
        self.is_lost = False
        self.is_fit = True
        """Whether another request may follow."""
        self.rested_at = 0.0
        self._is_asked = False
        self._reset()

    def _reset(self) -> None:
        self._error: BaseException | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._unread = self._interims = 0
        self.buffered_bytes = 0
        """Of the body, that :meth:`next_chunk` has not given yet."""
        self._is_head_in = self._has_length = self._is_surplus = False
        self.is_begun = False
        """Whether any of the request was handed to the connection."""
        self.is_complete = False
        self.is_held_back = False
        """Whether it was closed while more than that waited, in the sockets on the way."""
        self.is_late = False
        """Whether it was :meth:`expire` that ended the exchange."""
        self.status = 0

    # What the one who asks does

    async def exchange(self, head: bytes, body: bytes | None) -> None:
        """Send a request and wait for the head of its answer. Raises :class:`AnswerBroken`.

        Whatever interrupts it leaves the connection closed.
        """
        self._reset()
        self._is_asked = True
        try:
            await self._send(head, body)
            while not self._is_head_in and self._error is None:
                await self._wait()
        except BaseException:
            self.abort()
            raise
        if not self._is_head_in and self._error is not None:
            raise self._error

    async def _send(self, head: bytes, body: bytes | None) -> None:
        transport = self._transport
        if self.is_lost or transport.is_closing():
            raise AnswerBroken("closed before anything was sent")
        self.is_begun = True
        if body is None:
            transport.write(head + b"\r\n")
            return
        framed = b"%bcontent-length: %d\r\n\r\n" % (head, len(body))
        if len(body) <= _SLICE_BYTES:
            transport.writelines((framed, body))
            return
        transport.write(framed)
        view = memoryview(body)
        for start in range(0, len(body), _SLICE_BYTES):
            if self._is_head_in or self._error is not None:
                # Answered before it was asked to the end: what is missing can never follow.
                self.is_fit = False
                return
            transport.write(view[start : start + _SLICE_BYTES])
            if self._is_writing_paused:
                self._drained = self._loop.create_future()
                await self._drained

    async def next_chunk(self) -> bytes:
        """What has arrived of the body, waiting for the first of it; ``b""`` at its orderly end.

        Raises :class:`AnswerBroken`, after what came before the break.
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.is_complete:
                return b""
            await self._wait()
        chunks = self._chunks
        self._chunks = []
        self.buffered_bytes = 0
        if self._is_reading_paused:
            self._is_reading_paused = False
            if not (self.is_lost or self._transport.is_closing()):
                self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Of the answer, as they came."""
        return self._headers

    @property
    def is_drained(self) -> bool:
        """Nothing of the answer is left to wait for."""
        return self.is_complete and not self._chunks

    def rest(self) -> bool:
        """The exchange is over; whether the connection may serve another one. If not, it is closed."""
        self._is_asked = False
        is_whole = self.is_complete and not self._chunks and not self._is_surplus
        # What is left of the request would stand before the next one.
        if is_whole and self.is_fit and not self._transport.get_write_buffer_size():
            self.rested_at = self._loop.time()
            return True
        self.abort()
        return False

    def is_usable(self) -> bool:
        """Whether a resting connection still stands, as far as this side can know."""
        # The loop may not have read the host's goodbye yet, and what is sent after it would be lost.
        return not (self.is_lost or self._transport.is_closing() or self._poll.poll(0))

    def abort(self) -> None:
        """Close now; whoever waits is told."""
        self.is_fit = False
        self.is_held_back |= self._is_reading_paused
        self._fail(AnswerBroken("given up"))
        self._transport.abort()

    def expire(self) -> None:
        """Close now, for time is up. Timers call this; clocks are not asked, as a timer may come a little early."""
        self.is_late = True
        self.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if self._error is None and not self.is_complete:
            self._error = error
        self._wake()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        number = cast("int", transport.get_extra_info("socket").fileno())
        self._poll.register(number, select.POLLIN | select.POLLHUP | select.POLLERR)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        if not self._is_asked or self.is_complete:
            self.is_fit = False
            self._transport.abort()
            return
        self._unread += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break("not an answer in HTTP/1.1")
            return
        if self._unread > _UNREAD_MAX:
            self._break("an answer without an end to its head")
            return
        if (
            self.buffered_bytes > HIGH_WATER_BYTES
            and not self.is_complete
            and not self._is_reading_paused
        ):
            self._is_reading_paused = True
            self._transport.pause_reading()
        if self._is_head_in:
            self._wake()

    def _break(self, words: str) -> None:
        self.is_fit = False
        self._fail(AnswerBroken(words))
        self._transport.abort()

    def eof_received(self) -> None:
        """See :class:`asyncio.Protocol`; a host that stops sending is done with the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self.is_lost = True
        self.is_fit = False
        if self._is_asked and not self.is_complete and self._error is None:
            if self._is_head_in and not self._has_length and exc is None:
                self.is_complete = True  # The body that ends with its connection has ended.
            else:
                error = AnswerBroken("closed by the host")
                error.__cause__ = exc
                self._error = error
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._is_writing_paused = True

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._is_writing_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # httptools

    def on_message_begin(self) -> None:
        """A second answer in one reading belongs to no request."""
        if self.is_complete:
            self._is_surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or trailer: bounded in length and number."""
        if len(name) + len(value) > self._limits.line_bytes_max:
            raise ValueError("a header that is too long")
        if self.is_complete:
            return
        if self._is_head_in:
            self._interims += 1
            if self._interims > self._limits.lines_max:
                raise ValueError("too many trailers")
            return
        self._headers.append((name, value))
        if len(self._headers) > self._limits.lines_max:
            raise ValueError("too many headers")

    def on_headers_complete(self) -> None:
        """The head is in, unless it is an interim one."""
        if self.is_complete:
            return
        self._unread = 0
        self.status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise ValueError("another HTTP")
        if self.status < 200:
            return
        framing = [
            (name.lower(), value) for name, value in self._headers if name.lower() in _FRAMING
        ]
        encodings = [value.lower() for name, value in framing if name == b"transfer-encoding"]
        if encodings and (encodings != [b"chunked"] or version == "1.0"):
            raise ValueError("an encoding of the transfer that is not just chunked")
        self._has_length = bool(framing) or self.status in (204, 304)
        if version == "1.0":
            self.is_fit = False  # What keeps such a connection open was never agreed on.
        self._is_head_in = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self.is_complete:
            self._unread = 0
            self._chunks.append(body)
            self.buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        """The answer is whole, or was an interim one."""
        if self.is_complete:
            return
        if not self._is_head_in:
            self._headers = []
            self._interims += 1
            if self._interims > _INTERIM_MAX:
                raise ValueError("too many interim answers")
            return
        self.is_complete = True
        self._unread = 0
        if not self._parser.should_keep_alive():
            self.is_fit = False
