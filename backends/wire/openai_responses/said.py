"""What a Responses request looks like on the wire, as far as the prompt models it. Types only.

Source: OpenAI's OpenAPI document of 2026-08-21 (``CreateResponse``) and its SDK's types (2.54.0). Items of the input
and parts of their content are read one by one in :mod:`items`, for there are many kinds that only OpenAI knows.
"""

from typing import Literal

import msgspec

from backends.wire.prompt import ReasoningEffort

ABSENT = msgspec.Raw()
"""A member that was not sent."""


class Kind(msgspec.Struct):
    """What an item is; messages need not say it."""

    type: str | None = None
    role: str | None = None
    id: str | None = None


class SaidMessage(msgspec.Struct):
    """A message, in the easy form or in full."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[msgspec.Raw]
    type: str | None = None
    id: str | None = None
    status: str | None = None


class SaidAudio(msgspec.Struct):
    """A sound in base64."""

    data: str
    format: str


class SaidPart(msgspec.Struct):
    """A part of a message's content, or of a tool's result."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    input_audio: SaidAudio | None = None


class SaidCall(msgspec.Struct):
    """A call of a function."""

    type: str
    call_id: str
    name: str
    arguments: str | None = ""
    id: str | None = None
    status: str | None = None


class SaidOutput(msgspec.Struct):
    """What a function gave back."""

    type: str
    call_id: str
    output: str | list[msgspec.Raw]
    id: str | None = None
    status: str | None = None


class SaidText(msgspec.Struct):
    """A piece of thinking, summed up or in full."""

    text: str
    type: str | None = None


class SaidReasoning(msgspec.Struct):
    """Thinking."""

    type: str
    summary: list[SaidText] | None = None
    content: list[SaidText] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    status: str | None = None


class SaidTool(msgspec.Struct):
    """A tool; what is not of type ``function`` stays as it came."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = ABSENT
    strict: bool | None = None


class SaidFormat(msgspec.Struct):
    """The answer's form."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw = ABSENT
    strict: bool | None = None


class SaidTextConfig(msgspec.Struct):
    """How the answer's text is to be."""

    format: SaidFormat | None = None


class SaidThinking(msgspec.Struct):
    """How to think."""

    effort: ReasoningEffort | None = None
    summary: str | None = None
    generate_summary: str | None = None


class StreamOptions(msgspec.Struct):
    """How to stream. Events of ours are never padded."""

    include_obfuscation: bool | None = None


class SaidRequest(msgspec.Struct):
    """The whole body, as far as the prompt models it."""

    model: str | None = None
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = ABSENT
    parallel_tool_calls: bool | None = None
    text: SaidTextConfig | None = None
    reasoning: SaidThinking | None = None
    include: list[str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    top_logprobs: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
