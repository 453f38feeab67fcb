"""A client that takes its time, or will not read, costs a connection for a while and nothing else."""

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.api import server
from tests.gateway_process import RunningGateway, running_gateway, two_sided, wait_for
from tests.upstreams import Scripted, Upstream, chat_answer, chat_stream, event, running_upstream

PRICED = "openai/gpt-5.4-nano"
SOON = 0.3


@pytest.fixture
def hurried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[tuple[RunningGateway, Upstream]]:
    """A gateway whose patience is counted in tenths of seconds, and the host outside."""
    monkeypatch.setattr(server, "LOOK_SECONDS", SOON / 6)
    monkeypatch.setattr(server, "HEAD_SECONDS", SOON)
    monkeypatch.setattr(server, "STALL_SECONDS", SOON)
    with running_upstream() as outside, running_upstream() as inside:
        outside.default = inside.default = chat_answer()
        environ = two_sided(outside, inside) | {"MOEGATE_REQUEST_TIMEOUT_SECONDS": "1"}
        with running_gateway(tmp_path, environ) as gateway:
            yield gateway, outside


def connect(gateway: RunningGateway, receive_buffer: int | None = None) -> socket.socket:
    """A bare connection."""
    bare = socket.socket()
    if receive_buffer is not None:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    bare.settimeout(10)
    parts = urlsplit(gateway.url)
    bare.connect((parts.hostname, parts.port))
    return bare


def head(gateway: RunningGateway, *more: str) -> bytes:
    """The head of a chat request."""
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: x",
        f"authorization: Bearer {gateway.key}",
    ]
    return "\r\n".join([*lines, "content-type: application/json", *more, "", ""]).encode()


def is_ended(bare: socket.socket) -> bool:
    """Whether the other side has closed; what it sent before is read away."""
    try:
        while bare.recv(65536):
            pass
    except ConnectionError:
        return True
    return True


def read_until(bare: socket.socket, end: bytes) -> bytes:
    """What arrives, up to ``end``."""
    said = b""
    while not said.endswith(end):
        piece = bare.recv(65536)
        assert piece, said
        said += piece
    return said


def trickle(bare: socket.socket, piece: bytes, seconds_max: float = 5.0) -> float:
    """Send ``piece`` again and again until the other side will not have it; how long it would."""
    began = time.monotonic()
    try:
        while time.monotonic() - began < seconds_max:
            bare.sendall(piece)
            time.sleep(SOON / 10)
    except OSError:
        pass
    return time.monotonic() - began


def test_body_that_does_not_come(hurried: tuple[RunningGateway, Upstream]) -> None:
    """Bytes that arrive one by one are waited for as long as a request may take, and no longer."""
    gateway, outside = hurried
    with closing(connect(gateway)) as bare:
        bare.sendall(head(gateway, "content-length: 100000"))
        teller = threading.Thread(target=trickle, args=(bare, b" "))
        teller.start()
        answer = httpx.Response(int(bare.recv(65536).split()[1]))
        assert answer.status_code == 408
        assert is_ended(bare)
        teller.join()
    assert outside.requests == []
    slow = gateway.client.build_request(
        "POST",
        "/v1/chat/completions",
        headers={"authorization": f"Bearer {gateway.key}", "content-type": "application/json"},
        content=(time.sleep(0.2) or b" " for _ in range(20)),
    )
    refused = gateway.client.send(slow)
    assert refused.status_code == 408
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("request_timeout", "invalid_request_error")
    assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "begin", [b"", b"POST /v1/chat/compl", b"GET / HTTP/1.1\r\nhost: x\r\nx-a: "]
)
def test_head_that_does_not_come(hurried: tuple[RunningGateway, Upstream], begin: bytes) -> None:
    """Who connects and says nothing, or says it by the byte, is let go of."""
    gateway, _outside = hurried
    with closing(connect(gateway)) as bare:
        bare.sendall(begin)
        if begin:
            assert SOON * 0.9 < trickle(bare, b"a") < 3
        assert is_ended(bare)


def test_head_without_end(hurried: tuple[RunningGateway, Upstream]) -> None:
    """Headers are kept in memory before anybody knows whose they are, so there is a bound."""
    gateway, _outside = hurried
    with closing(connect(gateway)) as bare:
        bare.sendall(b"GET / HTTP/1.1\r\n")
        assert trickle(bare, b"x-a: " + b"a" * server.HEAD_BYTES_MAX + b"\r\n") < SOON
        assert is_ended(bare)


