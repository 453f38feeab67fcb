"""Which hot endpoint a request is for: one for each format, over one pipeline."""

from collections.abc import Mapping

from backends.wire.clients import CLIENTS, EMBEDDERS
from backends.wire.codec import RequestCodec
from backends.wire.gemini.paths import parse_path
from backends.wire.prompt import Asked, WireFormat
from gateway.api.asgi import AsgiApp, Scope
from gateway.api.endpoint import WireEndpoint
from gateway.pipeline import Pipeline

PATHS: Mapping[str, WireFormat] = {
    "/v1/chat/completions": "openai-chat",
    "/v1/messages": "anthropic-messages",
    "/v1/responses": "openai-responses",
    "/v1/completions": "openai-completions",
    "/v1/embeddings": "openai-embeddings",
}
GEMINI_VERBS: Mapping[str, WireFormat] = {
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "embedContent": "gemini-embeddings",
    "batchEmbedContents": "gemini-embeddings",
}
CODECS: Mapping[WireFormat, RequestCodec] = {**CLIENTS, **EMBEDDERS}


class HotRoutes:
    """The endpoints that prompts come to."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._by_path: dict[str, AsgiApp] = {
            path: WireEndpoint(pipeline, CODECS[name], _READERS.get(name, nothing_asked))
            for path, name in PATHS.items()
        }
        self._by_verb: dict[str, AsgiApp] = {
            verb: WireEndpoint(pipeline, CODECS[name], read_gemini)
            for verb, name in GEMINI_VERBS.items()
        }

    def find(self, scope: Scope) -> AsgiApp | None:
        """The endpoint of a POST; None if it is not a hot one's."""
        path: str = scope["path"]
        found = self._by_path.get(path)
        if found is None and (parsed := _parse(scope)) is not None:
            return self._by_verb.get(parsed[1])
        return found


def nothing_asked(_scope: Scope) -> Asked:
    """Everything stands in the body."""
    return Asked()


def read_anthropic(scope: Scope) -> Asked:
    """The betas that an Anthropic client asks for."""
    values = [value for name, value in scope["headers"] if name == b"anthropic-beta"]
    words = b",".join(values).decode("latin-1").split(",")
    return Asked(betas=tuple(word.strip() for word in words if word.strip()))


def read_gemini(scope: Scope) -> Asked:
    """Model and manner, which stand in the address."""
    parsed = _parse(scope)
    return Asked() if parsed is None else parsed[0]


def _parse(scope: Scope) -> tuple[Asked, str] | None:
    return parse_path(scope["raw_path"].decode("latin-1"), scope["query_string"])


_READERS = {"anthropic-messages": read_anthropic}
