"""Prompt -> the body of ``models/{model}:generateContent`` and ``:streamGenerateContent?alt=sse``.

Promises: what Gemini cannot take is refused (``WireError``) or listed in ``dropped``; the output
cap holds upstream (``maxOutputTokens``, thoughts included). Schemas are spliced in as bytes.
Model and streaming stand in the URL: :mod:`backends.gemini` makes it.
"""

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.gemini.content import Conversation
from backends.wire.gemini.logprobs import ALTERNATIVES_MAX
from backends.wire.gemini.models import ModelTraits, find_traits
from backends.wire.prompt import Prompt, Sampling, Tool
from backends.wire.rendering import Losses, Rendered, is_json_object

THINKING_TOKENS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Budget by effort, as Google's own OpenAI-compatible endpoint maps it (Gemini API docs)."""

CHOICES_MAX = 8
STOPS_MAX = 5
PENALTY_LIMIT = 2.0
"""Penalties lie in [-2, 2)."""
_SEED_MAX = 2**31
_CARRIED: frozenset[str] = frozenset()
_ENCODER = msgspec.json.Encoder()


def render_request(
    prompt: Prompt, *, model: str, output_cap: int | None, output_tokens_default: int
) -> Rendered:
    """Render ``prompt`` for ``model``, at most ``output_cap`` tokens of output.

    ``output_tokens_default`` is not needed where a cap may be left out, and is not used. Raises
    ``WireError`` (``invalid_request``) for what Gemini cannot take at all.
    """
    del output_tokens_default
    if prompt.choices > CHOICES_MAX:
        raise invalid_request(f"gemini gives at most {CHOICES_MAX} choices", param="n")
    if b"audio" in prompt.unknown.get("modalities", b""):
        raise invalid_request("audio answers are not translated", param="modalities")
    losses = Losses(prompt.format)
    traits = find_traits(model)
    conversation = Conversation(traits, losses)
    for index, message in enumerate(prompt.messages):
        conversation.add(index, message)
    body: dict[str, object] = {"contents": conversation.finish()}
    if conversation.system:
        body["systemInstruction"] = {"parts": conversation.system}
    if prompt.tools:
        _add_tools(prompt, traits, body, losses)
    config = _render_config(prompt, output_cap, traits, losses)
    if config:
        body["generationConfig"] = config
    _list_hints(prompt, losses)
    if prompt.unknown:
        losses.add_unknown(prompt.unknown, _CARRIED)
    return Rendered(_ENCODER.encode(body), losses.names())


def _list_hints(prompt: Prompt, losses: Losses) -> None:
    for tool in prompt.provider_tools:
        losses.add(f"tools.{tool.kind}")
    hints = prompt.hints
    if hints.user is not None:
        losses.add("user")
    if hints.cache_key is not None:
        losses.add("prompt_cache_key")
    if hints.cache_ttl is not None:
        losses.add("prompt_cache_retention")
    if any(tool.cache_ttl is not None for tool in prompt.tools):
        losses.add("tools[].cache_control")


def _add_tools(
    prompt: Prompt, traits: ModelTraits, body: dict[str, object], losses: Losses
) -> None:
    body["tools"] = [
        {
            "functionDeclarations": [
                _render_tool(tool, index) for index, tool in enumerate(prompt.tools)
            ]
        }
    ]
    if prompt.allows_parallel_calls is False:
        losses.add("parallel_tool_calls")
    choice = prompt.tool_choice
    mode = "auto" if choice is None else choice.mode
    calling: dict[str, object] | None = None
    match mode:
        case "none":
            calling = {"mode": "NONE"}
        case "required":
            calling = {"mode": "ANY"}
        case "named":
            name = None if choice is None else choice.name
            calling = {"mode": "ANY", "allowedFunctionNames": [name]}
        case "auto":
            # VALIDATED is AUTO with every declared schema enforced, so it needs all to be strict.
            if traits.has_validated_calls and all(tool.is_strict for tool in prompt.tools):
                calling = {"mode": "VALIDATED"}
            elif choice is not None:
                calling = {"mode": "AUTO"}
    if calling is not None:
        body["toolConfig"] = {"functionCallingConfig": calling}
    enforced = calling is not None and calling["mode"] in ("VALIDATED", "ANY")
    if not enforced and any(tool.is_strict for tool in prompt.tools):
        losses.add("tools[].function.strict")


def _render_tool(tool: Tool, index: int) -> dict[str, object]:
    declaration: dict[str, object] = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    if tool.parameters is not None:
        if not is_json_object(tool.parameters):
            raise invalid_request(
                "the schema is not a JSON object", param=f"tools[{index}].function.parameters"
            )
        declaration["parametersJsonSchema"] = msgspec.Raw(tool.parameters)
    return declaration


