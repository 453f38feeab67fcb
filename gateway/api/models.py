"""What may be asked for, as each format lists models. Which list a client wants its address and headers say."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from backends.target import Target
from gateway.routing import AUTO, Routing

Json = Mapping[str, object]

GEMINI_VERBS = ("generateContent", "streamGenerateContent", "countTokens")
GEMINI_EMBED_VERBS = ("embedContent",)
"""As Google lists them."""


class _Named(NamedTuple):
    """A name that may be asked for; no target where the policy chooses."""

    name: str
    target: Target | None

    @property
    def is_embedder(self) -> bool:
        """Whether it gives vectors, and no answers."""
        return self.target is not None and "embed" in self.target.capabilities


def _names(routing: Routing) -> Iterator[_Named]:
    for name in AUTO:
        yield _Named(name, None)
    for target in routing.targets:
        yield _Named(target.name, target)
        for alias in target.aliases:
            yield _Named(alias, target)


def list_openai(routing: Routing, created_at: int) -> list[Json]:
    """``GET /v1/models``: OpenAI's entries, those of targets with what policy knows of them."""
    listed: list[Json] = []
    for named in _names(routing):
        name, target = named
        entry: dict[str, object] = {"id": name, "object": "model", "created": created_at}
        entry["owned_by"] = "moegate" if target is None else target.provider
        if target is not None and target.name == name:
            entry["context_length"] = target.context_tokens_max
            entry["boundary"] = target.boundary
            entry["region"] = target.region
        if named.is_embedder:
            entry["type"] = "embedding"
        listed.append(entry)
    return listed


def list_anthropic(routing: Routing, created_at: int) -> list[Json]:
    """What answers, as Anthropic's SDK reads it: its clients have no words to ask for vectors."""
    moment = datetime.fromtimestamp(created_at, UTC).isoformat().replace("+00:00", "Z")
    return [
        {"type": "model", "id": one.name, "display_name": one.name, "created_at": moment}
        for one in _names(routing)
        if not one.is_embedder
    ]


def list_gemini(routing: Routing) -> list[Json]:
    """``GET /v1beta/models``, as Google's SDK reads it."""
    listed: list[Json] = []
    for named in _names(routing):
        name, target = named
        entry: dict[str, object] = {
            "name": f"models/{name}",
            "displayName": name,
            "supportedGenerationMethods": GEMINI_EMBED_VERBS if named.is_embedder else GEMINI_VERBS,
        }
        if target is not None:
            entry["inputTokenLimit"] = target.context_tokens_max
            entry["outputTokenLimit"] = max(1, target.output_tokens_max)  # 1 of vectors, at Google.
        listed.append(entry)
    return listed
