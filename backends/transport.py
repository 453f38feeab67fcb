"""The only module that opens outbound connections: it moves bytes, under a permit and a deadline.

Promises: nothing prompt-bearing leaves unless body and target are the ones of the verdict and the
address lies under one of the endpoint's base URLs; no redirect is followed, no proxy, cookie or
environment setting is used; every wait has a deadline; what was streamed is handed on as it came.

Retries: none after the first byte of a request may have left, for a POST may have been billed. A
pooled connection that the host has already closed is never used, and one found closing before
anything was written is replaced once. What remains, a host that closes at the very moment of the
write, is reported with ``may_have_spent`` and left to the caller.

Does not choose targets nor read answers: see :mod:`backends.adapter` and :mod:`backends.health`.
"""

import asyncio
import socket
from collections.abc import Mapping
from typing import Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from multidict import CIMultiDict
from yarl import URL

from backends.adapter import Outbound
from backends.target import Endpoint
from backends.wire.failure import Failure
from backends.wire.verdict import Verdict

_SLICE_BYTES: Final = 256 * 1024
"""Larger bodies are written in slices, so that a slow host holds back the writer."""

_PROBE_BYTES_MAX: Final = 4 * 1024 * 1024
_ADDRESSES_MAX: Final = 4096

_KEEP_ALIVE_SECONDS: Final = 15.0
"""Idle connections are dropped after this; well below what public API fronts keep (a minute and
more). Shorter limits at the host (uvicorn: 5 s) show as a close that is noticed before reuse."""

SendError = (
    aiohttp.ClientError,
    OSError,
    asyncio.IncompleteReadError,
    ValueError,
)
"""What aiohttp raises when the world breaks; ``ValueError`` for addresses and headers it rejects."""


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


