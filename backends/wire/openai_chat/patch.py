"""The edits that pass-through makes to a client's body, and no others: everything else is byte-equal.

1. ``model`` becomes the host's name for it.
2. The output cap is lowered (``max_completion_tokens`` or ``max_tokens``, whichever is there) or inserted
   where a budget enforces one, and has the name that the host knows: a cap that it would not read is none.
3. ``stream_options.include_usage`` becomes true in streams.
4. Members that the host does not take are removed, and listed to the client.
5. Signatures that moegate wrapped, which are another provider's, are taken out and listed.
"""

import msgspec

from backends.wire.json_patch import (
    Edit,
    Members,
    apply_edits,
    find_members,
    insert_first,
    removals,
)
from backends.wire.openai_chat.signed import (
    DETAILS,
    EXTRA,
    SIGNATURE,
    is_signed,
    read_call_signature,
)
from backends.wire.prompt import Json, Prompt, Reasoning, ToolCall

CAPS = ("max_completion_tokens", "max_tokens")
FOREIGN = "messages[].reasoning_content"
"""How it is listed that signatures were taken out."""
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


def patch_request(
    prompt: Prompt,
    *,
    model: str,
    output_cap: int | None,
    ask_usage: bool,
    strip: frozenset[str] = frozenset(),
    cap_name: str = "max_completion_tokens",
) -> bytes:
    """The client's bytes with the edits above. ``cap_name`` is what the host calls the cap when the
    client sent none; ``strip`` names top-level members to remove."""
    raw = prompt.raw
    spans = find_members(raw)
    edits: list[Edit] = [(*spans["model"].value, msgspec.json.encode(model))]
    inserted: list[bytes] = []
    _edit_cap(raw, spans, output_cap, cap_name, edits, inserted)
    if ask_usage:
        _edit_usage(raw, spans, edits, inserted)
    edits += removals(raw, spans, strip)
    if holds_foreign(prompt):
        edits.append(_edit_foreign(raw, spans))
    if inserted:
        edits.append(insert_first(raw, inserted))
    return apply_edits(raw, edits)


def holds_foreign(prompt: Prompt) -> bool:
    """Whether any signature is another provider's. Only the assistant's messages hold any."""
    for message in prompt.messages:
        if message.role == "assistant":
            for part in message.parts:
                if isinstance(part, Reasoning):
                    return True
                if isinstance(part, ToolCall) and part.signature is not None:
                    return True
    return False


def drop_foreign(raw: bytes) -> bytes:
    """The body ``raw`` without other providers' signatures, each other byte as it came."""
    return apply_edits(raw, [_edit_foreign(raw, find_members(raw))])


def _edit_foreign(raw: bytes, spans: Members) -> Edit:
    start, end = spans["messages"].value
    messages = [_without_foreign(bytes(one)) for one in _RAWS.decode(raw[start:end])]
    return start, end, b"[%b]" % b",".join(messages)


def _without_foreign(message: bytes) -> bytes:
    """A message without what moegate wrapped, each other byte as it came."""
    spans = find_members(message)
    edits: list[Edit] = []
    if DETAILS in spans:
        start, end = spans[DETAILS].value
        text = message[start:end]
        details = _RAWS.decode(text) if text[:1] == b"[" else []
        kept = [bytes(one) for one in details if not is_signed(_read(one))]
        if details and not kept:
            edits = removals(message, spans, frozenset({DETAILS}))
        elif len(kept) < len(details):
            edits = [(start, end, b"[%b]" % b",".join(kept))]
    if "tool_calls" in spans:
        start, end = spans["tool_calls"].value
        if message[start : start + 1] == b"[":
            calls = [_without_signature(bytes(one)) for one in _RAWS.decode(message[start:end])]
            edits.append((start, end, b"[%b]" % b",".join(calls)))
    return apply_edits(message, edits)


def _without_signature(call: bytes) -> bytes:
    tree = _read(call)
    if not isinstance(tree, dict) or read_call_signature(tree) is None:
        return call
    spans = find_members(call)
    start, end = spans[EXTRA].value
    extra = _without_member(call[start:end], "google", SIGNATURE)
    if extra is None:
        return apply_edits(call, removals(call, spans, frozenset({EXTRA})))
    return apply_edits(call, [(start, end, extra)])


def _without_member(raw: bytes, *path: str) -> bytes | None:
    """The object ``raw`` without what stands at ``path``; None if nothing is left."""
    name, *rest = path
    spans = find_members(raw)
    start, end = spans[name].value
    inner = _without_member(raw[start:end], *rest) if rest else None
    if inner is not None:
        return apply_edits(raw, [(start, end, inner)])
    if len(spans) == 1:
        return None
    return apply_edits(raw, removals(raw, spans, frozenset({name})))


def _read(raw: bytes | msgspec.Raw) -> Json:
    value: Json = msgspec.json.decode(raw)
    return value


def _edit_cap(
    raw: bytes,
    spans: Members,
    cap: int | None,
    cap_name: str,
    edits: list[Edit],
    inserted: list[bytes],
) -> None:
    said: dict[str, int] = {}
    for name in CAPS:
        if name in spans and raw[slice(*spans[name].value)] != b"null":
            said[name] = int(raw[slice(*spans[name].value)])
            if cap is not None and cap < said[name]:
                edits.append((*spans[name].value, b"%d" % cap))
    if cap_name in said or (said and cap_name != "max_tokens"):
        return  # Whoever knows the newer name knows the older one too.
    if said and cap_name not in spans:
        edits.append((*spans["max_completion_tokens"].key, b'"max_tokens"'))
        return
    limits = [*said.values(), *(() if cap is None else (cap,))]
    if not limits:
        return
    text = b"%d" % min(limits)
    if cap_name in spans:
        edits.append((*spans[cap_name].value, text))
    else:
        inserted.append(b'"%s":%s' % (cap_name.encode(), text))


def _edit_usage(
    raw: bytes,
    spans: Members,
    edits: list[Edit],
    inserted: list[bytes],
) -> None:
    if "stream_options" not in spans:
        inserted.append(b'"stream_options":{"include_usage":true}')
        return
    start, end = spans["stream_options"].value
    options = raw[start:end]
    if options == b"null" or not options[1:-1].strip():
        edits.append((start, end, b'{"include_usage":true}'))
        return
    inner = find_members(options)
    if "include_usage" in inner:
        first, last = inner["include_usage"].value
        edits.append((start + first, start + last, b"true"))
    else:
        edits.append((start + 1, start + 1, b'"include_usage":true,'))
