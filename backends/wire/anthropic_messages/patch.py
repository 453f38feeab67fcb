"""The edits that pass-through to Anthropic makes to a client's body, and no others: everything else is byte-equal.

1. ``model`` becomes the host's name for it.
2. ``max_tokens`` is lowered to the cap that a budget enforces, and a thinking budget, which has to stay below
   it, with it; that is listed.
3. Tools that the provider runs are taken out where the gateway's terms do not allow them, and listed.
4. Thinking that Anthropic did not sign is taken out and listed: another provider's, or nobody's.
"""

import msgspec

from backends.wire.anthropic_messages.sampling import THINKING_TOKENS_MIN
from backends.wire.json_patch import Edit, Members, apply_edits, find_members, removals
from backends.wire.prompt import Prompt, Reasoning, ToolCall
from backends.wire.provider_tools import may_travel
from backends.wire.signatures import is_wrapped

_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


class _Signed(msgspec.Struct):
    """What of a block says whose it is."""

    type: str = ""
    signature: str | None = None
    data: str | None = None


_SIGNED = msgspec.json.Decoder(_Signed)


def patch_request(
    prompt: Prompt, *, model: str, output_cap: int | None, allows_provider_tools: bool
) -> tuple[bytes, tuple[str, ...]]:
    """The client's bytes with the edits above, and the names of what was taken out."""
    raw = prompt.raw
    spans = find_members(raw)
    edits: list[Edit] = [(*spans["model"].value, msgspec.json.encode(model))]
    cap = prompt.output_tokens_max
    if output_cap is not None and cap is not None and output_cap < cap:
        edits.append((*spans["max_tokens"].value, b"%d" % output_cap))
    lost: list[str] = []
    if output_cap is not None:
        edits += _budget_below(prompt, raw, spans, output_cap, lost)
    banned = [
        tool
        for tool in prompt.provider_tools
        if not may_travel(tool.kind, allows_provider_tools=allows_provider_tools)
    ]
    if banned:
        lost += [f"tools.{tool.kind}" for tool in banned]
        start, end = spans["tools"].value
        gone = {int(tool.path[len("tools[") : -1]) for tool in banned}
        kept = [bytes(one) for at, one in enumerate(_RAWS.decode(raw[start:end])) if at not in gone]
        named = prompt.tool_choice.name if prompt.tool_choice is not None else None
        strip = set[str]()
        if kept:
            edits.append((start, end, b"[" + b",".join(kept) + b"]"))
        else:
            strip = {"tools", "tool_choice"}
        if named is not None and all(tool.name != named for tool in prompt.tools):
            strip.add("tool_choice")
        edits += removals(raw, spans, frozenset(strip))
    if holds_foreign(prompt):
        start, end = spans["messages"].value
        edits.append((start, end, _without_foreign(raw[start:end])))
        lost.append("messages[].content.thinking")
    return apply_edits(raw, edits), tuple(lost)


def _budget_below(
    prompt: Prompt, raw: bytes, spans: Members, cap: int, lost: list[str]
) -> list[Edit]:
    """Thinking has to stay below ``max_tokens``, or the API refuses: its budget follows a cap."""
    budget = prompt.reasoning_tokens_max
    if budget is None or budget < cap:
        return []
    lost.append("thinking.budget_tokens")
    start, end = spans["thinking"].value
    if cap <= THINKING_TOKENS_MIN:
        return [(start, end, b'{"type":"disabled"}')]
    inner = find_members(raw[start:end])
    first, last = inner["budget_tokens"].value
    return [(start + first, start + last, b"%d" % max(THINKING_TOKENS_MIN, cap - 1))]


def holds_foreign(prompt: Prompt) -> bool:
    """Whether any thinking, or any signature, is not Anthropic's."""
    return any(
        (isinstance(part, Reasoning) and part.issuer != "anthropic")
        or (isinstance(part, ToolCall) and part.signature is not None)
        for message in prompt.messages
        for part in message.parts
    )


def _without_foreign(raw: bytes) -> bytes:
    """The messages without the blocks that Anthropic would refuse, each other byte as it came; a turn that is
    nothing else goes with them."""
    kept: list[bytes] = []
    for one in _RAWS.decode(raw):
        message = bytes(one)
        start, end = find_members(message)["content"].value
        if message[start : start + 1] == b"[":
            blocks = [bytes(block) for block in _RAWS.decode(message[start:end])]
            left = [block for block in blocks if not _is_foreign(block)]
            if blocks and not left:
                continue
            if len(left) < len(blocks):
                text = b"[" + b",".join(left) + b"]"
                message = apply_edits(message, [(start, end, text)])
        kept.append(message)
    return b"[" + b",".join(kept) + b"]"


def _is_foreign(raw: bytes) -> bool:
    try:
        block = _SIGNED.decode(raw)
    except msgspec.DecodeError:
        return False
    if block.type == "thinking":
        return not block.signature or is_wrapped(block.signature)
    return block.type == "redacted_thinking" and is_wrapped(block.data or "")
