"""What an embedding is between the formats: vectors in the order of the texts, and what they used.

Promises: numbers keep the digits that their host wrote; base64 is OpenAI's (IEEE 754 single precision, little-endian),
and what is no vector of finite numbers is a ``WireError``. Nothing is normalised, cut or padded.
"""

import binascii
import sys
from array import array
from math import isfinite

import msgspec

from backends.wire.failure import Failure, WireError
from backends.wire.outcome import Outcome
from backends.wire.prompt import Prompt
from backends.wire.usage import Usage

_NUMBERS = msgspec.json.Decoder(list[float])
_TEXT = msgspec.json.Decoder(str)


class Embeddings(msgspec.Struct, frozen=True):
    """One answer. ``vectors``: for each text the JSON that the host wrote, a list of numbers or base64."""

    vectors: tuple[bytes, ...]
    response_model: str = ""
    response_id: str = ""
    usage: Usage | None = None


def check_count(prompt: Prompt, vectors: tuple[bytes, ...]) -> None:
    """Raises ``WireError`` unless there is one vector for each text of ``prompt``."""
    if len(vectors) != len(prompt.messages):
        detail = f"{len(vectors)} vectors for {len(prompt.messages)} texts"
        raise WireError(broken(detail))


def describe_outcome(said: Embeddings) -> Outcome:
    """What an answer was."""
    return Outcome(
        is_complete=True,
        usage=said.usage,
        response_model=said.response_model or None,
        response_id=said.response_id or None,
    )


def is_base64(vector: bytes) -> bool:
    """Whether a vector is written in base64."""
    return vector[:1] == b'"'


def to_numbers(vector: bytes) -> msgspec.Raw:
    """A vector as a JSON list of numbers. Raises ``WireError``."""
    if not is_base64(vector):
        _read_numbers(vector)
        return msgspec.Raw(vector)
    try:
        numbers = array("f", binascii.a2b_base64(_TEXT.decode(vector), strict_mode=True))
    except (msgspec.DecodeError, binascii.Error, ValueError, UnicodeError) as error:
        raise WireError(broken("a vector that is no base64 of numbers")) from error
    if sys.byteorder == "big":
        numbers.byteswap()
    if not numbers or not all(map(isfinite, numbers)):
        raise WireError(broken("a vector of what is no number"))
    return msgspec.Raw(msgspec.json.encode(numbers.tolist()))


def to_base64(vector: bytes) -> msgspec.Raw:
    """A vector as OpenAI's base64, in quotes. Raises ``WireError``."""
    if is_base64(vector):
        to_numbers(vector)
        return msgspec.Raw(vector)
    numbers = array("f", _read_numbers(vector))
    if not all(map(isfinite, numbers)):
        raise WireError(broken("a number beyond single precision"))
    if sys.byteorder == "big":
        numbers.byteswap()
    return msgspec.Raw(b'"' + binascii.b2a_base64(numbers.tobytes(), newline=False) + b'"')


def _read_numbers(vector: bytes) -> list[float]:
    try:
        numbers = _NUMBERS.decode(vector)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WireError(broken("a vector that is no list of numbers")) from error
    if not numbers:
        raise WireError(broken("a vector without numbers"))
    return numbers


def broken(detail: str) -> Failure:
    """An answer that is none; it may have cost something all the same."""
    message = "the provider's answer is broken"
    return Failure("upstream_failed", message, detail=detail, may_have_spent=True)
