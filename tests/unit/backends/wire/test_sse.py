"""The reader of server-sent events sees the same wherever the bytes are cut."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.failure import WireError
from backends.wire.sse import SseEvent, SseReader, SseSplitter

PIECES = st.lists(
    st.sampled_from(
        [
            b"data: a",
            b"data:b",
            b"data",
            b"data:  c:d",
            b"event: e",
            b": note",
            b"id: 1",
            b"retry: 5",
            b"",
            b"",
            "data: ü".encode(),
        ]
    ),
    max_size=12,
)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def read(*chunks: bytes, event_bytes_max: int = 1000) -> list[SseEvent]:
    reader = SseReader(event_bytes_max)
    return [event for chunk in chunks for event in reader.feed(chunk)]


def by_the_book(lines: list[bytes]) -> list[SseEvent]:
    """The standard's algorithm, line by line."""
    events: list[SseEvent] = []
    name, data = "", list[bytes]()
    for line in lines:
        field, _, value = line.partition(b":")
        if not line:
            if data:
                events.append(SseEvent(name, b"\n".join(data)))
            name, data = "", []
        elif field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ").decode()
    return events


@given(PIECES, st.lists(LINE_ENDS, min_size=12, max_size=12), st.booleans(), st.data())
def test_events_are_those_of_the_standard_however_they_are_cut(
    lines: list[bytes], ends: list[bytes], has_bom: bool, data: st.DataObject
) -> None:
    """Any mixture of line ends, cut into two to four pieces anywhere."""
    prefix = b"\xef\xbb\xbf" if has_bom else b""
    raw = prefix + b"".join(line + end for line, end in zip(lines, ends, strict=False))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), min_size=1, max_size=3)))
    chunks = [raw[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    expected = by_the_book(joined(lines, ends))
    assert read(raw) == expected
    assert read(*chunks) == expected
    assert read(*(raw[at : at + 1] for at in range(len(raw)))) == expected
    assert read(prefix, *by_event(lines, ends)) == expected


def by_event(lines: list[bytes], ends: list[bytes]) -> list[bytes]:
    """Cut as hosts send them: behind every empty line."""
    chunks = [b""]
    for line, end in zip(lines, ends, strict=False):
        chunks[-1] += line + end
        if not line:
            chunks.append(b"")
    return chunks


def joined(lines: list[bytes], ends: list[bytes]) -> list[bytes]:
    """The lines as they are read: a CR and then an empty line that ends in LF is one line end."""
    found: list[bytes] = []
    before = b""
    for line, end in zip(lines, ends, strict=False):
        if not (before == b"\r" and line == b"" and end == b"\n"):
            found.append(line)
        before = end
    return found


@pytest.mark.parametrize(
    "raw", [b"data: " + b"x" * 200, b"data:\n" * 200, b"data: x\n" * 60, b"x" * 200]
)
def test_an_event_without_end_is_refused(raw: bytes) -> None:
    """Whether it is one line, many, or many empty ones: the buffer is bounded."""
    with pytest.raises(WireError) as caught:
        read(raw, event_bytes_max=100)
    assert caught.value.failure.kind == "upstream_failed"
    assert caught.value.failure.may_have_spent


def test_an_event_cut_by_the_end_is_not_given() -> None:
    """What has no empty line after it may be half of an event."""
    assert read(b"data: a\n\ndata: b\n") == [SseEvent("", b"a")]


@given(PIECES, LINE_ENDS)
def test_events_that_are_cut_out_are_the_same_however_they_come(
    lines: list[bytes], end: bytes
) -> None:
    """One at a time or all at once; together they are every byte that came."""
    chunks = by_event(lines, [end] * 12)
    one_by_one, at_once = SseSplitter(1000), SseSplitter(1000)
    found = [event for chunk in chunks for event in one_by_one.feed(chunk)]
    assert found == at_once.feed(b"".join(chunks))
    assert one_by_one.rest == at_once.rest
    assert b"".join(found) + one_by_one.rest == b"".join(chunks)


def test_a_long_line_in_many_pieces_takes_no_longer_than_it_is() -> None:
    """Three megabytes in twenty thousand pieces: each byte is looked at a few times, not thousands of times."""
    reader = SseReader(16 * 1024 * 1024)
    began = time.process_time()
    assert reader.feed(b"data: ") == []
    for _ in range(20_000):
        assert reader.feed(b"x" * 160) == []
    assert reader.feed(b"\n\n") == [SseEvent("", b"x" * 3_200_000)]
    assert time.process_time() - began < 2
