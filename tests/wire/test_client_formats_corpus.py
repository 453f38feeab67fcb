"""Every recorded request of the formats that clients may speak parses, and translated answers keep their meaning."""

import json
import random
from collections.abc import Iterator
from typing import Any

import anthropic.types
import openai.types.responses
import pydantic
import pytest
from google.genai import types as google

from backends.wire.clients import CLIENTS
from backends.wire.events import (
    CallDelta,
    CallStart,
    Citation,
    End,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)
from backends.wire.failure import WireError
from backends.wire.prompt import Asked, Prompt, WireFormat
from backends.wire.relay import TranslatingRelay, fold_answer
from backends.wire.targets import TARGETS
from tests.clients.replay import read_exchanges

APIS: dict[str, WireFormat] = {
    "chat": "openai-chat",
    "responses": "openai-responses",
    "messages": "anthropic-messages",
    "generateContent": "gemini",
}
RESPONSE_EVENTS: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
    openai.types.responses.ResponseStreamEvent
)
RAW_EVENTS: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)


KEPT = {"prompt", "conversation", "previous_response_id"}
"""What OpenAI may have kept of an input."""


@pytest.fixture(scope="module")
def recordings(shared: Any) -> list[dict[str, Any]]:
    """All recorded exchanges in a format that clients may speak."""
    return [one for one in read_exchanges(shared) if one["api"] in APIS]


def asker(format: WireFormat) -> Prompt:
    """Somebody who wants to see everything."""
    asked = Asked("m", is_stream=True)
    return Prompt(
        format, b"{}", "m", (), is_stream=True, wants_usage=True, shows_reasoning=True, asked=asked
    )


def test_every_recorded_request_parses(recordings: list[dict[str, Any]]) -> None:
    """What real clients sent is understood, but for what is refused on purpose and recorded errors."""
    parsed = 0
    for exchange in recordings:
        name = APIS[exchange["api"]]
        if name == "openai-chat" or exchange["response"]["status"] != 200:
            continue  # Chats have a corpus test of their own.
        body = exchange["request"]["body"]
        if name == "anthropic-messages":  # On Vertex the model stands in the address.
            body = {"model": exchange["model"], **body}
        raw = json.dumps(body).encode()
        asked = Asked(exchange["model"], bool(exchange["stream"]))
        prompt = CLIENTS[name].parse_request(raw, asked)
        assert prompt.messages or prompt.unknown.keys() & KEPT, exchange["id"]
        parsed += 1
    assert parsed > 500


def test_every_recorded_request_can_be_asked_elsewhere(recordings: list[dict[str, Any]]) -> None:
    """In every other format a body comes out, or an error that says what cannot be taken; nothing else."""
    made = refused = 0
    for exchange in recordings:
        name = APIS[exchange["api"]]
        if exchange["response"]["status"] != 200:
            continue
        raw = json.dumps(exchange["request"]["body"]).encode()
        try:
            prompt = CLIENTS[name].parse_request(raw, Asked(exchange["model"]))
        except WireError:
            continue
        for target, codec in TARGETS.items():
            if target == name:
                continue
            try:
                rendered = codec.render_request(
                    prompt, model="m", output_cap=None, output_tokens_default=1000
                )
            except WireError:
                refused += 1
            else:
                assert json.loads(rendered.body)
                made += 1
    assert made > 5 * refused


