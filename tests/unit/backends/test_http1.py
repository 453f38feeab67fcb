"""HTTP/1.1 to providers: whatever a host sends, in whatever pieces, is the same answer or a precise end."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import itertools
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohappyeyeballs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from backends.http1 import (
    AnswerBroken,
    ConnectFailed,
    Connection,
    ConnectTimedOut,
    Headers,
    HeadLimits,
    Origin,
    Pool,
    find_place,
    pool,
    render_head,
)
from tests.raw_host import RawHost, Talk, answer, hang, listening, wait_until

LIMITS = HeadLimits(16 * 1024, 128)
HEAD = b"POST /v1 HTTP/1.1\r\nhost: h\r\n"
BODY = b"0123456789" * 30
SOON = 5.0


class Wire(asyncio.Transport):
    """The lower half of a connection, to which a test hands bytes exactly as cut as it wants."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        import socket

        del name, default
        self._socket = socket.socket()
        return self._socket

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.is_closed = True
        self._socket.close()

    def pause_reading(self) -> None:
        """Nothing to hold back."""

    def resume_reading(self) -> None:
        """Nothing was held back."""


async def take_in(pieces: list[bytes], *, ends: bool = False) -> tuple[Connection, Wire, bytes]:
    """What a connection makes of ``pieces``: itself, its wire, the body. Raises ``AnswerBroken``."""
    connection, wire = Connection(LIMITS, lambda _lost: None), Wire()
    connection.connection_made(wire)
    asking = asyncio.create_task(connection.exchange(HEAD, b"{}"))
    await asyncio.sleep(0)
    for piece in pieces:
        if not wire.is_closed:
            connection.data_received(piece)
    if ends or wire.is_closed:
        connection.connection_lost(None)
    try:
        async with asyncio.timeout(SOON):
            await asking
            body = b""
            while chunk := await connection.next_chunk():
                body += chunk
    finally:
        wire.abort()
    return connection, wire, body


def chunked(body: bytes, sizes: list[int]) -> bytes:
    """``body`` in chunks of these sizes, the rest in one."""
    out, at = b"", 0
    for size in sizes:
        piece = body[at : at + size]
        at += size
        if piece:
            out += b"%x;note=1\r\n%b\r\n" % (len(piece), piece)
    if body[at:]:
        out += b"%X\r\n%b\r\n" % (len(body[at:]), body[at:])
    return out + b"0\r\ntrailer: t\r\n\r\n"


def cut_at(raw: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted({at % (len(raw) + 1) for at in places}), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(marks) if raw[a:b]]


FRAMINGS = ("length", "chunked", "close")


@given(
    st.sampled_from(FRAMINGS), st.binary(max_size=300), st.lists(st.integers(1, 90), max_size=5),
    st.lists(st.integers(0, 900), max_size=12), st.booleans(),
)  # fmt: skip
def test_pieces_do_not_matter(
    framing: str, body: bytes, sizes: list[int], cuts: list[int], has_interim: bool
) -> None:
    """However the bytes are cut on their way, head and body are the same, and so is what the end means."""
    raw = b"HTTP/1.1 100 Continue\r\n\r\n" if has_interim else b""
    raw += b"HTTP/1.1 200 OK\r\nX-One: 1\r\nx-one: 2\r\n"
    if framing == "length":
        raw += b"content-length: %d\r\n\r\n%b" % (len(body), body)
    elif framing == "chunked":
        raw += b"transfer-encoding: chunked\r\n\r\n" + chunked(body, sizes)
    else:
        raw += b"\r\n" + body
    connection, _wire, got = asyncio.run(take_in(cut_at(raw, cuts), ends=framing == "close"))
    assert (connection.status, got) == (200, body)
    assert Headers(connection.headers)["X-ONE"] == "1"
    assert connection.is_fit is (framing != "close")


@given(
    st.sampled_from(["length", "chunked"]), st.lists(st.integers(1, 90), max_size=3),
    st.integers(0, 600), st.lists(st.integers(0, 900), max_size=5),
)  # fmt: skip
def test_cut_answers_are_errors(framing: str, sizes: list[int], kept: int, cuts: list[int]) -> None:
    """Wherever a host breaks off before the end, it is an error, after all that came before."""
    if framing == "length":
        raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
    else:
        raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(BODY, sizes)
    part = raw[: kept % len(raw)]
    with pytest.raises(AnswerBroken):
        asyncio.run(take_in(cut_at(part, cuts), ends=True))


