"""What each generation of Claude accepts: data, looked up by the model's name.

Promises: an unknown (newer) model is treated like the newest generation, the strictest one, so a
request is never refused for a member that could have been left out and listed.
Facts: Anthropic's "what's new" and migration pages per model (November 2026), LiteLLM's model map
1.106.2 (``supports_*``, ``thinking_always_on``), recorded answers. For ``anthropic-version``
2023-06-01; 2026-10-21 takes no sampling member at all.
"""

from typing import Literal

import msgspec

_LOW_TO_HIGH = frozenset({"low", "medium", "high"})
_WITH_MAX = _LOW_TO_HIGH | {"max"}
_ALL_EFFORTS = _WITH_MAX | {"xhigh"}


class ModelTraits(msgspec.Struct, frozen=True):
    """How one generation takes requests.

    ``thinking``: ``budget`` is ``enabled`` with ``budget_tokens``, ``adaptive`` leaves it to the
    model. ``off`` says how thinking is turned off: it is off unless asked for (``omit``), by a
    ``disabled`` or ``between_tools`` configuration, or ``never``.
    """

    thinking: Literal["none", "budget", "adaptive"] = "adaptive"
    off: Literal["omit", "disabled", "between_tools", "never"] = "never"
    efforts: frozenset[str] = _ALL_EFFORTS
    has_sampling: bool = False
    takes_temperature_with_top_p: bool = False
    has_forced_tools: bool = False
    has_output_schema: bool = True
    has_system_turns: bool = True
    has_prefill: bool = False


_CLAUDE_3 = ModelTraits(
    thinking="none",
    off="omit",
    efforts=frozenset(),
    has_sampling=True,
    takes_temperature_with_top_p=True,
    has_forced_tools=True,
    has_output_schema=False,
    has_system_turns=False,
    has_prefill=True,
)
_BUDGET = msgspec.structs.replace(_CLAUDE_3, thinking="budget")
_BUDGET_SCHEMA = msgspec.structs.replace(
    _BUDGET, has_output_schema=True, takes_temperature_with_top_p=False
)
_CLAUDE_4_6 = msgspec.structs.replace(
    _BUDGET_SCHEMA, thinking="adaptive", efforts=_WITH_MAX, has_prefill=False
)
_OPUS_4_7 = msgspec.structs.replace(_CLAUDE_4_6, efforts=_ALL_EFFORTS, has_sampling=False)
_OPUS_4_8 = msgspec.structs.replace(_OPUS_4_7, has_system_turns=True)
_CLAUDE_5 = msgspec.structs.replace(_OPUS_4_8, off="disabled")
_NEWEST = ModelTraits()

_BY_PREFIX: tuple[tuple[str, ModelTraits], ...] = tuple(
    sorted(
        {
            "claude-2": _CLAUDE_3,
            "claude-instant": _CLAUDE_3,
            "claude-3": _CLAUDE_3,
            "claude-3-7": _BUDGET,
            "claude-4": _BUDGET,
            "claude-sonnet-4": _BUDGET,
            "claude-opus-4": _BUDGET,
            "claude-opus-4-1": _BUDGET_SCHEMA,
            "claude-sonnet-4-5": _BUDGET_SCHEMA,
            "claude-haiku-4-5": _BUDGET_SCHEMA,
            "claude-opus-4-5": msgspec.structs.replace(_BUDGET_SCHEMA, efforts=_LOW_TO_HIGH),
            "claude-sonnet-4-6": _CLAUDE_4_6,
            "claude-opus-4-6": _CLAUDE_4_6,
            "claude-opus-4-7": _OPUS_4_7,
            "claude-opus-4-8": _OPUS_4_8,
            "claude-sonnet-5": _CLAUDE_5,
            "claude-opus-5": _CLAUDE_5,
            "claude-haiku-5": _CLAUDE_5,
            "claude-sonnet-5-5": ModelTraits(off="between_tools"),
            "claude-opus-5-5": _NEWEST,
            "claude-fable-5": ModelTraits(has_forced_tools=True),
            "claude-fable-5-1": _NEWEST,
            "claude-mythos-5": ModelTraits(has_forced_tools=True),
            "claude-mythos-5-1": _NEWEST,
            "claude-mythos-preview": ModelTraits(has_system_turns=False),
        }.items(),
        key=lambda item: -len(item[0]),
    )
)


def find_traits(model: str) -> ModelTraits:
    """The traits of ``model``; region and vendor prefixes (``us.anthropic.``) do not matter."""
    start = model.find("claude-")
    name = model[start:] if start > 0 else model
    for prefix, traits in _BY_PREFIX:
        if name.startswith(prefix):
            return traits
    return _NEWEST
