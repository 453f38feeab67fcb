"""Turns of a prompt as Gemini's ``systemInstruction`` and ``contents``.

Promises: turns keep their order; calls and results are matched by id and name; signatures go back
only if Google issued them; what stands at an address is an image or is refused, for Gemini would fetch, and
bill, videos and documents too. System messages inside a conversation, for which Gemini has no place,
move to the top and are listed. Does not read sampling or tools: :mod:`request` beside it.
"""

import re

import msgspec

from backends.wire.failure import WireError, invalid_request
from backends.wire.gemini.models import ModelTraits
from backends.wire.gemini.signed import ISSUER, SIGNATURE_UNKNOWN
from backends.wire.prompt import (
    Media,
    Message,
    Opaque,
    Prompt,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from backends.wire.rendering import Losses, is_json_object

_TYPE_BY_SUFFIX = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
}

_ADDRESS = re.compile(
    r"https://([A-Za-z0-9.-]{1,253})(?::\d+)?/[^\s?#\\]*\.(\w+)(?:[?#][^\s\\]*)?", re.ASCII
)
_VIDEO_HOST = re.compile(r"(?:^|\.)(?:youtube(?:-nocookie)?\.|youtu\.be\.?$)")
"""Gemini plays what stands there, whatever it was called: an hour of it is a million tokens."""

Part = dict[str, object]


