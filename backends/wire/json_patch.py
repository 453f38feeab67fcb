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
    """The members of the object ``raw``, which has no key twice, in order."""
    found: Members = {}
    at = raw.index(b"{") + 1
    for name, value in _MEMBERS.decode(raw).items():
        match = _KEY.match(raw, at)
        if match is None:
            message = "the request changed under the gateway's hands"
            raise WireError(Failure("internal", message))
        end = match.end() + len(memoryview(value))
        found[name] = Member(at, match.span(1), (match.end(), end))
        at = end
    return found


def removals(raw: bytes, spans: Members, strip: frozenset[str]) -> list[Edit]:
    """Take members out, each with the comma before it; whoever comes first then loses its own. One has to stay."""
    gone = strip & spans.keys()
    if not gone:
        return []
    edits: list[Edit] = [(spans[name].begin, spans[name].value[1], b"") for name in gone]
    first = next(name for name in spans if name not in gone)
    begin = spans[first].begin
    comma = _COMMA.match(raw, begin)
    if comma is not None:
        edits.append((begin, comma.end(), b""))
    return edits


def insert_first(raw: bytes, members: list[bytes]) -> Edit:
    """New members at the beginning of the object ``raw``, which holds others."""
    start = raw.index(b"{") + 1
    return start, start, b",".join(members) + b","


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
