"""Edits to a JSON object: what was asked for changes, and every other member stays as it came, in its order."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.failure import WireError
from backends.wire.json_patch import Edit, apply_edits, find_members, insert_first, put, removals

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=5)
INDENTS = st.sampled_from([None, 0, 2])


@given(said=OBJECTS, indent=INDENTS, gone=st.sets(st.integers(0, 4)))
def test_any_members_may_be_taken_out(
    said: dict[str, Any], indent: int | None, gone: set[int]
) -> None:
    """The first, the last, neighbours, all of them."""
    raw = json.dumps(said, indent=indent).encode()
    names = frozenset(name for at, name in enumerate(said) if at in gone)
    left = json.loads(apply_edits(raw, removals(raw, find_members(raw), names)))
    assert list(left.items()) == [(name, one) for name, one in said.items() if name not in names]


@given(said=OBJECTS, indent=INDENTS, name=st.text("ab", max_size=2))
def test_a_member_is_put_where_it_stands_or_first(
    said: dict[str, Any], indent: int | None, name: str
) -> None:
    """Nothing else moves; in an empty object it is the only one."""
    raw = json.dumps(said, indent=indent).encode()
    edits: list[Edit] = []
    inserted: list[bytes] = []
    put(find_members(raw), name, b"[7]", edits, inserted)
    if inserted:
        edits.append(insert_first(raw, inserted))
    wanted = said | {name: [7]} if name in said else {name: [7]} | said
    assert list(json.loads(apply_edits(raw, edits)).items()) == list(wanted.items())


@pytest.mark.parametrize(
    "raw", [b'{"a":1,"a":2}', b'{"a":1,"b":2,"a":33}', b'{"a":[1],"a":2,"b":3}']
)
def test_a_key_twice_is_found(raw: bytes) -> None:
    """Where its places cannot be told apart nothing is edited."""
    with pytest.raises(WireError):
        find_members(raw)