@given(st.lists(st.binary(max_size=120), max_size=6), st.booleans())
def test_any_bytes_end(pieces: list[bytes], has_head: bool) -> None:
    """Nonsense in place of an answer, or behind its head, is an answer or an error, and never hangs."""
    head = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] if has_head else []
    with contextlib.suppress(AnswerBroken):
        asyncio.run(take_in([*head, *pieces], ends=True))


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"t: u\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)  # fmt: skip
async def test_answers_that_can_be_read_in_two_ways_are_refused(raw: bytes) -> None:
    """Doubtful framing, and heads and trailers without measure: an error, in one piece or byte by byte."""
    for pieces in ([raw], [bytes([one]) for one in raw]):
        with pytest.raises(AnswerBroken):
            await take_in(pieces, ends=True)


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nx: ",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;note=",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
    ],
)
async def test_endless_line_is_given_up(start: bytes) -> None:
    """It is no body, so nobody counts it: memory would."""
    pieces = [start] + [b"y" * 65_536] * 40
    with pytest.raises(AnswerBroken, match=r"without an end|not an answer"):
        await take_in(pieces)


@pytest.mark.parametrize(
    ("raw", "is_fit"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{} and more", False),
    ],
)  # fmt: skip
async def test_what_a_connection_is_fit_for(raw: bytes, is_fit: bool) -> None:
    """The host has its say, and bytes that belong to no request are never read as the next answer."""
    connection, _wire, body = await take_in([raw])
    assert body in (b"{}", b"")
    assert connection.rest() is is_fit


async def test_bytes_that_nobody_asked_for_close_a_resting_connection() -> None:
    """A late answer of an earlier request would be read as the next one's."""
    connection, wire = Connection(LIMITS, lambda _lost: None), Wire()
    connection.connection_made(wire)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    assert wire.is_closed
    assert not connection.is_fit


@pytest.mark.parametrize(
    ("name", "value"),
    [("x", "a\r\nhost: evil"), ("x", "a\nb"), ("x", "a\x00"), ("x y", "1"), ("", "1"), ("x:", "1"), ("x", "\u2028"),
     ("Host", "evil"), ("content-length", "1"), ("Transfer-Encoding", "chunked"), ("connection", "close")],
)  # fmt: skip
def test_headers_that_would_change_the_head_are_refused(name: str, value: str) -> None:
    """No line of a head is made of a header's value, and its framing is the connection's alone."""
    with pytest.raises(ValueError, match="header"):
        render_head("POST", find_place("http://h/v1"), ((name, value),))


def test_head_is_what_was_asked_for() -> None:
    """Host with its port where it has one, our own headers unless the caller says otherwise."""
    place = find_place("https://[::1]:8443/v1/x?alt=sse")
    assert (place.origin, place.target) == (Origin("::1", 8443, is_tls=True), "/v1/x?alt=sse")
    head = render_head("POST", place, (("User-Agent", "mine"), ("authorization", "Bearer ü")))
    assert head == (
        b"POST /v1/x?alt=sse HTTP/1.1\r\nhost: [::1]:8443\r\naccept-encoding: identity\r\n"
        b"User-Agent: mine\r\nauthorization: Bearer \xfc\r\n"
    )
    assert find_place("http://h").origin == Origin("h", 80, is_tls=False)
    for bad in (
        "ftp://h/",
        "/v1",
        "http:///v1",
        "http://u@h/v1",
        "http://h:99999/",
        "http://h/a b",
    ):
        with pytest.raises(ValueError):  # urllib has words of its own
            find_place(bad)


# Over real sockets


@pytest.fixture
async def connections() -> AsyncGenerator[Pool]:
    """A pool of at most two connections."""
    made = Pool(2, LIMITS)
    yield made
    await made.close()


def origin_of(host: RawHost) -> Origin:
    return Origin("127.0.0.1", host.port, is_tls=False)


