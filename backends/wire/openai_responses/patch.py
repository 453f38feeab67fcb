"""The edits that pass-through to OpenAI makes to a client's body, and no others: everything else is byte-equal.

1. ``model`` becomes the host's name for it.
2. ``max_output_tokens`` is lowered, or inserted, to the cap that a budget enforces.
3. ``store`` becomes false: what is kept, moegate keeps, not the provider.
4. ``include`` gets ``reasoning.encrypted_content`` for a model that reasons, unless the client said ``store`` false
   itself: thinking that nobody keeps has to come with its signature, or could not go on in the next turn.
5. Tools that the provider runs are taken out where the gateway's terms do not allow them, with a choice that may
   name them, and listed; so are items of the input that bring such tools.
6. Thinking that OpenAI did not sign is taken out and listed: another provider's, and what holds neither a signature
   nor text, for it refers to what the provider would have kept.
"""

import msgspec

from backends.wire.json_patch import (
    Edit,
    Members,
    apply_edits,
    find_members,
    insert_first,
    put,
    removals,
)
from backends.wire.openai_responses.parsing import ENCRYPTED
from backends.wire.prompt import Prompt, ProviderTool, Reasoning, ToolCall
from backends.wire.provider_tools import may_travel
from backends.wire.signatures import is_wrapped

_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_WORDS = msgspec.json.Decoder(list[str])


class _Signed(msgspec.Struct):
    """What of an item says whose it is."""

    type: str | None = None
    encrypted_content: str | None = None
    content: msgspec.Raw = msgspec.Raw()


_SIGNED = msgspec.json.Decoder(_Signed)
_NOTHING = frozenset({b"", b"null", b"[]"})


def patch_request(
    prompt: Prompt,
    *,
    model: str,
    output_cap: int | None,
    allows_provider_tools: bool,
    asks_signatures: bool = False,
) -> tuple[bytes, tuple[str, ...]]:
    """The client's bytes with the edits above, and the names of what was taken out. ``asks_signatures``: the model
    signs its thinking."""
    raw = prompt.raw
    spans = find_members(raw)
    edits: list[Edit] = []
    inserted: list[bytes] = []
    put(spans, "model", msgspec.json.encode(model), edits, inserted)
    cap = prompt.output_tokens_max
    if output_cap is not None and (cap is None or output_cap < cap):
        put(spans, "max_output_tokens", b"%d" % output_cap, edits, inserted)
    if prompt.unknown.get("store") != b"false":
        put(spans, "store", b"false", edits, inserted)
        if asks_signatures:
            _ask_signatures(raw, spans, edits, inserted)
    banned = [
        tool
        for tool in prompt.provider_tools
        if not may_travel(tool.kind, allows_provider_tools=allows_provider_tools)
    ]
    lost = [f"tools.{tool.kind}" for tool in banned]
    if any(tool.path.startswith("tools[") for tool in banned):
        edits += _without_tools(prompt, raw, spans, banned)
    gone = {_index(tool) for tool in banned if tool.path.startswith("input[")}
    takes_thinking = holds_foreign(prompt)
    if gone or takes_thinking:
        start, end = spans["input"].value
        kept = [
            bytes(item)
            for at, item in enumerate(_RAWS.decode(raw[start:end]))
            if at not in gone and not _is_foreign(bytes(item))
        ]
        edits.append((start, end, b"[%b]" % b",".join(kept)))
    if takes_thinking:
        lost.append("input[].reasoning")
    if inserted:
        edits.append(insert_first(raw, inserted))
    return apply_edits(raw, edits), tuple(lost)


def holds_foreign(prompt: Prompt) -> bool:
    """Whether any thinking is another provider's, or nobody's."""
    return any(
        (isinstance(part, Reasoning) and part.issuer != "openai" and not _is_open(part))
        or (isinstance(part, ToolCall) and part.signature is not None)
        for message in prompt.messages
        for part in message.parts
    )


def _is_open(part: Reasoning) -> bool:
    """Thinking in plain text, which some hosts want back."""
    return part.signature is None and bool(part.text)


def _ask_signatures(raw: bytes, spans: Members, edits: list[Edit], inserted: list[bytes]) -> None:
    said = raw[slice(*spans["include"].value)] if "include" in spans else b"null"
    words = [] if said == b"null" else _WORDS.decode(said)
    if ENCRYPTED not in words:
        text = msgspec.json.encode([*words, ENCRYPTED])
        put(spans, "include", text, edits, inserted)


def _without_tools(
    prompt: Prompt, raw: bytes, spans: Members, banned: list[ProviderTool]
) -> list[Edit]:
    start, end = spans["tools"].value
    gone = {_index(tool) for tool in banned if tool.path.startswith("tools[")}
    kept = [bytes(one) for at, one in enumerate(_RAWS.decode(raw[start:end])) if at not in gone]
    strip = set[str]()
    edits: list[Edit] = []
    if kept:
        edits.append((start, end, b"[%b]" % b",".join(kept)))
    else:
        strip = {"tools", "tool_choice", "parallel_tool_calls"}
    if "tool_choice" in prompt.unknown or "tool_choice.tools" in prompt.unknown:
        strip.add("tool_choice")
    return edits + removals(raw, spans, frozenset(strip))


def _index(tool: ProviderTool) -> int:
    return int(tool.path[tool.path.index("[") + 1 : -1])


def _is_foreign(raw: bytes) -> bool:
    try:
        item = _SIGNED.decode(raw)
    except msgspec.DecodeError:
        return False
    if item.type != "reasoning":
        return False
    if item.encrypted_content:
        return is_wrapped(item.encrypted_content)
    return bytes(item.content) in _NOTHING
