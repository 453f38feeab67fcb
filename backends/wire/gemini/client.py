"""Gemini's generateContent as clients speak it."""

from backends.wire.codec import EventRenderer
from backends.wire.events import End, Event
from backends.wire.failure import Failure
from backends.wire.gemini.framing import ArrayFraming
from backends.wire.gemini.parsing import parse_request
from backends.wire.gemini.refusals import render_failure
from backends.wire.gemini.rendering import GeminiRenderer, render_answer
from backends.wire.prompt import Asked, Prompt, WireFormat


class GeminiClient:
    """See :class:`backends.wire.codec.ClientCodec`."""

    name: WireFormat = "gemini"

    def parse_request(self, raw: bytes, asked: Asked) -> Prompt:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return parse_request(raw, asked)

    def render_failure(self, failure: Failure, request_id: str) -> tuple[int, bytes]:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return render_failure(failure, request_id)

    def stream_type(self, prompt: Prompt) -> bytes:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return b"application/json; charset=UTF-8" if prompt.asked.is_array else b"text/event-stream"

    def open_renderer(self, prompt: Prompt) -> EventRenderer:
        """See :class:`backends.wire.codec.ClientCodec`."""
        renderer = GeminiRenderer(shows_thoughts=prompt.shows_reasoning is True)
        return ArrayRenderer(renderer) if prompt.asked.is_array else renderer

    def render_answer(self, prompt: Prompt, events: list[Event]) -> tuple[bytes, tuple[str, ...]]:
        """See :class:`backends.wire.codec.ClientCodec`."""
        return render_answer(events, shows_thoughts=prompt.shows_reasoning is True)


class ArrayRenderer:
    """The same chunks as elements of a JSON array."""

    def __init__(self, renderer: GeminiRenderer) -> None:
        self.dropped = renderer.dropped
        self._renderer = renderer
        self._framing = ArrayFraming()

    def render(self, event: Event) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        out = self._framing.add(self._renderer.render(event))
        return out + self._framing.close() if isinstance(event, End) else out

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.codec.EventRenderer`."""
        return self._framing.fail(failure)
