"""Prompt → the body of ``POST /v1/responses``.

Promises: what OpenAI cannot take is refused (``WireError``) or listed in ``dropped``; the output cap always holds
upstream (``max_output_tokens``, thinking included); nothing is kept by the provider (``store`` false). Schemas and
arguments are spliced in as they came. A client's own body never comes here: it passes (:mod:`patch`).
"""

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.openai_chat.logprobs import ALTERNATIVES_MAX
from backends.wire.openai_responses.marks import FORMAT
from backends.wire.openai_responses.models import can_reason
from backends.wire.openai_responses.parsing import ENCRYPTED, LOGPROBS
from backends.wire.openai_responses.turns import Items
from backends.wire.prompt import OutputSchema, Prompt, Tool
from backends.wire.provider_tools import may_travel
from backends.wire.rendering import Losses, Rendered, find_effort, is_json_object, short_id

OUTPUT_TOKENS_MIN = 16
"""The least ``max_output_tokens`` that the API takes."""
_ENCODER = msgspec.json.Encoder()
_OF_BOTH = frozenset({"user", "safety_identifier", "prompt_cache_key"})
"""Members that a chat has too and the prompt leaves as they came."""

Json = dict[str, object]


def render_request(
    prompt: Prompt,
    *,
    model: str,
    output_cap: int | None,
    output_tokens_default: int,
    allows_provider_tools: bool = False,
    asks_summary: bool = True,
) -> Rendered:
    """Render ``prompt`` for ``model``, at most ``output_cap`` tokens of output.

    ``output_tokens_default`` is not needed where a cap may be left out. ``asks_summary``: thinking is summed up for who
    wants to see it. Raises ``WireError``.
    """
    del output_tokens_default
    if prompt.choices > 1:
        raise invalid_request("this format gives one choice a request", param="n")
    if b"audio" in prompt.unknown.get("modalities", b""):
        raise invalid_request("this format gives no audio", param="modalities")
    losses = Losses(prompt.format)
    items = Items(losses, is_own=prompt.format == FORMAT)
    for at, message in enumerate(prompt.messages):
        items.add(at, message)
    body: Json = {"model": model, "input": items.finish(), "store": False}
    if prompt.is_stream:
        body["stream"] = True
    if (cap := _cap(prompt, output_cap)) is not None:
        body["max_output_tokens"] = cap
    _add_tools(prompt, body, losses, allows_provider_tools=allows_provider_tools)
    if prompt.output_schema is not None:
        body["text"] = {"format": _format(prompt.output_schema)}
    _add_thinking(prompt, model, body, losses, asks_summary=asks_summary)
    _add_sampling(prompt, body, losses)
    _add_hints(prompt, body, losses)
    if prompt.unknown:
        losses.add_unknown(prompt.unknown, _carried(prompt))
    return Rendered(_ENCODER.encode(body), losses.names())


def _carried(prompt: Prompt) -> frozenset[str]:
    """Members of a chat that mean the same here: texts, for nothing else is one."""
    if prompt.format != "openai-chat":
        return frozenset()
    return frozenset(
        name
        for name in _OF_BOTH & prompt.unknown.keys()
        if prompt.unknown[name][:1] == b'"' and prompt.unknown[name] != b'""'
    )


def _cap(prompt: Prompt, output_cap: int | None) -> int | None:
    cap = prompt.output_tokens_max
    if output_cap is not None and (cap is None or output_cap < cap):
        cap = output_cap
    if cap is not None and cap < OUTPUT_TOKENS_MIN:
        # A higher one would break the bound of the bill.
        message = f"this provider takes an output cap of at least {OUTPUT_TOKENS_MIN} tokens"
        raise invalid_request(message, param="max_tokens", code="integer_below_min_value")
    return cap


