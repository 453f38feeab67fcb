"""The edits that pass-through makes to a client's body, and no others: everything else is byte-equal.

1. ``model`` becomes the host's name for it.
2. The output cap is lowered (``max_completion_tokens`` or ``max_tokens``, whichever is there) or inserted
   where a budget enforces one, and has the name that the host knows: a cap that it would not read is none.
3. ``stream_options.include_usage`` becomes true in streams.
4. Members that the host does not take are removed, and listed to the client.
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
from backends.wire.prompt import Prompt

CAPS = ("max_completion_tokens", "max_tokens")


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
    if inserted:
        edits.append(insert_first(raw, inserted))
    return apply_edits(raw, edits)


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
