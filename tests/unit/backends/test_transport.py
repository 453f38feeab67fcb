"""The way out, against hosts of bare bytes: permits, deadlines, faults, and what a connection may be used for."""

import asyncio
import gzip
import os
import socket
import struct
import time
import traceback
import zlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.adapter import Outbound
from backends.target import Endpoint, Secret
from backends.transport import (
    PermitBreach,
    Transport,
    TransportError,
    TransportLimits,
    Upstream,
    is_under,
)
from backends.wire.failure import Failure
from backends.wire.verdict import Verdict
from tests.raw_host import RawHost, Talk, answer, hang, listening, wait_until
from tests.servers import find_free_port

KEY = "sk-very-secret-0123456789"
BODY = b'{"prompt": "the patient is called Miller"}'
HEADERS = (("content-type", "application/json"), ("authorization", f"Bearer {KEY}"))


@pytest.fixture
async def transport() -> AsyncGenerator[Transport]:
    """A fresh pool."""
    transport = Transport(TransportLimits(idle_seconds=0.3))
    yield transport
    await transport.close()


def make_endpoint(url: str, seconds: float = 5.0) -> Endpoint:
    return Endpoint("host", (url,), Secret(KEY), timeout_seconds=seconds)


async def send(
    transport: Transport, url: str, seconds: float = 5.0, deadline: float = 5.0, body: bytes = BODY
) -> Upstream:
    """A permitted request to ``url``."""
    outbound = Outbound("t", f"{url}/v1/chat", HEADERS, body, is_stream=True)
    verdict = Verdict(outbound.body, "t", frozenset(), "p@1")
    until = asyncio.get_running_loop().time() + deadline
    return await transport.send(outbound, verdict, make_endpoint(url, seconds), until)


async def failing(
    transport: Transport, url: str, seconds: float = 5.0, deadline: float = 5.0
) -> Failure:
    """The failure of a request, wherever it shows; it never tells the key or the prompt."""
    with pytest.raises(TransportError) as caught:
        await (await send(transport, url, seconds, deadline)).read(1_000_000)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.failure)
    for word in (KEY, "Miller", "very-secret"):
        assert word not in told
    return caught.value.failure


