"""What every renderer of a target format gives back, and how it accounts for its losses.

Promises: a loss is refused or listed, never silent. Names are the client format's member names, in ASCII.
Does not decide what is lost: each codec does. Next: :mod:`backends.wire.anthropic_messages`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec

from backends.wire.prompt import Prompt, ReasoningEffort, WireFormat

DROPPED_NAMES_MAX = 32
"""More than this many names end in ``...``: they travel in a response header."""

_NAME_CHARS_MAX = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9_.$\[\]-]")

_NUMBERED = re.compile(r"\[\d+\]")

_OPENAI_MEMBERS = frozenset(
    {
        "audio",
        "logit_bias",
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
    "openai-responses": {
        "logprobs": "include",
        "max_tokens": "max_output_tokens",
        "messages[].content.image_url.detail": "input[].content[].detail",
        "messages[].content[].image_url.detail": "input[].content[].detail",
        "messages[].reasoning_content": "input[].reasoning",
        "messages[].role": "input[].role",
        "reasoning_effort": "reasoning.effort",
        "response_format": "text.format",
        "response_format.json_schema.schema": "text.format.schema",
        "response_format.json_schema.strict": "text.format.strict",
        "tools[].function.strict": "tools[].strict",
    },
    "anthropic-messages": {
        "stop": "stop_sequences",
        "reasoning_effort": "thinking",
        "response_format": "output_config.format",
        "response_format.json_schema.schema": "output_config.format.schema",
        "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
        "messages[].reasoning_content": "messages[].content.thinking",
        "tools[].function.strict": "tools[].strict",
        "user": "metadata.user_id",
        "prompt_cache_retention": "cache_control",
    },
    "gemini": {
        "audio": "generationConfig.speechConfig",
        "frequency_penalty": "generationConfig.frequencyPenalty",
        "logprobs": "generationConfig.responseLogprobs",
        "max_tokens": "generationConfig.maxOutputTokens",
        "messages[].content.image_url.detail": "contents[].parts[].mediaResolution",
        "messages[].content[].image_url.detail": "contents[].parts[].mediaResolution",
        "messages[].reasoning_content": "contents[].parts[].thoughtSignature",
        "messages[].role": "contents[].role",
        "n": "generationConfig.candidateCount",
        "parallel_tool_calls": "toolConfig.functionCallingConfig",
        "presence_penalty": "generationConfig.presencePenalty",
        "reasoning_effort": "generationConfig.thinkingConfig.thinkingLevel",
        "reasoning_tokens_max": "generationConfig.thinkingConfig.thinkingBudget",
        "response_format": "generationConfig.responseJsonSchema",
        "response_format.json_schema.schema": "generationConfig.responseJsonSchema",
        "response_format.json_schema.strict": "generationConfig.responseJsonSchema",
        "seed": "generationConfig.seed",
        "stop": "generationConfig.stopSequences",
        "temperature": "generationConfig.temperature",
        "tool_choice": "toolConfig.functionCallingConfig",
        "tools[].function.strict": "toolConfig.functionCallingConfig.mode",
        "top_k": "generationConfig.topK",
        "top_logprobs": "generationConfig.logprobs",
        "top_p": "generationConfig.topP",
    },
    "openai-completions": {},
    "openai-embeddings": {},
    "gemini-embeddings": {},
}
"""What a client's format calls what the prompt models, where that is not OpenAI's word."""


SCHEMA = "response_format.json_schema.schema"
"""The schema of an answer, whose keywords are listed one by one."""

_CARRIED_ANYWAY: Mapping[WireFormat, re.Pattern[str]] = {
    "openai-responses": re.compile(r"store|metadata|input\[\d+\]\.(?:id|status)"),
    "openai-completions": re.compile(r"echo"),
}
"""Members that no target needs to be told of: what is kept the gateway decides, what the answer repeats (``echo``),
and what items are called."""


class Losses:
    """Names of what a rendering leaves out, in the order found, each once."""

    __slots__ = ("_carried_anyway", "_format", "_names", "_words")

    def __init__(self, format: WireFormat = "openai-chat") -> None:
        """``format``: the client's."""
        self._format = format
        self._carried_anyway = _CARRIED_ANYWAY.get(format)
        self._names: dict[str, None] = {}
        self._words = WORDS[format]

    def add(self, name: str) -> None:
        """Note one loss by its OpenAI member name, or by that of a keyword in the answer's schema; it is listed in
        the client's words."""
        whole, inside = name, ""
        if name.startswith(f"{SCHEMA}."):
            whole, inside = SCHEMA, name[len(SCHEMA) :]
        self._names[self._words.get(whole, whole) + inside] = None

    def add_logprobs(self, wanted: int | None) -> None:
        """Note that log probabilities are not given, if they are ``wanted``, with so many alternatives."""
        if wanted is not None:
            self.add("logprobs")
            if wanted:
                self.add("top_logprobs")

    def add_unknown(self, unknown: dict[str, bytes], carried: frozenset[str]) -> None:
        """Note every unmodelled member except those ``carried`` and those without effect."""
        for name, raw in unknown.items():
            if name in carried or raw == b"null":
                continue
            if self._format != "openai-chat":
                if self._carried_anyway is None or not self._carried_anyway.fullmatch(name):
                    self._names[name] = None
            elif name not in _OPENAI_MEMBERS:
                self.add(f"unknown.{name}")
            elif raw.replace(b" ", b"") not in _WITHOUT_EFFECT.get(name, _NEVER):
                self.add(name)

    def add_places(self, unknown: dict[str, bytes]) -> None:
        """Note every unmodelled member that says something; one that stands in every entry of a list, once."""
        for path, raw in unknown.items():
            if raw != b"null":
                self._names[_NUMBERED.sub("[]", path)] = None

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


ID_CHARS_MAX = 64
"""Longer ids OpenAI refuses (``string_above_max_length``), of calls as of end users; Claude Code's user is longer."""


def short_id(said: str, prefix: str) -> str:
    """``said``, or a stable substitute for an id that is too long for OpenAI and those who follow it."""
    if 0 < len(said) <= ID_CHARS_MAX:
        return said
    return f"{prefix}_{hashlib.sha256(said.encode('utf-8', 'replace')).hexdigest()[:40]}"


EFFORT_BY_TOKENS: tuple[tuple[int, ReasoningEffort], ...] = (
    (1024, "minimal"),
    (4096, "low"),
    (12288, "medium"),
)
"""The effort of a thinking budget of at most so many tokens; of a larger one it is ``high``. Between the budgets
that efforts are rendered as (Claude: 1024, 2048, 8192, 16384; Google's own mapping: 1024, 8192, 24576)."""


def find_effort(prompt: Prompt) -> ReasoningEffort | None:
    """The effort that was asked for, also as a budget in tokens."""
    if prompt.reasoning_effort is not None or prompt.reasoning_tokens_max is None:
        return prompt.reasoning_effort
    budget = prompt.reasoning_tokens_max
    for limit, word in EFFORT_BY_TOKENS:
        if budget <= limit:
            return word
    return "high"


def is_json_object(text: str | bytes) -> bool:
    """Whether ``text`` is one JSON object; duplicate keys are left as they are."""
    try:
        _OBJECT.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
