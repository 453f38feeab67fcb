"""A request for embeddings → prompt: each text is one user's turn.

Promises: texts only; numbers of tokens are refused, for no detector can look into them; members that are not modelled
are kept by name. Source: OpenAI's OpenAPI document of 2026-08-21, ``CreateEmbeddingRequest``.
"""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from backends.wire.failure import WireError, invalid_request
from backends.wire.json_scan import read_object
from backends.wire.prompt import EmbeddingAsked, Hints, Json, Message, Prompt, Text
from backends.wire.reading import Allowed, check_range, explain_invalid, too_many

INPUTS_MAX = 2048
MEMBERS_MAX = 256
DIMENSIONS_MAX = 2**16
"""Only bounded; models have a few thousand."""
_ALLOWED: Allowed = ((re.compile("encoding_format"), "`float`, `base64`"),)


class _Said(msgspec.Struct):
    """The body, as far as the prompt models it."""

    model: str
    input: str | list[object] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


_KNOWN = frozenset(_Said.__struct_fields__)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_request(raw: bytes) -> Prompt:
    """The prompt in ``raw``. Raises ``WireError`` with the path of what is wrong."""
    tree = read_object(raw)
    if len(tree) > MEMBERS_MAX:
        raise invalid_request(f"the body may hold at most {MEMBERS_MAX} members")
    try:
        said = msgspec.convert(tree, _Said)
    except msgspec.ValidationError as error:
        raise explain_invalid(error, _ALLOWED) from error
    if not said.model:
        raise invalid_request("`model` must not be empty", param="model")
    check_range("dimensions", said.dimensions, 1, DIMENSIONS_MAX)
    return Prompt(
        format="openai-embeddings",
        raw=raw,
        request_model=said.model,
        messages=tuple(Message("user", (Text(text),)) for text in _texts(said.input)),
        hints=Hints(user=said.user),
        embedding=EmbeddingAsked(
            dimensions=said.dimensions, is_base64=said.encoding_format == "base64"
        ),
        unknown=_collect_unknown(tree, raw),
    )


def _texts(said: str | list[object] | None) -> list[str]:
    """What is to be embedded. Raises ``WireError``."""
    if said is None:
        message = "`input` is missing"
        raise invalid_request(message, param="input", code="missing_required_parameter")
    inputs = [said] if isinstance(said, str) else said
    if not inputs:
        raise invalid_request("`input` must not be empty", param="input", code="empty_array")
    if len(inputs) > INPUTS_MAX:
        raise too_many("input", INPUTS_MAX)
    texts: list[str] = []
    for at, text in enumerate(inputs):
        path = "input" if isinstance(said, str) else f"input[{at}]"
        if not isinstance(text, str):
            raise _no_text(text, path)
        if not text:
            raise invalid_request(f"`{path}` must not be empty", param=path, code="invalid_value")
        texts.append(text)
    return texts


def _no_text(value: object, path: str) -> WireError:
    message = f"`{path}` must be a text"
    if isinstance(value, int | list) and not isinstance(value, bool):
        message += (
            ", not numbers of tokens: no privacy detector can look into them (LangChain sends texts with "
            "`check_embedding_ctx_length=False`)"
        )
    return invalid_request(message, param=path, code="invalid_type")


def _collect_unknown(tree: Mapping[str, Json], raw: bytes) -> dict[str, bytes]:
    extra = [name for name in tree if name not in _KNOWN]
    if not extra:
        return {}
    members = _MEMBERS.decode(raw)
    return {name: bytes(members[name]) for name in extra}
