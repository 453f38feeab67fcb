"""Which format a request speaks, by its address and headers, where its body does not matter."""

from collections.abc import Mapping

from backends.wire.clients import CLIENTS
from backends.wire.codec import ClientCodec
from backends.wire.gemini.paths import parse_path
from backends.wire.prompt import WireFormat

ANTHROPIC_VERSION = "anthropic-version"
"""The header that Anthropic's clients send with every request."""
GOOGLE_KEY = "x-goog-api-key"
"""The header of Google's clients, whose newer SDKs (google-genai 3.6) ask below ``/v1`` as others do."""

BY_PREFIX: Mapping[str, WireFormat] = {
    "/v1beta/": "gemini",
    "/v1/messages": "anthropic-messages",
    "/v1/responses": "openai-responses",
}


def find_codec(path: str, headers: Mapping[str, str]) -> ClientCodec:
    """The format that errors at ``path`` are told in; OpenAI's where nothing says otherwise."""
    for prefix, name in BY_PREFIX.items():
        if path.startswith(prefix):
            return CLIENTS[name]
    if parse_path(path, b"") is not None or GOOGLE_KEY in headers:
        return CLIENTS["gemini"]
    return CLIENTS["anthropic-messages" if ANTHROPIC_VERSION in headers else "openai-chat"]
