"""The edits that pass-through makes to a client's Gemini body, and no others: everything else is byte-equal.

1. ``generationConfig.maxOutputTokens`` is lowered, or inserted where a budget enforces one.
2. ``model`` is taken out: it stands in the address.
3. Tools that Google runs are taken out where the terms forbid them, and listed, with what ``toolConfig`` says of
   them; without functions that is all of it, for Google refuses a choice among none.
4. Signatures of other issuers are taken out with their thinking; on a call, the documented stand-in replaces it
   where the model needs one.

Media by address have to be images, as for everybody: Gemini would fetch, and bill, videos and documents too.
"""

from typing import NamedTuple

import msgspec

from backends.wire.failure import Failure, WireError
from backends.wire.gemini.content import refuse_addresses
from backends.wire.gemini.members import to_camel
from backends.wire.gemini.models import find_traits
from backends.wire.gemini.signed import (
    ISSUER,
    SIGNATURE_UNKNOWN,
    may_hold_wrapped,
    unwrap_signature,
)
from backends.wire.prompt import Json, Prompt
from backends.wire.provider_tools import may_travel
from backends.wire.rendering import Losses

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_BLANK = b" \t\r\n"
_OF_GOOGLES_TOOLS = ("toolConfig.retrievalConfig", "toolConfig.includeServerSideToolInvocations")
"""What a request says of tools that Google runs, and of nothing else (API reference, November 2026)."""


class _Span(NamedTuple):
    """A member's key as it was said, and where the member begins and its value stands."""

    key: str
    begin: int
    start: int
    end: int


def patch_request(
    prompt: Prompt, *, model: str, output_cap: int | None, allows_provider_tools: bool
) -> tuple[bytes, tuple[str, ...]]:
    """The client's bytes with the edits above, and the names of what was taken out.

    Raises ``WireError`` for media by an address that is no image's.
    """
    refuse_addresses(prompt)
    raw = prompt.raw
    losses = Losses(prompt.format)
    spans = _find_members(raw)
    if may_hold_wrapped(raw) and "contents" in spans:
        span = spans["contents"]
        contents = _without_foreign(raw[span.start : span.end], model, losses)
        raw = raw[: span.start] + contents + raw[span.end :]
    if any(
        not may_travel(tool.kind, allows_provider_tools=allows_provider_tools)
        for tool in prompt.provider_tools
    ):
        raw = _without_googles_tools(prompt, raw, losses)
    if "model" in spans:
        raw = _remove_member(raw, "model")
    if output_cap is not None and (
        prompt.output_tokens_max is None or output_cap < prompt.output_tokens_max
    ):
        raw = set_member(raw, ("generationConfig", "maxOutputTokens"), b"%d" % output_cap)
    return raw, losses.names()


def set_member(raw: bytes, path: tuple[str, ...], value: bytes) -> bytes:
    """``raw``, an object, with ``value`` at ``path``; objects on the way are made where they are missing or null."""
    name, *rest = path
    span = _find_members(raw).get(name)
    inner = value
    if rest:
        old = b"{}" if span is None else raw[span.start : span.end]
        inner = set_member(b"{}" if old == b"null" else old, tuple(rest), value)
    if span is not None:
        return raw[: span.start] + inner + raw[span.end :]
    at = raw.index(b"{") + 1
    comma = b"" if raw[at:].lstrip(_BLANK)[:1] == b"}" else b","
    return raw[:at] + b'"%s":%s%s' % (name.encode(), inner, comma) + raw[at:]


def _remove_member(raw: bytes, name: str) -> bytes:
    members = _find_members(raw)
    span = members[name]
    if span.begin != raw.index(b"{") + 1:
        return raw[: span.begin] + raw[span.end :]
    rest = raw[span.end :]
    bare = rest.lstrip(_BLANK)
    return raw[: span.begin] + (bare[1:] if bare[:1] == b"," else rest)


def _find_members(raw: bytes) -> dict[str, _Span]:
    """The members of the object ``raw`` by their camelCase name, in order; no key stands in it twice."""
    found: dict[str, _Span] = {}
    at = raw.index(b"{") + 1
    for name, value in _MEMBERS.decode(raw).items():
        begin = at
        at = _skip(raw, at, b",")
        end_of_key = _end_of_text(raw, at)
        start = _skip(raw, end_of_key, b":")
        at = start + len(memoryview(value))
        found[to_camel(name)] = _Span(name, begin, start, at)
    return found


