"""Prompt → the body of ``batchEmbedContents``; and the one edit that pass-through makes to a client's own body.

The edit: every ``model`` becomes Google's name for it, as the address has it.
"""

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.json_patch import Edit, apply_edits, find_members
from backends.wire.prompt import Prompt, Text
from backends.wire.rendering import Losses, Rendered

BATCH_MAX = 100
"""Google's limit (Gemini API reference, ``BatchEmbedContentsRequest``)."""
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


def patch_request(prompt: Prompt, *, model: str) -> bytes:
    """The client's bytes with the edit above."""
    raw = prompt.raw
    name = _ENCODER.encode(f"models/{model}")
    members = find_members(raw)
    edits: list[Edit] = []
    if "model" in members:
        edits.append((*members["model"].value, name))
    if "requests" in members:
        start, end = members["requests"].value
        listed = raw[start:end]
        # An object alone is a list of one, as Google reads it.
        elements = _ELEMENTS.decode(listed) if listed[:1] == b"[" else [listed]
        at = start
        for element in elements:
            at = raw.index(b"{", at)
            inner = find_members(bytes(element))
            if "model" in inner:
                begin, stop = inner["model"].value
                edits.append((at + begin, at + stop, name))
            at += len(memoryview(element))
    return apply_edits(raw, edits)


def render_request(prompt: Prompt, *, model: str) -> Rendered:
    """The body for a client of another format. Raises ``WireError`` for more texts than Google takes at once."""
    if len(prompt.messages) > BATCH_MAX:
        message = f"google embeds at most {BATCH_MAX} texts a request"
        raise invalid_request(message, param="input", code="array_above_max_length")
    losses = Losses(prompt.format)
    asked = prompt.embedding
    more: dict[str, object] = {}
    if asked is not None and asked.dimensions is not None:
        more["outputDimensionality"] = asked.dimensions
    requests = [
        {
            "model": f"models/{model}",
            "content": {
                "parts": [{"text": part.text} for part in message.parts if isinstance(part, Text)]
            },
            **more,
        }
        for message in prompt.messages
    ]
    if prompt.hints.user is not None:
        losses.add("user")
    losses.add_places(prompt.unknown)
    return Rendered(_ENCODER.encode({"requests": requests}), losses.names())
