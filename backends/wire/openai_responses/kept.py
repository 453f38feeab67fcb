"""Kept state: what a request that goes on from a kept response stands for, and what of an answer is kept.

Pure functions over bytes; where things are kept is the gateway's affair. Promises: a continued request is the body
that a client without kept state would have sent, so that everything behind it (detectors, prices, targets) sees the
whole conversation; the client's own items and the provider's stay as they came; an answer that is kept says so.
Source: OpenAI's API reference, "Conversation state" and the OpenAPI document of 2026-08-21.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import orjson

from backends.wire.failure import WireError
from backends.wire.json_patch import (
    Edit,
    apply_edits,
    find_members,
    insert_first,
    put,
    removals,
)
from backends.wire.openai_responses.answer import EVENT_BYTES_MAX
from backends.wire.prompt import Json, Kept
from backends.wire.sse import SseReader

PREVIOUS = "previous_response_id"
REFERENCE = "item_reference"

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_ID_PREFIXES: Mapping[str, str] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}
"""How OpenAI begins the ids of items."""


class _Item(msgspec.Struct):
    """What an item of an input says of itself."""

    type: str | None = None
    id: str | None = None
    role: str | None = None


class _Response(msgspec.Struct):
    """What of a response is looked at when it is kept."""

    id: str
    output: list[msgspec.Raw]
    status: str | None = None


class _Named(msgspec.Struct):
    """A response, as what it is kept."""

    id: str


class _Event(msgspec.Struct):
    """The last event of a stream."""

    response: msgspec.Raw = msgspec.Raw()


_ITEM = msgspec.json.Decoder(_Item)
_RESPONSE = msgspec.json.Decoder(_Response)
_NAMED = msgspec.json.Decoder(_Named)
_EVENT = msgspec.json.Decoder(_Event)


class Final(NamedTuple):
    """A whole response: its id, and its JSON as the client has it."""

    id: str
    raw: bytes


def wants_kept(unknown: Mapping[str, bytes]) -> bool | None:
    """What the request says of being kept: yes, no, or nothing."""
    said = unknown.get("store")
    return None if said is None else said.strip() == b"true"


def previous_id(unknown: Mapping[str, bytes]) -> str | None:
    """The response that the request goes on from; one that is no text is no such id."""
    said = unknown.get(PREVIOUS)
    if said is None or not said.startswith(b'"'):
        return None
    return _TEXT.decode(said)


def own_items(raw: bytes) -> list[bytes]:
    """The items of a request's own input, each as it came; a text is a message of the user's."""
    said = bytes(_MEMBERS.decode(raw).get("input", b""))
    if said in (b"", b"null"):
        return []
    if said.startswith(b'"'):
        return [b'{"type":"message","role":"user","content":%b}' % said]
    return [bytes(item) for item in _RAWS.decode(said)]


def referred_ids(items: Iterable[bytes]) -> list[str]:
    """The ids of kept items that an input names instead of repeating them."""
    found: list[str] = []
    for raw in items:
        item = _ITEM.decode(raw)
        if item.id is not None and _is_reference(item):
            found.append(item.id)
    return found


def resolve(items: Iterable[bytes], known: Mapping[str, bytes]) -> list[bytes]:
    """The input with what is ``known`` in the place of its references."""
    made: list[bytes] = []
    for raw in items:
        item = _ITEM.decode(raw)
        is_known = item.id is not None and _is_reference(item)
        made.append(known.get(item.id or "", raw) if is_known else raw)
    return made


def _is_reference(item: _Item) -> bool:
    return item.type == REFERENCE or (not item.type and item.role is None)


def join(raw: bytes, items: Iterable[bytes]) -> bytes:
    """The request with these items as its whole input, and without the response that it goes on from."""
    spans = find_members(raw)
    edits: list[Edit] = []
    joined = b"[%b]" % b",".join(items)
    if "input" in spans:
        edits.append((*spans["input"].value, joined))
        edits += removals(raw, spans, frozenset({PREVIOUS}))
    else:
        # There is at least the one member that is replaced.
        begin, end = spans[PREVIOUS].key[0], spans[PREVIOUS].value[1]
        edits.append((begin, end, b'"input":' + joined))
    return apply_edits(raw, edits)


def output_items(raw: bytes) -> list[bytes]:
    """What a kept response answered, item by item, as a client would send it back."""
    return [bytes(item) for item in _RESPONSE.decode(raw).output]


def item_ids(items: Iterable[bytes]) -> list[str]:
    """The ids that items have."""
    return [found for raw in items if (found := _ITEM.decode(raw).id) is not None]


def read_final(raw: bytes) -> Final | None:
    """A whole response that may be kept; None if it is none."""
    try:
        response = _RESPONSE.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return Final(response.id, raw) if response.id else None


def find_final(shown: bytes) -> Final | None:
    """The response in the last event of a stream that has it, out of the bytes ``shown`` to the client last."""
    final: Final | None = None
    try:
        for event in SseReader(EVENT_BYTES_MAX).feed(shown + b"\n\n"):
            if b'"response"' in event.data:
                final = read_final(bytes(_EVENT.decode(event.data).response)) or final
    except (WireError, msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return final


def say_kept(raw: bytes, kept: Kept) -> bytes:
    """A response that says that it is kept, as what, and what it goes on from; every other byte as it came. One that
    cannot be made to say so (a key twice, no object) stays as it came, under an id that nothing is kept by."""
    try:
        said = _mark(raw, kept)
        is_marked = _NAMED.decode(said).id == kept.response_id
    except (WireError, msgspec.DecodeError, ValueError, RecursionError):
        return raw
    return said if is_marked else raw


def _mark(raw: bytes, kept: Kept) -> bytes:
    spans = find_members(raw)
    edits: list[Edit] = []
    inserted: list[bytes] = []
    put(spans, "id", orjson.dumps(kept.response_id), edits, inserted)
    put(spans, "store", b"true", edits, inserted)
    if kept.previous_id is not None:
        put(spans, PREVIOUS, orjson.dumps(kept.previous_id), edits, inserted)
    if inserted:
        edits.append(insert_first(raw, inserted))
    return apply_edits(raw, edits)


def say_kept_in_event(event: bytes, kept: Kept) -> bytes:
    """The same for an event of a stream that holds the response; others as they came. Data in many lines become one."""
    try:
        [read] = SseReader(EVENT_BYTES_MAX).feed(event)
        spans = find_members(read.data) if b'"response"' in read.data else {}
    except (WireError, msgspec.DecodeError, ValueError, RecursionError):
        return event
    if "response" not in spans:
        return event
    start, stop = spans["response"].value
    data = read.data[:start] + say_kept(read.data[start:stop], kept) + read.data[stop:]
    if event.count(read.data) == 1:
        return event.replace(read.data, data)
    head = b"event: %b\n" % read.event.encode() if read.event else b""
    return b"%bdata: %b\n\n" % (head, data.replace(b"\n", b" "))


def list_item(raw: bytes, response_id: str, at: int) -> Json:
    """An item of an input as ``/input_items`` lists it: with a type, with parts, and with an id, which stays the
    same for the ``at``-th item of one response."""
    item: dict[str, Json] = orjson.loads(raw)
    kind = item.get("type")
    if not isinstance(kind, str):
        kind = item["type"] = "message"
    if kind == "message":
        item.setdefault("status", "completed")
        content = item.get("content")
        if isinstance(content, str):
            part = "output_text" if item.get("role") == "assistant" else "input_text"
            item["content"] = [{"type": part, "text": content}]
    if not isinstance(item.get("id"), str):
        tail = hashlib.sha256(f"{response_id}\n{at}".encode()).hexdigest()[:48]
        item["id"] = f"{_ID_PREFIXES.get(kind, 'item')}_{tail}"
    return item
