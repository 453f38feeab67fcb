"""What a chat request looks like on the wire, as far as the prompt models it.

Types only; what they cannot say is checked in :mod:`request`, members beyond them are kept by
:mod:`unmodelled`. Source: OpenAI's OpenAPI document of 2026-08-21, ``CreateChatCompletionRequest``.
"""

from typing import Literal

import msgspec

from backends.wire.prompt import ReasoningEffort, Role

ABSENT = msgspec.Raw()
"""A member that was not sent."""


class ImageUrl(msgspec.Struct):
    """An image by address or as a ``data:`` URL."""

    url: str
    detail: str | None = None


class InputAudio(msgspec.Struct):
    """A sound in base64."""

    data: str
    format: str


class FileBody(msgspec.Struct):
    """A document in base64, or one that a provider keeps."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    """Text."""

    text: str


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    """The assistant's refusal."""

    refusal: str


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    """An image."""

    image_url: ImageUrl


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    """A sound."""

    input_audio: InputAudio


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    """A document."""

    file: FileBody


ContentPart = TextPart | RefusalPart | ImagePart | AudioPart | FilePart


class Called(msgspec.Struct):
    """What was called with what."""

    name: str
    arguments: str | None = ""


class SaidCall(msgspec.Struct):
    """A call that the assistant made."""

    id: str
    function: Called
    type: Literal["function"] = "function"


class SaidMessage(msgspec.Struct):
    """One message, of any role."""

    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[SaidCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None


class Function(msgspec.Struct):
    """A function that may be called."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw = ABSENT
    strict: bool | None = None


class SaidTool(msgspec.Struct):
    """A tool."""

    function: Function
    type: Literal["function"] = "function"


class NamedFunction(msgspec.Struct):
    """The name of a function."""

    name: str


class NamedChoice(msgspec.Struct):
    """The one tool that has to be called."""

    function: NamedFunction
    type: Literal["function"] = "function"


class JsonSchema(msgspec.Struct):
    """A schema for the answer."""

    name: str
    description: str | None = None
    schema: msgspec.Raw = ABSENT
    strict: bool | None = None


class TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    """Text, as if nothing was said."""


class ObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class SchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    """JSON by a schema."""

    json_schema: JsonSchema


class StreamOptions(msgspec.Struct):
    """What to add to a stream."""

    include_usage: bool | None = None


class SaidRequest(msgspec.Struct):
    """The whole body, as far as the prompt models it."""

    model: str
    messages: list[SaidMessage]
    tools: list[SaidTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: ReasoningEffort | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    top_k: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
