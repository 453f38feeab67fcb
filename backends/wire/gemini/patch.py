"""The edits that pass-through makes to a client's Gemini body, and no others: everything else is byte-equal.

1. ``generationConfig.maxOutputTokens`` is lowered, or inserted where a budget enforces one.
2. ``model`` is taken out: it stands in the address.
3. Tools that Google runs are taken out where the terms forbid them, and listed, with what ``toolConfig`` says of
   them; without functions that is all of it, for Google refuses a choice among none.
4. Signatures of other issuers are taken out with their thinking; on a call, the documented stand-in replaces it
   where the model needs one.

Media by address have to be images, as for everybody: Gemini would fetch, and bill, videos and documents too.
"""

import msgspec

from backends.wire.gemini.content import refuse_addresses
from backends.wire.gemini.members import to_camel
from backends.wire.gemini.models import find_traits
from backends.wire.gemini.signed import (
    ISSUER,
    SIGNATURE_UNKNOWN,
    may_hold_wrapped,
    unwrap_signature,
)
from backends.wire.json_patch import (
    Edit,
    Members,
    apply_edits,
    find_members,
    insert_first,
    removals,
)
from backends.wire.prompt import Json, Prompt
from backends.wire.provider_tools import may_travel
from backends.wire.rendering import Losses

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_OF_GOOGLES_TOOLS = ("toolConfig.retrievalConfig", "toolConfig.includeServerSideToolInvocations")
"""What a request says of tools that Google runs, and of nothing else (API reference, November 2026)."""


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
        start, end = spans["contents"].value
        contents = _without_foreign(raw[start:end], model, losses)
        raw = apply_edits(raw, [(start, end, contents)])
    if any(
        not may_travel(tool.kind, allows_provider_tools=allows_provider_tools)
        for tool in prompt.provider_tools
    ):
        raw = _without_googles_tools(prompt, raw, losses)
    if "model" in spans:
        raw = _remove_members(raw, "model")
    if output_cap is not None and (
        prompt.output_tokens_max is None or output_cap < prompt.output_tokens_max
    ):
        raw = set_member(raw, ("generationConfig", "maxOutputTokens"), b"%d" % output_cap)
    return raw, losses.names()


def set_member(raw: bytes, path: tuple[str, ...], value: bytes) -> bytes:
    """``raw``, an object, with ``value`` at ``path``; objects on the way are made where they are missing or null."""
    name, *rest = path
    members = _find_members(raw)
    inner = value
    if rest:
        old = raw[slice(*members[name].value)] if name in members else b"null"
        inner = set_member(b"{}" if old == b"null" else old, tuple(rest), value)
    if name in members:
        return apply_edits(raw, [(*members[name].value, inner)])
    member = b'"%b":%b' % (name.encode(), inner)
    return apply_edits(raw, [insert_first(raw, [member])])


def _remove_members(raw: bytes, *names: str) -> bytes:
    return apply_edits(raw, removals(raw, _find_members(raw), frozenset(names)))


def _find_members(raw: bytes) -> Members:
    """The members of the object ``raw`` by their camelCase name, in order."""
    return {to_camel(name): member for name, member in find_members(raw).items()}


def _without_googles_tools(prompt: Prompt, raw: bytes, losses: Losses) -> bytes:
    for tool in prompt.provider_tools:
        losses.add(f"tools.{tool.kind}")
    for path in prompt.unknown:
        if to_camel(path) in _OF_GOOGLES_TOOLS:
            losses.add(path)
    if not prompt.tools:
        return _remove_members(raw, "tools", "toolConfig")
    members = _find_members(raw)
    start, end = members["tools"].value
    edits: list[Edit] = [(start, end, _functions_only(raw[start:end]))]
    if "toolConfig" in members:
        start, end = members["toolConfig"].value
        config = raw[start:end]
        if config != b"null":
            names = [path.partition(".")[2] for path in _OF_GOOGLES_TOOLS]
            edits.append((start, end, _remove_members(config, *names)))
    return apply_edits(raw, edits)


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
