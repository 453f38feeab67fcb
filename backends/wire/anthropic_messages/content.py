"""Turns of a prompt as Claude's system blocks and alternating user and assistant messages.

Promises: nothing is reordered but tool results, which Claude wants first in their turn; a system
message keeps its place where the model takes one and is listed where it had to move. Signed
thinking goes back only if Anthropic issued it. Blank texts, which Claude refuses, are left out.
Does not read the sampling or the tools: :mod:`backends.wire.anthropic_messages.request`.
"""

import base64
import binascii
import re

import msgspec

from backends.wire.anthropic_messages.models import ModelTraits
from backends.wire.failure import WireError, invalid_request
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
from backends.wire.rendering import Losses, is_json_object

ISSUER = "anthropic"
"""The issuer under which Claude's thinking signatures travel."""

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")

Block = dict[str, object]


class ToolIds:
    """Gives every call id a form that Claude takes, the same for a call and its result."""

    __slots__ = ("_changed", "_taken")

    def __init__(self) -> None:
        self._changed: dict[str, str] = {}
        self._taken: set[str] = set()

    def render(self, call_id: str) -> str:
        """``call_id`` itself if it is ``[a-zA-Z0-9_-]+``, else a stable substitute."""
        if _ID.fullmatch(call_id):
            self._taken.add(call_id)
            return call_id
        known = self._changed.get(call_id)
        if known is None:
            base = known = _NOT_IN_ID.sub("_", call_id) or "call"
            number = 1
            while known in self._taken:
                number += 1
                known = f"{base}_{number}"
            self._taken.add(known)
            self._changed[call_id] = known
        return known


class _Turn:
    """One message in the making: tool results stand before everything else."""

    __slots__ = ("blocks", "results", "role")

    def __init__(self, role: str) -> None:
        self.role = role
        self.results: list[Block] = []
        self.blocks: list[Block] = []

    def render(self) -> Block:
        if self.results:
            return {"role": self.role, "content": self.results + self.blocks}
        if len(self.blocks) == 1 and self.blocks[0]["type"] == "text":
            return {"role": self.role, "content": self.blocks[0]["text"]}
        return {"role": self.role, "content": self.blocks}


