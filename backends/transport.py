"""The only module that sends prompts out: it moves bytes, under a permit and a deadline.

Promises: nothing prompt-bearing leaves unless body and target are the ones of the verdict and the
address lies under one of the endpoint's base URLs; no redirect is followed, no proxy, cookie or
environment setting is used; every wait has a deadline; what was streamed is handed on as it came.

Retries: none after the first byte of a request may have left, for a POST may have been billed. A
pooled connection that the host has already closed is never used. What remains, a host that closes at
the very moment of the write, is reported with ``may_have_spent`` and left to the caller.

Does not choose targets nor read answers: see :mod:`backends.adapter` and :mod:`backends.health`. How
HTTP is spoken stands in :mod:`backends.http1`.
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from backends.adapter import Outbound
from backends.http1 import (
    AnswerBroken,
    ConnectFailed,
    Connection,
    ConnectTimedOut,
    Headers,
    HeadLimits,
    Inflater,
    Origin,
    Pool,
    find_place,
    render_head,
)
from backends.target import Endpoint
from backends.wire.failure import Failure
from backends.wire.verdict import Verdict

_PROBE_BYTES_MAX: Final = 4 * 1024 * 1024
_KNOWN_MAX: Final = 4096


class PermitBreach(RuntimeError):
    """What was about to leave is not what was permitted. A bug; nothing was sent."""


class TransportError(Exception):
    """No answer, or no whole one; ``failure`` is of kind upstream_failed or upstream_timeout."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class TransportLimits(msgspec.Struct, frozen=True):
    """Bounds of the pool and of single exchanges.

    ``idle_seconds``: longest silence within an answer while somebody waits for it (Anthropic pings
    and OpenAI's slowest reasoning models stay far below). ``header_bytes_max``: one header line.
    """

    connections_max: int = 4096
    idle_seconds: float = 300.0
    header_bytes_max: int = 16 * 1024
    headers_max: int = 128


