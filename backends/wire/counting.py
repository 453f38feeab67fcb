"""Questions for the number of tokens of a prompt, in the formats that have one.

A question is a body of its format, and is parsed, classified and decided like it; only the answer is a number.
"""

from collections.abc import Callable, Mapping

import msgspec

from backends.wire.anthropic_messages.parsing import parse_request as parse_messages
from backends.wire.clients import CLIENTS
from backends.wire.codec import RequestCodec
from backends.wire.failure import Failure
from backends.wire.gemini.parsing import parse_count_request
from backends.wire.openai_responses.parsing import parse_request as parse_responses
from backends.wire.prompt import Asked, Prompt, WireFormat

Parse = Callable[[bytes, Asked], Prompt]


class CountCodec:
    """See :class:`backends.wire.codec.RequestCodec`; prompts are marked as questions (``is_count``)."""

    def __init__(self, name: WireFormat, parse: Parse, answer: bytes) -> None:
        """``answer``: the answer's body, with ``%d`` where the number stands."""
        self.name: WireFormat = name
        self._own: RequestCodec = CLIENTS[name]
        self._parse = parse
        self._answer = answer

    def parse_request(self, raw: bytes, asked: Asked) -> Prompt:
        """See :class:`backends.wire.codec.RequestCodec`."""
        return msgspec.structs.replace(self._parse(raw, asked), is_count=True, is_stream=False)

    def render_failure(self, failure: Failure, request_id: str) -> tuple[int, bytes]:
        """See :class:`backends.wire.codec.RequestCodec`."""
        return self._own.render_failure(failure, request_id)

    def stream_type(self, prompt: Prompt) -> bytes:
        """See :class:`backends.wire.codec.RequestCodec`."""
        return self._own.stream_type(prompt)

    def render_count(self, input_tokens: int) -> bytes:
        """The answer."""
        return self._answer % input_tokens


def _parse_messages(raw: bytes, asked: Asked) -> Prompt:
    return parse_messages(raw, asked, needs_cap=False)


COUNTS: Mapping[WireFormat, CountCodec] = {
    "anthropic-messages": CountCodec("anthropic-messages", _parse_messages, b'{"input_tokens":%d}'),
    "gemini": CountCodec("gemini", parse_count_request, b'{"totalTokens":%d}'),
    "openai-responses": CountCodec(
        "openai-responses", parse_responses, b'{"object":"response.input_tokens","input_tokens":%d}'
    ),
}
"""The chat format has no such question."""