class _Body(aiohttp.payload.Payload):
    """A request's body that knows whether any of it was handed to the connection."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.is_begun = False
        # aiohttp demands that a body has headers; ours come with the request and win.
        self._headers = CIMultiDict({"content-type": "application/json"})

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._body)

    @property
    def consumed(self) -> bool:
        """Never sent twice by aiohttp of its own accord once begun."""
        return self.is_begun

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Part of aiohttp's interface; not used."""
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Hand the body to ``writer``, in slices when it is large."""
        if isinstance(writer, StreamWriter):
            transport = writer.transport
            if transport is None or transport.is_closing():
                # Found closing before anything was written: this body may go over another one.
                raise aiohttp.ClientConnectionResetError("the connection is closing")
        self.is_begun = True
        body = self._body
        if len(body) <= _SLICE_BYTES:
            await writer.write(body)
            return
        view = memoryview(body)
        for start in range(0, len(body), _SLICE_BYTES):
            await writer.write(view[start : start + _SLICE_BYTES])

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """The whole body: its length is what ``content-length`` says."""
        del content_length
        await self.write(writer)

    async def close(self) -> None:
        """Nothing to close."""


class Upstream:
    """One answer on its way in. Must end in :meth:`release` or :meth:`abort`."""

    __slots__ = (
        "_asked_at", "_content", "_deadline", "_idle_seconds", "_is_aborted", "_is_late", "_loop",
        "_response", "_timer", "headers", "status",
    )  # fmt: skip

    def __init__(
        self, response: aiohttp.ClientResponse, deadline: float, idle_seconds: float
    ) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        """By name in any case; of repeated ones the first."""
        self._response = response
        self._content = response.content
        self._deadline = deadline
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._asked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        self._is_aborted = False

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
        self._asked_at = self._loop.time()
        if self._timer is None and not self._content.is_eof():
            self._watch()
        try:
            # aiohttp hands out b"" once when a compressed block gave nothing yet: not the end.
            while not (chunk := await self._content.readany()) and not self._content.at_eof():
                pass
        except asyncio.CancelledError:
            self.abort()
            raise
        except SendError as error:
            is_late, is_aborted = self._is_late, self._is_aborted
            self.abort()
            if is_late:
                raise _timed_out("the provider stopped answering in time", self.status) from error
            words = "the answer was given up" if is_aborted else "the provider's answer was cut"
            raise _failed(words, error, self.status) from error
        self._asked_at = 0.0
        if not chunk:
            self._unwatch()
        return chunk

    def abort(self) -> None:
        """Close the connection now, in the middle of the answer; the host sees it and stops."""
        self._is_aborted = True
        self._unwatch()
        self._response.close()

    async def release(self) -> None:
        """Give the connection back to the pool, or close it if the answer was not read out."""
        self._unwatch()
        self._response.release()

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
        self._is_late = True
        self._response.close()

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Transport:
    """One connection pool for all hosts. Make it inside the running loop; :meth:`close` it."""

    def __init__(self, limits: TransportLimits | None = None) -> None:
        self._limits = limits or TransportLimits()
        self._addresses: dict[str, tuple[tuple[str, ...], URL]] = {}
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._connector = aiohttp.TCPConnector(
            limit=self._limits.connections_max,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ttl_dns_cache=60,
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Compression would cost more than it saves: answers are small and parsed as they come.
            headers={"accept-encoding": "identity", "user-agent": "moegate"},
            skip_auto_headers=("Accept",),
            max_line_size=self._limits.header_bytes_max,
            max_field_size=self._limits.header_bytes_max,
            max_headers=self._limits.headers_max,
            trust_env=False,
        )

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
        url = self._locate(outbound.url, endpoint)
        body = _Body(outbound.body)
        first_byte_at = min(deadline, asyncio.get_running_loop().time() + endpoint.timeout_seconds)
        try:
            response = await self._open(url, outbound.headers, body, endpoint, first_byte_at)
        except SendError as error:
            raise _explain(error, is_begun=body.is_begun) from error
        if not 200 <= response.status < 300 and _is_odd(response.status):
            response.close()
            raise _failed(
                f"the provider answered with status {response.status}, which is not followed",
                None,
                response.status,
                may_have_spent=False,
            )
        idle_seconds = min(self._limits.idle_seconds, endpoint.timeout_seconds)
        return Upstream(response, deadline, idle_seconds)

    async def get(
        self, endpoint: Endpoint, path: str, timeout: float, base_url: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body (at most 4 MiB) of ``path`` below a base URL: for discovery and health.

        The credential goes along as a bearer token. Raises :class:`TransportError`.
        """
        address = (base_url or endpoint.base_urls[0]).rstrip("/") + path
        url = self._locate(address, endpoint)
        headers = dict(endpoint.extra_headers)
        if endpoint.credential is not None:
            headers["authorization"] = f"Bearer {endpoint.credential.reveal()}"
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._session.get(
                    url, headers=headers, allow_redirects=False, timeout=self._timeout(timeout)
                )
        except SendError as error:
            raise _explain(error, is_begun=False) from error
        upstream = Upstream(response, deadline, timeout)
        body = await upstream.read(_PROBE_BYTES_MAX)
        await upstream.release()
        return response.status, body

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def _open(
        self,
        url: URL,
        headers: tuple[tuple[str, str], ...],
        body: _Body,
        endpoint: Endpoint,
        first_byte_at: float,
    ) -> aiohttp.ClientResponse:
        for may_repeat in (True, False):
            try:
                async with asyncio.timeout_at(first_byte_at):
                    return await self._session.post(
                        url,
                        data=body,
                        headers=CIMultiDict(headers),
                        allow_redirects=False,
                        timeout=self._timeout(endpoint.connect_timeout_seconds),
                    )
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                is_new = isinstance(error, aiohttp.ClientConnectorError)
                if is_new or body.is_begun or not may_repeat:
                    raise
        raise AssertionError("unreachable: the second round returns or raises")

    def _timeout(self, connect_seconds: float) -> aiohttp.ClientTimeout:
        """aiohttp's own timers only while connecting; the rest is ours and costs one timer."""
        known = self._timeouts.get(connect_seconds)
        if known is None:
            if len(self._timeouts) >= _ADDRESSES_MAX:
                self._timeouts.clear()
            known = aiohttp.ClientTimeout(
                total=None, connect=connect_seconds, sock_read=None, sock_connect=connect_seconds
            )
            self._timeouts[connect_seconds] = known
        return known

    def _locate(self, address: str, endpoint: Endpoint) -> URL:
        """``address`` as aiohttp takes it, after the check that it lies under a base URL."""
        known = self._addresses.get(address)
        # Identity is enough: an endpoint is built once per configuration.
        if known is not None and known[0] is endpoint.base_urls:
            return known[1]
        if not is_under(address, endpoint.base_urls):
            raise PermitBreach(f"the address is not one of endpoint {endpoint.name}")
        url = URL(address, encoded=True)
        if len(self._addresses) >= _ADDRESSES_MAX:
            self._addresses.clear()
        self._addresses[address] = (endpoint.base_urls, url)
        return url


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


def _is_odd(status: int) -> bool:
    return status < 200 or 300 <= status < 400


def _explain(error: BaseException, *, is_begun: bool) -> TransportError:
    """The failure before any byte of an answer; ``is_begun``: the body may have arrived."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return _timed_out("the provider could not be reached in time", None, may_have_spent=False)
    if isinstance(error, TimeoutError):
        return _timed_out("the provider did not answer in time", None, may_have_spent=is_begun)
    if isinstance(error, aiohttp.ClientConnectorError):
        words = "the provider could not be reached"
        return _failed(words, error, None, may_have_spent=False)
    words = "the connection to the provider broke before it answered"
    return _failed(words, error, None, may_have_spent=is_begun)


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
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = cause.errno if isinstance(cause, OSError) else None
    if isinstance(cause, socket.gaierror):
        return f"{type(error).__name__}: name not resolved"
    return type(error).__name__ + (f" (errno {number})" if number is not None else "")