class Upstream:
    """One answer on its way in. Must end in :meth:`release` or :meth:`abort`."""

    __slots__ = (
        "_asked_at", "_connection", "_deadline", "_idle_seconds", "_inflater", "_is_aborted", "_loop",
        "_origin", "_pairs", "_pool", "_timer", "status", "unread_bytes",
    )  # fmt: skip

    def __init__(
        self,
        pool: Pool,
        origin: Origin,
        connection: Connection,
        deadline: float,
        idle_seconds: float,
    ) -> None:
        """Raises :class:`TransportError` for an answer in an encoding that is not read."""
        self.status = connection.status
        self.unread_bytes: int | None = 0
        """Of the answer, that had come when :meth:`abort` was called; None if nobody can know how many."""
        self._pool = pool
        self._origin = origin
        self._connection: Connection | None = connection
        self._pairs = connection.headers
        self._deadline = deadline
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._asked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_aborted = False
        self._inflater: Inflater | None = None
        self._inflater = _find_inflater(self)

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in any case; of repeated ones the first."""
        return Headers(self._pairs)

    @property
    def is_encoded(self) -> bool:
        """Whether the body says that it is not what it was."""
        return any(name.lower() == b"content-encoding" for name, _value in self._pairs)

    @property
    def is_drained(self) -> bool:
        """Nothing is left to wait for."""
        return self._connection is None or self._connection.is_drained

    async def read(self, limit: int) -> bytes:
        """The whole body, decompressed, at most ``limit`` bytes; then the connection is given back.

        Raises :class:`TransportError`, also when the body is longer.
        """
        chunks: list[bytes] = []
        size = 0
        while chunk := await self.next_chunk():
            size += len(chunk)
            if size > limit:
                self.abort()
                raise _failed(
                    f"the provider's answer is longer than {limit} bytes", None, self.status
                )
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def next_chunk(self) -> bytes:
        """Whatever has arrived, waiting for the first of it; ``b""`` at the orderly end.

        Raises :class:`TransportError` for a reset, a cut, silence or a passed deadline.
        """
        if self._inflater is None:
            return await self._next_raw()
        try:
            while not (plain := self._inflater.take()):
                if not (raw := await self._next_raw()):
                    self._inflater.finish()
                    return b""
                self._inflater.feed(raw)
        except AnswerBroken as error:
            self.abort()
            raise _failed("the provider's answer cannot be read", error, self.status) from error
        return plain

    async def _next_raw(self) -> bytes:
        connection = self._connection
        if connection is None:
            if self._is_aborted:
                raise _failed("the answer was given up", None, self.status)
            return b""
        self._asked_at = self._loop.time()
        if self._timer is None and not connection.is_complete:
            self._watch()
        try:
            chunk = await connection.next_chunk()
        except asyncio.CancelledError:
            self.abort()
            raise
        except AnswerBroken as error:
            is_aborted = self._is_aborted
            self.abort()
            if connection.is_late:
                raise _timed_out("the provider stopped answering in time", self.status) from error
            words = "the answer was given up" if is_aborted else "the provider's answer was cut"
            raise _failed(words, error, self.status) from error
        self._asked_at = 0.0
        if not chunk:
            await self.release()
        return chunk

    def abort(self) -> None:
        """Close the connection now, in the middle of the answer; the host sees it and stops."""
        self._is_aborted = True
        self._unwatch()
        if self._connection is not None:
            self._connection.abort()
            self.unread_bytes = self._connection.buffered_bytes
            if self._connection.is_held_back or (self._inflater and self.unread_bytes):
                self.unread_bytes = None
            self._connection = None

    async def release(self) -> None:
        """Give the connection back to the pool, or close it if the answer was not read out."""
        self._unwatch()
        if self._connection is not None:
            self._pool.give_back(self._origin, self._connection)
            self._connection = None

    def _watch(self) -> None:
        """One lazy timer an answer: it re-arms itself instead of being moved at every chunk."""
        now = self._loop.time()
        if self._asked_at:
            due = min(self._deadline, self._asked_at + self._idle_seconds)
        else:  # Nobody waits: the client is slow, which is not the host's silence.
            due = min(self._deadline, now + self._idle_seconds)
        if due > now:
            self._timer = self._loop.call_at(due, self._watch)
            return
        self._timer = None
        if self._connection is not None:
            self._connection.expire()

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _find_inflater(upstream: "Upstream") -> Inflater | None:
    if not upstream.is_encoded:
        return None
    encoding = upstream.headers["content-encoding"].lower()
    if encoding in ("", "identity"):
        return None
    try:
        return Inflater(encoding.encode("latin-1"))
    except AnswerBroken as error:
        upstream.abort()
        raise _failed("the provider's answer cannot be read", error, upstream.status) from error


class _Route(msgspec.Struct, frozen=True):
    """Where an address leads, and how a request there begins. ``base_urls``: whose address it is."""

    base_urls: tuple[str, ...]
    origin: Origin
    head: bytes


class Transport:
    """One connection pool for all hosts. Make it inside the running loop; :meth:`close` it."""

    def __init__(self, limits: TransportLimits | None = None) -> None:
        self._limits = limits or TransportLimits()
        self._loop = asyncio.get_running_loop()
        self._routes: dict[tuple[str, str, tuple[tuple[str, str], ...]], _Route] = {}
        head = HeadLimits(self._limits.header_bytes_max, self._limits.headers_max)
        self._pool = Pool(self._limits.connections_max, head)

    async def send(
        self, outbound: Outbound, verdict: Verdict, endpoint: Endpoint, deadline: float
    ) -> Upstream:
        """POST ``outbound`` and wait for the status line and headers.

        ``deadline`` is in the running loop's time and bounds the whole exchange; the first byte
        must also come within the endpoint's ``timeout_seconds``. Raises :class:`PermitBreach`
        before anything is sent, :class:`TransportError` otherwise (``may_have_spent`` is True once
        any byte of the body was handed to a connection).
        """
        if outbound.target != verdict.target:
            raise PermitBreach("the permit is for another target")
        if outbound.body is not verdict.body or type(outbound.body) is not bytes:
            raise PermitBreach("the body is not the one that was permitted")
        route = self._find_route("POST", outbound.url, outbound.headers, endpoint)
        now = self._loop.time()
        if now >= deadline:
            words = "the time for the request was over before the provider was asked"
            raise _timed_out(words, None, may_have_spent=False)
        first_byte_at = min(deadline, now + endpoint.timeout_seconds)
        connection = await self._exchange(route, outbound.body, endpoint, first_byte_at)
        if connection.status < 200 or 300 <= connection.status < 400:
            connection.abort()
            raise _failed(
                f"the provider answered with status {connection.status}, which is not followed",
                None,
                connection.status,
                may_have_spent=False,
            )
        idle_seconds = min(self._limits.idle_seconds, endpoint.timeout_seconds)
        return Upstream(self._pool, route.origin, connection, deadline, idle_seconds)

    async def get(
        self, endpoint: Endpoint, path: str, timeout: float, base_url: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body (at most 4 MiB) of ``path`` below a base URL: for discovery and health.

        The credential goes along as a bearer token. Raises :class:`TransportError`.
        """
        address = (base_url or endpoint.base_urls[0]).rstrip("/") + path
        headers = dict(endpoint.extra_headers)
        if endpoint.credential is not None:
            headers["authorization"] = f"Bearer {endpoint.credential.reveal()}"
        route = self._find_route("GET", address, tuple(headers.items()), endpoint)
        deadline = self._loop.time() + timeout
        connection = await self._exchange(route, None, endpoint, deadline)
        upstream = Upstream(self._pool, route.origin, connection, deadline, timeout)
        return upstream.status, await upstream.read(_PROBE_BYTES_MAX)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def _exchange(
        self, route: _Route, body: bytes | None, endpoint: Endpoint, first_byte_at: float
    ) -> Connection:
        """A connection with the head of an answer."""
        rested = self._pool.find(route.origin)
        if rested is not None and body is None:
            # A question without a body may be asked twice: the host may just be closing this one.
            with suppress(TransportError):
                return await self._ask(rested, route, body, first_byte_at)
            rested = None
        connection = rested or await self._connect(route, endpoint, first_byte_at)
        return await self._ask(connection, route, body, first_byte_at)

    async def _connect(self, route: _Route, endpoint: Endpoint, first_byte_at: float) -> Connection:
        until = min(first_byte_at, self._loop.time() + endpoint.connect_timeout_seconds)
        try:
            return await self._pool.take(route.origin, until)
        except ConnectTimedOut as error:
            raise _timed_out(
                "the provider could not be reached in time", None, may_have_spent=False
            ) from error
        except ConnectFailed as error:
            words = "the provider could not be reached"
            raise _failed(words, error.__cause__, None, may_have_spent=False) from error

    async def _ask(
        self, connection: Connection, route: _Route, body: bytes | None, first_byte_at: float
    ) -> Connection:
        timer = self._loop.call_at(first_byte_at, connection.expire)
        try:
            await connection.exchange(route.head, body)
        except AnswerBroken as error:
            is_begun = body is not None and connection.is_begun
            if connection.is_late:
                words = "the provider did not answer in time"
                raise _timed_out(words, None, may_have_spent=is_begun) from error
            words = "the connection to the provider broke before it answered"
            raise _failed(words, error.__cause__ or error, None, may_have_spent=is_begun) from error
        finally:
            timer.cancel()
        return connection

    def _find_route(
        self, method: str, address: str, headers: tuple[tuple[str, str], ...], endpoint: Endpoint
    ) -> _Route:
        """What is known of an address, after the check that it lies under a base URL."""
        known = self._routes.get((method, address, headers))
        # Identity is enough: an endpoint is built once per configuration.
        if known is not None and known.base_urls is endpoint.base_urls:
            return known
        if not is_under(address, endpoint.base_urls):
            raise PermitBreach(f"the address is not one of endpoint {endpoint.name}")
        try:
            place = find_place(address)
            head = render_head(method, place, headers)
        except ValueError as error:
            words = "the request to the provider cannot be put into words of HTTP"
            raise _failed(words, error, None, may_have_spent=False) from None
        route = _Route(endpoint.base_urls, place.origin, head)
        if len(self._routes) >= _KNOWN_MAX:
            self._routes.clear()
        self._routes[method, address, headers] = route
        return route