async def ask(connections: Pool, origin: Origin, body: bytes = b"{}") -> tuple[Connection, bytes]:
    """One exchange; the connection is still held."""
    until = asyncio.get_running_loop().time() + SOON
    connection = connections.find(origin) or await connections.take(origin, until)
    await connection.exchange(HEAD, body)
    got = b""
    while chunk := await connection.next_chunk():
        got += chunk
    return connection, got


def reading(then: Talk) -> Talk:
    """A host that reads the body of two bytes first."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        await then(reader, writer)

    return talk


async def test_early_answer_ends_the_upload(connections: Pool) -> None:
    """A host that refuses a large body before it is in is heard, and its connection is used no more."""

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await asyncio.sleep(SOON)

    async with listening(refuse) as host:
        connection, got = await ask(connections, origin_of(host), b"x" * 50_000_000)
        assert (connection.status, got) == (413, b"big")
        assert not connection.rest()


async def test_slow_reader_holds_back_the_host(connections: Pool) -> None:
    """Of an answer that nobody reads a bounded part lies in memory; then all of it comes."""
    size, sent = 40_000_000, 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 100_000)
            sent += 100_000
            await writer.drain()

    async with listening(reading(flood)) as host:
        until = asyncio.get_running_loop().time() + SOON
        connection = await connections.take(origin_of(host), until)
        await connection.exchange(HEAD, b"{}")
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < size / 2
        got = 0
        while chunk := await connection.next_chunk():
            got += len(chunk)
        assert got == size
        assert connection.rest()


async def test_no_more_connections_than_allowed(connections: Pool) -> None:
    """Who comes third waits: for one that is given back, for one that rests elsewhere, or in vain."""
    loop = asyncio.get_running_loop()
    async with listening(reading(answer(b"a"))) as host, listening(reading(answer(b"b"))) as other:
        here, there = origin_of(host), origin_of(other)
        first, _ = await ask(connections, here)
        second, _ = await ask(connections, here)
        with pytest.raises(ConnectTimedOut):
            await connections.take(here, loop.time() + 0.05)
        waiting = asyncio.create_task(connections.take(here, loop.time() + SOON))
        await asyncio.sleep(0.01)
        connections.give_back(here, first)
        assert await waiting is first
        connections.give_back(here, first)
        connections.give_back(here, second)
        third, got = await ask(connections, there)
        assert got == b"b"
        await wait_until(lambda: host.open == 1)
        connections.give_back(there, third)
        assert (host.connections, other.connections) == (2, 1)


async def test_last_used_comes_first_and_rested_ones_are_closed(
    connections: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that those that are not needed grow old, and end."""
    monkeypatch.setattr(pool, "KEEP_ALIVE_SECONDS", 0.2)
    async with listening(reading(answer(b"a"))) as host:
        first, _ = await ask(connections, origin_of(host))
        second, _ = await ask(connections, origin_of(host))
        for one in (first, second):
            connections.give_back(origin_of(host), one)
        again, _ = await ask(connections, origin_of(host))
        assert again is second
        connections.give_back(origin_of(host), again)
        await wait_until(lambda: host.open == 0)
        assert connections.find(origin_of(host)) is None


async def test_cancelled_wait_passes_its_turn_on(connections: Pool) -> None:
    """Of two who wait the first leaves: the second gets what comes."""
    loop = asyncio.get_running_loop()
    async with listening(reading(answer(b"a"))) as host:
        here = origin_of(host)
        first, _ = await ask(connections, here)
        await ask(connections, here)
        waiting = [
            asyncio.create_task(connections.take(here, loop.time() + SOON)) for _ in range(2)
        ]
        await asyncio.sleep(0.01)
        connections.give_back(here, first)
        waiting[0].cancel()
        assert await waiting[1] is first
        await asyncio.gather(*waiting, return_exceptions=True)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for ``name``, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if name[0].isdigit():
        names = [x509.IPAddress(ipaddress.ip_address(name))]
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    public, private = folder / f"{name}.pem", folder / f"{name}.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return public, private


