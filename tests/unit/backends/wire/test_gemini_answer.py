"""Gemini's answers as events: streams cut anywhere, plain answers, blocked and broken ones."""

import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    ReasoningDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import WireError
from backends.wire.gemini import EventParser
from backends.wire.usage import Usage


def chunk(
    *parts: dict[str, Any], finish: str | int | None = None, index: int = 0, **usage: int
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    if index:
        candidate["index"] = index
    return {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 10, **usage},
        "modelVersion": "gemini-x",
        "responseId": "r1",
    }


def sse(*chunks: dict[str, Any]) -> bytes:
    return b"".join(f"data: {json.dumps(one)}\r\n\r\n".encode() for one in chunks)


CHUNKS = (
    chunk({"text": "hm", "thought": True}, thoughtsTokenCount=3),
    chunk({"text": "Grüße"}, {"text": " 🌍", "thoughtSignature": "s0"}),
    chunk(
        {
            "functionCall": {"name": "f", "args": {"x": 1}, "id": "c1"},
            "thoughtSignature": "s1",
        },
        {"functionCall": {"name": "g"}},
    ),
    chunk(
        {"text": "", "thoughtSignature": "s2"},
        finish="STOP",
        candidatesTokenCount=5,
        thoughtsTokenCount=7,
        cachedContentTokenCount=4,
        toolUsePromptTokenCount=20,
    ),
)
STREAM = sse(*CHUNKS)
EVENTS: list[Event] = [
    Start("r1", "gemini-x", 5, Usage(input_tokens=10)),
    ReasoningDelta("hm"),
    TextDelta("Grüße"),
    TextDelta(" 🌍"),
    ReasoningDelta("", "s0", "gemini"),
    CallStart(0, "c1", "f", "s1", issuer="gemini"),
    CallDelta(0, '{"x": 1}'),
    CallStart(1, "call_r1_0_1", "g"),
    CallDelta(1, "{}"),
    ReasoningDelta("", "s2", "gemini"),
    Finish("tool_call", "STOP"),
    End(Usage(input_tokens=30, output_tokens=12, cache_read_tokens=4, reasoning_tokens=7)),
]


def parse(stream: bytes) -> list[Event]:
    parser = EventParser(created_at=5)
    return parser.feed(stream) + parser.finish()


def test_stream_becomes_events() -> None:
    """Thoughts, signatures, text, calls, finish and the last usage arrive in order."""
    assert parse(STREAM) == EVENTS


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12), lf=st.booleans())
def test_cuts_and_line_ends_do_not_matter(cuts: list[int], lf: bool) -> None:
    """The same events come wherever the stream is cut and however its lines end."""
    stream = STREAM.replace(b"\r\n", b"\n") if lf else STREAM
    parser = EventParser(created_at=5)
    borders = [0, *sorted(cuts), len(stream)]
    events: list[Event] = []
    for begin, end in pairwise(borders):
        events += parser.feed(stream[begin:end])
    assert events + parser.finish() == EVENTS


def test_plain_answer_gives_the_same_events() -> None:
    """An array of the chunks, and one chunk alone, read like the stream."""
    assert EventParser(created_at=5).read_answer(json.dumps(CHUNKS).encode()) == EVENTS
    whole = chunk({"text": "a"}, finish="STOP", candidatesTokenCount=1)
    assert EventParser(created_at=5).read_answer(json.dumps(whole).encode()) == parse(sse(whole))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("UNEXPECTED_TOOL_CALL", "error"),
        ("OTHER", "error"),
        ("SOMETHING_NEW", "error"),
        (2, "length"),
    ],
)
def test_finish_reasons_are_mapped_and_kept(raw: str | int, reason: str) -> None:
    """Every reason has its meaning, an unknown one is an error, and the raw word is kept."""
    finish = parse(sse(chunk({"text": "a"}, finish=raw)))[-2]
    assert isinstance(finish, Finish)
    assert finish.reason == reason
    assert finish.raw == ("MAX_TOKENS" if raw == 2 else raw)