def _render_config(
    prompt: Prompt, output_cap: int | None, traits: ModelTraits, losses: Losses
) -> dict[str, object]:
    config: dict[str, object] = {}
    tokens_max = prompt.output_tokens_max
    if output_cap is not None and (tokens_max is None or output_cap < tokens_max):
        tokens_max = output_cap
    if tokens_max is not None:
        config["maxOutputTokens"] = tokens_max
    _add_sampling(prompt.sampling, traits, config, losses)
    _add_logprobs(prompt.logprobs, traits, config, losses)
    if prompt.choices > 1:
        config["candidateCount"] = prompt.choices
    if prompt.output_schema is not None:
        if prompt.tools and not traits.has_schema_beside_tools:
            raise invalid_request(
                "this model gives no structured output beside tools", param="response_format"
            )
        config["responseMimeType"] = "application/json"
        if prompt.output_schema.schema is not None:
            config["responseJsonSchema"] = msgspec.Raw(prompt.output_schema.schema)
    thinking = _render_thinking(prompt, traits, losses)
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def _add_sampling(
    sampling: Sampling, traits: ModelTraits, config: dict[str, object], losses: Losses
) -> None:
    if sampling.temperature is not None:
        config["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        config["topP"] = sampling.top_p
    if sampling.top_k is not None:
        config["topK"] = sampling.top_k
    if sampling.seed is not None:
        if -_SEED_MAX <= sampling.seed < _SEED_MAX:
            config["seed"] = sampling.seed
        else:
            losses.add("seed")
    if sampling.stop:
        config["stopSequences"] = sampling.stop[:STOPS_MAX]
        if len(sampling.stop) > STOPS_MAX:
            losses.add("stop")
    for name, member, value in (
        ("presence_penalty", "presencePenalty", sampling.presence_penalty),
        ("frequency_penalty", "frequencyPenalty", sampling.frequency_penalty),
    ):
        if not value:
            continue
        if traits.has_penalties and -PENALTY_LIMIT <= value < PENALTY_LIMIT:
            config[member] = value
        else:
            losses.add(name)


def _add_logprobs(
    wanted: int | None, traits: ModelTraits, config: dict[str, object], losses: Losses
) -> None:
    if not traits.has_logprobs:
        losses.add_logprobs(wanted)
    elif wanted is not None:
        config["responseLogprobs"] = True
        if wanted:
            config["logprobs"] = min(wanted, ALTERNATIVES_MAX)
        if wanted > ALTERNATIVES_MAX:
            losses.add("top_logprobs")


def _render_thinking(prompt: Prompt, traits: ModelTraits, losses: Losses) -> dict[str, object]:
    """How much to think, by budget where one was said and the model takes it, and whether to show it."""
    effort, budget = prompt.reasoning_effort, prompt.reasoning_tokens_max
    if traits.thinking == "none":
        if budget is not None:
            losses.add("reasoning_tokens_max")
        if effort not in (None, "none"):
            losses.add("reasoning_effort")
        return {}
    thinking: dict[str, object] = {}
    if budget is not None and (traits.thinking == "budget" or effort is None):
        # Models with levels take a budget still, but not both.
        thinking["thinkingBudget"] = max(budget, traits.budget_min)
        if budget < traits.budget_min:
            losses.add("reasoning_tokens_max")
    elif effort is not None:
        if budget is not None:
            losses.add("reasoning_tokens_max")
        thinking = _render_effort(effort, traits, losses) or {}
    if prompt.shows_reasoning is not None:
        thinking["includeThoughts"] = prompt.shows_reasoning
    elif prompt.format == "gemini":
        thinking.pop("includeThoughts", None)
    return thinking


def _render_effort(effort: str, traits: ModelTraits, losses: Losses) -> dict[str, object] | None:
    match traits.thinking:
        case "none":
            if effort != "none":
                losses.add("reasoning_effort")
            return None
        case "budget":
            if effort == "none":
                if traits.budget_min:
                    losses.add("reasoning_effort")
                return {"thinkingBudget": traits.budget_min}
            if effort not in THINKING_TOKENS:
                losses.add("reasoning_effort")
            budget = THINKING_TOKENS.get(effort, THINKING_TOKENS["high"])
            return {"thinkingBudget": budget, "includeThoughts": True}
        case "level":
            level = _find_level(effort, traits.levels)
            if level != effort:
                losses.add("reasoning_effort")
            if effort == "none":
                return {"thinkingLevel": level}
            return {"thinkingLevel": level, "includeThoughts": True}


_RANK = {"none": 0, "minimal": 1, "low": 2, "medium": 3, "high": 4, "xhigh": 5, "max": 6}


def _find_level(effort: str, levels: tuple[str, ...]) -> str:
    """The highest level that is not above ``effort``, else the lowest there is."""
    fitting = [level for level in levels if _RANK[level] <= _RANK[effort]]
    return fitting[-1] if fitting else levels[0]
