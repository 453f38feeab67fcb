"""OpenAI's embeddings as clients ask for them."""

from backends.wire.embeddings import Embeddings
from backends.wire.failure import Failure
from backends.wire.openai_chat.errors import render_failure
from backends.wire.openai_embeddings.answer import render_answer
from backends.wire.openai_embeddings.request import parse_request
from backends.wire.prompt import Asked, Prompt, WireFormat


class OpenaiEmbeddingsClient:
    """See :class:`backends.wire.codec.EmbeddingsCodec`."""

    name: WireFormat = "openai-embeddings"

    def parse_request(self, raw: bytes, asked: Asked) -> Prompt:
        """See :class:`backends.wire.codec.RequestCodec`."""
        del asked
        return parse_request(raw)

    def render_failure(self, failure: Failure, request_id: str) -> tuple[int, bytes]:
        """See :class:`backends.wire.codec.RequestCodec`."""
        return render_failure(failure, request_id)

    def stream_type(self, prompt: Prompt) -> bytes:
        """See :class:`backends.wire.codec.RequestCodec`."""
        del prompt
        return b"application/json"

    def render_embeddings(self, prompt: Prompt, said: Embeddings) -> bytes:
        """See :class:`backends.wire.codec.EmbeddingsCodec`."""
        return render_answer(prompt, said)