def opening(then: Talk, head: str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked") -> Talk:
    """An answer that begins well with five bytes, and goes on as ``then`` does."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader)
        writer.write(f"{head}\r\n\r\n5\r\nhello\r\n".encode())
        await writer.drain()
        await then(reader, writer)

    return talk


async def read_body(reader: asyncio.StreamReader) -> None:
    await reader.readexactly(len(BODY))


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"zz\r\nnot a chunk\r\n")


def saying(raw: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader)
        writer.write(raw)
        await writer.drain()
        writer.close()

    return talk


def plain(body: bytes = b"{}", status: str = "200 OK", *more: str) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader)
        await answer(body, status, "application/json", *more)(reader, writer)

    return talk


# Permits


async def test_what_was_not_permitted_does_not_leave(transport: Transport) -> None:
    """Another target, another body (also an equal one) and an address outside: no connection is made."""
    async with listening(plain()) as host, listening(plain()) as other:
        good = Outbound("t", f"{host.url}/v1/chat", HEADERS, BODY, is_stream=False)
        copy = bytes(bytearray(BODY))
        endpoint = make_endpoint(host.url)
        for outbound, verdict in (
            (good, Verdict(BODY, "other", frozenset(), "p@1")),
            (good, Verdict(BODY + b" ", "t", frozenset(), "p@1")),
            (good, Verdict(copy, "t", frozenset(), "p@1")),
            (
                Outbound("t", f"{other.url}/v1/chat", HEADERS, BODY, is_stream=False),
                Verdict(BODY, "t", frozenset(), "p@1"),
            ),
        ):
            with pytest.raises(PermitBreach) as caught:
                await transport.send(outbound, verdict, endpoint, 1e9)
            assert "Miller" not in str(caught.value)
        assert (host.connections, other.connections) == (0, 0)


async def test_address_permitted_for_one_endpoint_is_not_for_another(transport: Transport) -> None:
    """The memory of checked addresses holds them together with whom they belong to."""
    async with listening(plain()) as host, listening(plain()) as other:
        await (await send(transport, host.url)).read(100)
        outbound = Outbound("t", f"{host.url}/v1/chat", HEADERS, BODY, is_stream=False)
        verdict = Verdict(BODY, "t", frozenset(), "p@1")
        with pytest.raises(PermitBreach):
            await transport.send(outbound, verdict, make_endpoint(other.url), 1e9)
        with pytest.raises(PermitBreach):
            await transport.get(make_endpoint(other.url), "/../x", 1.0)
        assert len(host.heads) == 1


@pytest.mark.parametrize(
    ("address", "base", "is_fine"),
    [
        ("https://h/v1/chat", "https://h/v1", True),
        ("https://h/v1/chat?alt=sse", "https://h/v1/", True),
        ("https://h/v1?x", "https://h/v1", True),
        ("https://h/v1", "https://h/v1", False),
        ("https://h/v12/chat", "https://h/v1", False),
        ("https://h.evil/v1", "https://h", False),
        ("https://h@evil/v1", "https://h", False),
        ("https://h:8443/v1", "https://h", False),
        ("http://h/v1/chat", "https://h/v1", False),
        ("HTTPS://h/v1/chat", "https://h/v1", False),
        ("https://h/v1/../admin", "https://h/v1", False),
        ("https://h/v1/%2e%2E/admin", "https://h/v1", False),
        ("https://h/v1/..%2fadmin", "https://h/v1", False),
        ("https://h/v1/a\\..\\b", "https://h/v1", False),
        ("https://h/v1/a#b", "https://h/v1", False),
        ("https://h/v1/a b", "https://h/v1", False),
        ("https://h/v1/a\r\nx: y", "https://h/v1", False),
        ("https://h/v1/\u2025/a", "https://h/v1", False),
        ("https://u:p@h/v1/a", "https://u:p@h/v1", False),
        ("file:///v1/a", "file:///v1", False),
        ("/v1/a", "", False),
    ],
)
def test_addresses(address: str, base: str, is_fine: bool) -> None:
    """Scheme, host, port and path prefix have to be those of a base URL, letter by letter."""
    assert is_under(address, (base,)) is is_fine


@given(st.text(alphabet="abc./\\%2eE@:#?&= \r\n\u2025", max_size=30))
def test_no_ending_leads_out_of_the_base(ending: str) -> None:
    """Whatever is appended, an accepted address keeps its host and, resolved, its path prefix."""
    from yarl import URL

    address = "https://h.test/v1" + ending
    if is_under(address, ("https://h.test/v1",)):
        resolved = URL(address)
        assert (resolved.scheme, resolved.host, resolved.port) == ("https", "h.test", 443)
        assert resolved.path == "/v1" or resolved.path.startswith("/v1/")


# Faults


async def test_refused_connection_costs_nothing(transport: Transport) -> None:
    """Nobody listens: failed, and surely nothing was spent."""
    failure = await failing(transport, f"http://127.0.0.1:{find_free_port()}")
    assert (failure.kind, failure.may_have_spent) == ("upstream_failed", False)
    assert "errno 111" in (failure.detail or "")


async def test_name_that_does_not_resolve_costs_nothing(transport: Transport) -> None:
    """A host that is not there."""
    failure = await failing(transport, "http://no-such-host.invalid")
    assert (failure.kind, failure.may_have_spent) == ("upstream_failed", False)


async def test_full_listener_is_given_up(transport: Transport) -> None:
    """A host that takes no connection any more: the time to connect is bounded on its own."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = [socket.socket() for _ in range(4)]
        for one in held:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        endpoint = Endpoint("host", (url,), connect_timeout_seconds=0.2)
        outbound = Outbound("t", f"{url}/v1", (), BODY, is_stream=False)
        verdict = Verdict(BODY, "t", frozenset(), "p")
        until = asyncio.get_running_loop().time() + 5
        with pytest.raises(TransportError) as caught:
            await transport.send(outbound, verdict, endpoint, until)
        for one in held:
            one.close()
    failure = caught.value.failure
    assert (failure.kind, failure.may_have_spent) == ("upstream_timeout", False)


@pytest.mark.parametrize(
    ("talk", "status"),
    [
        (reset, None),
        (saying(b""), None),
        (saying(b"garbage\r\n\r\n"), None),
        (saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"), None),
        (saying(b"HTTP/1.1 200 OK\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(500)) + b"\r\n"), None),
        (opening(reset), 200),
        (opening(cut), 200),
        (opening(babble), 0),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort"), 200),
        (saying(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nplain"), 200),
    ],
)  # fmt: skip
async def test_broken_exchange_may_have_cost(
    transport: Transport, talk: Talk, status: int | None
) -> None:
    """Whatever breaks after the prompt left: failed, in doubt, and with the status if there was one."""
    async with listening(talk) as host:
        failure = await failing(transport, host.url)
        assert (failure.kind, failure.may_have_spent) == ("upstream_failed", True)
        # Nonsense may come together with the head, or after it.
        assert status in (0, failure.upstream_status)
        assert host.connections == 1, "a prompt is never sent twice"


async def test_silence_before_the_first_byte_ends(transport: Transport) -> None:
    """The endpoint's patience, not the request's whole deadline."""
    async with listening(hang) as host:
        started = time.monotonic()
        # uvloop's timers count whole milliseconds, so this one comes 0.4 ms early.
        failure = await failing(transport, host.url, seconds=0.2004)
        assert 0.15 < time.monotonic() - started < 2
        assert (failure.kind, failure.may_have_spent) == ("upstream_timeout", True)
        await wait_until(lambda: host.open == 0)


async def test_silence_in_the_middle_ends(transport: Transport) -> None:
    """A stream that says nothing any more is given up after the idle time, and its socket closed."""
    async with listening(opening(hang)) as host:
        started = time.monotonic()
        failure = await failing(transport, host.url)
        assert 0.25 < time.monotonic() - started < 2
        assert (failure.kind, failure.upstream_status) == ("upstream_timeout", 200)
        await wait_until(lambda: host.open == 0)


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_answer_that_drips_ends_at_the_deadline(transport: Transport) -> None:
    """Never silent, never done: the deadline of the request holds."""
    async with listening(opening(drip)) as host:
        started = time.monotonic()
        failure = await failing(transport, host.url, deadline=0.5)
        assert 0.4 < time.monotonic() - started < 2
        assert failure.kind == "upstream_timeout"


async def test_slow_client_is_not_the_hosts_silence(transport: Transport) -> None:
    """While nobody asks for the next chunk no idle time passes."""

    async def in_two(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"3\r\nend\r\n0\r\n\r\n")

    async with listening(opening(in_two)) as host:
        upstream = await send(transport, host.url)
        first = await upstream.next_chunk()
        await asyncio.sleep(0.7)  # more than twice the idle time
        rest = b""
        while chunk := await upstream.next_chunk():
            rest += chunk
        assert first + rest == b"helloend"
        await upstream.release()


async def test_too_long_answer_is_cut_off(transport: Transport) -> None:
    """No more is read than was asked for, and the connection is closed."""

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(1000):
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()

    async with listening(opening(flood)) as host:
        upstream = await send(transport, host.url)
        with pytest.raises(TransportError) as caught:
            await upstream.read(1_000_000)
        assert "longer than 1000000 bytes" in str(caught.value)
        await wait_until(lambda: host.open == 0)


# What a connection may be used for


async def test_connections_are_used_again(transport: Transport) -> None:
    """One after the other over one connection, and cookies are not kept."""
    async with listening(plain(b"{}", "200 OK", "set-cookie: session=1")) as host:
        for _ in range(5):
            upstream = await send(transport, host.url)
            assert await upstream.read(100) == b"{}"
            await upstream.release()
        assert (host.connections, len(host.heads)) == (1, 5)
        assert not any(b"cookie" in head.lower() for head in host.heads)


async def test_connection_that_the_host_closed_is_not_used(transport: Transport) -> None:
    """Between two requests the host hangs up: the second gets a new connection, and no error."""
    async with listening(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")) as host:
        for _ in range(3):
            upstream = await send(transport, host.url)
            assert await upstream.read(100) == b"{}"
            await upstream.release()
            await wait_until(lambda: host.open == 0)
        assert host.connections == 3


async def test_abort_closes_at_once(transport: Transport) -> None:
    """The host sees the hang-up while it still writes; who waits for a chunk is told; nothing is reused."""
    async with listening(opening(hang)) as host:
        upstream = await send(transport, host.url)
        assert await upstream.next_chunk() == b"hello"
        waiting = asyncio.create_task(upstream.next_chunk())
        await asyncio.sleep(0)
        upstream.abort()
        await wait_until(lambda: host.open == 0, seconds=1)
        with pytest.raises(TransportError, match="given up"):
            await waiting
        upstream.abort()
        await upstream.release()
        second = await send(transport, host.url)
        second.abort()
        assert host.connections == 2


async def test_cancelled_reader_closes_the_connection(transport: Transport) -> None:
    """A client that leaves cancels whoever waits for the host: the host notices."""
    async with listening(opening(hang)) as host:
        upstream = await send(transport, host.url)
        await upstream.next_chunk()
        waiting = asyncio.create_task(upstream.next_chunk())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await wait_until(lambda: host.open == 0, seconds=1)


async def test_cancelled_sender_closes_the_connection(transport: Transport) -> None:
    """The same before the first byte of an answer."""
    async with listening(hang) as host:
        waiting = asyncio.create_task(send(transport, host.url))
        await wait_until(lambda: host.open == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await wait_until(lambda: host.open == 0, seconds=1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(transport: Transport, status: int) -> None:
    """A prompt goes where it was permitted to go, whatever the host says."""
    async with listening(plain()) as other:
        talk = plain(b"", f"{status} Moved", f"location: {other.url}/v1/chat")
        async with listening(talk) as host:
            failure = await failing(transport, host.url)
            assert failure.upstream_status == status
            assert not failure.may_have_spent
            assert (host.connections, other.connections) == (1, 0)
        looked = answer(b"", f"{status} Moved", "text/html", f"location: {other.url}/v1/models")
        async with listening(looked) as host:
            code, _ = await transport.get(make_endpoint(host.url), "/v1/models", 2.0)
            assert (code, other.connections) == (status, 0)


async def test_environment_says_nothing(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies and `.netrc` of the environment are not used: keys and prompts would pass there."""
    async with listening(plain()) as proxy, listening(plain()) as host:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login stranger password word\n")
        monkeypatch.setenv("NETRC", str(netrc))
        await (await send(transport, host.url)).read(100)
        assert (proxy.connections, host.connections) == (0, 1)
        assert f"Bearer {KEY}".encode() in host.heads[0]


async def test_what_the_host_gets(transport: Transport) -> None:
    """The body as it was permitted, its length, our headers once each, no compression asked for."""
    bodies: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(len(BODY)))
        await answer(b"{}")(reader, writer)

    async with listening(talk) as host:
        await (await send(transport, host.url)).read(10)
        head = host.heads[0].decode("latin-1").lower()
        assert head.startswith("post /v1/chat http/1.1\r\n")
        for line in (
            f"content-length: {len(BODY)}", "content-type: application/json",
            "accept-encoding: identity", "user-agent: moegate",
        ):  # fmt: skip
            assert head.count(f"\r\n{line}\r\n") == 1, line
        assert bodies == [BODY]


async def test_large_body_arrives_whole_at_a_slow_host(transport: Transport) -> None:
    """Twenty megabytes through a host that takes its time."""
    body, seen = os.urandom(20 * 1024 * 1024), bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(seen) < len(body):
            seen.extend(await reader.read(1024 * 1024))
            await asyncio.sleep(0.001)
        await answer(b"ok")(reader, writer)

    async with listening(talk) as host:
        upstream = await send(transport, host.url, body=body)
        assert await upstream.read(10) == b"ok"
        assert bytes(seen) == body


async def test_compressed_answer_is_read(transport: Transport) -> None:
    """A host that compresses although nobody asked is understood; its bombs are cut off."""
    small = gzip.compress(b'{"a": 1}')
    async with listening(plain(small, "200 OK", "content-encoding: gzip")) as host:
        assert await (await send(transport, host.url)).read(100) == b'{"a": 1}'
    bomb = gzip.compress(b"0" * 50_000_000)
    async with listening(plain(bomb, "200 OK", "content-encoding: gzip")) as host:
        upstream = await send(transport, host.url)
        with pytest.raises(TransportError, match="longer than"):
            await upstream.read(1_000_000)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500, 503, 529])
async def test_statuses_are_answers(transport: Transport, status: int) -> None:
    """An error of the host is an answer: status, headers in any case, body."""
    async with listening(plain(b'{"error": 1}', f"{status} X", "Retry-After: 7")) as host:
        upstream = await send(transport, host.url)
        assert upstream.status == status
        assert upstream.headers["retry-after"] == upstream.headers["RETRY-AFTER"] == "7"
        assert await upstream.read(100) == b'{"error": 1}'


async def test_chunks_come_as_they_arrive(transport: Transport) -> None:
    """The first chunk is there while the second is not yet sent."""
    gate = asyncio.Event()

    async def then(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(b"3\r\nend\r\n0\r\n\r\n")

    async with listening(opening(then)) as host:
        upstream = await send(transport, host.url)
        assert await upstream.next_chunk() == b"hello"
        gate.set()
        assert await upstream.next_chunk() == b"end"
        assert await upstream.next_chunk() == b""
        await upstream.release()
        await (await send(transport, host.url)).next_chunk()
        assert host.connections == 1


# Looking around


async def test_probe_carries_the_key_and_is_bounded(transport: Transport) -> None:
    """Status and body of a path; the key as bearer; a time and a size that are not exceeded."""
    async with listening(answer(b"[]", "404 Not Found")) as host:
        endpoint = make_endpoint(host.url)
        assert await transport.get(endpoint, "/v1/models", 1.0) == (404, b"[]")
        assert f"Bearer {KEY}".encode() in host.heads[0]
        assert host.heads[0].startswith(b"GET /v1/models ")
    async with listening(hang) as host:
        with pytest.raises(TransportError) as caught:
            await transport.get(make_endpoint(host.url), "/health", 0.2)
        assert caught.value.failure.kind == "upstream_timeout"
        await wait_until(lambda: host.open == 0)
    async with listening(answer(b"x" * 5_000_000)) as host:
        with pytest.raises(TransportError, match="longer than"):
            await transport.get(make_endpoint(host.url), "/health", 5.0)


async def test_close_drops_what_is_open() -> None:
    """After closing the pool no connection is left at the host."""
    transport = Transport()
    host: RawHost
    async with listening(plain()) as host:
        await (await send(transport, host.url)).read(100)
        assert host.open == 1
        await transport.close()
        await wait_until(lambda: host.open == 0)


async def test_probe_is_asked_again_where_the_host_just_hung_up(transport: Transport) -> None:
    """A connection that ends as it is used says nothing of the host; a prompt would not be sent twice."""
    answers = iter([answer(b"one"), saying_nothing, answer(b"two")])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(answers)(reader, writer)

    async with listening(talk) as host:
        endpoint = make_endpoint(host.url)
        assert await transport.get(endpoint, "/v1/models", 2.0) == (200, b"one")
        assert await transport.get(endpoint, "/v1/models", 2.0) == (200, b"two")
        assert host.connections == 2


async def saying_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_time_that_is_over_sends_nothing(transport: Transport) -> None:
    """A request whose deadline has passed is told so, and costs nothing."""
    async with listening(plain()) as host:
        with pytest.raises(TransportError) as caught:
            await send(transport, host.url, deadline=-1.0)
        failure = caught.value.failure
        assert (failure.kind, failure.may_have_spent) == ("upstream_timeout", False)
        assert host.connections == 0


@pytest.mark.parametrize(
    ("encoding", "body", "plain_body"),
    [
        ("gzip", gzip.compress(b"one ", mtime=0) + gzip.compress(b"two", mtime=0), b"one two"),
        ("deflate", zlib.compress(b"whole"), b"whole"),
        ("deflate", zlib.compress(b"raw")[2:-4], b"raw"),
        ("gzip", b"", b""),
    ],
)
async def test_compressions_that_hosts_use(
    transport: Transport, encoding: str, body: bytes, plain_body: bytes
) -> None:
    """Members in a row, deflate with its header or without, and nothing at all."""
    async with listening(plain(body, "200 OK", f"content-encoding: {encoding}")) as host:
        assert await (await send(transport, host.url)).read(100) == plain_body


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"cut", mtime=0)[:-3]),
        ("deflate", zlib.compress(b"more") + b"!"),
        ("br", b"x"),
    ],
)
async def test_compressions_that_are_broken(
    transport: Transport, encoding: str, body: bytes
) -> None:
    """A cut one, one with a tail, one that nobody asked for: an error, never a guess."""
    async with listening(plain(body, "200 OK", f"content-encoding: {encoding}")) as host:
        failure = await failing(transport, host.url)
        assert (failure.kind, failure.upstream_status) == ("upstream_failed", 200)
