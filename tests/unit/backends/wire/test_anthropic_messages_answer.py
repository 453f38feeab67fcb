"""Claude's answers as events: streams cut anywhere, plain answers, broken ones."""

import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.anthropic_messages import EventParser
from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import WireError
from backends.wire.usage import Usage

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "output_tokens": 1,
        },
    },
}
STOP = {"type": "message_stop"}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
    return block(index, {"type": "text", "text": ""}, *deltas)


def stop(reason: str | None, **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )


STREAM = sse(
    START,
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "s1g"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "blob"}),
    *text(2, "Grüße", " 🌍"),
    *block(
        3,
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"x":'},
        {"type": "input_json_delta", "partial_json": "1}"},
    ),
    *block(4, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}),
    stop("tool_use", output_tokens=50, output_tokens_details={"thinking_tokens": 7}),
    STOP,
)
EARLY = Usage(
    input_tokens=140, cache_read_tokens=100, cache_write_tokens=10, cache_write_1h_tokens=20
)
USAGE = Usage(
    input_tokens=140,
    output_tokens=50,
    cache_read_tokens=100,
    cache_write_tokens=10,
    cache_write_1h_tokens=20,
    reasoning_tokens=7,
)
EVENTS: list[Event] = [
    Start("msg_1", "claude-x", 5, EARLY),
    ReasoningDelta("hm"),
    ReasoningDelta("", "s1g", "anthropic"),
    ReasoningDelta("", "blob", "anthropic", is_redacted=True),
    TextDelta("Grüße"),
    TextDelta(" 🌍"),
    CallStart(0, "toolu_1", "f"),
    CallDelta(0, '{"x":'),
    CallDelta(0, "1}"),
    CallStart(1, "toolu_2", "g"),
    CallDelta(1, "{}"),
    Finish("tool_call", "tool_use"),
    End(USAGE),
]


def parse(stream: bytes, **options: Any) -> tuple[list[Event], EventParser]:
    parser = EventParser(created_at=5, **options)
    return parser.feed(stream), parser


def test_stream_becomes_events() -> None:
    """Thinking, signatures, text, parallel calls, finish and usage arrive in order."""
    events, parser = parse(STREAM)
    assert events == EVENTS
    assert parser.finish() == []
    assert not parser.dropped


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12), crlf=st.booleans())
def test_cuts_and_line_ends_do_not_matter(cuts: list[int], crlf: bool) -> None:
    """The same events come wherever the stream is cut and however its lines end."""
    stream = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    parser = EventParser(created_at=5)
    borders = [0, *sorted(cuts), len(stream)]
    events: list[Event] = []
    for begin, end in pairwise(borders):
        events += parser.feed(stream[begin:end])
    assert events + parser.finish() == EVENTS


def test_plain_answer_gives_the_events_of_the_stream() -> None:
    """A plain answer is the same content, so it folds to the same text, calls and usage."""
    message: dict[str, Any] = {
        **START["message"],
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s1g"},
            {"type": "redacted_thinking", "data": "blob"},
            {"type": "text", "text": "Grüße 🌍"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        ],
        "stop_reason": "tool_use",
    }
    message["usage"] = {**message["usage"], "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 7}}  # fmt: skip
    events = EventParser(created_at=5).read_answer(json.dumps(message).encode())
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("Grüße 🌍")]
    assert [event for event in events if isinstance(event, CallDelta)] == [
        CallDelta(0, '{"x": 1}'),
        CallDelta(1, "{}"),
    ]
    kept = (Start, ReasoningDelta, CallStart, Finish, End)
    assert [event for event in events if isinstance(event, kept)] == [
        event for event in EVENTS if isinstance(event, kept)
    ]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
        ("something_new", "error"),
    ],
)
def test_stop_reasons_are_mapped_and_kept(raw: str, reason: str) -> None:
    """Every reason has its meaning, an unknown one is an error, and the raw word is kept."""
    events, _ = parse(sse(START, stop(raw, output_tokens=1), STOP))
    assert events[-2] == Finish(reason, raw)  # type: ignore[arg-type]  # parametrised literal


def test_refusal_gives_its_explanation() -> None:
    """What the provider says about a refusal reaches the client as refusal text."""
    delta = {"stop_reason": "refusal", "stop_details": {"explanation": "no"}}
    events, _ = parse(sse(START, {"type": "message_delta", "delta": delta}, STOP))
    assert events[1:3] == [RefusalDelta("no"), Finish("refusal", "refusal")]


def test_early_input_is_known_before_the_end() -> None:
    """A cut stream still tells what its input cost: from ``message_start``, cached parts inside."""
    _, parser = parse(sse(START))
    assert parser.early_input == Usage(
        input_tokens=140, cache_read_tokens=100, cache_write_tokens=10, cache_write_1h_tokens=20
    )


def test_later_usage_wins() -> None:
    """Usage at the end is cumulative, so it replaces what the start said."""
    events, _ = parse(sse(START, stop("end_turn", input_tokens=400, output_tokens=9), STOP))
    assert events[-1] == End(
        Usage(
            input_tokens=530,
            output_tokens=9,
            cache_read_tokens=100,
            cache_write_tokens=10,
            cache_write_1h_tokens=20,
        )
    )