class Conversation:
    """Collects a prompt's messages.

    ``system`` and :meth:`finish` are what Claude gets, ``called`` names the tools called so far.
    """

    def __init__(self, traits: ModelTraits, losses: Losses) -> None:
        self._traits = traits
        self._losses = losses
        self._ids = ToolIds()
        self._pending: list[tuple[int, list[Block]]] = []
        self.called: dict[str, None] = {}
        self.system: list[Block] = []
        self.turns: list[_Turn] = []

    def add(self, index: int, message: Message) -> None:
        """Take the message at ``index``. Raises ``WireError`` for parts that Claude cannot take."""
        if message.name is not None:
            self._losses.add("messages[].name")
        if self.turns and not (self.turns[-1].blocks or self.turns[-1].results):
            self.turns.pop()  # A message of blank text: its neighbours must meet.
        match message.role:
            case "system" | "developer":
                self._add_system(index, message)
            case "assistant":
                self._add_assistant(index, message)
            case "user" | "tool":
                self._add_user(index, message)

    def finish(self) -> list[Block]:
        """Close the conversation and give its messages. Raises ``WireError`` if there are none."""
        self._place_pending()
        turns = [turn for turn in self.turns if turn.blocks or turn.results]
        if not turns and self.system:
            self._losses.add("messages[].role")
            turn = _Turn("user")
            turn.blocks, self.system = self.system, []
            turns = [turn]
        if not turns:
            raise invalid_request("the messages hold no content", param="messages")
        if turns[-1].role == "assistant":
            self._prepare_prefill(turns[-1])
        return [turn.render() for turn in turns]

    def _add_system(self, index: int, message: Message) -> None:
        blocks: list[Block] = []
        for part in message.parts:
            if isinstance(part, Opaque):
                self._losses.add(f"messages[].{part.kind}")
                continue
            if not isinstance(part, Text):
                raise _misplaced(index, "a system message holds text only")
            if part.text and not part.text.isspace():
                blocks.append({"type": "text", "text": part.text})
        if not blocks:
            return
        if not self.turns:
            self.system += blocks
        elif self._traits.has_system_turns:
            self._pending.append((index, blocks))
        else:
            self._move_to_top(index, blocks)

    def _move_to_top(self, index: int, blocks: list[Block]) -> None:
        self._losses.add(f"messages[{index}].position")
        self.system += blocks

    def _place_pending(self) -> None:
        # Claude takes a system turn only after a user turn and before an assistant turn or the end
        # (platform docs, mid-conversation system messages).
        if not self._pending:
            return
        if self.turns[-1].role == "user":
            turn = _Turn("system")
            for _, blocks in self._pending:
                turn.blocks += blocks
            self.turns.append(turn)
        else:
            for index, blocks in self._pending:
                self._move_to_top(index, blocks)
        self._pending.clear()

    def _turn(self, role: str) -> _Turn:
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(_Turn(role))
        return self.turns[-1]

    def _add_assistant(self, index: int, message: Message) -> None:
        self._place_pending()
        blocks = self._turn("assistant").blocks
        for part in message.parts:
            if isinstance(part, Text | Refusal):
                if part.text and not part.text.isspace():
                    blocks.append({"type": "text", "text": part.text})
            elif isinstance(part, ToolCall):
                blocks.append(self._render_call(index, part))
            elif isinstance(part, Reasoning):
                self._add_reasoning(part, blocks)
            elif isinstance(part, Opaque):
                self._losses.add(f"messages[].{part.kind}")
            else:
                raise _misplaced(index, "claude takes no media and no tool results from itself")

    def _add_reasoning(self, part: Reasoning, blocks: list[Block]) -> None:
        if part.issuer != ISSUER or not part.signature:
            self._losses.add("messages[].reasoning_content")
        elif part.is_redacted:
            blocks.append({"type": "redacted_thinking", "data": part.signature})
        else:
            blocks.append({"type": "thinking", "thinking": part.text, "signature": part.signature})

    def _render_call(self, index: int, call: ToolCall) -> Block:
        if not call.arguments or call.arguments.isspace():
            arguments: object = {}
        elif is_json_object(call.arguments):
            arguments = msgspec.Raw(call.arguments.encode())
        else:
            # The model wrote broken arguments once; the conversation must be able to go on.
            self._losses.add(f"messages[{index}].tool_calls.arguments")
            arguments = {"unparsed_arguments": call.arguments}
        if call.signature is not None:
            self._losses.add("messages[].reasoning_content")
        self.called[call.name] = None
        call_id = self._ids.render(call.id)
        return {"type": "tool_use", "id": call_id, "name": call.name, "input": arguments}

    def _add_user(self, index: int, message: Message) -> None:
        for number, _ in self._pending:
            self._losses.add(f"messages[{number}].position")
        turn = self._turn("user")
        for part in message.parts:
            if isinstance(part, Text):
                if part.text and not part.text.isspace():
                    turn.blocks.append({"type": "text", "text": part.text})
            elif isinstance(part, Media):
                turn.blocks.append(self._render_media(index, part))
            elif isinstance(part, ToolResult):
                turn.results.append(self._render_result(index, part))
            elif isinstance(part, Opaque):
                self._losses.add(f"messages[].{part.kind}")
            else:
                raise _misplaced(index, f"a {message.role} message cannot hold a call or reasoning")

    def _render_result(self, index: int, result: ToolResult) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": self._ids.render(result.call_id)}
        content: list[Block] = []
        for part in result.content:
            if isinstance(part, Media):
                content.append(self._render_media(index, part))
            elif part.text and not part.text.isspace():
                content.append({"type": "text", "text": part.text})
        if len(content) == 1 and content[0]["type"] == "text":
            block["content"] = content[0]["text"]
        elif content:
            block["content"] = content
        if result.is_error:
            block["is_error"] = True
        return block

    def _render_media(self, index: int, media: Media) -> Block:
        if media.detail not in (None, "auto"):
            self._losses.add("messages[].content[].image_url.detail")
        match media.kind:
            case "image":
                return {"type": "image", "source": _image_source(index, media)}
            case "document":
                block: Block = {"type": "document", "source": _document_source(index, media)}
                if media.name:
                    block["title"] = media.name
                return block
            case "audio":
                raise _misplaced(index, "claude takes no audio")

    def _prepare_prefill(self, turn: _Turn) -> None:
        if not self._traits.has_prefill:
            raise invalid_request(
                "this model takes no conversation that ends with an assistant message;"
                " add a user message",
                param="messages",
            )
        last = turn.blocks[-1]
        if last["type"] == "text":  # A prefill must not end in white space.
            last["text"] = str(last["text"]).rstrip()


def _image_source(index: int, media: Media) -> Block:
    if media.data is not None:
        if media.media_type not in _IMAGE_TYPES:
            raise _misplaced(
                index,
                f"claude takes jpeg, png, gif and webp images, not `{media.media_type}`",
            )
        return {"type": "base64", "media_type": media.media_type, "data": media.data}
    return {"type": "url", "url": _https_url(index, media)}


def _document_source(index: int, media: Media) -> Block:
    if media.data is None:
        return {"type": "url", "url": _https_url(index, media)}
    if media.media_type == "application/pdf":
        return {"type": "base64", "media_type": "application/pdf", "data": media.data}
    if media.media_type is not None and media.media_type.startswith("text/"):
        try:
            text = base64.b64decode(media.data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _misplaced(index, "the text document is not base64 of utf-8 text") from error
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise _misplaced(index, f"claude takes pdf and text documents, not `{media.media_type}`")


def _https_url(index: int, media: Media) -> str:
    if media.url is None or not media.url.startswith("https://"):
        raise _misplaced(index, "claude fetches media from https addresses only")
    return media.url


def _misplaced(index: int, message: str) -> WireError:
    return invalid_request(message, param=f"messages[{index}].content")
