"""A chat request → prompt: everything understood, or refused with its place.

Promises: duplicate keys (which two readers may read in two ways), broken UTF-8, NaN, wrong types, unknown
roles and broken media are refused; members that are not modelled are kept by their path, so that what
travels is also looked at. The client's own bytes are kept for pass-through.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NoReturn, cast

import msgspec

from backends.wire.failure import WireError, invalid_request
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

MESSAGES_MAX = 4096
CHOICES_MAX = 128
STOPS_MAX = 4

_ABSENT = msgspec.Raw()


class _ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class _InputAudio(msgspec.Struct):
    data: str
    format: str


class _File(msgspec.Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


class _ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    image_url: _ImageUrl


class _AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    input_audio: _InputAudio


class _FilePart(msgspec.Struct, tag_field="type", tag="file"):
    file: _File


_Part = _TextPart | _RefusalPart | _ImagePart | _AudioPart | _FilePart


class _Called(msgspec.Struct):
    name: str
    arguments: str | None = ""


class _Call(msgspec.Struct):
    id: str
    function: _Called
    type: Literal["function"] = "function"


class _Message(msgspec.Struct):
    role: Role
    content: str | list[_Part] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = _ABSENT
    strict: bool | None = None


class _Tool(msgspec.Struct):
    function: _Function
    type: Literal["function"] = "function"


class _NamedFunction(msgspec.Struct):
    name: str


class _NamedChoice(msgspec.Struct):
    function: _NamedFunction
    type: Literal["function"] = "function"


class _JsonSchema(msgspec.Struct):
    name: str
    description: str | None = None
    schema: msgspec.Raw = _ABSENT
    strict: bool | None = None


class _TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    pass


class _ObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    pass


class _SchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    json_schema: _JsonSchema


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | _NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _TextFormat | _ObjectFormat | _SchemaFormat | None = None
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
    stream_options: _StreamOptions | None = None
    top_k: int | None = None


_DECODER = msgspec.json.Decoder(_Request)
_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN = frozenset(_Request.__struct_fields__)
_KNOWN_MESSAGE = frozenset(_Message.__struct_fields__)
_KNOWN_PARTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "text": ("text", frozenset()),
    "refusal": ("refusal", frozenset()),
    "image_url": ("image_url", frozenset(_ImageUrl.__struct_fields__)),
    "input_audio": ("input_audio", frozenset(_InputAudio.__struct_fields__)),
    "file": ("file", frozenset(_File.__struct_fields__)),
}
_KNOWN_CALL = frozenset({"id", "type", "function"})
_KNOWN_TOOL = frozenset({"type", "function"})
_KNOWN_FUNCTION = frozenset(_Function.__struct_fields__)
_KNOWN_CALLED = frozenset(_Called.__struct_fields__)
_KNOWN_SCHEMA = frozenset(_JsonSchema.__struct_fields__)

_WORDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false",
          "array": "a list", "object": "an object", "null": "null"}  # fmt: skip
_DATA_URL = re.compile(
    r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.IGNORECASE
)


class _DuplicateKey(ValueError):
    pass


def parse_request(raw: bytes) -> Prompt:
    """The prompt in ``raw``. Raises ``WireError`` with the path of what is wrong."""
    tree = _read_tree(raw)
    try:
        said = _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        raise _explain(error) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise invalid_request(f"the body cannot be read as JSON: {error}") from error
    _check(said)
    unknown = _unknown(tree, raw)
    return Prompt(
        format="openai-chat",
        raw=raw,
        request_model=said.model,
        messages=_messages(said.messages),
        tools=tuple(_tool(tool) for tool in said.tools or ()),
        tool_choice=_tool_choice(said),
        allows_parallel_calls=said.parallel_tool_calls,
        sampling=_sampling(said),
        output_tokens_max=_cap(said),
        output_schema=_output_schema(said),
        reasoning_effort=said.reasoning_effort,
        choices=said.n or 1,
        is_stream=bool(said.stream),
        wants_usage=bool(said.stream_options is not None and said.stream_options.include_usage),
        unknown=unknown,
    )


def _read_tree(raw: bytes) -> dict[str, Json]:
    """The body by a reader that sees duplicate keys and words like NaN."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: byte {error.start} cannot stand there"
        raise invalid_request(message) from error
    try:
        tree: Json = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        message = f"the body is not JSON: {error.msg.lower()} at {place}"
        raise invalid_request(message, code="invalid_json") from error
    except _DuplicateKey as error:
        raise invalid_request(str(error), code="duplicate_key") from error
    except (RecursionError, ValueError) as error:
        message = "the body is nested too deeply or holds a number that is too long"
        raise invalid_request(message) from error
    if not isinstance(tree, dict):
        raise invalid_request("the body must be a JSON object")
    return tree


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _value in pairs:
            if key in seen:
                raise _DuplicateKey(f"the key `{key[:100]}` stands twice in one object")
            seen.add(key)
    return found