def test_blocked_prompt_is_a_content_filter() -> None:
    """A prompt that Google blocked has no candidates; its reason is the finish."""
    blocked = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 8},
    }
    assert parse(sse(blocked))[1:] == [
        Finish("content_filter", "PROHIBITED_CONTENT"),
        End(Usage(input_tokens=8)),
    ]


def test_candidates_finish_each() -> None:
    """Two candidates keep apart and each has its finish; one without one is a cut."""
    first, second = chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, index=1)
    parser = EventParser()
    events = parser.feed(sse(first, second))
    assert events[1:] == [TextDelta("a"), TextDelta("b", 1)]
    with pytest.raises(WireError):
        parser.finish()
    events = parse(sse(first, second, chunk(finish="MAX_TOKENS", index=1)))
    assert events[-3:-1] == [Finish("stop", "STOP"), Finish("length", "MAX_TOKENS", 1)]


def test_early_input_is_known_before_the_end() -> None:
    """A cut stream still tells what its input cost."""
    parser = EventParser()
    parser.feed(sse(CHUNKS[0]))
    assert parser.early_input == Usage(input_tokens=10)


def test_uncounted_input_is_unknown_usage() -> None:
    """Usage without the prompt's count is not taken for a free prompt."""
    answer = chunk({"text": "a"}, finish="STOP", candidatesTokenCount=5)
    del answer["usageMetadata"]["promptTokenCount"]
    assert parse(sse(answer))[-1] == End(None)


def test_content_without_counterpart_is_named() -> None:
    """Code execution and grounding are not passed off as text, and their names are kept."""
    parser = EventParser()
    grounded = chunk({"executableCode": {"code": "1"}, "thoughtSignature": "s"}, {"text": "a"})
    grounded["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["q"]}
    events = parser.feed(sse(grounded))
    assert events[1:] == [TextDelta("a")]
    assert set(parser.dropped) == {"content.executableCode", "groundingMetadata.webSearchQueries"}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_cut_stream_is_a_failure(count: int) -> None:
    """A stream without a finish reason never finishes, wherever it was cut."""
    parser = EventParser()
    events = parser.feed(sse(*CHUNKS[:count]))
    assert not any(isinstance(event, Finish | End) for event in events)
    with pytest.raises(WireError) as caught:
        parser.finish()
    assert caught.value.failure.kind == "upstream_failed"
    assert caught.value.failure.may_have_spent


def test_error_chunk_ends_the_stream() -> None:
    """Events before an error still come; then the parser has failed."""
    error = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}
    parser = EventParser()
    assert len(parser.feed(sse(CHUNKS[1], error, CHUNKS[3]))) == 4
    assert parser.failure is not None
    assert (parser.failure.kind, parser.failure.may_have_spent) == ("overloaded", True)
    with pytest.raises(WireError):
        parser.finish()


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_error_beside_the_events_ends_the_stream(indent: int | None, step: int) -> None:
    """Google says it on lines of their own, wherever they are cut; other lines beside events say nothing."""
    error = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}
    said = sse(CHUNKS[1]) + b'nothing\r\n{"a": 1}\r\n\r\n'
    quiet = EventParser()
    quiet.feed(said)
    assert quiet.failure is None
    raw = sse(CHUNKS[1]) + json.dumps(error, indent=indent).encode()
    parser = EventParser()
    events = [one for at in range(0, len(raw), step) for one in parser.feed(raw[at : at + step])]
    assert events == EventParser().feed(sse(CHUNKS[1]))
    assert parser.failure is not None
    assert (parser.failure.kind, parser.failure.may_have_spent) == ("overloaded", True)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"<html>", b'{"candidates":[{}]}', b'{"candidates":1}']
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
    """No input raises anything but ``WireError``."""
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


@pytest.mark.parametrize("index", [-1, 2**70])
def test_a_candidate_with_a_number_that_cannot_be_is_broken(index: int) -> None:
    """No client's format could say it again."""
    candidate = {"index": index, "content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
    with pytest.raises(WireError) as caught:
        EventParser().read_answer(json.dumps({"candidates": [candidate]}).encode())
    assert caught.value.failure.kind == "upstream_failed"
