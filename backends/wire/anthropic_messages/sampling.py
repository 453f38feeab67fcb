"""How Claude draws its tokens and how much it thinks: two sides that exclude each other in part.

Promises: what a model does not take, or not while it thinks, is listed and left out.
Facts: Anthropic's thinking, effort and parameter pages for ``anthropic-version`` 2023-06-01.
"""

from backends.wire.anthropic_messages.models import ModelTraits
from backends.wire.prompt import Prompt, Reasoning, Sampling, ToolCall
from backends.wire.rendering import Losses, find_effort

TEMPERATURE_MAX = 1.0
"""OpenAI's goes to 2."""

THINKING_TOKENS_MIN = 1024
"""The least ``budget_tokens`` that the API takes."""

THINKING_TOKENS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384}
"""Thinking budget by effort for models that think by budget; higher efforts get twice ``high``."""


def add_sampling(
    sampling: Sampling, traits: ModelTraits, body: dict[str, object], losses: Losses
) -> None:
    """Add stops and sampling members to ``body``, whose thinking is already settled."""
    if sampling.stop:
        _add_stop(sampling.stop, body, losses)
    if sampling.seed is not None:
        losses.add("seed")
    if sampling.presence_penalty:
        losses.add("presence_penalty")
    if sampling.frequency_penalty:
        losses.add("frequency_penalty")
    thinking = body.get("thinking")
    is_thinking = isinstance(thinking, dict) and thinking["type"] in ("enabled", "adaptive")
    if traits.has_sampling and not is_thinking:
        _add_drawing(sampling, traits, body, losses)
        return
    if sampling.temperature not in (None, 1.0):
        losses.add("temperature")
    if sampling.top_p not in (None, 1.0):
        losses.add("top_p")
    if sampling.top_k is not None:
        losses.add("top_k")


def _add_stop(stop: tuple[str, ...], body: dict[str, object], losses: Losses) -> None:
    visible = [text for text in stop if text and not text.isspace()]
    if visible:
        body["stop_sequences"] = visible
    if len(visible) < len(stop):  # The API refuses blank sequences.
        losses.add("stop")


def _add_drawing(
    sampling: Sampling, traits: ModelTraits, body: dict[str, object], losses: Losses
) -> None:
    temperature, top_p = sampling.temperature, sampling.top_p
    if temperature is not None:
        body["temperature"] = min(temperature, TEMPERATURE_MAX)
        if temperature > TEMPERATURE_MAX:
            losses.add("temperature")
    if top_p is not None and top_p != 1.0:
        if temperature is None or traits.takes_temperature_with_top_p:
            body["top_p"] = top_p
        else:
            losses.add("top_p")
    if sampling.top_k is not None:
        body["top_k"] = sampling.top_k


def add_thinking(
    prompt: Prompt, traits: ModelTraits, max_tokens: int, body: dict[str, object], losses: Losses
) -> None:
    """Ask for as much thinking as the prompt's effort or budget says, in the model's own way."""
    effort = find_effort(prompt)
    if effort is None:
        return
    if effort == "none":
        _turn_thinking_off(traits, body, losses)
        return
    if traits.thinking == "budget":
        _add_thinking_budget(prompt, effort, max_tokens, body, losses)
    elif traits.thinking == "adaptive":
        thinking: dict[str, object] = {"type": "adaptive"}
        if not traits.has_sampling:  # From Opus 4.7 on the text of thinking is hidden by default.
            thinking["display"] = "summarized"
        body["thinking"] = thinking
    else:
        losses.add("reasoning_effort")
    if traits.efforts:
        _set_effort(effort, traits, body, losses)


def _set_effort(effort: str, traits: ModelTraits, body: dict[str, object], losses: Losses) -> None:
    wanted = "low" if effort == "minimal" else effort
    if wanted not in traits.efforts:
        losses.add("reasoning_effort")
        wanted = "high"
    config = body.setdefault("output_config", {})
    assert isinstance(config, dict)
    config["effort"] = wanted


def _turn_thinking_off(traits: ModelTraits, body: dict[str, object], losses: Losses) -> None:
    match traits.off:
        case "omit":
            return
        case "never":
            losses.add("reasoning_effort")
            _set_effort("low", traits, body, losses)
        case way:
            body["thinking"] = {"type": way}


def _add_thinking_budget(
    prompt: Prompt, effort: str, max_tokens: int, body: dict[str, object], losses: Losses
) -> None:
    choice = body.get("tool_choice")
    is_forced = isinstance(choice, dict) and choice["type"] in ("any", "tool")
    # The budget must stay below max_tokens; a quarter is kept for the answer itself.
    wanted = prompt.reasoning_tokens_max
    if wanted is None or prompt.reasoning_effort is not None:
        wanted = THINKING_TOKENS.get(effort, 2 * THINKING_TOKENS["high"])
    budget = min(max(wanted, THINKING_TOKENS_MIN), max_tokens * 3 // 4)
    if is_forced or budget < THINKING_TOKENS_MIN or _has_unsigned_call(prompt):
        losses.add("reasoning_effort")
        return
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _has_unsigned_call(prompt: Prompt) -> bool:
    """Whether the last assistant turn calls tools without Claude's own thinking before them.

    With a thinking budget the API then answers 400 (``Expected thinking, but found tool_use``).
    """
    for message in reversed(prompt.messages):
        if message.role == "assistant":
            if not any(isinstance(part, ToolCall) for part in message.parts):
                return False
            first = message.parts[0]
            return not (
                isinstance(first, Reasoning) and first.signature and first.issuer == "anthropic"
            )
    return False
