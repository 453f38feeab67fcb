"""What providers count: believed where it can be, else bounded like what is not counted at all."""

import json

import pytest

from backends.wire.failure import WireError
from backends.wire.provider_usage import parse_provider_usage
from backends.wire.usage import COUNT_MAX

COUNTED_BY = {
    "openai": ("prompt_tokens", "completion_tokens"),
    "openai responses": ("input_tokens", "output_tokens"),
    "anthropic": ("input_tokens", "output_tokens"),
    "gemini": ("promptTokenCount", "candidatesTokenCount"),
}
BESIDE = {
    "openai responses": {"input_tokens_details": {}},
    "anthropic": {"cache_read_input_tokens": 0},
}


def usage_of(who: str, inward: int, outward: int) -> bytes:
    """A usage object in the words of ``who``."""
    names = COUNTED_BY[who]
    counts = dict(zip(names, (inward, outward), strict=True))
    return json.dumps(counts | BESIDE.get(who, {})).encode()


@pytest.mark.parametrize("who", COUNTED_BY)
@pytest.mark.parametrize("counts", [(COUNT_MAX + 1, 0), (1, COUNT_MAX), (10**30, 5), (7, 2**64)])
def test_impossible_counts_are_no_counts(who: str, counts: tuple[int, int]) -> None:
    """Beyond 2^53, alone or together, a count is not believed."""
    with pytest.raises(WireError, match="counts nothing"):
        parse_provider_usage(usage_of(who, *counts))


@pytest.mark.parametrize("who", COUNTED_BY)
def test_the_largest_count_is_believed(who: str) -> None:
    """Up to 2^53 it is exact, and taken as it is."""
    usage = parse_provider_usage(usage_of(who, COUNT_MAX - 5, 5))
    assert (usage.input_tokens, usage.output_tokens) == (COUNT_MAX - 5, 5)