def _skip(raw: bytes, at: int, extra: bytes) -> int:
    skipped = _BLANK + extra
    while raw[at : at + 1] and raw[at] in skipped:
        at += 1
    return at


def _end_of_text(raw: bytes, at: int) -> int:
    if raw[at : at + 1] != b'"':
        raise WireError(Failure("internal", "the request changed under the gateway's hands"))
    at += 1
    while raw[at] != 0x22:
        at += 2 if raw[at] == 0x5C else 1
    return at + 1


def _without_googles_tools(prompt: Prompt, raw: bytes, losses: Losses) -> bytes:
    for tool in prompt.provider_tools:
        losses.add(f"tools.{tool.kind}")
    for path in prompt.unknown:
        if to_camel(path) in _OF_GOOGLES_TOOLS:
            losses.add(path)
    if not prompt.tools:
        for name in ("tools", "toolConfig"):
            if name in _find_members(raw):
                raw = _remove_member(raw, name)
        return raw
    span = _find_members(raw)["tools"]
    raw = raw[: span.start] + _functions_only(raw[span.start : span.end]) + raw[span.end :]
    config = _find_members(raw).get("toolConfig")
    if config is None or raw[config.start : config.end] == b"null":
        return raw
    kept = raw[config.start : config.end]
    for path in _OF_GOOGLES_TOOLS:
        name = path.partition(".")[2]
        if name in _find_members(kept):
            kept = _remove_member(kept, name)
    return raw[: config.start] + kept + raw[config.end :]


def _functions_only(tools: bytes) -> bytes:
    """``tools`` without what Google runs; an object alone stays one."""
    is_list = tools[:1] == b"["
    kept: list[bytes] = []
    for entry in _ELEMENTS.decode(tools) if is_list else [msgspec.Raw(tools)]:
        for name, value in _MEMBERS.decode(entry).items():
            if to_camel(name) == "functionDeclarations" and bytes(value) not in (b"null", b"[]"):
                kept.append(b"{%s:%s}" % (msgspec.json.encode(name), bytes(value)))
    return b"[" + b",".join(kept) + b"]"


def _without_foreign(raw: bytes, model: str, losses: Losses) -> bytes:
    contents: Json = msgspec.json.decode(raw)
    listed = contents if isinstance(contents, list) else [contents]
    needs_signature = find_traits(model).needs_call_signature
    is_changed = False
    kept: list[Json] = []
    for content in listed:
        parts = content.get("parts") if isinstance(content, dict) else None
        if not isinstance(content, dict) or parts is None:
            kept.append(content)
            continue
        said: list[Json] = parts if isinstance(parts, list) else [parts]
        cleaned = _clean_parts(said, needs_signature=needs_signature)
        if cleaned is None:
            kept.append(content)
            continue
        is_changed = True
        if cleaned:
            kept.append({**content, "parts": cleaned})
    if not is_changed:
        return raw
    losses.add("messages[].reasoning_content")
    return msgspec.json.encode(kept)


def _clean_parts(parts: list[Json], *, needs_signature: bool) -> list[Json] | None:
    """The parts that Google may get; None if that is all of them."""
    cleaned: list[Json] = []
    is_changed = False
    for part in parts:
        name = _foreign_member(part)
        if name is None or not isinstance(part, dict):
            cleaned.append(part)
            continue
        is_changed = True
        rest = {key: value for key, value in part.items() if key != name}
        if any(to_camel(key) == "functionCall" for key in rest):
            if needs_signature:
                rest[name] = SIGNATURE_UNKNOWN
            cleaned.append(rest)
        elif rest.get("thought") is True:
            while cleaned and _is_unsigned_thought(cleaned[-1]):
                cleaned.pop()
        elif rest.get("text") != "" and rest:
            cleaned.append(rest)
    return cleaned if is_changed else None


def _foreign_member(part: Json) -> str | None:
    if not isinstance(part, dict):
        return None
    for name, value in part.items():
        if to_camel(name) == "thoughtSignature" and isinstance(value, str):
            issuer = unwrap_signature(value).issuer
            return name if issuer not in (None, ISSUER) else None
    return None


def _is_unsigned_thought(part: Json) -> bool:
    return (
        isinstance(part, dict)
        and part.get("thought") is True
        and not any(to_camel(name) == "thoughtSignature" and value for name, value in part.items())
    )
