"""Every recorded answer as each client would get it: plain, streamed, and broken off in the middle.

The client's request is the recorded one, asked in the client's format, so that members that repeat the request
stand in the answers too.
"""

import itertools
import json
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

import msgspec

from backends.wire.clients import CLIENTS
from backends.wire.events import Event, Finish
from backends.wire.failure import Failure, WireError
from backends.wire.prompt import Asked, Prompt, WireFormat
from backends.wire.targets import TARGETS
from tests.clients.providers import answer
from tests.upstreams import Recorded

APIS: dict[str, WireFormat] = {
    "chat": "openai-chat",
    "responses": "openai-responses",
    "messages": "anthropic-messages",
    "generateContent": "gemini",
}
PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "generateContent": "/v1beta/models/m:generateContent",
}
_SCHEMA = {"type": "object", "properties": {"location": {"type": "string"}}}
_FUNCTION = {"name": "get_weather", "parameters": _SCHEMA}
_USER = [{"role": "user", "content": "hi"}]
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "chat": (
        {"model": "m", "messages": _USER},
        {"model": "m", "messages": _USER, "tools": [{"type": "function", "function": _FUNCTION}]},
    ),
    "responses": (
        {"model": "m", "input": "hi", "text": {"format": {"type": "json_schema", "name": "a", "schema": _SCHEMA}}},
        {"model": "m", "input": _USER, "tools": [{"type": "function", **_FUNCTION}]},
    ),
    "messages": (
        {"model": "m", "max_tokens": 9, "messages": _USER},
        {"model": "m", "max_tokens": 9, "messages": _USER,
         "tools": [{"name": "get_weather", "input_schema": _SCHEMA}]},
    ),
    "generateContent": (
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
         "tools": [{"functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": _SCHEMA}]}]},
    ),
}  # fmt: skip
"""A request for text, and one with a tool."""
WITHOUT_CALLS: frozenset[WireFormat] = frozenset({"openai-completions"})
"""Formats in which an answer that ends with a call is an error."""
BROKEN = Failure("upstream_failed", "the answer was cut off before its end", may_have_spent=True)
ENCRYPTED = "reasoning.encrypted_content"


def said_events(stream: bytes) -> list[bytes]:
    """What the events of a stream say, but for ``ping`` and ``[DONE]``, which no schema describes."""
    lines = [line[6:] for line in stream.splitlines() if line.startswith(b"data: {")]
    return [line for line in lines if b'"ping"' not in line[:20]]


class Translated(NamedTuple):
    """One answer. ``source`` spoke the recorded one; ``plain`` and ``stream`` say the same; ``cut`` is the stream
    that fails after its half."""

    id: str
    source: WireFormat
    plain: bytes
    stream: bytes
    cut: bytes


def by_hand() -> Generator[dict[str, Any]]:
    """Exchanges with all four kinds of targets as recordings have them, made by :mod:`tests.clients.providers`."""
    for api, calls, is_stream in itertools.product(PATHS, (False, True), (False, True)):
        path = PATHS[api]
        body = dict(BODIES[api][calls])
        if api != "generateContent":
            body["stream"] = is_stream
        elif is_stream:
            path = path.replace(api, "streamGenerateContent")
        said = answer(Recorded(path, {}, json.dumps(body).encode()))
        raw = b"".join(said.chunks)
        yield {
            "id": f"{api}, {'calls' if calls else 'text'}, {'stream' if is_stream else 'plain'}",
            "api": api, "stream": is_stream, "model": "m", "provider": "",
            "request": {"body": body},
            "response": {"status": 200, "body": raw.decode() if is_stream else json.loads(raw)},
        }  # fmt: skip


def translated(exchanges: Iterable[dict[str, Any]], client: WireFormat) -> Generator[Translated]:
    """The recorded answers that went well, for a client that wants to see everything."""
    for number, exchange in enumerate(exchanges):
        source = APIS.get(exchange["api"])
        if source is None or exchange["response"]["status"] != 200:
            continue
        try:
            events = read_events(exchange, source)
        except (WireError, json.JSONDecodeError):
            continue  # Broken as recorded.
        if any(isinstance(event, Finish) and event.reason == "error" for event in events):
            continue
        prompt = asked_as(exchange, source, client, includes_signatures=number % 2 == 0)
        try:
            yield render(events, prompt, exchange["id"], source)
        except WireError:
            if client not in WITHOUT_CALLS:
                raise


def render(
    events: list[Event], prompt: Prompt, id: str = "", source: WireFormat = "openai-chat"
) -> Translated:
    """An answer in all of its forms."""
    codec = CLIENTS[prompt.format]
    renderer = codec.open_renderer(prompt)
    stream = b"".join([renderer.render(event) for event in events])
    renderer = codec.open_renderer(prompt)
    half = b"".join([renderer.render(event) for event in events[: len(events) // 2]])
    plain, _ = codec.render_answer(prompt, events)
    return Translated(id, source, plain, stream, half + renderer.fail(BROKEN))


def read_events(exchange: dict[str, Any], source: WireFormat) -> list[Event]:
    """What the provider said. Raises ``WireError``."""
    body = exchange["response"]["body"]
    parser = TARGETS[source].open_parser()
    if not exchange["stream"]:
        return parser.read_answer(json.dumps(body).encode())
    events = parser.feed(body.encode())
    if parser.failure is not None:
        raise WireError(parser.failure)
    return events + parser.finish()


def asked_as(
    exchange: dict[str, Any], source: WireFormat, client: WireFormat, *, includes_signatures: bool
) -> Prompt:
    """The recorded request as a client of another format sends it; a bare one where that has no words for it."""
    asked = Asked(exchange["model"] or "m", is_stream=True)
    body: dict[str, Any] = {}
    if source == client:
        body = exchange["request"]["body"]
    elif client in TARGETS:
        try:
            prompt = CLIENTS[source].parse_request(
                json.dumps(exchange["request"]["body"]).encode(), asked
            )
            body = json.loads(
                TARGETS[client]
                .render_request(prompt, model="m", output_cap=None, output_tokens_default=1000)
                .body
            )
        except WireError:
            pass
    if client == "openai-responses" and includes_signatures:
        body = {**body, "include": [ENCRYPTED]}
    raw = json.dumps(body).encode()
    try:
        prompt = CLIENTS[client].parse_request(raw, asked)
    except WireError:
        prompt = Prompt(client, raw, "m", (), asked=asked)
    return msgspec.structs.replace(prompt, is_stream=True, wants_usage=True, shows_reasoning=True)