def test_uncounted_input_is_unknown_usage() -> None:
    """Usage that counts no input is not taken for a free prompt."""
    start = {"type": "message_start", "message": {"id": "m", "model": "c"}}
    events, parser = parse(sse(start, stop("end_turn", output_tokens=3), STOP))
    assert events[-1] == End(None)
    assert parser.early_input is None


def test_compaction_rounds_are_billed() -> None:
    """Rounds of compaction stand only in ``iterations`` and are added, the message's own is not."""
    rounds = [
        {"type": "compaction", "input_tokens": 1000, "output_tokens": 80},
        {"type": "message", "input_tokens": 10, "output_tokens": 9},
    ]
    usage = {"input_tokens": 10, "output_tokens": 9, "iterations": rounds}
    start = {"type": "message_start", "message": {"id": "m", "model": "c", "usage": usage}}
    events, _ = parse(sse(start, stop("end_turn"), STOP))
    assert events[-1] == End(Usage(input_tokens=1010, output_tokens=89))


def test_answer_tool_becomes_text() -> None:
    """The forced tool's arguments are the answer's text and its finish is a stop."""
    call = {"type": "tool_use", "id": "t", "name": "answer", "input": {}}
    pieces = ({"type": "input_json_delta", "partial_json": p} for p in ('{"a"', ":1}"))
    stream = sse(START, *block(0, call, *pieces), stop("tool_use"), STOP)
    events, _ = parse(stream, answer_tool="answer")
    assert events[1:4] == [TextDelta('{"a"'), TextDelta(":1}"), Finish("stop", "tool_use")]


def test_content_without_counterpart_is_named() -> None:
    """Server tools and citations are not passed off as text, and their names are kept."""
    events, parser = parse(
        sse(
            START,
            *block(0, {"type": "server_tool_use", "id": "s", "name": "web", "input": {}},
                   {"type": "input_json_delta", "partial_json": "{}"}),
            *block(1, {"type": "text", "text": ""}, {"type": "citations_delta", "citation": {}}),
            stop("end_turn"),
            STOP,
        )
    )  # fmt: skip
    assert [type(event) for event in events] == [Start, Finish, End]
    assert list(parser.dropped) == ["content.server_tool_use", "citations"]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("overloaded_error", "overloaded"),
        ("rate_limit_error", "rate_limited"),
        ("api_error", "upstream_failed"),
        ("timeout_error", "upstream_timeout"),
    ],
)
def test_error_event_ends_the_stream(word: str, kind: str) -> None:
    """Events before an error still come; then the parser has failed and may have spent."""
    error = {"type": "error", "error": {"type": word, "message": "m"}}
    events, parser = parse(sse(START, *text(0, "a"), error, *text(1, "b"), STOP))
    assert events == [Start("msg_1", "claude-x", 5, EARLY), TextDelta("a")]
    assert parser.failure is not None
    assert (parser.failure.kind, parser.failure.may_have_spent) == (kind, True)
    assert parser.feed(sse(STOP)) == []
    with pytest.raises(WireError):
        parser.finish()


@pytest.mark.parametrize("count", range(1, 12))
def test_cut_stream_is_a_failure(count: int) -> None:
    """A stream without ``message_stop`` never finishes, wherever it was cut."""
    whole = STREAM.split(b"\n\n")
    parser = EventParser()
    events = parser.feed(b"\n\n".join(whole[: len(whole) - 1 - count]) + b"\n\n")
    assert not any(isinstance(event, Finish | End) for event in events)
    with pytest.raises(WireError) as caught:
        parser.finish()
    assert caught.value.failure.kind == "upstream_failed"
    assert caught.value.failure.may_have_spent


@pytest.mark.parametrize(
    "stream",
    [
        b"event: message_start\ndata: {broken\n\n",
        sse(START, START),
        sse(START, {"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta"}}),
        sse(START, *text(0, "a")[:1], *text(0, "a")[:1]),
        sse(START, {"type": "content_block_stop", "index": 0}),
        sse(START, *text(0, "a")[:-1], stop("end_turn"), STOP),
        sse(START, STOP),
        sse(stop("end_turn"), STOP),
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"\xff"}}\n\n',
    ],
)
def test_broken_stream_sets_a_failure(stream: bytes) -> None:
    """What breaks Anthropic's order or JSON is a failure, never a guessed answer."""
    events, parser = parse(stream)
    assert parser.failure is not None
    assert parser.failure.kind == "upstream_failed"
    assert not any(isinstance(event, Finish | End) for event in events)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b"{}", b'{"type":"error","error":{"type":"api_error"}}']
)
def test_broken_answer_raises(body: bytes) -> None:
    """A plain answer that is none raises a failure that may have spent."""
    with pytest.raises(WireError) as caught:
        EventParser().read_answer(body)
    assert caught.value.failure.kind == "upstream_failed"
    assert caught.value.failure.may_have_spent


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(STREAM.split(b"\n"))), max_size=30)
)
def test_any_bytes_give_events_or_a_failure(pieces: list[bytes]) -> None:
    """No input raises anything but ``WireError``, and only a whole stream ends."""
    parser = EventParser()
    for piece in pieces:
        parser.feed(piece + b"\n")
    with suppress(WireError):
        parser.finish()
    if parser.failure is not None:
        assert parser.failure.may_have_spent


@given(st.binary(max_size=200))
def test_any_plain_bytes_give_events_or_a_failure(body: bytes) -> None:
    """No plain body raises anything but ``WireError``."""
    with pytest.raises(WireError):
        EventParser().read_answer(body)
