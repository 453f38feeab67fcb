"""``POST /v1/chat/completions``: the hot endpoint, a bare ASGI callable."""

import asyncio

from backends.wire import openai_chat
from backends.wire.failure import Failure
from backends.wire.prompt import Prompt, WireFormat
from gateway.api.asgi import AsgiBody, AsgiReply, Receive, Scope, Send
from gateway.api.server import HANG_UP
from gateway.arrival import Arrival
from gateway.pipeline import Pipeline


class OpenAIChat:
    """OpenAI Chat Completions as a client format."""

    name: WireFormat = "openai-chat"

    def parse_request(self, raw: bytes) -> Prompt:
        """See :class:`gateway.arrival.ClientFormat`."""
        return openai_chat.parse_request(raw)

    def render_failure(self, failure: Failure, request_id: str) -> tuple[int, bytes]:
        """See :class:`gateway.arrival.ClientFormat`."""
        return openai_chat.render_failure(failure, request_id)

    def read_token(self, arrival: Arrival) -> bytes | None:
        """``Authorization: Bearer KEY``, as every OpenAI client sends it."""
        value = arrival.find_header(b"authorization")
        if value is None or value[:7].lower() != b"bearer ":
            return None
        return value[7:].strip()


class ChatCompletions:
    """The endpoint. A client that hangs up cancels its request, which then books what was used."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._format = OpenAIChat()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = scope["headers"]
        arrival = Arrival(self._format, headers, AsgiBody(scope, receive))
        work = asyncio.current_task()
        is_gone = False

        def hang_up() -> None:
            nonlocal is_gone
            if work is not None and not is_gone:
                is_gone = True
                work.cancel()

        def watch() -> None:
            scope[HANG_UP] = hang_up

        try:
            await self._pipeline.run(arrival, AsgiReply(scope, send), watch)
        except asyncio.CancelledError:
            # Ours: the client is gone and everything is booked. A shutdown cancels from outside.
            if not is_gone:
                raise
            if work is not None:
                work.uncancel()
        finally:
            scope.pop(HANG_UP, None)