def _constant(word: str) -> NoReturn:
    raise _DuplicateKey(f"`{word}` is not JSON")


def _explain(error: msgspec.ValidationError) -> WireError:
    """msgspec's words as ours: what was expected, where."""
    message, _, where = str(error).partition(" - at `$")
    param = where.rstrip("`").lstrip(".") or None
    if match := re.fullmatch(r"Object missing required field `(\w+)`", message):
        param = f"{param}.{match[1]}" if param else match[1]
        return invalid_request(
            f"`{param}` is missing", param=param, code="missing_required_parameter"
        )
    if match := re.fullmatch(r"Expected `(.+)`, got `(\w+)`", message):
        expected = " or ".join(_WORDS.get(word.strip(), word) for word in match[1].split(" | "))
        got = _WORDS.get(match[2], match[2])
        return invalid_request(
            f"`{param or 'the body'}` must be {expected}, not {got}",
            param=param,
            code="invalid_type",
        )
    if match := re.fullmatch(r"Invalid (?:enum )?value '?(.*?)'?", message):
        return invalid_request(
            f"`{match[1][:100]}` is no value for `{param}`", param=param, code="invalid_value"
        )
    return invalid_request(f"{message[:1].lower()}{message[1:]}", param=param)


def _check(said: _Request) -> None:
    """What types do not say."""
    if not said.model:
        raise invalid_request("`model` must not be empty", param="model")
    if not said.messages:
        raise invalid_request("`messages` must not be empty", param="messages")
    if len(said.messages) > MESSAGES_MAX:
        raise invalid_request(f"`messages` may hold {MESSAGES_MAX} messages", param="messages")
    for name in ("max_tokens", "max_completion_tokens"):
        value = getattr(said, name)
        if value is not None and value < 1:
            raise invalid_request(f"`{name}` must be at least 1", param=name)
    if said.n is not None and not 1 <= said.n <= CHOICES_MAX:
        raise invalid_request(f"`n` must lie between 1 and {CHOICES_MAX}", param="n")
    if isinstance(said.stop, list) and len(said.stop) > STOPS_MAX:
        raise invalid_request(f"`stop` may hold {STOPS_MAX} texts", param="stop")
    _check_range("temperature", said.temperature, 0, 2)
    _check_range("top_p", said.top_p, 0, 1)
    _check_range("presence_penalty", said.presence_penalty, -2, 2)
    _check_range("frequency_penalty", said.frequency_penalty, -2, 2)


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise invalid_request(f"`{name}` must lie between {low} and {high}", param=name)


def _messages(said: Sequence[_Message]) -> tuple[Message, ...]:
    names: dict[str, str] = {}
    messages: list[Message] = []
    for at, message in enumerate(said):
        if message.role == "tool":
            parts = _tool_result(message, at, names)
        else:
            parts = _parts(message, at)
            for call in message.tool_calls or ():
                names[call.id] = call.function.name
        messages.append(Message(message.role, parts, message.name))
    return tuple(messages)


