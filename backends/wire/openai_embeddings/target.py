"""Prompt → the body of a request for embeddings; and the edits that pass-through makes to a client's own, no others.

1. ``model`` becomes the host's name for it.
2. ``encoding_format`` becomes ``float`` where the host may not know base64; the gateway then encodes the answer.
3. ``dimensions`` has the name that the host knows.
4. Numbers of tokens become the texts that they are, which is what was looked at.
5. Members that the owner of a server of one's own decides are removed, and listed.
"""

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.json_patch import Edit, apply_edits, find_members, removals
from backends.wire.prompt import EmbeddingAsked, Prompt, Text
from backends.wire.rendering import Losses, Rendered

_ENCODER = msgspec.json.Encoder()


def patch_request(
    prompt: Prompt,
    *,
    model: str,
    knows_base64: bool,
    dimensions_name: str = "dimensions",
    strip: frozenset[str] = frozenset(),
) -> bytes:
    """The client's bytes with the edits above."""
    raw = prompt.raw
    spans = find_members(raw)
    edits: list[Edit] = [(*spans["model"].value, _ENCODER.encode(model))]
    asked = prompt.embedding or EmbeddingAsked()
    if asked.was_tokens:
        edits.append((*spans["input"].value, _ENCODER.encode(_texts(prompt))))
    if not knows_base64 and asked.is_base64:
        edits.append((*spans["encoding_format"].value, b'"float"'))
    if "dimensions" in spans and dimensions_name != "dimensions":
        edits.append((*spans["dimensions"].key, _ENCODER.encode(dimensions_name)))
    edits += removals(raw, spans, strip)
    return apply_edits(raw, edits)


def render_request(prompt: Prompt, *, model: str, dimensions_name: str = "dimensions") -> Rendered:
    """The body for a client of another format. Raises ``WireError`` for what the format cannot ask at all."""
    losses = Losses(prompt.format)
    asked = prompt.embedding
    body: dict[str, object] = {
        "model": model,
        "input": _texts(prompt),
        "encoding_format": "float",
    }
    if asked is not None and asked.has_mixed_dimensions:
        message = "this target gives all vectors of a request the same number of dimensions"
        raise invalid_request(message, param="requests[].outputDimensionality")
    if asked is not None and asked.dimensions is not None:
        body[dimensions_name] = asked.dimensions
    losses.add_places(prompt.unknown)
    return Rendered(_ENCODER.encode(body), losses.names())


def _texts(prompt: Prompt) -> list[str]:
    return [
        "\n".join(part.text for part in message.parts if isinstance(part, Text))
        for message in prompt.messages
    ]
