"""What a request may not buy or reach by the way: members whose price or whose reach no policy decides.

Promises: refused before anything is decided, for every target. A priority tier, a search by the provider, a kept
cache or audio that it speaks is billed apart; passed on unseen it would break the bound of the bill. What names
things that a provider keeps (files, responses, containers) names things of all who share the provider's account.
"""

from collections.abc import Callable, Mapping

import msgspec

from backends.wire.gemini.members import to_camel
from backends.wire.prompt import Media, Opaque, Prompt, ToolResult, WireFormat
from gateway.errors import Refused, refuse

Harmless = tuple[bytes, ...] | Callable[[bytes], bool]

_NULL = (b"null",)
_TIERS = (b'"auto"', b'"default"', b'"flex"', b"null")


def _is_without_compaction(raw: bytes) -> bool:
    return b"compact" not in raw


def _caches_briefly(raw: bytes) -> bool:
    """The successor of `prompt_cache_retention`: nothing is kept for longer than by default, nor is another's
    response compared with, which would be one of all who share the account."""
    said = msgspec.json.decode(raw)
    return said is None or (
        isinstance(said, dict)
        and all(
            name == "mode" or value in (None, False) or (name, value) == ("ttl", "30m")
            for name, value in said.items()
        )
    )


HARMLESS: Mapping[WireFormat, Mapping[str, Harmless]] = {
    "openai-chat": {
        "service_tier": _TIERS,
        "web_search_options": _NULL,
        # Tokens of it that are not in the answer are billed as answered, beside its cap.
        "prediction": _NULL,
        "store": (b"false", b"null"),
        "modalities": (b'["text"]', b"null"),
        "audio": _NULL,
        "prompt_cache_retention": (b'"in_memory"', b'"in-memory"', b"null"),
        "prompt_cache_options": _caches_briefly,
        # xAI's, then OpenRouter's: another model than was decided on, at another price, at another host.
        "search_parameters": _NULL,
        "plugins": (b"[]", b"null"),
        "models": (b"[]", b"null"),
        "route": _NULL,
        "provider": (b"{}", b"null"),
        "preset": _NULL,
    },
    "openai-responses": {
        "service_tier": _TIERS,
        "background": (b"false", b"null"),
        "previous_response_id": _NULL,
        "conversation": _NULL,
        "prompt": _NULL,
        "context_management": (b"[]", b"null"),
        "prompt_cache_retention": (b'"in_memory"', b'"in-memory"', b"null"),
        "prompt_cache_options": _caches_briefly,
        "models": (b"[]", b"null"),
        "plugins": (b"[]", b"null"),
        "provider": (b"{}", b"null"),
    },
    "anthropic-messages": {
        "service_tier": (b'"auto"', b'"standard_only"', b"null"),
        "inference_geo": (b'"global"', b"null"),
        "speed": (b'"standard"', b"null"),
        "mcp_servers": (b"[]", b"null"),
        "container": _NULL,
        "context_management": _is_without_compaction,
        "compaction": _NULL,
        "fallbacks": (b"[]", b"null"),  # Other models than were decided on.
    },
    "gemini": {
        "cachedContent": _NULL,
        "store": (b"false", b"null"),
        "serviceTier": (b'"standard"', b'"STANDARD"', b"null"),
        "generationConfig.responseModalities": (b'["TEXT"]', b'["text"]', b"[]", b"null"),
        "generationConfig.speechConfig": _NULL,
        "generationConfig.imageConfig": _NULL,
    },
    # Only servers of one's own get such a body as it came.
    "openai-completions": {},
    "openai-embeddings": {
        "service_tier": _TIERS,
        "models": (b"[]", b"null"),
        "provider": (b"{}", b"null"),
    },
    "gemini-embeddings": {},
}
"""Members of each format that may cost or send on more than the request itself, and the values that do not."""

REFUSED_PARTS = frozenset(
    {"item_reference", "container_upload", "mcp_approval_response", "inlineData", "fileData"}
)
"""Kinds of parts that name what a provider keeps, and video, whose tokens nothing in a request bounds (images,
audio and documents are no such parts)."""


def refuse_costly_members(prompt: Prompt) -> None:
    """Raises ``Refused`` for members that buy what no price in the catalogue covers, or reach what the provider
    keeps."""
    if prompt.unknown:
        known = HARMLESS[prompt.format]
        for name, raw in prompt.unknown.items():
            harmless = known.get(_spelled(prompt.format, name))
            if harmless is not None and not _is_harmless(harmless, raw.strip()):
                raise _refused(name, f"`{name}`")
    if prompt.format == "openai-chat":
        return  # Its parser knows no such parts.
    for at, message in enumerate(prompt.messages):
        for part in message.parts:
            inner = part.content if isinstance(part, ToolResult) else (part,)
            for one in inner:
                if isinstance(one, Media) and one.file_id is not None:
                    raise _refused(f"messages[{at}]", "a file that a provider keeps")
            if isinstance(part, Opaque) and part.kind in REFUSED_PARTS:
                raise _refused(f"messages[{at}]", f"a part of type `{part.kind}`")


def _spelled(format: WireFormat, path: str) -> str:
    """A member's path in the spelling of :data:`HARMLESS`: Google takes two."""
    return ".".join(map(to_camel, path.split("."))) if format == "gemini" else path


def _is_harmless(harmless: Harmless, raw: bytes) -> bool:
    return raw in harmless if isinstance(harmless, tuple) else harmless(raw)


def _refused(param: str, what: str) -> Refused:
    return refuse(
        "policy_refused",
        f"{what} is not allowed here: it is billed, sent on or kept outside of what policy decides",
        code="policy_refused",
        param=param,
    )
