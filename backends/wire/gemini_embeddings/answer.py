"""Answers in Google's shape: Google's → vectors, and vectors → a client's.

Promises: one vector for each content, in their order. Older models count nothing: then there is no usage, and a
bound is booked. See :mod:`backends.wire.embeddings`.
"""

import msgspec

from backends.wire.embeddings import Embeddings, broken, check_count, to_numbers
from backends.wire.failure import WireError
from backends.wire.prompt import Prompt
from backends.wire.usage import Usage


class _Vector(msgspec.Struct):
    values: msgspec.Raw


class _Counted(msgspec.Struct):
    prompt_tokens: int | None = msgspec.field(default=None, name="promptTokenCount")


class _Answer(msgspec.Struct):
    embeddings: list[_Vector] | None = None
    embedding: _Vector | None = None
    usage: _Counted | None = msgspec.field(default=None, name="usageMetadata")


_ANSWER = msgspec.json.Decoder(_Answer)


def parse_answer(prompt: Prompt, body: bytes, *, model: str) -> Embeddings:
    """What ``model`` answered to ``prompt``. Raises ``WireError`` if it is no answer to it."""
    try:
        said = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WireError(broken(f"an answer that cannot be read: {error}")) from error
    listed = said.embeddings or ([] if said.embedding is None else [said.embedding])
    vectors = tuple(bytes(one.values) for one in listed)
    check_count(prompt, vectors)
    if not all(vector[:1] == b"[" for vector in vectors):
        raise WireError(broken("a vector that is none"))
    counted = None if said.usage is None else said.usage.prompt_tokens
    usage = None if counted is None or counted < 0 else Usage(input_tokens=counted).believed()
    return Embeddings(vectors, response_model=model, usage=usage)


def render_answer(prompt: Prompt, said: Embeddings) -> bytes:
    """The answer for a client of the format. Raises ``WireError`` for vectors that are none."""
    vectors = [{"values": to_numbers(vector)} for vector in said.vectors]
    body: dict[str, object] = (
        {"embeddings": vectors} if prompt.asked.is_batch else {"embedding": vectors[0]}
    )
    if said.usage is not None:
        body["usageMetadata"] = {"promptTokenCount": said.usage.input_tokens}
    return msgspec.json.encode(body)
