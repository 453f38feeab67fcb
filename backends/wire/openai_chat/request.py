"""A chat request → prompt: everything understood, or refused with its place.

Promises: duplicate keys (which two readers may read in two ways), broken UTF-8, NaN, wrong types, unknown
roles and broken media are refused; members that are not modelled are kept by their path, so that what
travels is also looked at. The client's own bytes are kept for pass-through.
"""

import re
from collections.abc import Mapping, Sequence
from typing import cast, get_args

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.json_scan import read_object
from backends.wire.openai_chat.shapes import (
    AudioPart,
    ContentPart,
    FileBody,
    FilePart,
    ImagePart,
    ImageUrl,
    NamedChoice,
    ObjectFormat,
    RefusalPart,
    SaidCall,
    SaidMessage,
    SaidRequest,
    SaidTool,
    TextFormat,
    TextPart,
)
from backends.wire.openai_chat.signed import (
    DETAILS,
    EXTRA,
    read_call_signature,
    read_thinking,
)
from backends.wire.openai_chat.unmodelled import collect_unmodelled
from backends.wire.prompt import (
    Json,
    Media,
    Message,
    OutputSchema,
    Part,
    Prompt,
    ReasoningEffort,
    Refusal,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from backends.wire.reading import (
    Allowed,
    check_base64,
    check_range,
    explain_invalid,
    parse_data_url,
    too_many,
)

MESSAGES_MAX = 4096
TOOLS_MAX = 1024
PARTS_MAX = 16_384
"""Content parts, tool calls and pieces of thinking of all messages together."""
_CROWDS = ("content", "tool_calls", DETAILS)
MEMBERS_MAX = 256
CHOICES_MAX = 128
STOPS_MAX = 4
TOKENS_MAX = 2**31 - 1
"""Stops and choices as OpenAI limits them (API reference, 2026-08); the others only bounded, so that no request
keeps the gateway busy for seconds."""

_DECODER = msgspec.json.Decoder(SaidRequest)
SUCCESSORS: Mapping[str, str] = {"functions": "tools", "function_call": "tool_choice"}
"""What OpenAI replaced in November 2023. Answers to the old members have a shape of their own, which the
other providers' answers could not be given."""

_PARTS_OF: Mapping[Role, tuple[type[msgspec.Struct], ...]] = {
    "system": (TextPart,),
    "developer": (TextPart,),
    "user": (TextPart, ImagePart, AudioPart, FilePart),
    "assistant": (TextPart, RefusalPart),
    "tool": (TextPart, ImagePart, FilePart),
}

_ONLY_OF: Mapping[str, Role] = {
    "tool_calls": "assistant", "refusal": "assistant", "tool_call_id": "tool"
}  # fmt: skip
"""Members that one role has; many clients send them with every message, empty."""

_ALLOWED: Allowed = tuple(
    (re.compile(path), ", ".join(f"`{word}`" for word in words))
    for path, words in (
        (r"messages\[\d+\]\.role", get_args(Role)),
        (
            r"messages\[\d+\]\.content\[\d+\]\.type",
            ("text", "refusal", "image_url", "input_audio", "file"),
        ),
        (r"(tools\[\d+\]|messages\[\d+\]\.tool_calls\[\d+\]|tool_choice)\.type", ("function",)),
        (r"tool_choice", ("auto", "none", "required")),
        (r"reasoning_effort", get_args(ReasoningEffort)),
        (r"response_format\.type", ("text", "json_object", "json_schema")),
    )
)
"""What may stand at a path, for the message."""


def parse_request(raw: bytes) -> Prompt:
    """The prompt in ``raw``. Raises ``WireError`` with the path of what is wrong."""
    tree = read_object(raw)
    _refuse_crowds(tree)
    for name, successor in SUCCESSORS.items():
        if tree.get(name) is not None:
            message = f"`{name}` is no longer taken: send `{successor}`"
            raise invalid_request(message, param=name, code="unsupported_parameter")
    try:
        # Schemas are kept as they were written, which only a look at the text can do.
        said = (
            _DECODER.decode(raw)
            if "tools" in tree or "response_format" in tree
            else msgspec.convert(tree, SaidRequest)
        )
    except msgspec.ValidationError as error:
        raise explain_invalid(error, _ALLOWED) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise invalid_request(f"the body cannot be read as JSON: {error}") from error
    _check(said)
    unknown = collect_unmodelled(tree, raw)
    if said.top_logprobs and not said.logprobs:  # Nothing stands beside what was not asked for.
        unknown["top_logprobs"] = b"%d" % said.top_logprobs
    return Prompt(
        format="openai-chat",
        raw=raw,
        request_model=said.model,
        messages=_messages(said.messages, cast("list[dict[str, Json]]", tree["messages"])),
        tools=tuple(_tool(tool) for tool in said.tools or ()),
        tool_choice=_tool_choice(said),
        allows_parallel_calls=said.parallel_tool_calls,
        sampling=_sampling(said),
        output_tokens_max=_cap(said),
        output_schema=_output_schema(said),
        reasoning_effort=said.reasoning_effort,
        choices=said.n or 1,
        logprobs=(said.top_logprobs or 0) if said.logprobs else None,
        is_stream=bool(said.stream),
        wants_usage=bool(said.stream_options is not None and said.stream_options.include_usage),
        unknown=unknown,
    )


def _check(said: SaidRequest) -> None:
    """What types do not say."""
    if not said.model:
        raise invalid_request("`model` must not be empty", param="model")
    if not said.messages:
        message = "`messages` must not be empty"
        raise invalid_request(message, param="messages", code="empty_array")
    if isinstance(said.stop, list) and len(said.stop) > STOPS_MAX:
        raise too_many("stop", STOPS_MAX)
    check_range("max_tokens", said.max_tokens, 1, TOKENS_MAX)
    check_range("max_completion_tokens", said.max_completion_tokens, 1, TOKENS_MAX)
    check_range("n", said.n, 1, CHOICES_MAX)
    check_range("temperature", said.temperature, 0, 2)
    check_range("top_p", said.top_p, 0, 1)
    # SGLang and vLLM take -1 for every token.
    check_range("top_k", said.top_k, -1, TOKENS_MAX)
    check_range("top_logprobs", said.top_logprobs, 0, TOKENS_MAX)
    check_range("presence_penalty", said.presence_penalty, -2, 2)
    check_range("frequency_penalty", said.frequency_penalty, -2, 2)


def _refuse_crowds(tree: Mapping[str, object]) -> None:
    """Before anything is made of them."""
    if len(tree) > MEMBERS_MAX:
        raise invalid_request(f"the body may hold at most {MEMBERS_MAX} members")
    tools, messages = tree.get("tools"), tree.get("messages")
    if isinstance(tools, list) and len(cast("list[object]", tools)) > TOOLS_MAX:
        raise too_many("tools", TOOLS_MAX)
    if not isinstance(messages, list):
        return
    said = cast("list[object]", messages)
    if len(said) > MESSAGES_MAX:
        raise too_many("messages", MESSAGES_MAX)
    parts = 0
    for message in said:
        if isinstance(message, dict):
            members = cast("dict[str, object]", message)
            for crowd in map(members.get, _CROWDS):
                if isinstance(crowd, list):
                    parts += len(cast("list[object]", crowd))
    if parts > PARTS_MAX:
        words = f"`messages` may hold at most {PARTS_MAX} parts, tool calls and pieces of thinking"
        raise invalid_request(words, param="messages", code="array_above_max_length")


def _messages(
    said: Sequence[SaidMessage], trees: Sequence[Mapping[str, Json]]
) -> tuple[Message, ...]:
    names: dict[str, str] = {}
    messages: list[Message] = []
    for at, message in enumerate(said):
        _refuse_misplaced(message, at)
        if message.role == "tool":
            parts = _tool_result(message, at, names)
        else:
            parts = _parts(message, trees[at], at)
            for call in message.tool_calls or ():
                names[call.id] = call.function.name
        messages.append(Message(message.role, parts, message.name))
    return tuple(messages)


def _refuse_misplaced(message: SaidMessage, at: int) -> None:
    """In another role's message the prompt would not hold it, and yet its bytes would travel."""
    for name, role in _ONLY_OF.items():
        if message.role != role and getattr(message, name):
            path = f"messages[{at}].{name}"
            words = f"a message of role `{message.role}` cannot hold `{name}`"
            raise invalid_request(words, param=path, code="unknown_parameter")


def _parts(message: SaidMessage, tree: Mapping[str, Json], at: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    behind: Sequence[Part] = ()
    if message.role == "assistant" and DETAILS in tree:
        before, behind = read_thinking(tree)
        parts += before
    content = message.content
    if isinstance(content, str):
        parts.append(Text(content))
    elif content is not None:
        _check_parts(message.role, content, at)
        parts += [_part(part, at, number) for number, part in enumerate(content)]
    elif message.role != "assistant":
        path = f"messages[{at}].content"
        raise invalid_request(f"`{path}` is missing", param=path, code="missing_required_parameter")
    if message.refusal:
        parts.append(Refusal(message.refusal))
    parts += behind
    if message.tool_calls:
        calls = cast("list[dict[str, Json]]", tree["tool_calls"])
        parts += [_call(call, calls[n]) for n, call in enumerate(message.tool_calls)]
    return tuple(parts)


def _call(call: SaidCall, tree: Mapping[str, Json]) -> ToolCall:
    signed = read_call_signature(tree) if EXTRA in tree else None
    arguments = call.function.arguments or ""
    if signed is None:
        return ToolCall(call.id, call.function.name, arguments)
    return ToolCall(call.id, call.function.name, arguments, signed.signature, signed.issuer)


def _check_parts(role: Role, parts: Sequence[ContentPart], at: int) -> None:
    """Only what OpenAI lets a role say; a tool may show pictures too, as compatible hosts have it."""
    allowed = _PARTS_OF[role]
    for number, part in enumerate(parts):
        if not isinstance(part, allowed):
            path = f"messages[{at}].content[{number}].type"
            kind = type(part).__struct_config__.tag
            message = f"a message of role `{role}` cannot hold a part of type `{kind}`"
            raise invalid_request(message, param=path, code="invalid_value")


def _tool_result(message: SaidMessage, at: int, names: Mapping[str, str]) -> tuple[Part, ...]:
    if not message.tool_call_id:
        path = f"messages[{at}].tool_call_id"
        raise invalid_request(f"`{path}` is missing", param=path, code="missing_required_parameter")
    content: list[Text | Media] = []
    if isinstance(message.content, str):
        content.append(Text(message.content))
    elif message.content is not None:
        _check_parts("tool", message.content, at)
        for number, part in enumerate(message.content):
            converted = _part(part, at, number)
            if isinstance(converted, Text | Media):
                content.append(converted)
    call_id = message.tool_call_id
    return (ToolResult(call_id, tuple(content), names.get(call_id)),)


def _part(part: ContentPart, at: int, number: int) -> Text | Media | Refusal:
    path = f"messages[{at}].content[{number}]"
    match part:
        case TextPart():
            return Text(part.text)
        case RefusalPart():
            return Refusal(part.refusal)
        case ImagePart():
            return _image(part.image_url, f"{path}.image_url.url")
        case AudioPart():
            check_base64(part.input_audio.data, f"{path}.input_audio.data")
            kind = {"wav": "audio/wav", "mp3": "audio/mpeg"}.get(part.input_audio.format)
            if kind is None:
                message = f"`{part.input_audio.format[:40]}` is no audio format; send wav or mp3"
                raise invalid_request(message, param=f"{path}.input_audio.format")
            return Media("audio", kind, part.input_audio.data)
        case FilePart():
            return _file(part.file, f"{path}.file")


def _image(image: ImageUrl, path: str) -> Media:
    url = image.url
    if url[:5].lower() == "data:":
        kind, data = parse_data_url(url, path)
        if not kind.startswith("image/"):
            raise invalid_request(f"`{kind}` is no image", param=path, code="invalid_image")
        return Media("image", kind, data, detail=image.detail)
    if not url.lower().startswith(("https://", "http://")):
        message = "an image is a `data:` URL or an http(s) one"
        raise invalid_request(message, param=path, code="invalid_image_url")
    return Media("image", url=url, detail=image.detail)


def _file(file: FileBody, path: str) -> Media:
    if file.file_id is not None:
        message = "files are kept by one provider only; send the file itself as `file_data`"
        raise invalid_request(message, param=f"{path}.file_id")
    if not file.file_data:
        raise invalid_request(f"`{path}.file_data` is missing", param=f"{path}.file_data")
    if file.file_data[:5].lower() == "data:":
        kind, data = parse_data_url(file.file_data, f"{path}.file_data")
    else:
        kind, data = "application/pdf", file.file_data
        check_base64(data, f"{path}.file_data")
    return Media("document", kind, data, name=file.filename)


def _tool(tool: SaidTool) -> Tool:
    function = tool.function
    parameters = bytes(function.parameters)
    return Tool(
        function.name,
        function.description,
        None if parameters in (b"", b"null") else parameters,
        function.strict,
    )


def _tool_choice(said: SaidRequest) -> ToolChoice | None:
    choice = said.tool_choice
    if choice is None:
        return None
    if isinstance(choice, NamedChoice):
        return ToolChoice("named", choice.function.name)
    return ToolChoice(choice)


def _sampling(said: SaidRequest) -> Sampling:
    stop = (said.stop,) if isinstance(said.stop, str) else tuple(said.stop or ())
    return Sampling(
        temperature=said.temperature,
        top_p=said.top_p,
        top_k=said.top_k,
        seed=said.seed,
        stop=stop,
        presence_penalty=said.presence_penalty,
        frequency_penalty=said.frequency_penalty,
    )


def _cap(said: SaidRequest) -> int | None:
    caps = [cap for cap in (said.max_completion_tokens, said.max_tokens) if cap is not None]
    return min(caps) if caps else None


def _output_schema(said: SaidRequest) -> OutputSchema | None:
    shape = said.response_format
    if shape is None or isinstance(shape, TextFormat):
        return None
    if isinstance(shape, ObjectFormat):
        return OutputSchema()
    named = shape.json_schema
    schema = bytes(named.schema)
    return OutputSchema(
        None if schema in (b"", b"null") else schema, named.name, named.description, named.strict
    )
