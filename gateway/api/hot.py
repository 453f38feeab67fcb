"""Which hot endpoint a request is for: one for each format, over one pipeline."""

from collections.abc import Callable, Mapping

from backends.wire.clients import CLIENTS, EMBEDDERS
from backends.wire.codec import RequestCodec
from backends.wire.counting import COUNTS
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
COUNT_PATHS: Mapping[str, WireFormat] = {
    "/v1/messages/count_tokens": "anthropic-messages",
    "/v1/responses/input_tokens": "openai-responses",
}
"""Where clients ask how many tokens a prompt has."""
GEMINI_VERBS: Mapping[str, WireFormat] = {
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "embedContent": "gemini-embeddings",
    "batchEmbedContents": "gemini-embeddings",
}
POST_PATHS = PATHS.keys() | COUNT_PATHS.keys()
COUNT_VERB = "countTokens"
CODECS: Mapping[WireFormat, RequestCodec] = {**CLIENTS, **EMBEDDERS}


class HotRoutes:
    """The endpoints that prompts come to."""

    def __init__(self, pipeline: Pipeline) -> None:
        def serve(codec: RequestCodec) -> AsgiApp:
            return WireEndpoint(pipeline, codec, _READERS.get(codec.name, nothing_asked))

        self._by_path = {path: serve(CODECS[name]) for path, name in PATHS.items()}
        self._by_path |= {path: serve(COUNTS[name]) for path, name in COUNT_PATHS.items()}
        self._by_verb = {verb: serve(CODECS[name]) for verb, name in GEMINI_VERBS.items()}
        self._by_verb[COUNT_VERB] = serve(COUNTS["gemini"])

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


_READERS: Mapping[WireFormat, Callable[[Scope], Asked]] = {
    "anthropic-messages": read_anthropic,
    "gemini": read_gemini,
    "gemini-embeddings": read_gemini,
}
