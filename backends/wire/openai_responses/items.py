"""Items of a client's input → messages.

Promises: every item becomes a part: what the prompt does not model is kept whole (:class:`Opaque`), so that it is
seen by detectors, passes to OpenAI and is listed elsewhere. What the assistant said in one go (thinking, text,
calls) is one message, and so are the results behind it: other formats want it so. Signatures that are wrapped in
another issuer's name come back as that issuer's.
"""

import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import msgspec

from backends.wire.failure import WireError, invalid_request
from backends.wire.openai_responses.content import (
    ANSWERING,
    ASKING,
    NOTHING,
    RESULTS,
    note_unmodelled,
    read_part,
)
from backends.wire.openai_responses.marks import CALL_MARK, HIDDEN_MARK, unwrap_signature
from backends.wire.openai_responses.said import (
    Kind,
    SaidCall,
    SaidMessage,
    SaidOutput,
    SaidReasoning,
    SaidText,
)
from backends.wire.prompt import (
    Json,
    Media,
    Message,
    Opaque,
    Part,
    ProviderTool,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from backends.wire.reading import Allowed, explain_invalid

S = TypeVar("S", bound=msgspec.Struct)

_KIND = msgspec.json.Decoder(Kind)
_MESSAGE = msgspec.json.Decoder(SaidMessage)
_CALL = msgspec.json.Decoder(SaidCall)
_OUTPUT = msgspec.json.Decoder(SaidOutput)
_REASONING = msgspec.json.Decoder(SaidReasoning)
_PIECE = msgspec.json.Decoder(SaidText)
_KNOWN = {
    "message": frozenset({"type", "role", "content", "id", "status"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments", "id", "status"}),
    "function_call_output": frozenset({"type", "call_id", "output", "id", "status"}),
    "reasoning": frozenset({"type", "summary", "content", "encrypted_content", "id", "status"}),
}
_TEXT_MEMBERS = frozenset({"type", "text"})
_STATES = frozenset({None, "completed", "in_progress", "incomplete"})
_PLAIN_ID = re.compile(r"(?:msg|rs|fc)_[0-9a-f]{32,80}")
"""OpenAI's own ids: nothing that has to be looked at fits in."""
_ALLOWED: Allowed = ((re.compile(r"role"), "`user`, `assistant`, `system`, `developer`"),)
_ADDRESSES: Mapping[str, Literal["image", "document"]] = {
    "image_url": "image",
    "file_url": "image",
    "file_data": "document",
}
_HOLDS_TOOLS = frozenset({"additional_tools", "tool_search_output"})


class _Tools(msgspec.Struct):
    tools: list[msgspec.Raw] = []


class _ToolKind(msgspec.Struct):
    type: str = ""


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_JSON: Callable[[bytes], Json] = msgspec.json.Decoder().decode
_TOOLS = msgspec.json.Decoder(_Tools)
_TOOL_KIND = msgspec.json.Decoder(_ToolKind)


class Conversation:
    """Collects the items of an input. ``provider_tools``: tools, no functions, that items bring with them."""

    def __init__(self, unknown: dict[str, bytes]) -> None:
        """``unknown`` gets the members that are not modelled, by path."""
        self.provider_tools: list[ProviderTool] = []
        self._unknown = unknown
        self._messages: list[Message] = []
        self._role: Role | None = None
        self._parts: list[Part] = []
        self._has_spoken = False
        """Whether the message that is open holds text."""
        self._names: dict[str, str] = {}
        self._carried: Reasoning | None = None
        """The signature of a call that has not come yet."""

    def say(self, role: Role, text: str) -> None:
        """A message of text."""
        self._begin(role)
        self._parts.append(Text(text))

    def add(self, raw: bytes, path: str) -> None:
        """Take one item. Raises ``WireError`` with its place."""
        head = self._read(_KIND, raw, path)
        kind = head.type or ("message" if head.role is not None else "item_reference")
        if self._carried is not None and kind != "function_call":
            self._drop_carried()
        match kind:
            case "message":
                self._message(self._read(_MESSAGE, raw, path), path)
            case "function_call":
                self._call(self._read(_CALL, raw, path), path)
            case "function_call_output":
                self._output(self._read(_OUTPUT, raw, path), path)
            case "reasoning":
                self._reasoning(self._read(_REASONING, raw, path), raw, path)
            case _:
                self._opaque(kind, raw, path)
                return
        self._note_rest(head, raw, kind, path)

    def finish(self) -> tuple[Message, ...]:
        """All messages."""
        if self._carried is not None:
            self._drop_carried()
        self._flush()
        return tuple(self._messages)

    def _read(self, decoder: msgspec.json.Decoder[S], raw: bytes, path: str) -> S:
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise _at(path, error) from error

    def _note(self, path: str, value: bytes) -> None:
        self._unknown[path] = value

    def _note_rest(self, head: Kind, raw: bytes, kind: str, path: str) -> None:
        note_unmodelled(raw, _KNOWN[kind], path, self._note)
        if head.id is not None and _PLAIN_ID.fullmatch(head.id) is None:
            self._unknown[f"{path}.id"] = msgspec.json.encode(head.id)

    def _note_status(self, status: str | None, path: str) -> None:
        if status not in _STATES:
            self._unknown[f"{path}.status"] = msgspec.json.encode(status)

    def _begin(self, role: Role) -> None:
        self._flush()
        self._role = role

    def _flush(self) -> None:
        if self._role is not None:
            self._messages.append(Message(self._role, tuple(self._parts)))
        self._role, self._parts, self._has_spoken = None, [], False

    def _append(self, role: Role, part: Part) -> None:
        if self._role != role:
            self._begin(role)
        self._parts.append(part)

    def _drop_carried(self) -> None:
        """It stood before nothing: kept as what it is."""
        carried, self._carried = self._carried, None
        if carried is not None:
            self._append("assistant", carried)

    def _message(self, said: SaidMessage, path: str) -> None:
        parts: list[Part] = []
        if isinstance(said.content, str):
            parts.append(Text(said.content))
        else:
            allowed = ANSWERING if said.role == "assistant" else ASKING
            for at, raw in enumerate(said.content):
                part = read_part(bytes(raw), f"{path}.content[{at}]", allowed, self._note)
                parts.append(part)
                if isinstance(part, Opaque):
                    parts += _media_inside(_JSON(part.raw))
        if said.role != "assistant" or self._role != "assistant" or self._has_spoken:
            self._begin(said.role)
        self._parts += parts
        self._has_spoken = any(isinstance(part, Text | Refusal) for part in parts)
        self._note_status(said.status, path)

    def _call(self, said: SaidCall, path: str) -> None:
        carried, self._carried = self._carried, None
        self._names[said.call_id] = said.name
        call = ToolCall(said.call_id, said.name, said.arguments or "")
        if carried is not None:
            call = msgspec.structs.replace(call, signature=carried.signature, issuer=carried.issuer)
        self._append("assistant", call)
        self._note_status(said.status, path)

    def _output(self, said: SaidOutput, path: str) -> None:
        content: list[Text | Media] = []
        if isinstance(said.output, str):
            content.append(Text(said.output))
        else:
            for at, raw in enumerate(said.output):
                part = read_part(bytes(raw), f"{path}.output[{at}]", RESULTS, self._note)
                if isinstance(part, Text | Media):
                    content.append(part)
        name = self._names.get(said.call_id)
        self._append("tool", ToolResult(said.call_id, tuple(content), name))
        self._note_status(said.status, path)

    def _reasoning(self, said: SaidReasoning, raw: bytes, path: str) -> None:
        texts = [piece.text for piece in (*(said.summary or ()), *(said.content or ()))]
        text = "\n\n".join(texts)
        self._note_status(said.status, path)
        self._note_texts(raw, path)
        if said.encrypted_content is None:
            self._append("assistant", Reasoning(text, id=said.id))
            return
        mark, signature, issuer = unwrap_signature(said.encrypted_content)
        is_hidden = mark == HIDDEN_MARK
        part = Reasoning(text, signature, issuer, is_redacted=is_hidden, id=said.id)
        if mark == CALL_MARK and not text:
            self._carried = part
        else:
            self._append("assistant", part)

    def _note_texts(self, raw: bytes, path: str) -> None:
        members = _MEMBERS.decode(raw)
        for name in ("summary", "content"):
            pieces = bytes(members.get(name, b""))
            if pieces in NOTHING:
                continue
            for at, piece in enumerate(_RAWS.decode(pieces)):
                inner = f"{path}.{name}[{at}]"
                note_unmodelled(bytes(piece), _TEXT_MEMBERS, inner, self._note)
                kind = _PIECE.decode(piece).type
                if kind not in (None, "", "summary_text", "reasoning_text"):
                    self._unknown[f"{inner}.type"] = msgspec.json.encode(kind)

    def _opaque(self, kind: str, raw: bytes, path: str) -> None:
        """An item that nobody else knows. Files that a provider keeps, and pictures, are to be seen all the same."""
        if self._role is None:
            self._begin("assistant")
        self._parts.append(Opaque(kind, raw))
        self._parts += _media_inside(_JSON(raw))
        if kind in _HOLDS_TOOLS:
            for tool in self._read(_TOOLS, raw, path).tools:
                inner = self._read(_TOOL_KIND, bytes(tool), f"{path}.tools").type
                if inner != "function":
                    self.provider_tools.append(ProviderTool(inner, bytes(tool), path))


def _media_inside(tree: Json) -> list[Media]:
    """What an item or a part that is not modelled shows or names, anywhere."""
    found: list[Media] = []
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            left += node.values()
            for name, value in node.items():
                if name == "file_id" and isinstance(value, str):
                    found.append(Media("document", file_id=value))
                elif name in _ADDRESSES and isinstance(value, str):
                    found.append(Media(_ADDRESSES[name], url=value))
                elif name == "input_audio":
                    found.append(Media("audio"))
    return found


def _at(path: str, error: msgspec.ValidationError) -> WireError:
    failure = explain_invalid(error, _ALLOWED).failure
    message = failure.message
    if failure.param:
        message = message.replace(f"`{failure.param}`", f"`{path}.{failure.param}`", 1)
    else:
        message = message.replace("`the body`", f"`{path}`", 1)
    param = f"{path}.{failure.param}" if failure.param else path
    return invalid_request(message, param=param, code=failure.code)
