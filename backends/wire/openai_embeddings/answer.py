"""Answers in OpenAI's shape: a host's → vectors, and vectors → a client's.

Promises: one vector for each text, in their order; a count that is none is none. See :mod:`backends.wire.embeddings`.
"""

import msgspec

from backends.wire.embeddings import Embeddings, broken, check_count, to_base64, to_numbers
from backends.wire.failure import WireError
from backends.wire.openai_chat.errors import ErrorBody, describe_stream_error
from backends.wire.openai_chat.usage import RawUsage, normalise_usage
from backends.wire.prompt import Prompt


class _Vector(msgspec.Struct):
    embedding: msgspec.Raw
    index: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Vector] | None = None
    model: str | None = None
    id: str | None = None
    usage: RawUsage | None = None
    error: ErrorBody | str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def parse_answer(prompt: Prompt, body: bytes) -> Embeddings:
    """What a host answered to ``prompt``. Raises ``WireError`` if it is no answer to it."""
    try:
        said = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WireError(broken(f"an answer that cannot be read: {error}")) from error
    if said.error is not None:
        raise WireError(describe_stream_error(said.error))
    data = said.data or []
    places = [at if one.index is None else one.index for at, one in enumerate(data)]
    if sorted(places) != list(range(len(data))):
        raise WireError(broken("vectors with numbers that are none of theirs"))
    ordered = dict(zip(places, data, strict=True))
    vectors = tuple(bytes(ordered[at].embedding) for at in range(len(data)))
    check_count(prompt, vectors)
    if not all(vector[:1] in (b"[", b'"') for vector in vectors):
        raise WireError(broken("a vector that is none"))
    usage = None if said.usage is None else normalise_usage(said.usage)
    return Embeddings(vectors, said.model or "", said.id or "", usage)


def render_answer(prompt: Prompt, said: Embeddings) -> bytes:
    """The answer for a client of the format. Raises ``WireError`` for vectors that are none."""
    wants_base64 = prompt.embedding is not None and prompt.embedding.is_base64
    convert = to_base64 if wants_base64 else to_numbers
    body: dict[str, object] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": at, "embedding": convert(vector)}
            for at, vector in enumerate(said.vectors)
        ],
        "model": said.response_model,
    }
    if said.usage is not None:
        counted = said.usage.input_tokens
        body["usage"] = {"prompt_tokens": counted, "total_tokens": counted}
    return msgspec.json.encode(body)
