"""Content blocks of a client's Messages request → parts.

Promises: every block becomes a part: what the prompt does not model is kept whole (:class:`Opaque`), so that it is
seen by detectors, passes to Anthropic and is listed elsewhere; so are members of known blocks that are not modelled
(citations switched on, callers). Signatures that are wrapped in another issuer's name come back as that issuer's.
"""

import re
from collections.abc import Callable, Iterator
from typing import TypeGuard, TypeVar

import msgspec

from backends.wire.anthropic_messages.call_ids import read_id
from backends.wire.anthropic_messages.said import Block, CacheControl, Source
from backends.wire.failure import WireError, invalid_request
from backends.wire.prompt import (
    CacheTtl,
    Json,
    Media,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    WireFormat,
)
from backends.wire.reading import check_base64, explain_invalid
from backends.wire.signatures import unwrap_signed

T = TypeVar("T")
FORMAT: WireFormat = "anthropic-messages"
_BLOCK = msgspec.json.Decoder(Block)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_JSON: Callable[[bytes], Json] = msgspec.json.Decoder().decode
_NOTHING = frozenset({b"", b"null"})
_MODELLED = {
    "text": frozenset({"type", "text", "cache_control"}),
    "image": frozenset({"type", "source", "cache_control"}),
    "document": frozenset({"type", "source", "title", "cache_control"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
}
_HARMLESS = {"citations": (b"null", b"[]", b'{"enabled":false}'), "caller": (b'{"type":"direct"}',)}
"""Members beyond those that say what holds anyway; the SDK sends them back with an answer's blocks."""
_INSIDE = {
    "cache_control": frozenset({"type", "ttl"}),
    "source": frozenset({"type", "media_type", "data", "url", "file_id"}),
}
"""What is modelled of the members of blocks that are objects themselves."""
_FILE = re.compile(rb'"file_id"\s*:\s*"([^"]*)"')
CALL_MARK = "call:"
"""Begins the data of a redacted block that carries the signature of the call behind it."""


def read_blocks(content: str | list[msgspec.Raw], path: str) -> list[Part]:
    """The parts of a message's content. Raises ``WireError`` with the place."""
    if isinstance(content, str):
        return [Text(content)]
    parts: list[Part] = []
    carried: Reasoning | None = None  # a signature whose call has not come yet
    for at, raw in enumerate(content):
        for part in read_block(bytes(raw), f"{path}[{at}]"):
            signed = part
            if carried is not None:
                if isinstance(part, ToolCall):
                    signature = (carried.signature or "").removeprefix(CALL_MARK)
                    signed = msgspec.structs.replace(
                        part, signature=signature, issuer=carried.issuer
                    )
                else:
                    parts.append(carried)
                carried = None
            if _is_carried(signed):
                carried = signed
            else:
                parts.append(signed)
    return parts if carried is None else [*parts, carried]


def _is_carried(part: Part) -> TypeGuard[Reasoning]:
    """Whether it is another issuer's signature of the call behind it."""
    return (
        isinstance(part, Reasoning)
        and part.is_redacted
        and part.issuer != "anthropic"
        and (part.signature or "").startswith(CALL_MARK)
    )


def read_block(raw: bytes, path: str) -> list[Part]:
    """The parts of one block: itself, and what of it is not modelled."""
    try:
        block = _BLOCK.decode(raw)
    except msgspec.ValidationError as error:
        # Blocks of other kinds give the same names other types.
        if _kind_of(raw) in _MODELLED or _kind_of(raw) == "":
            raise _at(path, error) from error
        return _opaque(_kind_of(raw), raw)
    known = _MODELLED.get(block.type)
    beside: list[Part] = []
    part = None if known is None else _part(block, path, beside)
    if known is None or part is None:
        return _opaque(block.type, raw)
    members = _MEMBERS.decode(raw)
    left = [
        Opaque(f"{block.type}.{name}", bytes(value))
        for name, value in _beyond(members, known)
        if bytes(value).replace(b" ", b"") not in _HARMLESS.get(name, ())
    ]
    for name, inner_known in _INSIDE.items():
        inner = bytes(members.get(name, b""))
        if inner not in _NOTHING:
            left += [
                Opaque(f"{block.type}.{name}.{one}", bytes(value))
                for one, value in _beyond(_MEMBERS.decode(inner), inner_known)
            ]
    return [part, *left, *beside]


def _beyond(
    members: dict[str, msgspec.Raw], known: frozenset[str]
) -> Iterator[tuple[str, msgspec.Raw]]:
    for name, value in members.items():
        if name not in known and bytes(value) not in _NOTHING:
            yield name, value


def _opaque(kind: str, raw: bytes) -> list[Part]:
    """A block that nobody else knows; a file that it names inside is one that the provider keeps, all the same."""
    if kind == "search_result":
        return _search_result(raw)
    file = _FILE.search(raw)
    kept = [] if file is None else [Media("document", file_id=file[1].decode("utf-8", "replace"))]
    return [Opaque(kind, raw), *kept]


def _search_result(raw: bytes) -> list[Part]:
    """What the client found by itself: its words, for who cannot read such a block, and what only Claude heeds."""
    members = _MEMBERS.decode(raw)
    left = [
        Opaque(f"search_result.{name}", bytes(value))
        for name, value in members.items()
        if name in ("citations", "cache_control")
        and bytes(value) not in _NOTHING
        and bytes(value).replace(b" ", b"") not in _HARMLESS.get(name, ())
    ]
    return [Text(raw.decode()), *left]


def _kind_of(raw: bytes) -> str:
    members = _JSON(raw)
    kind = members.get("type") if isinstance(members, dict) else None
    return kind if isinstance(kind, str) else ""


def _at(path: str, error: msgspec.ValidationError) -> WireError:
    failure = explain_invalid(error, ()).failure
    param = f"{path}.{failure.param}" if failure.param else path
    return invalid_request(failure.message, param=param, code=failure.code)


def _part(block: Block, path: str, beside: list[Part]) -> Part | None:
    """The part of a modelled kind; None for a form of it that only Anthropic knows. ``beside`` gets what of the
    blocks inside is not modelled."""
    ttl = cache_ttl(block.cache_control)
    match block.type:
        case "text":
            return Text(_need(block.text, f"{path}.text"), ttl)
        case "image" | "document":
            source = _need(block.source, f"{path}.source")
            return _media(block, source, ttl, f"{path}.source")
        case "tool_use":
            call_id = read_id(_need(block.id, f"{path}.id"))
            name = _need(block.name, f"{path}.name")
            arguments = bytes(block.input).decode() or "{}"
            return ToolCall(call_id, name, arguments, cache_ttl=ttl)
        case "tool_result":
            return _result(block, ttl, path, beside)
        case "thinking":
            text = _need(block.thinking, f"{path}.thinking")
            signature = block.signature or ""
            if not signature:
                return Reasoning(text)
            signed = unwrap_signed(signature, FORMAT)
            return Reasoning(text, signed.signature, signed.issuer, id=signed.id)
        case _:
            data = _need(block.data, f"{path}.data")
            signed = unwrap_signed(data, FORMAT)
            return Reasoning("", signed.signature, signed.issuer, is_redacted=True, id=signed.id)


def cache_ttl(control: CacheControl | None) -> CacheTtl | None:
    """For how long the prompt up to a block is to be kept; five minutes if nothing is said (reference)."""
    return None if control is None else control.ttl or "5m"


def _need(value: T | None, path: str) -> T:
    if value is None:
        raise invalid_request(f"`{path}` is missing", param=path, code="missing_required_parameter")
    return value


def _media(block: Block, source: Source, ttl: CacheTtl | None, path: str) -> Part | None:
    kind = "image" if block.type == "image" else "document"
    match source.type:
        case "base64":
            data = _need(source.data, f"{path}.data")
            check_base64(data, f"{path}.data")
            media_type = _need(source.media_type, f"{path}.media_type")
            return Media(kind, media_type, data, name=block.title, cache_ttl=ttl)
        case "url":
            url = _need(source.url, f"{path}.url")
            if not url.lower().startswith(("https://", "http://")):
                raise invalid_request("an address is an http(s) one", param=f"{path}.url")
            return Media(kind, url=url, name=block.title, cache_ttl=ttl)
        case "file":
            file_id = _need(source.file_id, f"{path}.file_id")
            return Media(kind, name=block.title, file_id=file_id, cache_ttl=ttl)
        case "text":
            if source.media_type not in (None, "text/plain"):
                words = "a text is of type `text/plain`"
                raise invalid_request(words, param=f"{path}.media_type")
            title = f"{block.title}\n" if block.title else ""
            return Text(title + _need(source.data, f"{path}.data"), ttl)
        case _:
            return None


def _result(block: Block, ttl: CacheTtl | None, path: str, beside: list[Part]) -> ToolResult:
    call_id = read_id(_need(block.tool_use_id, f"{path}.tool_use_id"))
    raw = bytes(block.content)
    content: list[Text | Media] = []
    if raw[:1] == b'"':
        content.append(Text(str(_JSON(raw))))
    elif raw not in _NOTHING:
        try:
            inner = _RAWS.decode(raw)
        except msgspec.ValidationError as error:
            raise _at(f"{path}.content", error) from error
        for at, one in enumerate(inner):
            first, *more = read_block(bytes(one), f"{path}.content[{at}]")
            beside += more
            if isinstance(first, Text | Media):
                content.append(first)
            else:  # A reference: its words, for who cannot read it.
                content.append(Text(bytes(one).decode()))
    return ToolResult(call_id, tuple(content), None, bool(block.is_error), ttl)
