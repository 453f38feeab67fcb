"""OpenAI's newer words for what its chat format counts, both ways."""

import msgspec

from backends.wire.openai_chat.usage import OutputDetails, PromptDetails
from backends.wire.openai_chat.usage import RawUsage as ChatUsage
from backends.wire.openai_chat.usage import normalise_usage as normalise_chat
from backends.wire.usage import Usage


class RawUsage(msgspec.Struct):
    """The ``usage`` object."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: PromptDetails | None = None
    output_tokens_details: OutputDetails | None = None


def normalise_usage(raw: RawUsage) -> Usage | None:
    """Our usage; None where the host counted nothing, or counted what cannot be."""
    return normalise_chat(
        ChatUsage(
            prompt_tokens=raw.input_tokens,
            completion_tokens=raw.output_tokens,
            total_tokens=raw.total_tokens,
            prompt_tokens_details=raw.input_tokens_details,
            completion_tokens_details=raw.output_tokens_details,
        )
    )


def render_usage(usage: Usage) -> dict[str, object]:
    """OpenAI's usage object: its input includes what was cached, its output the thinking."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
