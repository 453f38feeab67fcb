"""A host of bare bytes inside the test's own loop: it can say anything, or nothing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Handles one exchange: called when the head of a request is in."""


@dataclass(slots=True)
class RawHost:
    """Where it listens and what it saw. ``open`` counts the connections that stand now."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list[bytes])
    connections: int = 0
    open: int = 0

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def listening(talk: Talk) -> AsyncGenerator[RawHost]:
    """A host for as long as the context lasts; leaves nothing open."""
    host, tasks = RawHost(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        host.connections += 1
        host.open += 1
        try:
            while not writer.is_closing():
                host.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await talk(reader, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            host.open -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json", *more: str) -> Talk:
    """A whole answer; the connection stays open."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}"]
        writer.write("\r\n".join([*lines, *more, "", ""]).encode() + body)

    return talk


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side goes away."""
    await reader.read()
    raise ConnectionError


async def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until ``condition`` holds; fail at the deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
