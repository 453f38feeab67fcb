"""Every recorded Anthropic Messages answer, plain and streamed, against its own raw body."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.wire.anthropic_messages import EventParser, read_error
from backends.wire.events import CallDelta, CallStart, End, Event, Finish, ReasoningDelta, TextDelta

FILES = ("anthropic.jsonl.gz", "vertex.jsonl.gz", "local.jsonl")


@pytest.fixture(scope="module")
def recordings(shared: Path) -> list[dict[str, Any]]:
    """All recorded exchanges in this format."""
    return [one for name in FILES for one in read(shared / "exchanges" / name)]


def read(path: Path) -> Iterator[dict[str, Any]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in data.decode().splitlines():
        exchange = json.loads(line)
        if exchange["api"] == "messages":
            yield exchange


def expected(exchange: dict[str, Any]) -> tuple[str, str, list[Any], str, int, int, int]:
    """Text, thinking, calls, raw stop reason and token counts by an independent reading."""
    body = exchange["response"]["body"]
    message = rebuild(body) if exchange["stream"] else body
    blocks = message["content"]
    usage = message["usage"]
    rounds = [usage, *(r for r in usage.get("iterations") or () if r["type"] == "compaction")]
    cached = sum(
        (r.get("cache_read_input_tokens") or 0) + (r.get("cache_creation_input_tokens") or 0)
        for r in rounds
    )
    return (
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        [(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"],
        message["stop_reason"],
        sum(r["input_tokens"] for r in rounds) + cached,
        sum(r["output_tokens"] for r in rounds),
        cached,
    )


def rebuild(stream: str) -> dict[str, Any]:
    """A stream folded into the message that a plain answer would have been."""
    message: dict[str, Any] = {}
    partial: dict[int, str] = {}
    for line in stream.splitlines():
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        match event["type"]:
            case "message_start":
                message = event["message"]
                message["content"] = []
            case "content_block_start":
                message["content"].append(event["content_block"])
                partial[event["index"]] = ""
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                for key in ("text", "thinking"):
                    if key in delta:
                        block[key] += delta[key]
                partial[event["index"]] += delta.get("partial_json", "")
            case "content_block_stop":
                if partial[event["index"]]:
                    message["content"][event["index"]]["input"] = json.loads(
                        partial[event["index"]]
                    )
            case "message_delta":
                message["stop_reason"] = event["delta"]["stop_reason"]
                message["usage"] |= event["usage"]
            case _:
                pass
    return message


def folded(events: list[Event]) -> tuple[str, str, list[Any], str, int, int, int]:
    finish, end = events[-2:]
    assert isinstance(finish, Finish)
    assert isinstance(end, End)
    assert end.usage is not None
    calls: list[list[str]] = []
    for event in events:
        if isinstance(event, CallStart):
            assert event.index == len(calls)
            calls.append([event.id, event.name, ""])
        elif isinstance(event, CallDelta):
            calls[event.index][2] += event.arguments
    return (
        "".join(event.text for event in events if isinstance(event, TextDelta)),
        "".join(event.text for event in events if isinstance(event, ReasoningDelta)),
        [(call_id, name, json.loads(arguments)) for call_id, name, arguments in calls],
        finish.raw,
        end.usage.input_tokens,
        end.usage.output_tokens,
        end.usage.cache_read_tokens
        + end.usage.cache_write_tokens
        + end.usage.cache_write_1h_tokens,
    )


def parse_stream(stream: bytes, step: int) -> list[Event]:
    parser = EventParser()
    events: list[Event] = []
    for begin in range(0, len(stream), step):
        events += parser.feed(stream[begin : begin + step])
    return events + parser.finish()


def test_every_plain_answer_says_what_its_body_says(recordings: list[dict[str, Any]]) -> None:
    """Text, thinking, calls, finish and usage of each plain answer equal the raw body's."""
    plain = [r for r in recordings if not r["stream"] and r["response"]["status"] == 200]
    assert len(plain) >= 169
    for exchange in plain:
        events = EventParser().read_answer(json.dumps(exchange["response"]["body"]).encode())
        assert folded(events) == expected(exchange), exchange["id"]


def test_every_stream_says_what_its_body_says(recordings: list[dict[str, Any]]) -> None:
    """The same of each stream, whole, in 7-byte pieces and with CRLF line ends."""
    streams = [r for r in recordings if r["stream"]]
    assert len(streams) >= 71
    for exchange in streams:
        stream = exchange["response"]["body"].encode()
        events = parse_stream(stream, len(stream))
        assert folded(events) == expected(exchange), exchange["id"]
        assert parse_stream(stream, 7) == events, exchange["id"]
        assert parse_stream(stream.replace(b"\n", b"\r\n"), 997) == events, exchange["id"]


def test_every_signature_survives(recordings: list[dict[str, Any]]) -> None:
    """Each thinking signature of a recording comes out of exactly one event."""
    count = 0
    for exchange in recordings:
        body = exchange["response"]["body"]
        if exchange["response"]["status"] != 200 or exchange["stream"]:
            continue
        events = EventParser().read_answer(json.dumps(body).encode())
        wanted = [
            block.get("signature") or block["data"]
            for block in body["content"]
            if block["type"] in ("thinking", "redacted_thinking")
        ]
        found = [e.signature for e in events if isinstance(e, ReasoningDelta) and e.signature]
        assert found == wanted, exchange["id"]
        count += len(wanted)
    assert count >= 18


def test_every_error_has_a_kind(recordings: list[dict[str, Any]]) -> None:
    """Recorded refusals are told apart: the client's fault from the gateway's own."""
    kinds = {
        400: "invalid_request",
        401: "upstream_failed",
        404: "upstream_failed",
    }
    errors = [r["response"] for r in recordings if r["response"]["status"] != 200]
    assert len(errors) >= 6
    for response in errors:
        failure = read_error(
            response["status"], response["headers"], json.dumps(response["body"]).encode()
        )
        assert failure.kind == kinds[response["status"]]
        assert failure.detail == f"{response['status']} {response['body']['error']['type']}"
