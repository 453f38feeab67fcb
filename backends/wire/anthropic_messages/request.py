"""Prompt -> the body of ``POST /v1/messages``.

Promises: what Claude cannot take is refused (``WireError``) or listed in ``dropped``; the output
cap always holds upstream (``max_tokens``, thinking included). Schemas are spliced in as bytes.
Does not add headers or betas: :mod:`backends.claude`. What a model accepts is data:
:mod:`backends.wire.anthropic_messages.models`.
"""

import re

import msgspec

from backends.wire.anthropic_messages.content import Conversation
from backends.wire.anthropic_messages.models import ModelTraits, find_traits
from backends.wire.anthropic_messages.sampling import add_sampling, add_thinking
from backends.wire.anthropic_messages.schema import fit_schema
from backends.wire.failure import invalid_request
from backends.wire.prompt import Hints, Prompt, Tool
from backends.wire.rendering import SCHEMA, Losses, Rendered, find_effort

_STRICT_TOOLS_MAX = 20
_USER_ID_CHARS_MAX = 256
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_CARRIED = frozenset({"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
_ENCODER = msgspec.json.Encoder()


class _SchemaHead(msgspec.Struct):
    """The only member of a tool's schema that Claude insists on."""

    type: msgspec.Raw = msgspec.Raw()


_HEAD = msgspec.json.Decoder(_SchemaHead)


def render_request(
    prompt: Prompt, *, model: str, output_cap: int | None, output_tokens_default: int
) -> Rendered:
    """Render ``prompt`` for ``model``, at most ``output_cap`` tokens of output.

    ``output_tokens_default`` is the cap where neither client nor gateway names one (the API demands
    one). Raises ``WireError`` (``invalid_request``) for what Claude cannot take at all.
    """
    if prompt.choices > 1:
        raise invalid_request("claude gives one choice a request", param="n")
    if b"audio" in prompt.unknown.get("modalities", b""):
        raise invalid_request("claude gives no audio", param="modalities")
    losses = Losses(prompt.format)
    traits = find_traits(model)
    max_tokens = prompt.output_tokens_max or output_tokens_default
    if output_cap is not None and output_cap < max_tokens:
        max_tokens = output_cap
    conversation = Conversation(traits, losses)
    for index, message in enumerate(prompt.messages):
        conversation.add(index, message)
    messages = conversation.finish()
    body: dict[str, object] = {"model": model, "max_tokens": max_tokens}
    if conversation.system:
        body["system"] = conversation.system
    body["messages"] = messages
    if prompt.is_stream:
        body["stream"] = True
    answer_tool = find_answer_tool(prompt, model)
    if prompt.tools or answer_tool is not None:
        _add_tools(prompt, traits, answer_tool, body, losses)
    elif conversation.called:
        # Claude refuses calls in the history without tools: these are declared but forbidden.
        body["tools"] = [
            {"name": name, "input_schema": {"type": "object"}} for name in conversation.called
        ]
        body["tool_choice"] = {"type": "none"}
    if prompt.output_schema is not None and answer_tool is None:
        _add_output_schema(prompt, traits, body, losses)
    if find_effort(prompt) is not None:
        add_thinking(prompt, traits, max_tokens, body, losses)
    add_sampling(prompt.sampling, traits, body, losses)
    losses.add_logprobs(prompt.logprobs)
    if prompt.unknown or prompt.provider_tools or prompt.hints != Hints():
        _add_hints(prompt, body, losses)
    return Rendered(_ENCODER.encode(body), losses.names())


def find_answer_tool(prompt: Prompt, model: str) -> str | None:
    """The tool that ``prompt`` is made to call so that its answer is JSON, or None.

    For JSON without a schema, and for models without structured outputs: the tool's arguments are
    then the answer's text (:class:`EventParser`'s ``answer_tool``).
    """
    wanted = prompt.output_schema
    if wanted is None or prompt.tools:
        return None
    traits = find_traits(model)
    if not traits.has_forced_tools or (wanted.schema is not None and traits.has_output_schema):
        return None
    return wanted.name if _TOOL_NAME.fullmatch(wanted.name) else "answer"


def _add_tools(
    prompt: Prompt,
    traits: ModelTraits,
    answer_tool: str | None,
    body: dict[str, object],
    losses: Losses,
) -> None:
    if answer_tool is not None and prompt.output_schema is not None:
        wanted = prompt.output_schema
        tool = Tool(answer_tool, wanted.description or "Give the answer.", wanted.schema)
        body["tools"] = [
            _render_tool(tool, 0, losses, can_be_strict=False, param="response_format")
        ]
        body["tool_choice"] = {"type": "tool", "name": answer_tool}
        return
    can_be_strict = traits.has_output_schema and len(prompt.tools) <= _STRICT_TOOLS_MAX
    body["tools"] = [
        _render_tool(
            tool,
            index,
            losses,
            can_be_strict=can_be_strict,
            param=f"tools[{index}].function.parameters",
        )
        for index, tool in enumerate(prompt.tools)
    ]
    choice = _render_tool_choice(prompt, traits)
    if choice is not None:
        body["tool_choice"] = choice


def _render_tool(
    tool: Tool, index: int, losses: Losses, *, can_be_strict: bool, param: str
) -> dict[str, object]:
    if not _TOOL_NAME.fullmatch(tool.name):
        raise invalid_request(
            f"claude takes tool names of letters, digits, `_` and `-`, not `{tool.name}`",
            param=f"tools[{index}].function.name",
        )
    rendered: dict[str, object] = {"name": tool.name}
    if tool.description:
        rendered["description"] = tool.description
    rendered["input_schema"] = _render_parameters(tool.parameters, param)
    if tool.is_strict:
        if can_be_strict and (
            tool.parameters is not None and not fit_schema(tool.parameters, param=param).changed
        ):
            rendered["strict"] = True
        else:
            losses.add("tools[].function.strict")
    return rendered


def _render_parameters(parameters: bytes | None, param: str) -> object:
    if parameters is None:
        return {"type": "object", "properties": {}}
    try:
        kind = bytes(_HEAD.decode(parameters).type)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise invalid_request(f"the schema is not a JSON object: {error}", param=param) from error
    if not kind:
        schema = msgspec.json.decode(parameters, type=dict[str, msgspec.Raw])
        return {"type": "object", **schema}
    if kind != b'"object"':
        raise invalid_request("claude takes parameters of type object only", param=param)
    return msgspec.Raw(parameters)


def _render_tool_choice(prompt: Prompt, traits: ModelTraits) -> dict[str, object] | None:
    choice = prompt.tool_choice
    mode = "auto" if choice is None else choice.mode
    rendered: dict[str, object]
    match mode:
        case "none":
            return {"type": "none"}
        case "auto":
            rendered = {"type": "auto"}
        case "required" | "named" if not traits.has_forced_tools:
            raise invalid_request(
                "this model cannot be forced to call a tool; use tool_choice `auto`",
                param="tool_choice",
            )
        case "required":
            rendered = {"type": "any"}
        case "named":
            rendered = {"type": "tool", "name": choice.name if choice is not None else None}
    if prompt.allows_parallel_calls is False:
        rendered["disable_parallel_tool_use"] = True
    elif choice is None:
        return None
    return rendered


def _add_output_schema(
    prompt: Prompt, traits: ModelTraits, body: dict[str, object], losses: Losses
) -> None:
    wanted = prompt.output_schema
    if wanted is None:
        return
    if wanted.schema is None:
        losses.add("response_format")
        return
    if not traits.has_output_schema:
        raise invalid_request(
            "this model gives no structured output beside tools", param="response_format"
        )
    fitted = fit_schema(wanted.schema, param=SCHEMA)
    for keyword in fitted.changed:
        losses.add(f"{SCHEMA}.{keyword}")
    body["output_config"] = {
        "format": {"type": "json_schema", "schema": msgspec.Raw(fitted.schema)}
    }


def _add_hints(prompt: Prompt, body: dict[str, object], losses: Losses) -> None:
    for tool in prompt.provider_tools:
        losses.add(f"tools.{tool.kind}")
    unknown = prompt.unknown
    losses.add_unknown(unknown, _CARRIED)
    users = {name: _decode_text(unknown.get(name)) for name in ("safety_identifier", "user")}
    if prompt.hints.user is not None:
        users = {"user": prompt.hints.user}
    for name, user in users.items():
        if not user:
            continue
        if "metadata" in body or len(user) > _USER_ID_CHARS_MAX:
            losses.add(name)
        else:
            body["metadata"] = {"user_id": user}
    retention = _decode_text(unknown.get("prompt_cache_retention"))
    if retention == "24h":
        body["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    elif retention or prompt.hints.cache_key or _decode_text(unknown.get("prompt_cache_key")):
        body["cache_control"] = {"type": "ephemeral"}


def _decode_text(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    value = msgspec.json.decode(raw)
    return value if isinstance(value, str) else None
