"""What a Messages request looks like on the wire, as far as the prompt models it. Types only.

Source: Anthropic's Messages reference (``anthropic-version`` 2023-06-01) and its SDK's types (2.12.0). Content blocks
are read one by one in :mod:`blocks`, for there are many kinds that only Anthropic knows.
"""

from typing import Literal

import msgspec

ABSENT = msgspec.Raw()
"""A member that was not sent."""

Effort = Literal["low", "medium", "high", "xhigh", "max"]


class CacheControl(msgspec.Struct):
    """Keep everything up to here."""

    type: Literal["ephemeral"] = "ephemeral"
    ttl: Literal["5m", "1h"] | None = None


class Source(msgspec.Struct):
    """Where an image or a document comes from."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: msgspec.Raw = ABSENT


class Block(msgspec.Struct):
    """A content block of any kind that the prompt models."""

    type: str
    text: str | None = None
    source: Source | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = ABSENT
    tool_use_id: str | None = None
    content: msgspec.Raw = ABSENT
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    title: str | None = None
    cache_control: CacheControl | None = None


class SaidMessage(msgspec.Struct):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[msgspec.Raw]


class SaidTool(msgspec.Struct):
    """A tool: a function of the client's if it has no ``type`` of Anthropic's own."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = ABSENT
    strict: bool | None = None
    cache_control: CacheControl | None = None


class SaidChoice(msgspec.Struct):
    """Whether and what to call."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    """How to think."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class Format(msgspec.Struct):
    """The answer's form."""

    type: Literal["json_schema"]
    schema: msgspec.Raw = ABSENT


class OutputConfig(msgspec.Struct):
    """How to answer."""

    effort: Effort | None = None
    format: Format | None = None


class Metadata(msgspec.Struct):
    """About the request."""

    user_id: str | None = None


class SaidRequest(msgspec.Struct):
    """The whole body, as far as the prompt models it."""

    model: str
    messages: list[SaidMessage]
    max_tokens: int | None = None
    system: str | list[msgspec.Raw] | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: SaidChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: Metadata | None = None
    cache_control: CacheControl | None = None
    stream: bool | None = None