def meaning(events: list[Event]) -> dict[str, Any]:
    """What an answer says, whatever its pieces."""
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, CallStart):
            calls[event.index] = [event.name, ""]
        elif isinstance(event, CallDelta):
            calls[event.index][1] += event.arguments
    finish = next(event for event in events if isinstance(event, Finish))
    usage = next(event.usage for event in events if isinstance(event, End))
    counts = None if usage is None else (usage.input_tokens, usage.output_tokens)
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    sources = [event for event in events if isinstance(event, Citation)]
    return {
        "text": "".join(e.text for e in events if isinstance(e, TextDelta | RefusalDelta)),
        "thinking": "".join(e.text for e in events if isinstance(e, ReasoningDelta)),
        "calls": [(calls[at][0], json.loads(calls[at][1] or "{}")) for at in sorted(calls)],
        "finish": "calls" if calls else finish.reason,
        "counts": counts,
        "sources": {(event.url, event.title) for event in sources},
        "cited": {said[event.start : event.end] for event in sources if event.start is not None},
        "cached": None if usage is None else usage.cache_read_tokens,
        "thought": None if usage is None else usage.reasoning_tokens,
    }


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    """``data`` cut at random."""
    dice, at = random.Random(seed), 0
    while at < len(data):
        size = dice.randint(1, 700)
        yield data[at : at + size]
        at += size


def answers(recordings: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], WireFormat, bytes]]:
    """Recorded answers that are whole."""
    for exchange in recordings:
        if exchange["response"]["status"] == 200:
            body = exchange["response"]["body"]
            raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            yield exchange, APIS[exchange["api"]], raw


@pytest.mark.parametrize(
    "client", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"]
)
def test_translated_answers_keep_their_meaning(
    recordings: list[dict[str, Any]], client: WireFormat
) -> None:
    """Parse → render → parse: text, thinking, calls, finish and counts are equal, plain and streamed, cut anywhere."""
    compared = cited = 0
    for number, (exchange, source, raw) in enumerate(answers(recordings)):
        if source == client:
            continue
        parser = TARGETS[source].open_parser()
        try:
            events = read(parser, raw, exchange["stream"])
            before = meaning(events)
            if exchange["stream"]:
                relay = TranslatingRelay(TARGETS[source].open_parser(), asker(client))
                out = b"".join(relay.feed(one) for one in pieces(raw, number)) + relay.finish()
                if relay.outcome.failure is not None:
                    raise WireError(relay.outcome.failure)
            else:
                out = fold_answer(asker(client), events).body
        except (WireError, json.JSONDecodeError):
            continue  # Broken as recorded, or an end that is an error.
        validate(client, out, is_stream=exchange["stream"])
        after = meaning(read(TARGETS[client].open_parser(), out, exchange["stream"]))
        for fact in before:
            if fact == "finish" and before[fact] in (
                "refusal",
                "content_filter",
                "pause",
                "tool_call",
            ):
                continue  # Not every format has a word of its own, nor one for calls without a call.
            if fact == "counts" and before[fact] is None:
                continue
            if fact in ("sources", "cited") and client == "anthropic-messages":
                continue  # Listed.
            if fact in ("cached", "thought", "counts") and before["counts"] is None:
                continue
            assert after[fact] == before[fact], (exchange["id"], fact)
        compared += 1
        cited += bool(before["sources"])
    assert compared > 300
    assert cited > 8


def read(parser: Any, raw: bytes, is_stream: bool) -> list[Event]:
    """The events of an answer. Raises ``WireError``."""
    if not is_stream:
        found: list[Event] = parser.read_answer(raw)
        return found
    events: list[Event] = parser.feed(raw)
    if parser.failure is not None:
        raise WireError(parser.failure)
    return events + parser.finish()


def validate(client: WireFormat, out: bytes, *, is_stream: bool) -> None:
    """The SDKs' own types take it, strictly."""
    lines = [line[6:] for line in out.splitlines() if line.startswith(b"data: ")]
    if client == "anthropic-messages":
        if is_stream:
            for line in lines:
                if b'"ping"' not in line:
                    RAW_EVENTS.validate_python(json.loads(line))
        else:
            anthropic.types.Message.model_validate_json(out)
    elif client == "openai-responses":
        if is_stream:
            for line in lines:
                RESPONSE_EVENTS.validate_python(json.loads(line))
        else:
            openai.types.responses.Response.model_validate_json(out)
    elif client == "gemini":
        for body in lines if is_stream else [out]:
            google.GenerateContentResponse.model_validate_json(body)
