"""Anthropic's Messages as clients speak it."""

from backends.wire.anthropic_messages.errors import render_failure
from backends.wire.anthropic_messages.parsing import parse_request
from backends.wire.anthropic_messages.rendering import MessagesRenderer, render_answer
from backends.wire.codec import EventRenderer
from backends.wire.events import Event
from backends.wire.failure import Failure
from backends.wire.prompt import Asked, Prompt, WireFormat


class MessagesClient:
    """See :class:`backends.wire.codec.ClientCodec`."""

    name: WireFormat = "anthropic-messages"

    def parse_request(self, raw: bytes, asked: Asked) -> Prompt:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return parse_request(raw, asked)

    def render_failure(self, failure: Failure, request_id: str) -> tuple[int, bytes]:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return render_failure(failure, request_id)

    def stream_type(self, prompt: Prompt) -> bytes:
        """See :class:`backends.wire.codec.ClientCodec`."""
        del prompt
        return b"text/event-stream; charset=utf-8"

    def open_renderer(self, prompt: Prompt) -> EventRenderer:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return MessagesRenderer(shows_reasoning=bool(prompt.shows_reasoning))

    def render_answer(self, prompt: Prompt, events: list[Event]) -> tuple[bytes, tuple[str, ...]]:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return render_answer(prompt, events)
