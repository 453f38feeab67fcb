"""A body that two readers could read in two ways is no body."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.failure import Failure, WireError
from backends.wire.json_scan import DEPTH_MAX, read_object
from backends.wire.prompt import Json


class Pairs:
    """An object as written: keys may come twice."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        self.pairs = pairs


KEYS = st.sampled_from(["a", "b", '"', "\\", "\\u0061", ":", "ü", "\U0001f600", "a\\"])
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | KEYS
PAIRS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4).map(Pairs)
    ),
    max_leaves=8,
)


def write(value: object, *, is_ascii: bool, blank: str) -> str:
    if isinstance(value, Pairs):
        inner = [
            f"{json.dumps(key, ensure_ascii=is_ascii)}{blank}:{blank}"
            + write(member, is_ascii=is_ascii, blank=blank)
            for key, member in value.pairs
        ]
        return "{" + f",{blank}".join(inner) + "}"
    if isinstance(value, list):
        inner = [write(member, is_ascii=is_ascii, blank=blank) for member in value]
        return "[" + f",{blank}".join(inner) + "]"
    return json.dumps(value, ensure_ascii=is_ascii)


def has_duplicates(value: object) -> bool:
    if isinstance(value, Pairs):
        keys = [key for key, _ in value.pairs]
        return len(set(keys)) < len(keys) or any(
            has_duplicates(member) for _, member in value.pairs
        )
    return isinstance(value, list) and any(has_duplicates(member) for member in value)


def read_or_refuse(raw: bytes) -> dict[str, Json] | Failure:
    try:
        return read_object(raw)
    except WireError as error:
        return error.failure


@given(PAIRS, st.booleans(), st.sampled_from(["", " ", "\n\t"]))
def test_duplicate_keys_are_found_however_they_are_written(
    value: object, is_ascii: bool, blank: str
) -> None:
    """At any depth, escaped or not, spaced or not: refused exactly when a key stands twice."""
    text = write(Pairs([("x", value)]), is_ascii=is_ascii, blank=blank)
    if has_duplicates(value):
        with pytest.raises(WireError) as caught:
            read_object(text.encode())
        assert caught.value.failure.code == "duplicate_key"
    else:
        assert read_object(text.encode()) == json.loads(text)


@given(st.binary(max_size=40))
def test_any_bytes_give_an_object_or_a_wire_error(raw: bytes) -> None:
    """No other exception comes out, and what is accepted is what the standard library reads."""
    tree = read_or_refuse(raw)
    if isinstance(tree, Failure):
        assert tree.kind == "invalid_request"
    else:
        assert tree == json.loads(raw)


def test_nesting_is_bounded() -> None:
    """A value at the deepest allowed level is read, one below it is not."""

    def nested(levels: int) -> bytes:
        return b'{"a":' + b"[" * (levels - 1) + b"1" + b"]" * (levels - 1) + b"}"

    expected: Json = 1
    for _ in range(DEPTH_MAX - 1):
        expected = [expected]
    assert read_object(nested(DEPTH_MAX)) == {"a": expected}
    for levels in (DEPTH_MAX + 1, 500, 200_000):
        with pytest.raises(WireError, match="nested deeper than 64"):
            read_object(nested(levels))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"[1]", "must be a JSON object"),
        (b'{"a": }', "expecting value at line 1, column 7"),
        (b'{"a": 1} x', "extra data at line 1, column 10"),
        (b'{"a": "x', "unterminated string starting at line 1, column 7"),
        (b'{"a": NaN}', "`NaN` is no JSON number"),
        (b'{"a": 1e999}', "a number is out of range"),
        (b'{"a": ' + b"1" * 5000 + b"}", "a number has too many digits"),
        (b'{"a": "\xff"}', "not UTF-8: byte 7"),
        (b'{"a": "\\ud800"}', "half of a pair"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b'{"a": "line\nbreak"}', "control character"),
    ],
)
def test_the_message_says_what_is_wrong_and_where(raw: bytes, words: str) -> None:
    """A client can find the place."""
    with pytest.raises(WireError) as caught:
        read_object(raw)
    assert words in caught.value.failure.message
