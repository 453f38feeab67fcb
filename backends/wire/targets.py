"""The formats as targets speak them, by name: how a prompt is rendered, how an answer is read."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from backends.wire import anthropic_messages, gemini, openai_chat, openai_responses
from backends.wire.events import Event
from backends.wire.prompt import Prompt, WireFormat
from backends.wire.relay import EventParser
from backends.wire.rendering import Rendered


class RequestRenderer(Protocol):
    """Renders a prompt for a model. Raises ``WireError`` for what the format cannot take at all."""

    def __call__(
        self, prompt: Prompt, *, model: str, output_cap: int | None, output_tokens_default: int
    ) -> Rendered:
        """At most ``output_cap`` tokens of output; ``output_tokens_default`` where a cap is demanded."""
        ...


class AnswerParser(EventParser, Protocol):
    """Reads a streamed answer, or a whole one."""

    def read_answer(self, body: bytes) -> list[Event]:
        """The events of a whole answer, on a fresh parser. Raises ``WireError``."""
        ...


class TargetFormat(NamedTuple):
    """One format's far side."""

    render_request: RequestRenderer
    open_parser: Callable[[], AnswerParser]


TARGETS: Mapping[WireFormat, TargetFormat] = {
    "openai-chat": TargetFormat(openai_chat.render_request, openai_chat.EventParser),
    "openai-responses": TargetFormat(openai_responses.render_request, openai_responses.EventParser),
    "anthropic-messages": TargetFormat(
        anthropic_messages.render_request, anthropic_messages.EventParser
    ),
    "gemini": TargetFormat(gemini.render_request, gemini.EventParser),
}
