"""What each generation of Gemini accepts: data, looked up by the model's name.

Promises: an unknown (newer) model is treated like the newest generation.
Facts: Google's thinking, function calling and structured output pages (November 2026), LiteLLM's
model map 1.106.2, recorded exchanges.
"""

from typing import Literal

import msgspec


class ModelTraits(msgspec.Struct, frozen=True):
    """How one generation takes requests.

    ``thinking``: ``budget`` is ``thinkingBudget`` in tokens, ``level`` is ``thinkingLevel``.
    ``budget_min`` is the least budget (0 turns thinking off); ``levels`` are rising.
    ``needs_call_signature``: a call sent back without its signature is refused. ``has_logprobs``: newer ones answer
    400 to the wish (googleapis/python-genai issue 1921, GoogleCloudPlatform/generative-ai issue 2947).
    """

    thinking: Literal["none", "budget", "level"] = "level"
    levels: tuple[str, ...] = ("low", "medium", "high")
    budget_min: int = 0
    needs_call_signature: bool = True
    has_penalties: bool = False
    has_schema_beside_tools: bool = True
    has_media_results: bool = True
    has_validated_calls: bool = True
    has_logprobs: bool = False


_GEMINI_2_0 = ModelTraits(
    thinking="none",
    needs_call_signature=False,
    has_penalties=True,
    has_schema_beside_tools=False,
    has_media_results=False,
    has_validated_calls=False,
    has_logprobs=True,
)
_GEMINI_2_5 = msgspec.structs.replace(
    _GEMINI_2_0,
    thinking="budget",
    has_penalties=False,
    has_validated_calls=True,
    has_logprobs=False,
)
_NEWEST = ModelTraits()
_WITH_MINIMAL = ModelTraits(levels=("minimal", "low", "medium", "high"))

_BY_PREFIX: tuple[tuple[str, ModelTraits], ...] = tuple(
    sorted(
        {
            "gemini-1": _GEMINI_2_0,
            "gemini-2.0": _GEMINI_2_0,
            "gemma": _GEMINI_2_0,
            "gemini-2.5-flash": _GEMINI_2_5,
            "gemini-2.5-pro": msgspec.structs.replace(_GEMINI_2_5, budget_min=128),
            "gemini-2.5": _GEMINI_2_5,
            "gemini-3-pro": ModelTraits(levels=("low", "high")),
            "gemini-3-flash": _WITH_MINIMAL,
            "gemini-3.1-flash": _WITH_MINIMAL,
            "gemini-3.5-flash": _WITH_MINIMAL,
            "gemini-3.6-flash": _WITH_MINIMAL,
            "gemini-flash-lite-latest": _WITH_MINIMAL,
        }.items(),
        key=lambda item: -len(item[0]),
    )
)


def find_traits(model: str) -> ModelTraits:
    """The traits of ``model``, with or without ``models/`` or a publisher's path before it."""
    name = model.rpartition("/")[2]
    for prefix, traits in _BY_PREFIX:
        if name.startswith(prefix):
            return traits
    return _NEWEST