def _add_tools(prompt: Prompt, body: Json, losses: Losses, *, allows_provider_tools: bool) -> None:
    tools: list[object] = [_tool(tool, at) for at, tool in enumerate(prompt.tools)]
    for tool in prompt.provider_tools:
        is_taken = tool.path.startswith("tools[") and may_travel(
            tool.kind, allows_provider_tools=allows_provider_tools
        )
        if prompt.format == FORMAT and is_taken:
            tools.append(msgspec.Raw(tool.raw))
        else:
            losses.add(f"tools.{tool.kind}")
    if not tools:
        return
    body["tools"] = tools
    choice = prompt.tool_choice
    if choice is not None:
        named = {"type": "function", "name": choice.name}
        body["tool_choice"] = named if choice.mode == "named" else choice.mode
    if prompt.allows_parallel_calls is not None:
        body["parallel_tool_calls"] = prompt.allows_parallel_calls


def _tool(tool: Tool, at: int) -> Json:
    if tool.parameters is not None and not is_json_object(tool.parameters):
        raise invalid_request("the schema is not a JSON object", param=f"tools[{at}].parameters")
    rendered: Json = {"type": "function", "name": tool.name}
    if tool.description:
        rendered["description"] = tool.description
    rendered["parameters"] = None if tool.parameters is None else msgspec.Raw(tool.parameters)
    # Strict is this format's default, and no other's.
    rendered["strict"] = bool(tool.is_strict)
    return rendered


def _format(wanted: OutputSchema) -> Json:
    if wanted.schema is None:
        return {"type": "json_object"}
    form: Json = {
        "type": "json_schema",
        "name": wanted.name,
        "schema": msgspec.Raw(wanted.schema),
    }
    if wanted.description is not None:
        form["description"] = wanted.description
    if wanted.is_strict is not None:
        form["strict"] = wanted.is_strict
    return form


def _add_thinking(
    prompt: Prompt, model: str, body: Json, losses: Losses, *, asks_summary: bool
) -> None:
    effort = find_effort(prompt)
    if effort == "max":
        losses.add("reasoning_effort")
        effort = "xhigh"
    reasoning: Json = {}
    if effort is not None:
        reasoning["effort"] = effort
    if asks_summary and prompt.shows_reasoning and effort != "none":
        reasoning["summary"] = "auto"
    if reasoning:
        body["reasoning"] = reasoning
    included = [ENCRYPTED] if can_reason(model) else []
    if effort not in (None, "none"):
        losses.add_logprobs(prompt.logprobs)  # Models that think give none.
    elif prompt.logprobs is not None:
        included.append(LOGPROBS)
        if prompt.logprobs > ALTERNATIVES_MAX:
            losses.add("top_logprobs")
        if prompt.logprobs:
            body["top_logprobs"] = min(prompt.logprobs, ALTERNATIVES_MAX)
    if included:
        body["include"] = included


def _add_sampling(prompt: Prompt, body: Json, losses: Losses) -> None:
    sampling = prompt.sampling
    if sampling.temperature is not None:
        body["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    for name, is_said in (
        ("top_k", sampling.top_k is not None),
        ("seed", sampling.seed is not None),
        ("stop", bool(sampling.stop)),
        ("presence_penalty", bool(sampling.presence_penalty)),
        ("frequency_penalty", bool(sampling.frequency_penalty)),
    ):
        if is_said:
            losses.add(name)


def _add_hints(prompt: Prompt, body: Json, losses: Losses) -> None:
    """What ties requests together; what is worth keeping OpenAI finds out by itself."""
    for name in _carried(prompt):
        body[name] = short_id(msgspec.json.decode(prompt.unknown[name], type=str), "id")
    if prompt.hints.user is not None:
        body["user"] = short_id(prompt.hints.user, "user")
    if prompt.hints.cache_key is not None:
        body["prompt_cache_key"] = short_id(prompt.hints.cache_key, "key")
    if prompt.hints.cache_ttl is not None:
        losses.add("prompt_cache_retention")
    if any(tool.cache_ttl is not None for tool in prompt.tools):
        losses.add("tools[].cache_control")
    if any(
        getattr(part, "cache_ttl", None) is not None
        for message in prompt.messages
        for part in message.parts
    ):
        losses.add("messages[].cache_control")
