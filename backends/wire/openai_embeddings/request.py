"""A request for embeddings → prompt: each text is one user's turn.

Promises: numbers of tokens become the texts that they are, so that they can be looked into; members that are not
modelled are kept by name. Source: OpenAI's OpenAPI document of 2026-08-21, ``CreateEmbeddingRequest``.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeGuard, cast

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.json_scan import read_object
from backends.wire.openai_embeddings.tokens import read_tokens
from backends.wire.prompt import EmbeddingAsked, Hints, Json, Message, Prompt, Text
from backends.wire.reading import Allowed, check_range, explain_invalid, too_many

INPUTS_MAX = 2048
NUMBERS_MAX = 300_000
"""Numbers of tokens in one request, as at OpenAI: a number of three bytes may stand for a text of 128."""
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
    texts, was_tokens = _texts(said.input)
    return Prompt(
        format="openai-embeddings",
        raw=raw,
        request_model=said.model,
        messages=tuple(Message("user", (Text(text),)) for text in texts),
        hints=Hints(user=said.user),
        embedding=EmbeddingAsked(
            dimensions=said.dimensions,
            is_base64=said.encoding_format == "base64",
            was_tokens=was_tokens,
        ),
        unknown=_collect_unknown(tree, raw),
    )


def _texts(said: str | list[object] | None) -> tuple[list[str], bool]:
    """What is to be embedded, and whether any of it was numbers of tokens. Raises ``WireError``."""
    if said is None:
        message = "`input` is missing"
        raise invalid_request(message, param="input", code="missing_required_parameter")
    if isinstance(said, str):
        return [_checked(said, "input")], False
    if not said:
        raise invalid_request("`input` must not be empty", param="input", code="empty_array")
    if (
        sum(len(cast("list[object]", one)) if isinstance(one, list) else 1 for one in said)
        > NUMBERS_MAX
    ):
        message = f"`input` may hold at most {NUMBERS_MAX} tokens"
        raise invalid_request(message, param="input", code="array_above_max_length")
    if _are_numbers(said):
        return [_decoded(said, "input")], True
    if len(said) > INPUTS_MAX:
        raise too_many("input", INPUTS_MAX)
    texts: list[str] = []
    for at, one in enumerate(said):
        path = f"input[{at}]"
        if isinstance(one, str):
            texts.append(_checked(one, path))
        elif isinstance(one, list):
            texts.append(_decoded(cast("list[object]", one), path))
        else:
            message = f"`{path}` must be a text, or a list of numbers of tokens"
            raise invalid_request(message, param=path, code="invalid_type")
    return texts, any(not isinstance(one, str) for one in said)


def _checked(text: str, path: str) -> str:
    if not text:
        raise invalid_request(f"`{path}` must not be empty", param=path, code="invalid_value")
    return text


def _are_numbers(said: Sequence[object]) -> TypeGuard[Sequence[int]]:
    return bool(said) and all(type(one) is int for one in said)


def _decoded(said: Sequence[object], path: str) -> str:
    """The text of a list of numbers. Raises ``WireError``."""
    text = read_tokens(said) if _are_numbers(said) else None
    if text is None:
        message = (
            f"`{path}` holds what is no token of OpenAI's embedding models (cl100k_base), so that no "
            "privacy detector can look into it; send the text"
        )
        raise invalid_request(message, param=path, code="invalid_value")
    return text


def _collect_unknown(tree: Mapping[str, Json], raw: bytes) -> dict[str, bytes]:
    extra = [name for name in tree if name not in _KNOWN]
    if not extra:
        return {}
    members = _MEMBERS.decode(raw)
    return {name: bytes(members[name]) for name in extra}
