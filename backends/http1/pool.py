"""Connections that are open: made when needed, used again, closed when they have rested too long.

Promises: a connection serves one exchange at a time; of those that rest the last used comes first; no more are
open than allowed, and who waits for one waits no longer than told. Nothing is sent by making one.
"""

import asyncio
import functools
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import aiohappyeyeballs

from backends.http1.connection import Connection, HeadLimits
from backends.http1.dial import Dialler
from backends.http1.head import Origin

KEEP_ALIVE_SECONDS: Final = 15.0
"""Resting connections are closed after this; well below what public API fronts keep (a minute and
more). Shorter limits at the host (uvicorn: 5 s) show as a close that is noticed before reuse."""
_NEXT_ADDRESS_SECONDS: Final = 0.25
"""Before the next address of a name is tried beside the first: RFC 8305, section 5."""


NAME_SECONDS: Final = 60.0
"""For so long a name's addresses are taken for its own."""
_FRESH_NAME_SECONDS: Final = 0.5
"""The wait for new addresses where old ones are known."""
_OLD_NAME_SECONDS: Final = 5.0
"""Before new ones are asked for again."""
_NAMES_MAX: Final = 4096


_Found = Sequence[
    tuple[Any, Any, int, str, tuple[Any, ...]]
]  # getaddrinfo's, handed on as they are


class _Addresses(NamedTuple):
    """``until``: in the loop's time."""

    found: _Found
    until: float


class ConnectFailed(ConnectionError):
    """No connection; the cause is an ``OSError``. Nothing was sent."""


class ConnectTimedOut(ConnectionError):
    """No connection in time. Nothing was sent."""


class Pool:
    """All connections of one loop."""

    def __init__(self, connections_max: int, limits: HeadLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._dialler = Dialler(self._loop)
        self._limits = limits
        self._connections_max = connections_max
        self._resting: dict[Origin, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._making = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Future[None] | None = None
        self._is_closed = False
        self._addresses: dict[Origin, _Addresses] = {}

    def find(self, origin: Origin) -> Connection | None:
        """A connection to ``origin`` that rests, if one is usable."""
        resting = self._resting.get(origin)
        now = self._loop.time()
        while resting:
            connection = resting.pop()
            if now - connection.rested_at < KEEP_ALIVE_SECONDS and connection.is_usable():
                return connection
            connection.abort()
        return None

    async def take(self, origin: Origin, until: float) -> Connection:
        """A connection to ``origin``, a new one if none rests, at the latest at ``until`` in the loop's time.

        Raises :class:`ConnectFailed`, :class:`ConnectTimedOut`.
        """
        try:
            async with asyncio.timeout_at(until):
                while len(self._open) + self._making >= self._connections_max:
                    await self._wait_for_room(origin)
                    if (rested := self.find(origin)) is not None:
                        return rested
                self._making += 1
                try:
                    return await self._connect(origin)
                except BaseException:
                    self._tell_waiting()
                    raise
                finally:
                    self._making -= 1
        except TimeoutError as error:
            raise ConnectTimedOut from error
        except OSError as error:
            raise ConnectFailed from error

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """The exchange is over, whichever way."""
        if connection.rest():
            self._resting.setdefault(origin, deque()).append(connection)
            if self._sweep is None:
                self._sweep = self._loop.call_later(KEEP_ALIVE_SECONDS, self._close_rested)
            self._tell_waiting()

    async def close(self) -> None:
        """Close every connection, and wait until all are; no new one is made from here on."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        self._resting.clear()
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            self._all_closed = self._loop.create_future()
            await self._all_closed

    async def _connect(self, origin: Origin) -> Connection:
        if self._is_closed:
            raise ConnectionError("the pool is closed")
        addresses = await self._look_up(origin)
        try:
            reached = await aiohappyeyeballs.start_connection(
                addresses,
                happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                interleave=1,
                loop=self._dialler.as_loop(),
            )
        except BaseException:  # Out of time, too.
            # They may live elsewhere now; if nobody can say where, the old ones are tried again.
            self._addresses[origin] = _Addresses(addresses, 0.0)
            raise
        try:
            if origin.is_tls and self._tls is None:
                self._tls = await asyncio.to_thread(_make_tls)  # reads a few hundred certificates
            reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _transport, connection = await self._loop.create_connection(
                functools.partial(Connection, self._limits, self._forget),
                sock=reached,
                ssl=self._tls if origin.is_tls else None,
                server_hostname=origin.host if origin.is_tls else None,
            )
        except BaseException:
            reached.close()
            raise
        if not connection.is_lost:
            self._open.add(connection)
        return connection

    async def _look_up(self, origin: Origin) -> _Found:
        """The addresses of a name. Old ones are used for as long as new ones cannot be had: name servers that
        are away, or threads that wait for them, take no provider along."""
        known, now = self._addresses.get(origin), self._loop.time()
        if known is not None and now < known.until:
            return known.found
        asking = self._loop.getaddrinfo(
            origin.host, origin.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
        try:
            async with asyncio.timeout(None if known is None else _FRESH_NAME_SECONDS):
                found: _Found = await asking
            until = self._loop.time() + NAME_SECONDS
        except (OSError, TimeoutError):
            if known is None:
                raise
            found, until = known.found, now + _OLD_NAME_SECONDS
        if len(self._addresses) >= _NAMES_MAX:
            self._addresses.clear()
        self._addresses[origin] = _Addresses(found, until)
        return found

    async def _wait_for_room(self, origin: Origin) -> None:
        """Room comes when an exchange ends, or a connection does: one that rests for another host is ended."""
        for other, resting in self._resting.items():
            if other != origin and resting:
                resting.popleft().abort()
                break
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._tell_waiting()  # It was this one's turn, and is the next one's.
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _tell_waiting(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._all_closed is not None and not self._open and not self._all_closed.done():
            self._all_closed.set_result(None)
        self._tell_waiting()

    def _close_rested(self) -> None:
        self._sweep = None
        now = self._loop.time()
        for origin, resting in tuple(self._resting.items()):
            while resting and now - resting[0].rested_at >= KEEP_ALIVE_SECONDS:
                resting.popleft().abort()
            if not resting:
                del self._resting[origin]
        if self._resting:
            self._sweep = self._loop.call_later(KEEP_ALIVE_SECONDS / 3, self._close_rested)


def _make_tls() -> ssl.SSLContext:
    """Verifies names and certificates against the system's authorities."""
    # Not the usual default context: that one writes every session's secrets into a file if the environment
    # names one (SSLKEYLOGFILE).
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
