"""Connections are made while every thread waits for a name."""

import asyncio
import socket

import pytest
import uvloop

from backends.http1.dial import Dialler


class Deaf(uvloop.Loop):
    """A loop whose look-ups never come back, as with name servers that are away."""

    async def getaddrinfo(self, *_args: object, **_options: object) -> list[object]:  # type: ignore[override]  # never answers
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()
        return []


def listening(family: socket.AddressFamily, host: str) -> socket.socket:
    """A socket that takes connections; the test is skipped where the family is not there."""
    server = socket.socket(family)
    try:
        server.bind((host, 0))
    except OSError:
        pytest.skip(f"{host} cannot be bound here")
    server.listen()
    return server


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_no_name_is_looked_up(family: socket.AddressFamily, host: str) -> None:
    """A numeric address is connected to at once; the loop's own way would wait for a thread."""

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        with listening(family, host) as server, socket.socket(family) as client:
            client.setblocking(False)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await loop.sock_connect(client, server.getsockname())
            async with asyncio.timeout(5):
                await Dialler(loop).sock_connect(client, server.getsockname())
            assert client.getpeername() == server.getsockname()

    with asyncio.Runner(loop_factory=Deaf) as runner:
        runner.run(connect())


@pytest.mark.parametrize("factory", [uvloop.Loop, asyncio.SelectorEventLoop])
def test_a_refusal_is_an_error(factory: type[asyncio.AbstractEventLoop]) -> None:
    """Nobody listens: the reason, and nothing left behind."""

    async def connect() -> None:
        with listening(socket.AF_INET, "127.0.0.1") as server:
            address = server.getsockname()
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await Dialler(asyncio.get_running_loop()).sock_connect(client, address)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(connect())


def test_who_stops_waiting_leaves_nothing_behind() -> None:
    """A connection that never comes ends with its deadline, and its socket can be closed."""

    async def connect() -> None:
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises((TimeoutError, OSError)):
                async with asyncio.timeout(0.05):
                    # TEST-NET-1 (RFC 5737): nobody is there, or no way leads there.
                    await Dialler(asyncio.get_running_loop()).sock_connect(client, ("192.0.2.1", 9))

    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        runner.run(connect())