def _parts(message: _Message, at: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    content = message.content
    if isinstance(content, str):
        parts.append(Text(content))
    elif content is not None:
        parts += [_part(part, at, number) for number, part in enumerate(content)]
    elif message.role != "assistant":
        path = f"messages[{at}].content"
        raise invalid_request(f"`{path}` is missing", param=path, code="missing_required_parameter")
    if message.refusal:
        parts.append(Refusal(message.refusal))
    if message.tool_calls and message.role != "assistant":
        path = f"messages[{at}].tool_calls"
        raise invalid_request("only the assistant's messages hold tool calls", param=path)
    parts += [
        ToolCall(call.id, call.function.name, call.function.arguments or "")
        for call in message.tool_calls or ()
    ]
    return tuple(parts)


def _tool_result(message: _Message, at: int, names: Mapping[str, str]) -> tuple[Part, ...]:
    if not message.tool_call_id:
        path = f"messages[{at}].tool_call_id"
        raise invalid_request(f"`{path}` is missing", param=path, code="missing_required_parameter")
    content: list[Text | Media] = []
    if isinstance(message.content, str):
        content.append(Text(message.content))
    for number, part in enumerate(message.content if isinstance(message.content, list) else ()):
        converted = _part(part, at, number)
        if isinstance(converted, Text | Media):
            content.append(converted)
    call_id = message.tool_call_id
    return (ToolResult(call_id, tuple(content), names.get(call_id)),)


def _part(part: _Part, at: int, number: int) -> Text | Media | Refusal:
    path = f"messages[{at}].content[{number}]"
    match part:
        case _TextPart():
            return Text(part.text)
        case _RefusalPart():
            return Refusal(part.refusal)
        case _ImagePart():
            return _image(part.image_url, f"{path}.image_url.url")
        case _AudioPart():
            _check_base64(part.input_audio.data, f"{path}.input_audio.data")
            kind = {"wav": "audio/wav", "mp3": "audio/mpeg"}.get(part.input_audio.format)
            if kind is None:
                message = f"`{part.input_audio.format[:40]}` is no audio format; send wav or mp3"
                raise invalid_request(message, param=f"{path}.input_audio.format")
            return Media("audio", kind, part.input_audio.data)
        case _FilePart():
            return _file(part.file, f"{path}.file")


def _image(image: _ImageUrl, path: str) -> Media:
    url = image.url
    if url[:5].lower() == "data:":
        kind, data = _data_url(url, path)
        if not kind.startswith("image/"):
            raise invalid_request(f"`{kind}` is no image", param=path, code="invalid_image")
        return Media("image", kind, data, detail=image.detail)
    if not url.lower().startswith(("https://", "http://")):
        message = "an image is a `data:` URL or an http(s) one"
        raise invalid_request(message, param=path, code="invalid_image_url")
    return Media("image", url=url, detail=image.detail)


def _file(file: _File, path: str) -> Media:
    if file.file_id is not None:
        message = "files are kept by one provider only; send the file itself as `file_data`"
        raise invalid_request(message, param=f"{path}.file_id")
    if not file.file_data:
        raise invalid_request(f"`{path}.file_data` is missing", param=f"{path}.file_data")
    if file.file_data[:5].lower() == "data:":
        kind, data = _data_url(file.file_data, f"{path}.file_data")
    else:
        kind, data = "application/pdf", file.file_data
        _check_base64(data, f"{path}.file_data")
    return Media("document", kind, data, name=file.filename)


def _data_url(url: str, path: str) -> tuple[str, str]:
    match = _DATA_URL.match(url)
    if match is None or match[3] is None:
        message = "a `data:` URL needs a type and base64: `data:image/png;base64,…`"
        raise invalid_request(message, param=path, code="invalid_image")
    data = url[match.end() :]
    _check_base64(data, path)
    return (match[1] or "application/octet-stream").lower(), data


def _check_base64(data: str, path: str) -> None:
    try:
        is_empty = not base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_request("this is not base64", param=path, code="invalid_base64") from error
    if is_empty:
        raise invalid_request("this holds no data", param=path, code="invalid_base64")


def _tool(tool: _Tool) -> Tool:
    function = tool.function
    parameters = bytes(function.parameters)
    return Tool(
        function.name,
        function.description,
        None if parameters in (b"", b"null") else parameters,
        function.strict,
    )


def _tool_choice(said: _Request) -> ToolChoice | None:
    choice = said.tool_choice
    if choice is None:
        return None
    if isinstance(choice, _NamedChoice):
        return ToolChoice("named", choice.function.name)
    return ToolChoice(choice)


def _sampling(said: _Request) -> Sampling:
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


def _cap(said: _Request) -> int | None:
    caps = [cap for cap in (said.max_completion_tokens, said.max_tokens) if cap is not None]
    return min(caps) if caps else None


def _output_schema(said: _Request) -> OutputSchema | None:
    shape = said.response_format
    if shape is None or isinstance(shape, _TextFormat):
        return None
    if isinstance(shape, _ObjectFormat):
        return OutputSchema()
    named = shape.json_schema
    schema = bytes(named.schema)
    return OutputSchema(
        None if schema in (b"", b"null") else schema, named.name, named.description, named.strict
    )


def _unknown(tree: dict[str, Json], raw: bytes) -> dict[str, bytes]:
    """Members that nobody modelled, by path: the whole body's as they came, inner ones by value."""
    found: dict[str, bytes] = {}
    extra = tree.keys() - _KNOWN
    if extra:
        members = _RAW_MEMBERS.decode(raw)
        found = {name: bytes(members[name]) for name in tree if name in extra}
    inner: dict[str, Json] = {}
    for at, message in enumerate(cast("list[dict[str, Json]]", tree["messages"])):
        _unknown_in_message(message, f"messages[{at}]", inner)
    for at, tool in enumerate(cast("list[dict[str, Json]]", tree.get("tools") or [])):
        _collect(tool, _KNOWN_TOOL, f"tools[{at}]", inner)
        _collect(tool["function"], _KNOWN_FUNCTION, f"tools[{at}].function", inner)
    shape = tree.get("response_format")
    if isinstance(shape, dict):
        _collect(shape, frozenset({"type", "json_schema"}), "response_format", inner)
        _collect(shape.get("json_schema"), _KNOWN_SCHEMA, "response_format.json_schema", inner)
    _collect(tree.get("stream_options"), frozenset({"include_usage"}), "stream_options", inner)
    choice = tree.get("tool_choice")
    if isinstance(choice, dict):
        _collect(choice, _KNOWN_TOOL, "tool_choice", inner)
        _collect(choice.get("function"), frozenset({"name"}), "tool_choice.function", inner)
    for path, value in inner.items():
        found[path] = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return found


def _unknown_in_message(message: dict[str, Json], path: str, found: dict[str, Json]) -> None:
    if not message.keys() <= _KNOWN_MESSAGE:
        _collect(message, _KNOWN_MESSAGE, path, found)
    content = message.get("content")
    if isinstance(content, list):
        for number, part in enumerate(cast("list[dict[str, Json]]", content)):
            member, inner = _KNOWN_PARTS[str(part["type"])]
            _collect(part, frozenset({"type", member}), f"{path}.content[{number}]", found)
            if inner:
                _collect(part[member], inner, f"{path}.content[{number}].{member}", found)
    for number, call in enumerate(cast("list[dict[str, Json]]", message.get("tool_calls") or [])):
        _collect(call, _KNOWN_CALL, f"{path}.tool_calls[{number}]", found)
        _collect(call["function"], _KNOWN_CALLED, f"{path}.tool_calls[{number}].function", found)


def _collect(value: Json, known: frozenset[str], path: str, found: dict[str, Json]) -> None:
    if isinstance(value, dict) and not value.keys() <= known:
        for name in value:
            if name not in known:
                found[f"{path}.{name}"] = value[name]