class Conversation:
    """Collects a prompt's messages; ``system`` and ``contents`` are what Gemini gets."""

    def __init__(self, traits: ModelTraits, losses: Losses) -> None:
        self._traits = traits
        self._losses = losses
        self._call_names: dict[str, str] = {}
        self._turns: list[tuple[str, list[Part]]] = []
        self.system: list[Part] = []

    def add(self, index: int, message: Message) -> None:
        """Take the message at ``index``. Raises ``WireError`` for parts that Gemini cannot take."""
        for part in message.parts:
            if not isinstance(part, Reasoning | Refusal | Opaque) and part.cache_ttl is not None:
                self._losses.add("messages[].cache_control")
        if message.name is not None:
            self._losses.add("messages[].name")
        if self._turns and not self._turns[-1][1]:
            self._turns.pop()  # A message of empty text: its neighbours must meet.
        match message.role:
            case "system" | "developer":
                self._add_system(index, message)
            case "assistant":
                self._add_model(index, message)
            case "user" | "tool":
                self._add_user(index, message)

    def finish(self) -> list[dict[str, object]]:
        """Close the conversation and give its contents. Raises ``WireError`` if there are none."""
        turns = [(role, parts) for role, parts in self._turns if parts]
        if not turns and self.system:
            self._losses.add("messages[].role")
            turns = [("user", self.system)]
            self.system = []
        if not turns:
            raise invalid_request("the messages hold no content", param="messages")
        return [{"role": role, "parts": parts} for role, parts in turns]

    def _add_system(self, index: int, message: Message) -> None:
        for part in message.parts:
            if isinstance(part, Opaque):
                self._add_opaque(part)
                continue
            if not isinstance(part, Text):
                raise _misplaced(index, "a system message holds text only")
            if part.text:
                self.system.append({"text": part.text})
                if self._turns:
                    self._losses.add(f"messages[{index}].position")

    def _parts(self, role: str) -> list[Part]:
        if not self._turns or self._turns[-1][0] != role:
            self._turns.append((role, []))
        return self._turns[-1][1]

    def _add_model(self, index: int, message: Message) -> None:
        parts = self._parts("model")
        is_first_call = True
        for part in message.parts:
            if isinstance(part, Text | Refusal):
                if part.text:
                    parts.append({"text": part.text})
            elif isinstance(part, ToolCall):
                parts.append(self._render_call(index, part, is_first=is_first_call))
                is_first_call = False
            elif isinstance(part, Reasoning):
                self._add_reasoning(part, parts)
            elif isinstance(part, Opaque):
                self._add_opaque(part)
            else:
                raise _misplaced(index, "gemini takes no media and no tool results from itself")

    def _add_opaque(self, part: Opaque) -> None:
        self._losses.add(f"messages[].content.{part.kind}")

    def _add_reasoning(self, part: Reasoning, parts: list[Part]) -> None:
        if part.issuer != ISSUER or not part.signature:
            self._losses.add("messages[].reasoning_content")
        elif part.text:
            parts.append({"text": part.text, "thought": True, "thoughtSignature": part.signature})
        else:  # A signature that stood on a text part; the service takes it on an empty one.
            parts.append({"text": "", "thoughtSignature": part.signature})

    def _render_call(self, index: int, call: ToolCall, *, is_first: bool) -> Part:
        if not call.arguments or call.arguments.isspace():
            arguments: object = {}
        elif is_json_object(call.arguments):
            arguments = msgspec.Raw(call.arguments.encode())
        else:
            # The model wrote broken arguments once; the conversation must be able to go on.
            self._losses.add(f"messages[{index}].tool_calls.arguments")
            arguments = {"unparsed_arguments": call.arguments}
        self._call_names[call.id] = call.name
        body: Part = {"name": call.name, "args": arguments}
        if call.id:
            body["id"] = call.id
        part: Part = {"functionCall": body}
        is_own = call.issuer in (None, ISSUER)
        if call.signature is not None and not is_own:
            self._losses.add("messages[].reasoning_content")
        if call.signature is not None and is_own:
            part["thoughtSignature"] = call.signature
        elif is_first and self._traits.needs_call_signature:
            part["thoughtSignature"] = SIGNATURE_UNKNOWN
        return part

    def _add_user(self, index: int, message: Message) -> None:
        parts = self._parts("user")
        for part in message.parts:
            if isinstance(part, Text):
                if part.text:
                    parts.append({"text": part.text})
            elif isinstance(part, Media):
                parts.append(self._render_media(index, part))
            elif isinstance(part, ToolResult):
                self._add_result(index, part, parts)
            elif isinstance(part, Opaque):
                self._add_opaque(part)
            else:
                raise _misplaced(index, f"a {message.role} message cannot hold a call or reasoning")

    def _add_result(self, index: int, result: ToolResult, parts: list[Part]) -> None:
        name = result.name or self._call_names.get(result.call_id)
        if name is None:
            raise invalid_request(
                f"no earlier tool call has the id `{result.call_id}`",
                param=f"messages[{index}].tool_call_id",
            )
        text = "\n".join(part.text for part in result.content if isinstance(part, Text))
        media = [self._render_media(index, p) for p in result.content if isinstance(p, Media)]
        body: Part = {"name": name, "response": _response(text, is_error=result.is_error)}
        if result.call_id:
            body["id"] = result.call_id
        if self._traits.has_media_results:
            # Addresses stand beside it: the Gemini API takes none inside (Discovery document, 2026-05-31).
            inside = [part for part in media if "inlineData" in part]
            media = [part for part in media if "inlineData" not in part]
            if inside:
                body["parts"] = inside
        parts.append({"functionResponse": body})
        parts += media

    def _render_media(self, index: int, media: Media) -> Part:
        if media.file_id is not None:
            raise _misplaced(index, "files are kept by one provider only; send the file itself")
        if media.detail not in (None, "auto"):
            self._losses.add("messages[].content[].image_url.detail")
        if media.data is not None:
            if media.media_type is None:
                raise _misplaced(index, "inline media needs its media type")
            return {"inlineData": {"mimeType": media.media_type, "data": media.data}}
        media_type = _find_image_type(media.url or "")
        if media.kind != "image" or media_type is None:
            suffixes = ", ".join(_TYPE_BY_SUFFIX)
            raise _misplaced(
                index, f"gemini gets images by https addresses that end in one of {suffixes} only"
            )
        return {"fileData": {"fileUri": media.url, "mimeType": media_type}}


def _response(text: str, *, is_error: bool) -> object:
    """A result as the JSON object that Gemini wants: itself if it is one, else under a key."""
    if is_error:
        return {"error": text}
    if text.lstrip()[:1] == "{" and is_json_object(text):
        return msgspec.Raw(text.encode())
    return {"output": text}


def _find_image_type(url: str) -> str | None:
    """The type of the image at ``url``; None where it may be no image, for one was reserved for."""
    address = _ADDRESS.fullmatch(url)
    if address is None or _VIDEO_HOST.search(address[1].lower()):
        return None
    return _TYPE_BY_SUFFIX.get(address[2].lower())


def refuse_addresses(prompt: Prompt) -> None:
    """Raises ``WireError`` for media by an address that is no image's, in a body that passes as it came."""
    for at, message in enumerate(prompt.messages):
        for part in message.parts:
            for one in part.content if isinstance(part, ToolResult) else (part,):
                if isinstance(one, Media) and one.url and _find_image_type(one.url) is None:
                    words = (
                        "gemini gets images by https addresses that end in an image's suffix only"
                    )
                    raise invalid_request(words, param=f"contents[{at}]")


def _misplaced(index: int, message: str) -> WireError:
    return invalid_request(message, param=f"messages[{index}].content")
