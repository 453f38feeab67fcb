"""What every renderer of a target format gives back, and how it accounts for its losses.

Promises: a loss is refused or listed, never silent. Names are the client format's member names, in ASCII.
Does not decide what is lost: each codec does. Next: :mod:`backends.wire.anthropic_messages`.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from backends.wire.prompt import WireFormat

DROPPED_NAMES_MAX = 32
"""More than this many names end in ``...``: they travel in a response header."""

_NAME_CHARS_MAX = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9_.$\[\]-]")

_OPENAI_MEMBERS = frozenset(
    {
        "audio",
        "logit_bias",
        "logprobs",
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "top_logprobs",
        "user",
        "verbosity",
        "web_search_options",
    }
)
"""Members of OpenAI's chat request (OpenAPI document, 2026-08-21) that a prompt does not model."""

_WITHOUT_EFFECT: dict[str, frozenset[bytes]] = {
    "logit_bias": frozenset({b"{}"}),
    "logprobs": frozenset({b"false"}),
    "metadata": frozenset({b"{}"}),
    "modalities": frozenset({b'["text"]'}),
    "service_tier": frozenset({b'"auto"', b'"default"'}),
    "store": frozenset({b"false"}),
    "top_logprobs": frozenset({b"0"}),
    "verbosity": frozenset({b'"medium"'}),
}
"""Values that say what holds anyway, so that leaving them out loses nothing."""

_NEVER: frozenset[bytes] = frozenset()


class Rendered(msgspec.Struct, frozen=True):
    """A request body in the target's format and the names of what it does not carry."""

    body: bytes
    dropped: tuple[str, ...]


WORDS: Mapping[WireFormat, Mapping[str, str]] = {
    "openai-chat": {},
    "openai-responses": {},
    "anthropic-messages": {},
    "gemini": {},
}
"""What a client's format calls what the prompt models, where that is not OpenAI's word."""


class Losses:
    """Names of what a rendering leaves out, in the order found, each once."""

    __slots__ = ("_names", "_words")

    def __init__(self, format: WireFormat = "openai-chat") -> None:
        """``format``: the client's."""
        self._names: dict[str, None] = {}
        self._words = WORDS[format]

    def add(self, name: str) -> None:
        """Note one loss by its OpenAI member name; it is listed in the client's words."""
        self._names[self._words.get(name, name)] = None

    def add_unknown(self, unknown: dict[str, bytes], carried: frozenset[str]) -> None:
        """Note every unmodelled member except those ``carried`` and those without effect."""
        for name, raw in unknown.items():
            if name in carried or raw == b"null":
                continue
            if name not in _OPENAI_MEMBERS:
                self.add(f"unknown.{name}")
            elif raw.replace(b" ", b"") not in _WITHOUT_EFFECT.get(name, _NEVER):
                self.add(name)

    def names(self) -> tuple[str, ...]:
        """All names, see :func:`name_losses`."""
        return name_losses(self._names)


def name_losses(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` as they can stand in a header, each once, at most :data:`DROPPED_NAMES_MAX` and then ``...``.

    Some are a client's words (members, keywords of schemas), some a provider's (types of content).
    """
    cleaned = {_UNSAFE.sub("_", name[:_NAME_CHARS_MAX]): None for name in names}
    if len(cleaned) > DROPPED_NAMES_MAX:
        return (*list(cleaned)[:DROPPED_NAMES_MAX], "...")
    return tuple(cleaned)


def is_json_object(text: str | bytes) -> bool:
    """Whether ``text`` is one JSON object; duplicate keys are left as they are."""
    try:
        _OBJECT.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
