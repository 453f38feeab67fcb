"""OpenAI's Completions as clients speak them."""

from backends.wire.codec import EventRenderer
from backends.wire.events import Event
from backends.wire.failure import Failure
from backends.wire.openai_chat.errors import render_failure
from backends.wire.openai_completions.rendering import CompletionsRenderer, render_answer
from backends.wire.openai_completions.request import parse_request
from backends.wire.prompt import Asked, Prompt, WireFormat


class CompletionsClient:
    """See :class:`backends.wire.codec.ClientCodec`."""

    name: WireFormat = "openai-completions"

    def parse_request(self, raw: bytes, asked: Asked) -> Prompt:
        """See :class:`backends.wire.codec.ClientCodec`."""
        del asked
        return parse_request(raw)

    def render_failure(self, failure: Failure, request_id: str) -> tuple[int, bytes]:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return render_failure(failure, request_id)

    def stream_type(self, prompt: Prompt) -> bytes:
        """See :class:`backends.wire.codec.ClientCodec`."""
        del prompt
        return b"text/event-stream; charset=utf-8"

    def open_renderer(self, prompt: Prompt) -> EventRenderer:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return CompletionsRenderer(prompt)

    def render_answer(self, prompt: Prompt, events: list[Event]) -> tuple[bytes, tuple[str, ...]]:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return render_answer(prompt, events)
