"""A TCP forwarder in front of a real server, so that tests can take the server away and give it back."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from urllib.parse import urlsplit


class Gate:
    """Forwards while it is ``open``. ``cut`` resets what is connected and refuses what comes;
    ``stall`` takes connections and passes nothing on, ``stall_answers`` passes on what is asked only."""

    def __init__(self, host: str, port: int) -> None:
        self._behind = (host, port)
        self._is_stalled = False
        self._is_mute = False
        self._delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._listen())

    def cut(self) -> None:
        """The server is gone."""
        self._run(self._close())

    def open(self) -> None:
        """The server is back, at the same port."""
        self._is_stalled = self._is_mute = False
        self._delay = 0.0
        self._run(self._listen())

    def lead_to(self, url: str) -> None:
        """From now on another server is behind it."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._behind = (parts.hostname, parts.port)

    def stall(self) -> None:
        """The server hangs: connections stay, nothing passes any more."""
        self._is_stalled = True

    def stall_answers(self) -> None:
        """The server does what it is told, and nobody hears of it."""
        self._is_mute = True

    def slow_down(self, seconds: float) -> None:
        """Whatever passes takes so much longer."""
        self._delay = seconds

    def stop(self) -> None:
        """End for good."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, work: "asyncio.Future[None] | object") -> None:
        assert asyncio.iscoroutine(work)
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection(*self._behind)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, onward_writer}
        try:
            await asyncio.gather(
                self._pass(reader, onward_writer, lambda: self._is_stalled),
                self._pass(onward_reader, writer, lambda: self._is_stalled or self._is_mute),
            )
        finally:
            self._writers -= {writer, onward_writer}
            writer.transport.abort()
            onward_writer.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_held: Callable[[], bool],
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                await asyncio.sleep(self._delay)
                while is_held():
                    await asyncio.sleep(0.01)
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()


@contextlib.contextmanager
def gate_before(url: str) -> Generator[tuple[Gate, str]]:
    """A gate before the server of ``url``, and the URL that goes through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    gate = Gate(parts.hostname, parts.port)
    try:
        yield gate, url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{gate.port}")
    finally:
        gate.stop()
