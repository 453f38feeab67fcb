"""Every recorded Gemini generateContent answer, plain and streamed, against its own raw body."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.wire.events import CallDelta, CallStart, End, Event, Finish, ReasoningDelta, TextDelta
from backends.wire.gemini import EventParser, read_error

Answer = tuple[str, str, list[Any], list[str], str, tuple[int, int] | None]
FILES = ("google.jsonl.gz", "vertex.jsonl.gz")
NUMBERS: dict[Any, str] = {1: "STOP"}


@pytest.fixture(scope="module")
def recordings(shared: Path) -> list[dict[str, Any]]:
    """All recorded exchanges in this format."""
    return [one for name in FILES for one in read(shared / "exchanges" / name)]


def read(path: Path) -> Iterator[dict[str, Any]]:
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        exchange = json.loads(line)
        if exchange["api"] == "generateContent":
            yield exchange


def chunks_of(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    body = exchange["response"]["body"]
    if isinstance(body, str):
        return [json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:")]
    return body if isinstance(body, list) else [body]


def expected(
    exchange: dict[str, Any],
) -> Answer:
    """Text, thoughts, calls, signatures, raw finish and counts by an independent reading."""
    chunks = chunks_of(exchange)
    candidates = [candidate for chunk in chunks for candidate in chunk["candidates"]]
    parts = [p for c in candidates for p in c.get("content", {}).get("parts", [])]
    shown = [part for part in parts if "text" in part or "functionCall" in part]
    usage = chunks[-1]["usageMetadata"]
    finish = next(c["finishReason"] for c in candidates if "finishReason" in c)
    output = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    prompt = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
    counts = (prompt, output) if prompt else None
    return (
        "".join(p["text"] for p in parts if "text" in p and not p.get("thought")),
        "".join(p["text"] for p in parts if "text" in p and p.get("thought")),
        [(p["functionCall"]["name"], p["functionCall"].get("args", {})) for p in parts if "functionCall" in p],
        [part["thoughtSignature"] for part in shown if "thoughtSignature" in part],
        NUMBERS.get(finish) or finish,
        counts,
    )  # fmt: skip


def folded(
    events: list[Event],
) -> Answer:
    finish, end = events[-2:]
    assert isinstance(finish, Finish)
    assert isinstance(end, End)
    calls: list[list[str]] = []
    signatures: list[str] = []
    for event in events:
        if isinstance(event, CallStart):
            assert event.index == len(calls)
            calls.append([event.name, ""])
        elif isinstance(event, CallDelta):
            calls[event.index][1] += event.arguments
        if isinstance(event, CallStart | ReasoningDelta) and event.signature:
            signatures.append(event.signature)
    return (
        "".join(event.text for event in events if isinstance(event, TextDelta)),
        "".join(event.text for event in events if isinstance(event, ReasoningDelta)),
        [(name, json.loads(arguments)) for name, arguments in calls],
        signatures,
        finish.raw,
        end.usage and (end.usage.input_tokens, end.usage.output_tokens),
    )


def parse_stream(stream: bytes, step: int) -> list[Event]:
    parser = EventParser()
    events: list[Event] = []
    for begin in range(0, len(stream), step):
        events += parser.feed(stream[begin : begin + step])
    return events + parser.finish()


def test_every_plain_answer_says_what_its_body_says(recordings: list[dict[str, Any]]) -> None:
    """Text, thoughts, calls, signatures, finish and usage equal the raw body's."""
    plain = [
        r
        for r in recordings
        if not isinstance(r["response"]["body"], str) and r["response"]["status"] == 200
    ]
    assert len(plain) >= 279
    for exchange in plain:
        events = EventParser().read_answer(json.dumps(exchange["response"]["body"]).encode())
        assert folded(events) == expected(exchange), exchange["id"]


def test_every_stream_says_what_its_body_says(recordings: list[dict[str, Any]]) -> None:
    """The same of each stream, whole, in 7-byte pieces and with the other line ends."""
    streams = [r for r in recordings if isinstance(r["response"]["body"], str)]
    assert len(streams) >= 73
    for exchange in streams:
        stream = exchange["response"]["body"].encode()
        events = parse_stream(stream, len(stream))
        assert folded(events) == expected(exchange), exchange["id"]
        assert parse_stream(stream, 7) == events, exchange["id"]
        assert parse_stream(stream.replace(b"\r\n", b"\n"), 997) == events, exchange["id"]


def test_usage_adds_up_to_the_recorded_total(recordings: list[dict[str, Any]]) -> None:
    """The provider's own total equals ours, but for the few recordings that contradict themselves."""
    differing = []
    for exchange in recordings:
        if exchange["response"]["status"] != 200:
            continue
        end = EventParser().read_answer(json.dumps(chunks_of(exchange)).encode())[-1]
        assert isinstance(end, End)
        total = chunks_of(exchange)[-1]["usageMetadata"].get("totalTokenCount")
        if (end.usage and end.usage.total_tokens) != total:
            differing.append(exchange["id"])
    assert len(differing) <= 3, differing


def test_calls_are_finished_as_calls(recordings: list[dict[str, Any]]) -> None:
    """Gemini says STOP for calls too, so the finish looks at what was called."""
    count = 0
    for exchange in recordings:
        if exchange["response"]["status"] != 200:
            continue
        events = EventParser().read_answer(json.dumps(chunks_of(exchange)).encode())
        finish = events[-2]
        assert isinstance(finish, Finish)
        has_calls = any(isinstance(event, CallStart) for event in events)
        assert (finish.reason == "tool_call") is (has_calls and finish.raw == "STOP")
        count += has_calls
    assert count >= 100


def test_call_ids_are_unique_in_a_conversation(recordings: list[dict[str, Any]]) -> None:
    """Ids made up for older models never meet again in the same recorded conversation."""
    seen: dict[str, set[str]] = {}
    for exchange in recordings:
        if exchange["response"]["status"] != 200:
            continue
        taken = seen.setdefault(exchange["id"].rpartition("-")[0], set())
        for event in EventParser().read_answer(json.dumps(chunks_of(exchange)).encode()):
            if isinstance(event, CallStart):
                assert event.id not in taken
                taken.add(event.id)


def test_every_error_has_a_kind(recordings: list[dict[str, Any]]) -> None:
    """Recorded refusals are told apart: the client's fault, the gateway's own, and limits."""
    kinds: dict[str, str] = {}
    for exchange in recordings:
        response = exchange["response"]
        if response["status"] != 200:
            failure = read_error(
                response["status"], response["headers"], json.dumps(response["body"]).encode()
            )
            kinds[exchange["id"]] = failure.kind
            if failure.kind == "rate_limited":
                assert failure.retry_after_seconds == 48.0
    assert sorted(kinds.values()) == [
        "context_too_long",
        "invalid_request",
        "invalid_request",
        "invalid_request",
        "rate_limited",
        "upstream_failed",
        "upstream_failed",
    ]
