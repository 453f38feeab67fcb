"""Turns of a prompt as items of an input: calls, results and thinking are items of their own, between messages.

Promises: nothing is reordered; signed thinking goes back only if OpenAI issued it, before what it belongs to.
"""

import msgspec

from backends.wire.failure import WireError, invalid_request
from backends.wire.openai_chat.target import ERROR_MARK
from backends.wire.openai_responses.marks import ISSUER
from backends.wire.prompt import (
    Media,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from backends.wire.rendering import Losses, short_id

_CONTENT = "content."
"""Begins the kind of a part that stood inside of a message."""

Json = dict[str, object]


class Items:
    """Collects a prompt's messages. ``is_own``: the prompt came in this format."""

    def __init__(self, losses: Losses, *, is_own: bool) -> None:
        self._losses = losses
        self._is_own = is_own
        self._items: list[object] = []
        self._content: list[Json] = []
        """Of the message that is open."""
        self._role = ""

    def add(self, at: int, message: Message) -> None:
        """Take the message at ``at``. Raises ``WireError`` for what the format cannot hold."""
        if message.name is not None:
            self._losses.add("messages[].name")
        self._role = "user" if message.role == "tool" else message.role
        for part in message.parts:
            if isinstance(part, Text | Media | Refusal):
                self._content.append(self._part(at, part))
            else:
                self._close()
                self._item(at, part)
        self._close()

    def finish(self) -> list[object]:
        """All items. Raises ``WireError`` if there are none."""
        if not self._items and not self._is_own:
            raise invalid_request("the messages hold no content", param="messages")
        return self._items

    def _close(self) -> None:
        if self._content:
            self._items.append({"type": "message", "role": self._role, "content": self._content})
        self._content = []

    def _part(self, at: int, part: Text | Media | Refusal) -> Json:
        is_answer = self._role == "assistant"
        if isinstance(part, Text):
            return {"type": "output_text" if is_answer else "input_text", "text": part.text}
        if isinstance(part, Refusal):
            if not is_answer:
                raise _untakeable(at, "only the assistant refuses")
            return {"type": "refusal", "refusal": part.text}
        if is_answer:
            raise _untakeable(at, "an assistant's message cannot hold media")
        return _media(at, part)

    def _item(self, at: int, part: ToolCall | ToolResult | Reasoning | Opaque) -> None:
        match part:
            case ToolCall():
                self._call(at, part)
            case ToolResult():
                self._items.append(_result(at, part))
            case Reasoning():
                self._reasoning(part)
            case Opaque():
                self._opaque(part)

    def _call(self, at: int, call: ToolCall) -> None:
        if self._role != "assistant":
            raise _untakeable(at, "only the assistant calls tools")
        if call.signature is not None:
            self._losses.add("messages[].reasoning_content")
        self._items.append(
            {
                "type": "function_call",
                "call_id": short_id(call.id, "call"),
                "name": call.name,
                "arguments": call.arguments or "{}",
            }
        )

    def _reasoning(self, part: Reasoning) -> None:
        if part.issuer != ISSUER or not part.signature:
            self._losses.add("messages[].reasoning_content")
            return
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        item: Json = {"type": "reasoning"}
        if part.id is not None:
            item["id"] = part.id
        self._items.append(item | {"summary": summary, "encrypted_content": part.signature})

    def _opaque(self, part: Opaque) -> None:
        if self._is_own and not part.kind.startswith(_CONTENT):
            self._items.append(msgspec.Raw(part.raw))
        else:
            self._losses.add(f"messages[].{part.kind}")


def _result(at: int, result: ToolResult) -> Json:
    content: list[Json] = [{"type": "input_text", "text": ERROR_MARK}] if result.is_error else []
    for part in result.content:
        if isinstance(part, Text):
            content.append({"type": "input_text", "text": part.text})
        else:
            content.append(_media(at, part))
    output: object = content
    if all(part["type"] == "input_text" for part in content):
        output = "\n".join(str(part["text"]) for part in content)
    return {
        "type": "function_call_output",
        "call_id": short_id(result.call_id, "call"),
        "output": output,
    }


def _media(at: int, media: Media) -> Json:
    if media.file_id is not None:
        raise _untakeable(at, "files that a provider keeps cannot be sent on")
    if media.kind == "audio":
        raise _untakeable(at, "this format takes no audio")
    data = f"data:{media.media_type};base64,{media.data}"
    if media.kind == "image":
        image: Json = {"type": "input_image", "image_url": media.url or data}
        if media.detail is not None:
            image["detail"] = media.detail
        return image
    if media.url is not None:
        return {"type": "input_file", "file_url": media.url}
    return {"type": "input_file", "filename": media.name or "document.pdf", "file_data": data}


def _untakeable(at: int, words: str) -> WireError:
    return invalid_request(words, param=f"messages[{at}]")
