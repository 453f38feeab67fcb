"""Google's embeddings as clients ask for them."""

from backends.wire.embeddings import Embeddings
from backends.wire.failure import Failure
from backends.wire.gemini.refusals import render_failure
from backends.wire.gemini_embeddings.answer import render_answer
from backends.wire.gemini_embeddings.request import parse_request
from backends.wire.prompt import Asked, Prompt, WireFormat


class GeminiEmbeddingsClient:
    """See :class:`backends.wire.codec.EmbeddingsCodec`."""

    name: WireFormat = "gemini-embeddings"

    def parse_request(self, raw: bytes, asked: Asked) -> Prompt:
        """See :class:`backends.wire.codec.RequestCodec`."""
        return parse_request(raw, asked)

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
