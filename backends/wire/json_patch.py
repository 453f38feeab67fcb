"""Edits to a JSON body that leave every other byte as it came.

Works on bodies that were read by :mod:`backends.wire.json_scan`: objects without a key twice.
"""

import re
from typing import NamedTuple

import msgspec

from backends.wire.failure import Failure, WireError

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEY = re.compile(rb'[\s,]*("(?:[^"\\]|\\.)*")\s*:\s*')
_COMMA = re.compile(rb"\s*,")
_END = re.compile(rb"\s*\}")

Span = tuple[int, int]
Edit = tuple[int, int, bytes]
"""From where to where, and what stands there instead."""


class Member(NamedTuple):
    """Where a member begins (the comma before it), where its key and its value stand."""

    begin: int
    key: Span
    value: Span


Members = dict[str, Member]


def find_members(raw: bytes) -> Members:
    """The members of the object ``raw``, in order. Raises ``WireError`` if it has a key twice."""
    found: Members = {}
    at = raw.index(b"{") + 1
    for name, value in _MEMBERS.decode(raw).items():
        match = _KEY.match(raw, at)
        if match is None:
            raise _changed()
        end = match.end() + len(memoryview(value))
        found[name] = Member(at, match.span(1), (match.end(), end))
        at = end
    if raw[at:].strip() != b"}":
        raise _changed()
    return found


def _changed() -> WireError:
    """A body from outside was read before, and had no key twice then."""
    return WireError(Failure("internal", "the request changed under the gateway's hands"))


def removals(raw: bytes, spans: Members, strip: frozenset[str]) -> list[Edit]:
    """Take members out, each with the comma before it; whoever comes first then loses its own."""
    gone = strip & spans.keys()
    if not gone:
        return []
    edits: list[Edit] = [(spans[name].begin, spans[name].value[1], b"") for name in gone]
    first = next((name for name in spans if name not in gone), None)
    comma = None if first is None else _COMMA.match(raw, spans[first].begin)
    if comma is not None:
        edits.append((*comma.span(), b""))
    return edits


def put(spans: Members, name: str, value: bytes, edits: list[Edit], inserted: list[bytes]) -> None:
    """Give ``name`` this value: where it stands, or among the members that :func:`insert_first` is to add."""
    if name in spans:
        edits.append((*spans[name].value, value))
    else:
        inserted.append(b'"%b":%b' % (name.encode(), value))


def insert_first(raw: bytes, members: list[bytes]) -> Edit:
    """New members at the beginning of the object ``raw``."""
    start = raw.index(b"{") + 1
    comma = b"" if _END.match(raw, start) else b","
    return start, start, b",".join(members) + comma


def apply_edits(raw: bytes, edits: list[Edit]) -> bytes:
    """``raw`` with the edits; what stands inside of what an earlier one took out is gone with it."""
    pieces: list[bytes] = []
    at = 0
    for start, end, text in sorted(edits, key=lambda edit: (edit[0], edit[1])):
        if start < at:
            continue
        pieces += (raw[at:start], text)
        at = end
    pieces.append(raw[at:])
    return b"".join(pieces)
