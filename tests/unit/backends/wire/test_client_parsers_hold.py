"""No input makes a client's parser raise anything but its own error, or work for long."""

import contextlib
import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.clients import CLIENTS
from backends.wire.events import CallStart, Start
from backends.wire.failure import WireError
from backends.wire.prompt import Asked, WireFormat
from backends.wire.relay import PassRelay, TranslatingRelay
from backends.wire.targets import TARGETS
from tests.wire.features import FEATURES
from tests.wire.saying import plain

NAMES: tuple[WireFormat, ...] = tuple(CLIENTS)
BODIES = [
    (client, plain(client, **feature.said[client]))
    for feature in FEATURES
    for client in NAMES
    if client in feature.said
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
ASKED = Asked("m")


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a body."""
    found = [path] if path else []
    entries = enumerate(node) if isinstance(node, list) else getattr(node, "items", tuple)()
    for key, value in entries:
        found += places(value, (*path, key))
    return found


def refused_or_read(client: WireFormat, raw: bytes) -> None:
    """The parser reads it or says why not; what is read can be rendered or is refused."""
    prompt, failure = None, None
    try:
        prompt = CLIENTS[client].parse_request(raw, ASKED)
    except WireError as error:
        failure = error.failure
    if failure is not None:
        assert failure.kind == "invalid_request"
        assert "\n" not in failure.message
        assert CLIENTS[client].render_failure(failure, "req_1")[0] == 400
    if prompt is None:
        return
    for target in TARGETS.values():
        with contextlib.suppress(WireError):
            target.render_request(prompt, model="m", output_cap=5, output_tokens_default=10)


@given(st.sampled_from(BODIES), st.data())
def test_a_mutated_body(said: tuple[WireFormat, Any], data: st.DataObject) -> None:
    """Anything at any place of a good body: an error of the format's own, or a prompt that can be rendered."""
    client, body = said[0], copy.deepcopy(said[1])
    path = data.draw(st.sampled_from(places(body)))
    holder = body
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = data.draw(JUNK)
    try:
        raw = json.dumps(body).encode()
    except UnicodeEncodeError:
        return
    refused_or_read(client, raw)


@pytest.mark.parametrize("client", NAMES)
@given(st.binary(max_size=200))
def test_bytes(client: WireFormat, raw: bytes) -> None:
    """Not even JSON."""
    refused_or_read(client, raw)


@pytest.mark.parametrize("client", NAMES)
@pytest.mark.parametrize("target", list(TARGETS))
@given(chunks=st.lists(st.binary(max_size=60), max_size=5))
def test_answers_of_any_bytes(client: WireFormat, target: WireFormat, chunks: list[bytes]) -> None:
    """A host that sends anything: an error event, never an exception, never a good end."""
    prompt = CLIENTS[client].parse_request(json.dumps(plain(client)).encode(), ASKED)
    relays: list[Callable[[], Any]] = [
        lambda: TranslatingRelay(TARGETS[target].open_parser(), prompt),
    ]
    if client in TARGETS:
        relays.append(lambda: PassRelay(TARGETS[client].open_parser(), prompt, 1000))
    for make in relays:
        relay = make()
        out = b"".join(relay.feed(chunk) for chunk in chunks) + relay.finish()
        assert relay.outcome.failure is not None
        assert not relay.outcome.is_complete
        assert b"error" in out


def text_of(client: WireFormat, count: int, each: str) -> bytes:
    """A conversation of ``count`` messages."""
    roles = ("user", "model") if client == "gemini" else ("user", "assistant")
    if client == "gemini":
        said = [{"role": roles[at % 2], "parts": [{"text": each}]} for at in range(count)]
        return json.dumps({"contents": said}).encode()
    said = [{"role": roles[at % 2], "content": each} for at in range(count)]
    return json.dumps({"model": "m", "max_tokens": 5, "messages": said}).encode()


@pytest.mark.parametrize("client", NAMES)
def test_large_bodies_end_soon(client: WireFormat) -> None:
    """10 MB in one message, thousands of messages, nesting without end: an answer or an error, in seconds."""
    began = time.process_time()
    refused_or_read(client, text_of(client, 1, "x" * 10_000_000))
    refused_or_read(client, text_of(client, 10_000, "x"))
    refused_or_read(client, b'{"a":' * 10_000 + b"1" + b"}" * 10_000)
    refused_or_read(client, b"[" * 100_000)
    assert time.process_time() - began < 10


@pytest.mark.parametrize("client", NAMES)
def test_many_tiny_chunks_end_soon(client: WireFormat) -> None:
    """100,000 chunks of a byte each cost what one chunk does, times a constant."""
    word = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    prompt = CLIENTS[client].parse_request(json.dumps(plain(client)).encode(), ASKED)
    relay = TranslatingRelay(TARGETS["openai-chat"].open_parser(), prompt)
    began = time.process_time()
    for byte in word * (100_000 // len(word)):
        relay.feed(bytes([byte]))
    relay.finish()
    assert time.process_time() - began < 10


@pytest.mark.parametrize("client", NAMES)
def test_many_calls_end_soon(client: WireFormat) -> None:
    """Twenty thousand calls that never come to their end, as no model makes them: no call is looked at for each other."""
    prompt = CLIENTS[client].parse_request(json.dumps(plain(client)).encode(), ASKED)
    renderer = CLIENTS[client].open_renderer(prompt)
    renderer.render(Start("a", "m", 1))
    began = time.process_time()
    for at in range(20_000):
        renderer.render(CallStart(at, f"c{at}", "f"))
    assert time.process_time() - began < 3
