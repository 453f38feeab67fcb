"""What the simulator gives for texts: vectors by rule, the same for the same text, close for texts that share words.

Each token adds or takes one at a place that its hash says; the sum is brought to length one, as embedding models do.
"""

import hashlib
from collections.abc import Sequence
from math import sqrt

import msgspec

DIMENSIONS = 64


class EmbeddingRequest(msgspec.Struct):
    """The body of ``/v1/embeddings``; SGLang takes numbers of tokens too."""

    input: str | list[str | int | list[int]]
    model: str = "default"
    dimensions: int | None = None


def read_inputs(said: EmbeddingRequest) -> list[str | list[int]]:
    """One entry for each text; loose numbers are the tokens of one."""
    if isinstance(said.input, str):
        return [said.input]
    numbers = [one for one in said.input if isinstance(one, int)]
    texts = [one for one in said.input if not isinstance(one, int)]
    return [numbers, *texts] if numbers else texts


def embed(tokens: Sequence[str], dimensions: int) -> list[float]:
    """The vector of ``tokens``, of length one."""
    counts = [0] * dimensions
    for token in tokens:
        digest = hashlib.blake2b(token.strip().lower().encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "little")
        counts[(number >> 1) % dimensions] += 1 if number & 1 else -1
    if not any(counts):
        counts[0] = 1
    length = sqrt(sum(count * count for count in counts))
    return [count / length for count in counts]
