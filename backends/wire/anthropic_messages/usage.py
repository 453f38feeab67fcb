"""Claude's token counts in moegate's algebra.

Claude counts cache reads and writes beside ``input_tokens``; moegate counts them inside. Rounds of
context compaction are billed but stand only in ``iterations``, so they are added.
Source: Anthropic's prompt caching and compaction pages; recorded answers.
"""

import msgspec

from backends.wire.usage import Usage


class _CacheCreation(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Iteration(msgspec.Struct):
    type: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None


class RawUsage(msgspec.Struct):
    """``usage`` of a message, of ``message_start`` or (cumulative) of ``message_delta``."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None
    iterations: list[_Iteration] | None = None


def merge_usage(earlier: RawUsage | None, later: RawUsage) -> RawUsage:
    """``later`` with what it does not say taken from ``earlier``."""
    if earlier is None:
        return later
    for name in RawUsage.__struct_fields__:
        if getattr(later, name) is None:
            setattr(later, name, getattr(earlier, name))
    return later


def normalise_usage(raw: RawUsage) -> Usage | None:
    """Token counts with cached input inside the input and thinking inside the output.

    None if the input or the output is not counted at all, or is more than can be: what is not counted
    must be bounded, not booked as nothing.
    """
    if raw.input_tokens is None or raw.output_tokens is None:
        return None
    total = _Sum()
    total.add(
        raw.input_tokens,
        raw.output_tokens,
        raw.cache_read_input_tokens,
        raw.cache_creation_input_tokens,
        raw.cache_creation,
    )
    for step in raw.iterations or ():
        if step.type == "compaction":
            total.add(
                step.input_tokens,
                step.output_tokens,
                step.cache_read_input_tokens,
                step.cache_creation_input_tokens,
                step.cache_creation,
            )
    details = raw.output_tokens_details
    reasoning = 0 if details is None else details.thinking_tokens or 0
    return Usage(
        input_tokens=total.fresh + total.read + total.write + total.write_1h,
        output_tokens=total.output,
        cache_read_tokens=total.read,
        cache_write_tokens=total.write,
        cache_write_1h_tokens=total.write_1h,
        reasoning_tokens=min(max(0, reasoning), total.output),
    ).believed()


class _Sum:
    """Adds up one answer's rounds; counts below zero are taken as zero."""

    __slots__ = ("fresh", "output", "read", "write", "write_1h")

    def __init__(self) -> None:
        self.fresh = self.output = self.read = self.write = self.write_1h = 0

    def add(
        self,
        fresh: int | None,
        output: int | None,
        read: int | None,
        write: int | None,
        creation: _CacheCreation | None,
    ) -> None:
        written = max(0, write or 0)
        hour = 0 if creation is None else max(0, creation.ephemeral_1h_input_tokens or 0)
        hour = min(hour, written)
        self.fresh += max(0, fresh or 0)
        self.output += max(0, output or 0)
        self.read += max(0, read or 0)
        self.write += written - hour
        self.write_1h += hour