@contextlib.asynccontextmanager
async def tls_host(folder: Path, name: str) -> AsyncGenerator[tuple[int, list[bytes]]]:
    """A host with a certificate for ``name``; its port and what reached it in the clear."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(2)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsealed")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(folder, name))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


async def test_tls_is_spoken_with_whom_the_system_trusts(
    connections: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a certificate that an authority of the system's vouches for, and over one connection again."""
    async with tls_host(tmp_path, "127.0.0.1") as (port, seen):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "127.0.0.1.pem"))
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "secrets"))
        origin = Origin("127.0.0.1", port, is_tls=True)
        first, got = await ask(connections, origin)
        connections.give_back(origin, first)
        second, again = await ask(connections, origin)
        assert (got, again, len(seen)) == (b"sealed", b"sealed", 2)
        assert second is first
    assert not (tmp_path / "secrets").exists(), "secrets of sessions are nobody's"


@pytest.mark.parametrize(("name", "is_trusted"), [("other.test", True), ("127.0.0.1", False)])
async def test_strangers_get_nothing(
    connections: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_trusted: bool
) -> None:
    """A certificate for another name, or of nobody who is trusted: not a byte of a prompt."""
    async with tls_host(tmp_path, name) as (port, seen):
        if is_trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / f"{name}.pem"))
        origin = Origin("127.0.0.1", port, is_tls=True)
        with pytest.raises(ConnectFailed) as caught:
            await connections.take(origin, asyncio.get_running_loop().time() + SOON)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert seen == []


async def test_names_are_remembered_while_nobody_answers_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Name servers that go away, or hang, take no provider along: the last addresses are used."""
    loop = asyncio.get_running_loop()
    if type(loop).__module__.startswith("uvloop"):
        pytest.skip("uvloop looks names up by itself, where no test can stand")
    made = Pool(8, LIMITS)
    asked = 0

    async def hang_or_fail(*_args: object, **_more: object) -> object:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise OSError("no name server")
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(pool, "NAME_SECONDS", 0.0)
    monkeypatch.setattr(pool, "_OLD_NAME_SECONDS", 0.0)
    async with listening(reading(answer(b"a"))) as host:
        origin = Origin("localhost", host.port, is_tls=False)
        await ask(made, origin)
        monkeypatch.setattr(loop, "getaddrinfo", hang_or_fail)
        for _ in range(2):
            assert (await ask(made, origin))[1] == b"a"
        with pytest.raises(ConnectFailed):
            await made.take(Origin("unknown.test", 1, is_tls=False), loop.time() + SOON)
        await made.close()
        with pytest.raises(ConnectFailed):
            await made.take(origin, loop.time() + SOON)


@pytest.mark.parametrize("is_silent", [True, False])
async def test_addresses_that_failed_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, is_silent: bool
) -> None:
    """A host may have moved; where nobody can say whither, it may also be back."""
    loop = asyncio.get_running_loop()
    if type(loop).__module__.startswith("uvloop"):
        pytest.skip("uvloop looks names up by itself, where no test can stand")
    made = Pool(8, LIMITS)
    asked = 0

    async def unknown(*_args: object, **_more: object) -> object:
        nonlocal asked
        asked += 1
        raise OSError("no name server")

    async def unreached(*_args: object, **_more: object) -> object:
        if is_silent:
            await asyncio.Event().wait()
        raise ConnectionRefusedError

    async with listening(
        reading(answer(b"a", "200 OK", "text/plain", "connection: close"))
    ) as host:
        origin = Origin("localhost", host.port, is_tls=False)
        await ask(made, origin)
        monkeypatch.setattr(loop, "getaddrinfo", unknown)
        with monkeypatch.context() as away:
            away.setattr(aiohappyeyeballs, "start_connection", unreached)
            with pytest.raises((ConnectFailed, ConnectTimedOut)):
                await made.take(origin, loop.time() + 0.1)
        assert asked == 0
        assert (await ask(made, origin))[1] == b"a"
        assert asked == 1
    await made.close()


async def test_closing_ends_what_is_under_way() -> None:
    """Who waits for an answer while the pool closes is told."""
    made = Pool(2, LIMITS)
    async with listening(hang) as host:
        asking = asyncio.create_task(ask(made, origin_of(host)))
        await wait_until(lambda: host.open == 1)
        await made.close()
        with pytest.raises(AnswerBroken):
            await asking
        await wait_until(lambda: host.open == 0)