def is_under(address: str, base_urls: tuple[str, ...]) -> bool:
    """Whether ``address`` has scheme, host, port and path prefix of one of ``base_urls``.

    Plain text on purpose: nothing is decoded or normalised, so nothing can be decoded differently
    elsewhere. Dot segments, fragments, back-slashes and anything but printable ASCII are refused.
    """
    if not address.isascii() or not address.isprintable() or any(c in address for c in ' \\#"<>'):
        return False
    for base_url in base_urls:
        base = base_url.rstrip("/")
        rest = address[len(base) :]
        if base.startswith(("http://", "https://")) and address.startswith(base):
            path = rest.partition("?")[0].lower().replace("%2e", ".").replace("%2f", "/")
            if rest[:1] in ("/", "?") and not {"..", "."} & set(path.split("/")):
                return "@" not in base.split("/", 3)[2]
    return False


def _failed(
    words: str, error: BaseException | None, status: int | None, *, may_have_spent: bool = True
) -> TransportError:
    detail = None if error is None else _describe(error)
    return TransportError(
        Failure(
            "upstream_failed",
            words,
            detail=detail,
            may_have_spent=may_have_spent,
            upstream_status=status,
        )
    )


def _timed_out(words: str, status: int | None, *, may_have_spent: bool = True) -> TransportError:
    return TransportError(
        Failure("upstream_timeout", words, may_have_spent=may_have_spent, upstream_status=status)
    )


def _describe(error: BaseException) -> str:
    """Names and numbers only: an error's text may quote what the host sent."""
    if isinstance(error, socket.gaierror):
        return "gaierror: name not resolved"
    number = error.errno if isinstance(error, OSError) else None
    return type(error).__name__ + (f" (errno {number})" if number is not None else "")
