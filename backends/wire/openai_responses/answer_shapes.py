"""What a Responses answer and its events look like on the wire, as far as they are read. Types only.

Source: OpenAI's OpenAPI document of 2026-08-21 and recorded answers of OpenAI, Azure, xAI, DeepSeek and OpenRouter.
"""

import msgspec

from backends.wire.openai_chat.errors import ErrorBody
from backends.wire.openai_responses.usage import RawUsage

ABSENT = msgspec.Raw()
"""A member that was not sent."""


class Kind(msgspec.Struct):
    """What an item or an event is."""

    type: str = ""
    id: str | None = None


class Part(msgspec.Struct):
    """A part of a message, or of thinking."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: msgspec.Raw = ABSENT
    logprobs: msgspec.Raw = ABSENT


class Message(msgspec.Struct):
    """A message."""

    content: list[Part] | None = None


class Call(msgspec.Struct):
    """A call of a function."""

    call_id: str = ""
    id: str | None = None
    name: str = ""
    arguments: str | None = ""
    namespace: str | None = None


class Thinking(msgspec.Struct):
    """Thinking, summed up or in full."""

    id: str | None = None
    summary: list[Part] | None = None
    content: list[Part] | None = None
    encrypted_content: str | None = None


class Details(msgspec.Struct):
    """Why an answer is not complete."""

    reason: str | None = None


class Response(msgspec.Struct):
    """The answer itself."""

    id: str | None = None
    model: str | None = None
    created_at: int | float | None = None
    status: str | None = None
    error: ErrorBody | str | None = None
    incomplete_details: Details | None = None
    output: list[msgspec.Raw] | None = None
    usage: RawUsage | None = None


class WithResponse(msgspec.Struct):
    """An event about the answer."""

    response: Response


class WithItem(msgspec.Struct):
    """An event about an item."""

    item: msgspec.Raw
    output_index: int = 0


class Delta(msgspec.Struct):
    """A piece of an item."""

    delta: str
    output_index: int = 0
    logprobs: msgspec.Raw = ABSENT
    content_index: int = 0
    summary_index: int = 0


class Done(msgspec.Struct):
    """A part of an item that is whole."""

    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None


class Added(msgspec.Struct):
    """An annotation of a text."""

    annotation: msgspec.Raw
    output_index: int = 0
    content_index: int = 0


class Error(msgspec.Struct):
    """An error: flat as the reference has it, or under ``error`` as servers send it."""

    error: ErrorBody | str | None = None
    message: str | None = None
    code: str | int | None = None
    param: str | None = None


KIND = msgspec.json.Decoder(Kind)
MESSAGE = msgspec.json.Decoder(Message)
CALL = msgspec.json.Decoder(Call)
THINKING = msgspec.json.Decoder(Thinking)
RESPONSE = msgspec.json.Decoder(Response)
WITH_RESPONSE = msgspec.json.Decoder(WithResponse)
WITH_ITEM = msgspec.json.Decoder(WithItem)
DELTA = msgspec.json.Decoder(Delta)
ADDED = msgspec.json.Decoder(Added)
DONE = msgspec.json.Decoder(Done)
ERROR = msgspec.json.Decoder(Error)
