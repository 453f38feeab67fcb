"""Members of a chat request that the prompt does not model: kept by path, so that what travels is seen.

Promises: every member at any place that :mod:`shapes` does not name is found; values are JSON text.
"""

from collections.abc import Mapping
from typing import cast

import msgspec

from backends.wire.openai_chat.shapes import (
    Called,
    FileBody,
    Function,
    ImageUrl,
    InputAudio,
    JsonSchema,
    SaidMessage,
    SaidRequest,
)
from backends.wire.openai_chat.signed import (
    DETAILS,
    EXTRA,
    collect_beside,
    collect_unsigned,
)
from backends.wire.prompt import Json

_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN = frozenset(SaidRequest.__struct_fields__)
_KNOWN_MESSAGE = frozenset(SaidMessage.__struct_fields__)
_KNOWN_PARTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "text": ("text", frozenset()),
    "refusal": ("refusal", frozenset()),
    "image_url": ("image_url", frozenset(ImageUrl.__struct_fields__)),
    "input_audio": ("input_audio", frozenset(InputAudio.__struct_fields__)),
    "file": ("file", frozenset(FileBody.__struct_fields__)),
}
_KNOWN_THINKING = _KNOWN_MESSAGE | {DETAILS, "reasoning_content", "reasoning"}
_KNOWN_UNCITED = _KNOWN_THINKING | {"annotations"}
_KNOWN_CALL = frozenset({"id", "type", "function", EXTRA})
_KNOWN_TOOL = frozenset({"type", "function"})
_KNOWN_FUNCTION = frozenset(Function.__struct_fields__)
_KNOWN_CALLED = frozenset(Called.__struct_fields__)
_KNOWN_SCHEMA = frozenset(JsonSchema.__struct_fields__)


def collect_unmodelled(tree: dict[str, Json], raw: bytes) -> dict[str, bytes]:
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
        has_schema = shape["type"] == "json_schema"
        known = frozenset({"type", "json_schema"} if has_schema else {"type"})
        _collect(shape, known, "response_format", inner)
        if has_schema:
            _collect(shape["json_schema"], _KNOWN_SCHEMA, "response_format.json_schema", inner)
    _collect(tree.get("stream_options"), frozenset({"include_usage"}), "stream_options", inner)
    choice = tree.get("tool_choice")
    if isinstance(choice, dict):
        _collect(choice, _KNOWN_TOOL, "tool_choice", inner)
        _collect(choice.get("function"), frozenset({"name"}), "tool_choice.function", inner)
    for path, value in inner.items():
        found[path] = msgspec.json.encode(value)
    return found


def _unknown_in_message(message: dict[str, Json], path: str, found: dict[str, Json]) -> None:
    if not message.keys() <= _KNOWN_MESSAGE:
        if message["role"] == "assistant":
            # OpenAI's SDK sends an answer back with a list of annotations, mostly an empty one.
            known = _KNOWN_THINKING if message.get("annotations") else _KNOWN_UNCITED
            _collect(message, known, path, found)
            collect_unsigned(message, path, found)
        else:
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
        if EXTRA in call:
            collect_beside(call, f"{path}.tool_calls[{number}]", found)
        _collect(call["function"], _KNOWN_CALLED, f"{path}.tool_calls[{number}].function", found)


def _collect(value: Json, known: frozenset[str], path: str, found: dict[str, Json]) -> None:
    if isinstance(value, dict) and not value.keys() <= known:
        for name in value:
            if name not in known:
                found[f"{path}.{name}"] = value[name]
