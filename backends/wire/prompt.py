"""The internal request: what every client format parses into and every target format is rendered from.

Promises: values are immutable; opaque material (signatures, arguments, schemas) is kept byte for byte;
members that a codec does not know are kept by name in ``unknown``.
Does not validate against any provider; the codecs do. Next: :mod:`backends.wire.events`.
"""

from typing import Literal

import msgspec

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""Any JSON value; used at the wire only."""

WireFormat = Literal[
    "openai-chat",
    "openai-responses",
    "anthropic-messages",
    "gemini",
    "openai-completions",
    "openai-embeddings",
    "gemini-embeddings",
]
Role = Literal["system", "developer", "user", "assistant", "tool"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
CacheTtl = Literal["5m", "1h"]
"""For how long a prompt's beginning, up to the part that says so, is worth keeping."""


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request says beside its body, in its address and head.

    ``model`` and ``is_stream`` stand in Gemini's address; ``is_array``: its stream is wanted as a JSON array.
    ``is_batch``: Google is asked for several embeddings. ``betas`` are Anthropic's ``anthropic-beta``, as they were sent.
    """

    model: str | None = None
    is_stream: bool = False
    is_array: bool = False
    is_batch: bool = False
    betas: tuple[str, ...] = ()


class Text(msgspec.Struct, frozen=True, tag="text"):
    """Plain text of a message."""

    text: str
    cache_ttl: CacheTtl | None = None


class Media(msgspec.Struct, frozen=True, tag="media"):
    """An image, a piece of audio or a document: inline (``data``, base64 text) or by ``url``.

    ``media_type`` is an IANA type such as ``image/png``; ``detail`` is OpenAI's image detail. ``file_id`` names
    a file that one provider keeps.
    """

    kind: Literal["image", "audio", "document"]
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    name: str | None = None
    detail: str | None = None
    file_id: str | None = None
    cache_ttl: CacheTtl | None = None


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call"):
    """A call that the model made; ``arguments`` is JSON text exactly as it came (may be ``""``).

    ``signature`` is opaque, and only its ``issuer`` may get it back.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None
    issuer: str | None = None
    cache_ttl: CacheTtl | None = None


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result"):
    """What a tool gave back. ``name`` is resolved from the call where the format lacks it."""

    call_id: str
    content: tuple["Text | Media", ...]
    name: str | None = None
    is_error: bool = False
    cache_ttl: CacheTtl | None = None


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning"):
    """Visible thinking and the opaque signature that only its ``issuer`` may get back.

    Without text it is a signature that stood on the part before it (Gemini), or on thinking that was not
    shown. ``id`` is OpenAI's name for the item.
    """

    text: str
    signature: str | None = None
    issuer: str | None = None
    is_redacted: bool = False
    id: str | None = None


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """The model's own words of refusal."""

    text: str


class Opaque(msgspec.Struct, frozen=True, tag="opaque"):
    """A part that only the prompt's own format knows (a provider's search, its code, its item references):
    ``kind`` is that format's word, ``raw`` its JSON. It travels where the formats match and is listed
    as lost elsewhere."""

    kind: str
    raw: bytes


Part = Text | Media | ToolCall | ToolResult | Reasoning | Refusal | Opaque


class Message(msgspec.Struct, frozen=True):
    """One turn: who speaks and what, in order."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; ``parameters`` is its JSON Schema as JSON text."""

    name: str
    description: str | None = None
    parameters: bytes | None = None
    is_strict: bool | None = None
    cache_ttl: CacheTtl | None = None


class ProviderTool(msgspec.Struct, frozen=True):
    """A tool that the provider itself runs, or that is no function: ``kind`` is its format's word for it
    (``web_search``), ``raw`` its JSON, ``path`` where it stands (``tools[3]``)."""

    kind: str
    raw: bytes
    path: str


class ToolChoice(msgspec.Struct, frozen=True):
    """``auto``, ``none``, ``required`` (any tool) or ``named`` (``name``)."""

    mode: Literal["auto", "none", "required", "named"]
    name: str | None = None


class OutputSchema(msgspec.Struct, frozen=True):
    """Structured output: any JSON object (``schema`` is None) or a JSON Schema as JSON text."""

    schema: bytes | None = None
    name: str = "answer"
    description: str | None = None
    is_strict: bool | None = None


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How tokens are drawn; None is "not said"."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Hints(msgspec.Struct, frozen=True, omit_defaults=True):
    """What helps a provider and changes no answer: ``user`` is the end user's id, ``cache_key`` ties requests
    with a common beginning together, ``cache_ttl`` says for how long that is worth keeping."""

    user: str | None = None
    cache_key: str | None = None
    cache_ttl: CacheTtl | None = None


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """The gateway keeps the answer as ``response_id``, so that a later request may go on from it. ``raw`` is the
    client's body as it came; ``previous_id`` the kept response that it goes on from, whose conversation
    ``Prompt.raw`` repeats."""

    response_id: str
    raw: bytes
    previous_id: str | None = None


class EmbeddingAsked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wanted of the vectors of texts that shall be embedded, each message for itself, and not answered.

    ``dimensions`` of each vector; None is the model's own number, or another for each
    (``has_mixed_dimensions``). ``is_base64``: the client wants OpenAI's short form of the numbers.
    ``was_tokens``: the client sent numbers of tokens, and the messages hold the texts that they are.
    """

    dimensions: int | None = None
    has_mixed_dimensions: bool = False
    is_base64: bool = False
    was_tokens: bool = False


class Prompt(msgspec.Struct, frozen=True):
    """One request, independent of the format it came in.

    ``raw`` are the client's own bytes. ``unknown`` holds members the codec does not model, as JSON
    text by path, in the format's own names: they pass through where formats match and are scanned like text.
    ``output_tokens_max`` is the cap that the client asked for, ``choices`` is OpenAI's ``n``.
    ``logprobs``: the log probabilities of the answer's tokens are wanted, and of so many others beside each.
    ``wants_usage``: the client asked for usage in the stream. ``reasoning_effort`` ``none`` turns thinking
    off; ``reasoning_tokens_max`` is a budget for it in tokens; ``shows_reasoning``: the client wants (or does
    not want) to see it. ``kept`` is OpenAI's Responses' alone. ``embedding``: no answer is wanted but the messages'
    vectors.
    ``is_count``: only the number of the prompt's tokens is asked for.
    """

    format: WireFormat
    raw: bytes
    request_model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    allows_parallel_calls: bool | None = None
    sampling: Sampling = Sampling()
    output_tokens_max: int | None = None
    output_schema: OutputSchema | None = None
    reasoning_effort: ReasoningEffort | None = None
    reasoning_tokens_max: int | None = None
    shows_reasoning: bool | None = None
    provider_tools: tuple[ProviderTool, ...] = ()
    hints: Hints = Hints()
    choices: int = 1
    logprobs: int | None = None
    is_stream: bool = False
    wants_usage: bool = False
    asked: Asked = Asked()
    embedding: EmbeddingAsked | None = None
    unknown: dict[str, bytes] = {}
    kept: Kept | None = None
    is_count: bool = False