def test_rest_of_a_refused_body(hurried: tuple[RunningGateway, Upstream]) -> None:
    """A stranger is answered at once and may not go on sending for ever."""
    gateway, _outside = hurried
    with closing(connect(gateway)) as bare:
        bare.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
        )
        assert b" 401 " in bare.recv(65536)
        assert trickle(bare, b" ") < 3


def test_trailers_are_no_headers(hurried: tuple[RunningGateway, Upstream]) -> None:
    """What stands behind a chunked body changes nothing of what its head said, and fills no memory."""
    gateway, outside = hurried
    body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
    with closing(connect(gateway)) as bare:
        bare.sendall(
            head(gateway, "transfer-encoding: chunked", "x-data-class: confidential")
            + b"%x\r\n%s\r\n0\r\nx-data-class: public\r\nauthorization: Bearer other\r\n\r\n"
            % (len(body), body)
        )
        answer = read_until(bare, b"}}")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"x-moegate-target: sglang/home-model" in answer
    assert outside.requests == []


def test_quiet_connection_is_kept(hurried: tuple[RunningGateway, Upstream]) -> None:
    """Between two requests a connection rests, with nothing owed."""
    gateway, _outside = hurried
    with closing(connect(gateway)) as bare:
        for _ in range(2):
            bare.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b" 200 " in read_until(bare, b'{"status":"ok"}')
            time.sleep(SOON * 3)


def test_answer_outlasts_the_patience(hurried: tuple[RunningGateway, Upstream]) -> None:
    """Who has begun to say what comes next still gets the answer to what was asked before."""
    gateway, outside = hurried
    slowly = chat_stream(("he", "l", "l", "o"), pause=SOON / 3)
    outside.script.append(slowly)
    body = (
        b'{"model":"%s","stream":true,"messages":[{"role":"user","content":"hi"}]}'
        % PRICED.encode()
    )
    with closing(connect(gateway)) as bare:
        bare.sendall(head(gateway, f"content-length: {len(body)}") + body + b"GET /heal")
        assert b"[DONE]" in read_until(bare, b"\r\n0\r\n\r\n")


def test_client_that_does_not_read_a_stream(hurried: tuple[RunningGateway, Upstream]) -> None:
    """The call is ended and booked long before the provider has said all."""
    gateway, outside = hurried
    said = event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"content": "x" * 60_000}, "finish_reason": None}]})  # fmt: skip
    outside.script.append(Scripted(chunks=(said,) * 1000, is_stream=True))
    with closing(connect(gateway, 4096)) as bare:
        body = b'{"model":"%s","stream":true,"messages":[{"role":"user","content":"hi"}]}' % (
            PRICED.encode()
        )
        bare.sendall(head(gateway, f"content-length: {len(body)}") + body)
        wait_for(lambda: bool(gateway.rows("attempts")))
    [attempt] = gateway.rows("attempts")
    assert (attempt["state"], attempt["usage_source"]) == ("interrupted", "bound")
    assert attempt["cost_nanousd"] > 0


def test_client_that_does_not_read_an_answer(hurried: tuple[RunningGateway, Upstream]) -> None:
    """An answer that nobody takes is not kept in memory for ever; it was had, and is booked."""
    gateway, outside = hurried
    outside.script.append(chat_answer("x" * 8_000_000))
    with closing(connect(gateway, 4096)) as bare:
        body = b'{"model":"%s","messages":[{"role":"user","content":"hi"}]}' % PRICED.encode()
        bare.sendall(head(gateway, f"content-length: {len(body)}") + body)
        wait_for(lambda: bool(gateway.rows("attempts")))
        time.sleep(SOON * 3)
        assert is_ended(bare)
    [attempt] = gateway.rows("attempts")
    assert attempt["state"] == "settled"


def test_client_that_leaves_after_a_large_body(hurried: tuple[RunningGateway, Upstream]) -> None:
    """A body that comes whole, after its head, is read to its end, and so is the end of the connection."""
    gateway, outside = hurried
    silent = threading.Event()
    outside.script.append(chat_stream(held_back=silent))
    body = b'{"model":"%s","messages":[{"role":"user","content":"%s"}]}' % (
        PRICED.encode(),
        b"x" * 100_000,
    )
    with closing(connect(gateway)) as bare:
        bare.sendall(head(gateway, f"content-length: {len(body)}"))
        time.sleep(0.1)
        bare.sendall(body)
        wait_for(lambda: bool(outside.requests))
    wait_for(lambda: bool(gateway.rows("attempts")), 0.9)
    silent.set()
    [attempt] = gateway.rows("attempts")
    assert attempt["state"] == "interrupted"


