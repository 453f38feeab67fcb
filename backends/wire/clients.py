"""The formats that clients may speak, by name."""

from collections.abc import Mapping

from backends.wire.anthropic_messages.client import MessagesClient
from backends.wire.codec import ClientCodec, EmbeddingsCodec
from backends.wire.gemini.client import GeminiClient
from backends.wire.gemini_embeddings.client import GeminiEmbeddingsClient
from backends.wire.openai_chat.client import ChatClient
from backends.wire.openai_completions.client import CompletionsClient
from backends.wire.openai_embeddings.client import OpenaiEmbeddingsClient
from backends.wire.openai_responses.client import ResponsesClient
from backends.wire.prompt import WireFormat

CLIENTS: Mapping[WireFormat, ClientCodec] = {
    codec.name: codec
    for codec in (
        ChatClient(),
        ResponsesClient(),
        MessagesClient(),
        GeminiClient(),
        CompletionsClient(),
    )
}

EMBEDDERS: Mapping[WireFormat, EmbeddingsCodec] = {
    codec.name: codec for codec in (OpenaiEmbeddingsClient(), GeminiEmbeddingsClient())
}
"""The formats in which clients ask for vectors."""
