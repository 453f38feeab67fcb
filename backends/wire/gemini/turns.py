"""``contents`` and ``systemInstruction`` of a Gemini request as messages.

Promises: parts keep their order; calls without an id get one that stays the same as the conversation grows, and
results find theirs by id, else by name and order; pieces of thinking that follow each other are one; what only
Gemini knows is opaque. What is not modelled goes to ``unknown`` by its path.
"""

from collections import deque
from typing import Literal

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.gemini.members import Members, check_object, missing
from backends.wire.gemini.signed import unwrap_signature
from backends.wire.prompt import (
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from backends.wire.reading import check_base64
from backends.wire.signatures import Signed

CONTENTS_MAX = 4096
PARTS_MAX = 16_384
"""Parts of all contents together."""

_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "user", "": "user"}
_OPAQUE = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_VALUES = ("text", "functionCall", "functionResponse", "inlineData", "fileData", *_OPAQUE)
_UNSIGNED = Signed(None, None)
_FILE_HOSTS = ("https://generativelanguage.googleapis.com/", "gs://", "files/")
_ANY_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_JSON_TEXT = msgspec.json.Decoder(str)


class Turns:
    """Collects the messages of one request."""

    def __init__(self, unknown: dict[str, bytes]) -> None:
        self.messages: list[Message] = []
        self._unknown = unknown
        self._open: dict[str, deque[str]] = {}
        self._answered: set[str] = set()
        self._given: set[str] = set()
        self._calls = 0
        self._parts = 0
        self._thought: list[str] = []

    def add_system(self, content: Members) -> None:
        """Take ``systemInstruction``: texts and nothing else."""
        role = content.text("role")
        if role not in (None, "", "system", "user", "model"):
            param = f"{content.path}.role"
            raise invalid_request(f"`{role[:40]}` is no role", param=param, code="invalid_value")
        texts: list[Part] = []
        for part in self._read_parts(content):
            text = part.text("text")
            if text is None:
                message = f"`{part.path}` must be a text: a system instruction holds nothing else"
                raise invalid_request(message, param=part.path, code="invalid_value")
            texts.append(Text(text))
            part.keep_rest(self._unknown)
        content.keep_rest(self._unknown)
        if texts:
            self.messages.append(Message("system", tuple(texts)))

    def add(self, content: Members) -> None:
        """Take one of ``contents``. Raises ``WireError``."""
        said = content.text("role") or ""
        role = _ROLES.get(said)
        if role is None:
            path = content.path_of("role")
            shown = " ".join(said.split())[:40]
            message = f"`{shown}` is no value for `{path}`; it is one of `user`, `model`"
            raise invalid_request(message, param=path, code="invalid_value")
        parts: list[Part] = []
        pieces = self._read_parts(content)
        for part in pieces:
            self._add_part(part, role, parts)
        self._end_thought(parts)
        if pieces and not parts:
            parts.append(Text(""))  # Somebody spoke, if only to say nothing.
        content.keep_rest(self._unknown)
        self._close(role, parts)

    def _close(self, role: Role, parts: list[Part]) -> None:
        """Results stand in messages of their own, as every other format has them."""
        run: list[Part] = []
        for part in parts:
            if isinstance(part, ToolResult):
                if run:
                    self.messages.append(Message(role, tuple(run)))
                    run = []
                self.messages.append(Message("tool", (part,)))
            else:
                run.append(part)
        if run:
            self.messages.append(Message(role, tuple(run)))

    def _read_parts(self, content: Members) -> list[Members]:
        parts = content.children("parts", PARTS_MAX)
        self._parts += len(parts)
        if self._parts > PARTS_MAX:
            message = f"`contents` may hold at most {PARTS_MAX} parts"
            raise invalid_request(message, param="contents", code="array_above_max_length")
        return parts

    def _add_part(self, part: Members, role: Role, parts: list[Part]) -> None:
        said = [name for name in _VALUES if part.is_said(name)]
        if len(said) > 1:
            message = f"`{part.path}` may hold one of `{said[0]}` and `{said[1]}` only"
            raise invalid_request(message, param=part.path, code="invalid_value")
        signature = part.text("thoughtSignature")
        signed = unwrap_signature(signature) if signature else _UNSIGNED
        is_thought = bool(part.flag("thought"))
        name = said[0] if said else None
        if name == "text" and is_thought:
            self._add_thought(part.text("text") or "", signed, parts)
            part.keep_rest(self._unknown)
            return
        self._end_thought(parts)
        if name == "functionCall":
            self._refuse_from(part, name, role, "assistant", "model")
            parts.append(self._read_call(part, signed))
        else:
            self._add_value(part, name, role, parts)
            if signed.signature is not None:
                parts.append(
                    Reasoning("", signed.signature, signed.issuer, signed.is_redacted, signed.id)
                )
        part.keep_rest(self._unknown)

    def _add_value(self, part: Members, name: str | None, role: Role, parts: list[Part]) -> None:
        if name is None:
            return
        if name == "text":
            text = part.text("text")
            if text:
                parts.append(Text(text))
        elif name == "functionResponse":
            self._refuse_from(part, name, role, "user", "user")
            parts.append(self._read_result(part))
        elif name in ("inlineData", "fileData"):
            parts.append(self._read_media(part, name))
        elif found := part.take(name):
            parts.append(Opaque(name, found[0]))

    def _refuse_from(self, part: Members, name: str, role: Role, wanted: Role, word: str) -> None:
        if role != wanted:
            path = part.path_of(name)
            message = f"`{path}` must stand in a content of role `{word}`"
            raise invalid_request(message, param=path, code="invalid_value")

    def _add_thought(self, text: str, signed: Signed, parts: list[Part]) -> None:
        if signed.is_redacted:
            self._end_thought(parts)
        if text:
            self._thought.append(text)
        if signed.signature is not None:
            text = "".join(self._thought)
            self._thought.clear()
            parts.append(
                Reasoning(text, signed.signature, signed.issuer, signed.is_redacted, signed.id)
            )

    def _end_thought(self, parts: list[Part]) -> None:
        """Thinking that nobody signed."""
        if self._thought:
            parts.append(Reasoning("".join(self._thought)))
            self._thought.clear()

    def _read_call(self, part: Members, signed: Signed) -> ToolCall:
        call = part.child("functionCall")
        if call is None:
            raise missing(part.path_of("functionCall"))
        name = call.text("name")
        if not name:
            raise missing(call.path_of("name"))
        call_id = call.text("id") or self._make_id()
        self._given.add(call_id)
        self._open.setdefault(name, deque()).append(call_id)
        arguments = _read_raw_object(call, "args")
        call.keep_rest(self._unknown)
        return ToolCall(
            call_id, name, "{}" if arguments is None else arguments.decode(),
            signed.signature, signed.issuer,
        )  # fmt: skip

    def _make_id(self) -> str:
        while True:
            call_id = f"gemini_call_{self._calls}"
            self._calls += 1
            if call_id not in self._given:
                return call_id

    def _read_result(self, part: Members) -> ToolResult:
        result = part.child("functionResponse")
        if result is None:
            raise missing(part.path_of("functionResponse"))
        name = result.text("name")
        call_id = result.text("id")
        if not name and not call_id:
            raise missing(result.path_of("name"))
        if not call_id:
            call_id = self._find_open(name or "")
        self._answered.add(call_id)
        text, is_error = _read_response(_read_raw_object(result, "response"))
        content: list[Text | Media] = [Text(text)]
        for piece in result.children("parts", PARTS_MAX):
            for member in ("inlineData", "fileData"):
                if piece.is_said(member):
                    media = self._read_media(piece, member)
                    if isinstance(media, Media):
                        content.append(media)
                    else:
                        self._unknown[piece.path_of(member)] = media.raw
            piece.keep_rest(self._unknown)
        result.keep_rest(self._unknown)
        return ToolResult(call_id, tuple(content), name, is_error)

    def _find_open(self, name: str) -> str:
        waiting = self._open.get(name)
        while waiting:
            call_id = waiting.popleft()
            if call_id not in self._answered:
                return call_id
        return self._make_id()

    def _read_media(self, part: Members, name: str) -> Media | Opaque:
        found = part.take(name)
        if found is None:
            raise missing(part.path_of(name))
        raw, path = found
        media = Members(raw, path)
        media_type = (media.text("mimeType") or "").lower() or None
        title = media.text("displayName")
        if name == "inlineData":
            data = media.text("data")
            if media_type is None:
                raise missing(media.path_of("mimeType"))
            data = (data or "").translate(_FROM_URL_SAFE)
            data += "=" * (-len(data) % 4)
            check_base64(data, media.path_of("data"))
            kind = _kind_of(media_type)
            if kind == "video":
                return Opaque(name, raw)
            media.keep_rest(self._unknown)
            return Media(kind, media_type, data, name=title)
        uri = media.text("fileUri")
        if not uri:
            raise missing(media.path_of("fileUri"))
        kind = _kind_of(media_type or "")
        if kind == "video":
            return Opaque(name, raw)
        media.keep_rest(self._unknown)
        if uri.startswith(_FILE_HOSTS):
            return Media(kind, media_type, file_id=uri, name=title)
        return Media(kind, media_type, url=uri, name=title)


_FROM_URL_SAFE = str.maketrans("-_", "+/")


def _kind_of(media_type: str) -> Literal["image", "audio", "document", "video"]:
    family = media_type.partition("/")[0]
    if family == "image":
        return "image"
    if family == "audio":
        return "audio"
    return "video" if family == "video" else "document"


def _read_raw_object(members: Members, name: str) -> bytes | None:
    found = members.take(name)
    return None if found is None else check_object(*found)


def _read_response(raw: bytes | None) -> tuple[str, bool]:
    """A result's text, and whether it is an error: ``output``, ``result`` or ``error`` alone are the text."""
    if raw is None:
        return "", False
    members = _ANY_OBJECT.decode(raw)
    if len(members) == 1:
        ((name, value),) = members.items()
        inner = bytes(value)
        is_text = inner.startswith(b'"')
        if name == "error" or (is_text and name in ("output", "result")):
            text = _JSON_TEXT.decode(inner) if is_text else inner.decode()
            return text, name == "error"
    return raw.decode(), False