def test_request_behind_another(hurried: tuple[RunningGateway, Upstream]) -> None:
    """One at a time: what is sent behind a request is not worked on, the connection ends with the answer."""
    gateway, _outside = hurried
    body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
    request = head(gateway, f"content-length: {len(body)}") + body
    with closing(connect(gateway)) as bare:
        bare.sendall(request + request + b"x" * 1_000_000)
        said = b""
        while piece := bare.recv(65536):
            said += piece
    assert said.count(b"HTTP/1.1 200 ") == said.count(b"HTTP/1.1 ") == 1
    assert len(gateway.rows("requests")) == 1


def test_client_that_leaves_with_a_request_behind(hurried: tuple[RunningGateway, Upstream]) -> None:
    """The request that is being worked on is the one that is told."""
    gateway, outside = hurried
    silent = threading.Event()
    outside.script.append(chat_stream(held_back=silent))
    body = b'{"model":"%s","messages":[{"role":"user","content":"hi"}]}' % PRICED.encode()
    with closing(connect(gateway)) as bare:
        bare.sendall(head(gateway, f"content-length: {len(body)}") + body)
        wait_for(lambda: bool(outside.requests))
        bare.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(0.05)
    wait_for(lambda: bool(gateway.rows("attempts")), 0.9)
    silent.set()


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_upgrade_is_declined(hurried: tuple[RunningGateway, Upstream], gap: float) -> None:
    """Who asks for HTTP/2 besides is answered in HTTP/1.1, its body read as its body, the connection kept."""
    gateway, _outside = hurried
    body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
    asked = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABk")
    with closing(connect(gateway)) as bare:
        for _ in range(2):
            bare.sendall(head(gateway, *asked, f"content-length: {len(body)}"))
            time.sleep(gap)
            bare.sendall(body)
            assert read_until(bare, b"}}").startswith(b"HTTP/1.1 200 ")
        inner = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        bare.sendall(head(gateway, *asked, f"content-length: {len(inner)}"))
        time.sleep(gap)
        bare.sendall(inner)
        said = bare.recv(65536)
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_bytes_behind_a_last_request(hurried: tuple[RunningGateway, Upstream], gap: float) -> None:
    """Who asks for an upgrade and for the end, and says more: one answer to one request."""
    gateway, _outside = hurried
    body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
    asked = ("connection: Upgrade, close", "upgrade: h2c", f"content-length: {len(body)}")
    with closing(connect(gateway)) as bare:
        bare.sendall(head(gateway, *asked) + body)
        time.sleep(gap)
        with contextlib.suppress(OSError):
            bare.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := bare.recv(65536):
                said += piece
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1


def test_connect_is_refused(hurried: tuple[RunningGateway, Upstream]) -> None:
    """It is no proxy."""
    gateway, _outside = hurried
    with closing(connect(gateway)) as bare:
        bare.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n")
        assert read_until(bare, b"proxy.").startswith(b"HTTP/1.1 400 ")
        assert is_ended(bare)


def test_empty_line_keeps_nothing_open(
    hurried: tuple[RunningGateway, Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins no request, so the connection rests on, for as long as one may."""
    gateway, _outside = hurried
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", SOON)
    with closing(connect(gateway)) as bare:
        bare.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in read_until(bare, b'{"status":"ok"}')
        bare.sendall(b"\r\n")
        bare.settimeout(3)
        assert is_ended(bare)


def test_idle_connection_is_closed(
    hurried: tuple[RunningGateway, Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody keeps a connection for longer than agreed after an answer."""
    gateway, _outside = hurried
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", SOON)
    with closing(connect(gateway)) as bare:
        bare.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in read_until(bare, b'{"status":"ok"}')
        bare.settimeout(3)
        assert is_ended(bare)


@pytest.mark.parametrize("asked", ["connection: close", None])
def test_last_answer_says_so(hurried: tuple[RunningGateway, Upstream], asked: str | None) -> None:
    """Whole, with its length, and then the connection ends: for who asks, and for HTTP/1.0."""
    gateway, _outside = hurried
    body = b'{"model": "%s", "messages": [{"role": "user", "content": "hi"}]}' % PRICED.encode()
    request = head(gateway, f"content-length: {len(body)}", *((asked,) if asked else ()))
    if asked is None:
        request = request.replace(b"HTTP/1.1", b"HTTP/1.0")
    with closing(connect(gateway)) as bare:
        bare.sendall(request + body)
        said = b""
        while piece := bare.recv(65536):
            said += piece
    top, _, rest = said.partition(b"\r\n\r\n")
    lines = top.lower().split(b"\r\n")
    assert lines[0].startswith(b"http/1.1 200 ")
    assert b"connection: close" in lines
    assert b"content-length: %d" % len(rest) in lines
