"""A host that plays providers in tests: scripted answers, faults on demand, and a log of what reached it.

Speaks HTTP/1.1 over plain sockets, so that it can also break the protocol: reset, cut, stall.
"""

import asyncio
import contextlib
import json
import struct
import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["", "reset", "cut", "stall"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Scripted:
    """An answer. ``chunks`` with ``pause`` seconds between them; ``fault`` after the last of them:
    ``reset`` (TCP reset), ``cut`` (orderly close before the end), ``stall`` (nothing more). A stream
    waits after its first chunk until ``held_back`` is set."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    chunks: tuple[bytes, ...] = ()
    pause: float = 0.0
    fault: Fault = ""
    is_stream: bool = False
    held_back: threading.Event | None = None


class Upstream:
    """The host. ``script`` is used up in order, then ``default`` answers; ``answer_by``, once set,
    decides by what was asked. ``models`` are those that it lists as a worker; none: it is still starting."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.script: deque[Scripted] = deque()
        self.default: Scripted | None = None
        self.models: tuple[str, ...] = ("home-model",)
        self.answer_by: Callable[[Recorded], Scripted] | None = None
        self.hung_up = threading.Event()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen on a free port."""
        ready = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._listen(ready)))
        self._thread.start()
        assert ready.wait(5)

    def stop(self) -> None:
        """Stop listening, drop what is open: from now on the host is down."""

        async def close() -> None:
            if self._server is not None:
                self._server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
            await asyncio.sleep(0)

        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(close(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self, ready: threading.Event) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        ready.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ")
        if method == "GET":
            await self._send(writer, self._page(path))
            return True
        self.requests.append(Recorded(path, headers, body))
        answer = self.script.popleft() if self.script else self.default
        if self.answer_by is not None:
            answer = self.answer_by(self.requests[-1])
        assert answer is not None, "nothing was scripted"
        return await self._answer(reader, writer, answer)

    def _page(self, path: str) -> Scripted:
        if path == "/v1/models" and self.models:
            listed = [{"id": name, "max_model_len": 32768} for name in self.models]
            return plain({"object": "list", "data": listed})
        return plain({}, status=404)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Scripted
    ) -> bool:
        if answer.fault and not answer.chunks and answer.fault == "reset":
            return _reset(writer)
        if not answer.is_stream and not answer.fault:
            await self._send(writer, answer)
            return True
        watch = asyncio.ensure_future(reader.read(1))
        # The watch may have eaten a byte of the next request: a connection serves one of these.
        writer.write(_head(answer, "connection: close", "transfer-encoding: chunked"))
        for chunk in answer.chunks:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            if answer.pause and not watch.done():
                await asyncio.wait([watch], timeout=answer.pause)
            while answer.held_back and not answer.held_back.is_set() and not watch.done():
                await asyncio.wait([watch], timeout=0.01)
            if watch.done():
                self.hung_up.set()
                return False
        if answer.fault == "stall":
            await watch
            self.hung_up.set()
            return False
        watch.cancel()
        if answer.fault == "reset":
            return _reset(writer)
        if answer.fault == "cut":
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return False

    async def _send(self, writer: asyncio.StreamWriter, answer: Scripted) -> None:
        body = b"".join(answer.chunks)
        if answer.pause:
            await asyncio.sleep(answer.pause)
        writer.write(_head(answer, f"content-length: {len(body)}") + body)
        await writer.drain()


def _head(answer: Scripted, *framing: str) -> bytes:
    kind = "text/event-stream" if answer.is_stream else "application/json"
    lines = [f"HTTP/1.1 {answer.status} X", f"content-type: {kind}", *framing]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _reset(writer: asyncio.StreamWriter) -> bool:
    import socket

    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


def plain(body: object, status: int = 200, **headers: str) -> Scripted:
    """A plain JSON answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Scripted(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, (raw,)
    )


def chat_answer(text: str = "hello", usage: dict[str, object] | None = None) -> Scripted:
    """A whole answer in OpenAI's format."""
    return plain(
        {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "served-model",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
                         "finish_reason": "stop"}],
            "usage": usage or {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
    )  # fmt: skip


def event(body: object) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def chat_stream(
    words: tuple[str, ...] = ("he", "llo"),
    *,
    has_end: bool = True,
    pause: float = 0.0,
    fault: Fault = "",
    usage: dict[str, object] | None = None,
    held_back: threading.Event | None = None,
) -> Scripted:
    """A streamed answer in OpenAI's format, with its usage in a chunk of its own."""

    def chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
                      "model": "served-model", "choices": choices, "usage": None})  # fmt: skip

    chunks = [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": word}) for word in words),
    ]
    if has_end:
        usage = usage or {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                          "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip
        chunks += [
            chunk({}, "stop"),
            event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
                   "model": "served-model", "choices": [], "usage": usage}),
            b"data: [DONE]\n\n",
        ]  # fmt: skip
    return Scripted(
        chunks=tuple(chunks), pause=pause, fault=fault, is_stream=True, held_back=held_back
    )


@contextlib.contextmanager
def running_upstream() -> Generator[Upstream]:
    """A host for as long as the context lasts."""
    host = Upstream()
    host.start()
    host.default = chat_answer()
    try:
        yield host
    finally:
        host.stop()
