"""Connecting a socket to an address that is known: nothing is looked up on the way.

uvloop's ``sock_connect`` asks a thread to read even a numeric address (0.23, ``loop.pyx``), and there are four such
threads: as soon as they wait for name servers that do not answer, for whichever host, no connection is made any more.
"""

import asyncio
import errno
import os
import socket
from typing import cast


class Dialler:
    """Stands where ``aiohappyeyeballs`` wants a loop, of which it uses ``sock_connect``."""

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def as_loop(self) -> asyncio.AbstractEventLoop:
        """Itself, as the type that is asked for."""
        return cast("asyncio.AbstractEventLoop", self)

    async def sock_connect(self, sock: socket.socket, address: tuple[object, ...]) -> None:
        """Connect ``sock``, which does not block, to a numeric ``address``. Raises ``OSError``."""
        code = sock.connect_ex(address)
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
            await self._wait(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, f"connecting failed: {os.strerror(code)}")

    async def _wait(self, sock: socket.socket) -> None:
        ready = self._loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        self._loop.add_writer(sock, wake)
        try:
            await ready
        finally:
            self._loop.remove_writer(sock)
