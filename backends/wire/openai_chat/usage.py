"""OpenAI's way of counting, and its relatives', as our usage.

OpenAI's ``prompt_tokens`` includes cached and written tokens, its ``completion_tokens`` reasoning. xAI
counts reasoning beside the completion, which its total gives away. DeepSeek names cache hits apart.
"""

import msgspec

from backends.wire.usage import Usage


class PromptDetails(msgspec.Struct):
    """Parts of the input."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class OutputDetails(msgspec.Struct):
    """Parts of the output."""

    reasoning_tokens: int | None = None


class RawUsage(msgspec.Struct):
    """The ``usage`` object."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    reasoning_tokens: int | None = None


def normalise_usage(raw: RawUsage) -> Usage | None:
    """Our usage; None where the host counted nothing, or counted what cannot be."""
    if raw.prompt_tokens is None or raw.prompt_tokens < 0:
        return None
    prompt, output = raw.prompt_tokens, max(0, raw.completion_tokens or 0)
    inside = raw.prompt_tokens_details or PromptDetails()
    read = inside.cached_tokens
    if read is None:
        read = raw.prompt_cache_hit_tokens or 0
    read = min(max(0, read), prompt)
    write = min(max(0, inside.cache_write_tokens or 0), prompt - read)
    details = raw.completion_tokens_details or OutputDetails()
    reasoning = max(0, details.reasoning_tokens or raw.reasoning_tokens or 0)
    total = raw.total_tokens or 0
    if reasoning and total == prompt + output + reasoning:
        output += reasoning
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=min(reasoning, output),
    ).believed()
