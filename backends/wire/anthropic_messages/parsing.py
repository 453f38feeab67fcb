"""A client's Messages request → prompt: everything understood, or refused with its place.

Promises: as :mod:`backends.wire.openai_chat.request`: duplicate keys, broken UTF-8, wrong types, broken media are
refused; members that are not modelled are kept by their path, tools that are no functions as they came.
"""

import re
from collections.abc import Mapping
from typing import cast

import msgspec

from backends.wire.anthropic_messages.blocks import cache_ttl, read_blocks
from backends.wire.anthropic_messages.errors import THREAD_UNSUPPORTED
from backends.wire.anthropic_messages.said import (
    Format,
    SaidChoice,
    SaidMessage,
    SaidRequest,
    SaidTool,
)
from backends.wire.failure import invalid_request
from backends.wire.json_scan import read_object
from backends.wire.prompt import (
    Asked,
    Hints,
    Json,
    Message,
    OutputSchema,
    Part,
    Prompt,
    ProviderTool,
    ReasoningEffort,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from backends.wire.reading import Allowed, check_range, explain_invalid, too_many

MESSAGES_MAX = 10_000
BLOCKS_MAX = 16_384
TOOLS_MAX = 1024
MEMBERS_MAX = 256
STOPS_MAX = 8192
TOKENS_MAX = 2**31 - 1
"""Messages and stops are bounded so that no request keeps the gateway busy for seconds; Anthropic takes 100,000
messages."""

_DECODER = msgspec.json.Decoder(SaidRequest)
_TOOL = msgspec.json.Decoder(SaidTool)
_KNOWN = frozenset(SaidRequest.__struct_fields__)
_KNOWN_TOOL = frozenset(SaidTool.__struct_fields__)
_KNOWN_INSIDE = {
    "output_config": frozenset({"effort", "format"}),
    "thinking": frozenset({"type", "budget_tokens", "display"}),
    "metadata": frozenset({"user_id"}),
    "cache_control": frozenset({"type", "ttl"}),
    "tool_choice": frozenset({"type", "name", "disable_parallel_tool_use"}),
    "output_format": frozenset({"type", "schema"}),
}
_ALLOWED: Allowed = (
    (re.compile(r"messages\[\d+\]\.role"), "`user`, `assistant`, `system`"),
    (re.compile(r"tool_choice\.type"), "`auto`, `any`, `tool`, `none`"),
    (re.compile(r"thinking\.type"), "`enabled`, `disabled`, `adaptive`"),
    (re.compile(r"output_config\.effort"), "`low`, `medium`, `high`, `xhigh`, `max`"),
)
_WITHOUT_EFFECT: Mapping[str, tuple[object, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "mcp_servers": ([],),
    "inference_geo": ("global",),
    "speed": ("standard",),
    "eager_input_streaming": (False, True),
    "defer_loading": (False,),
    "allowed_callers": (["direct"],),
}
"""Values that say what holds anyway."""


def parse_request(raw: bytes, asked: Asked, *, needs_cap: bool = True) -> Prompt:
    """The prompt in ``raw``. ``needs_cap``: ``max_tokens`` has to be there, as for an answer; not for a count.

    Raises ``WireError`` with the path of what is wrong.
    """
    tree = read_object(raw)
    _refuse_thread(tree)
    _refuse_crowds(tree)
    try:
        said = _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        raise explain_invalid(error, _ALLOWED) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise invalid_request(f"the body cannot be read as JSON: {error}") from error
    _check(said, needs_cap=needs_cap)
    unknown = _find_unknown(tree)
    tools, provider_tools = _tools(said, unknown)
    effort, budget, shows = _thinking(said)
    stops = said.stop_sequences or ()
    return Prompt(
        format="anthropic-messages",
        raw=raw,
        request_model=said.model,
        messages=_messages(said),
        tools=tools,
        tool_choice=_choice(said.tool_choice),
        allows_parallel_calls=_allows_parallel(said.tool_choice),
        sampling=Sampling(said.temperature, said.top_p, said.top_k, None, tuple(stops)),
        output_tokens_max=said.max_tokens,
        output_schema=_output_schema(said),
        reasoning_effort=effort,
        reasoning_tokens_max=budget,
        shows_reasoning=shows,
        provider_tools=provider_tools,
        hints=Hints(
            user=None if said.metadata is None else said.metadata.user_id,
            cache_ttl=cache_ttl(said.cache_control),
        ),
        is_stream=bool(said.stream),
        wants_usage=True,
        asked=asked,
        unknown=unknown,
    )


def _refuse_thread(tree: Mapping[str, Json]) -> None:
    """A conversation that the server holds: what nobody here has seen could be neither looked at nor bounded."""
    if tree.get("thread") is not None:
        message = "`thread` is not kept here; send the whole conversation without it"
        raise invalid_request(message, param="thread", code=THREAD_UNSUPPORTED)


def _refuse_crowds(tree: Mapping[str, Json]) -> None:
    """Before anything is made of them."""
    if len(tree) > MEMBERS_MAX:
        raise invalid_request(f"the body may hold at most {MEMBERS_MAX} members")
    for name, count in (
        ("tools", TOOLS_MAX),
        ("messages", MESSAGES_MAX),
        ("stop_sequences", STOPS_MAX),
    ):
        crowd = tree.get(name)
        if isinstance(crowd, list) and len(crowd) > count:
            raise too_many(name, count)
    messages, blocks = tree.get("messages"), 0
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        blocks += len(content) if isinstance(content, list) else 1
    if blocks > BLOCKS_MAX:
        words = f"`messages` may hold at most {BLOCKS_MAX} content blocks"
        raise invalid_request(words, param="messages", code="array_above_max_length")


def _check(said: SaidRequest, *, needs_cap: bool) -> None:
    """What types do not say."""
    if not said.model:
        raise invalid_request("`model` must not be empty", param="model")
    if not said.messages:
        raise invalid_request("`messages` must not be empty", param="messages")
    if said.max_tokens is None and needs_cap:
        raise invalid_request("`max_tokens` is missing", param="max_tokens")
    check_range("max_tokens", said.max_tokens, 1, TOKENS_MAX)
    check_range("temperature", said.temperature, 0, 1)
    check_range("top_p", said.top_p, 0, 1)
    check_range("top_k", said.top_k, 0, TOKENS_MAX)
    if said.thinking is not None and said.thinking.type == "enabled":
        budget = said.thinking.budget_tokens
        if budget is None:
            path = "thinking.budget_tokens"
            raise invalid_request(f"`{path}` is missing", param=path)
        check_range("thinking.budget_tokens", budget, 1, TOKENS_MAX)


def _messages(said: SaidRequest) -> tuple[Message, ...]:
    names: dict[str, str] = {}
    messages: list[Message] = []
    if said.system:
        parts = read_blocks(said.system, "system")
        _refuse_misplaced("system", parts, "system")
        messages.append(Message("system", tuple(parts)))
    for at, message in enumerate(said.messages):
        messages.append(_message(message, f"messages[{at}]", names))
    return tuple(messages)


def _message(message: SaidMessage, path: str, names: dict[str, str]) -> Message:
    parts = read_blocks(message.content, f"{path}.content")
    _refuse_misplaced(message.role, parts, path)
    for at, part in enumerate(parts):
        if isinstance(part, ToolCall):
            names[part.id] = part.name
        elif isinstance(part, ToolResult):
            name = names.get(part.call_id)
            parts[at] = msgspec.structs.replace(part, name=name)
    return Message(message.role, tuple(parts))


def _refuse_misplaced(role: str, parts: list[Part], path: str) -> None:
    for part in parts:
        is_wrong = (
            (isinstance(part, ToolCall) and role != "assistant")
            or (isinstance(part, ToolResult) and role != "user")
            or (role == "system" and not isinstance(part, Text) and not hasattr(part, "raw"))
        )
        if is_wrong:
            kind = type(part).__struct_config__.tag
            words = f"a message of role `{role}` cannot hold a block of this kind ({kind})"
            raise invalid_request(words, param=path)


def _tools(
    said: SaidRequest, unknown: dict[str, bytes]
) -> tuple[tuple[Tool, ...], tuple[ProviderTool, ...]]:
    tools: list[Tool] = []
    others: list[ProviderTool] = []
    for at, raw in enumerate(said.tools or ()):
        path = f"tools[{at}]"
        try:
            tool = _TOOL.decode(raw)
        except msgspec.ValidationError as error:
            failure = explain_invalid(error, ()).failure
            param = f"{path}.{failure.param}" if failure.param else path
            raise invalid_request(failure.message, param=param) from error
        if tool.type not in (None, "custom"):
            others.append(ProviderTool(tool.type or "", bytes(raw), path))
            continue
        if not tool.name:
            raise invalid_request(f"`{path}.name` is missing", param=f"{path}.name")
        schema = bytes(tool.input_schema)
        tools.append(
            Tool(
                tool.name,
                tool.description,
                None if schema in (b"", b"null") else schema,
                tool.strict,
                cache_ttl(tool.cache_control),
            )
        )
        members = cast("dict[str, Json]", msgspec.json.decode(raw))
        _collect(members, _KNOWN_TOOL, path, unknown)
        control = members.get("cache_control")
        if isinstance(control, dict):
            _collect(control, _KNOWN_INSIDE["cache_control"], f"{path}.cache_control", unknown)
    return tuple(tools), tuple(others)


def _choice(choice: SaidChoice | None) -> ToolChoice | None:
    if choice is None:
        return None
    match choice.type:
        case "any":
            return ToolChoice("required")
        case "tool":
            if not choice.name:
                raise invalid_request("`tool_choice.name` is missing", param="tool_choice.name")
            return ToolChoice("named", choice.name)
        case mode:
            return ToolChoice(mode)


def _allows_parallel(choice: SaidChoice | None) -> bool | None:
    if choice is None or choice.disable_parallel_tool_use is None:
        return None
    return not choice.disable_parallel_tool_use


def _output_schema(said: SaidRequest) -> OutputSchema | None:
    config = said.output_config
    form: Format | None = config.format if config is not None else None
    form = form or said.output_format
    if form is None:
        return None
    schema = bytes(form.schema)
    if schema in (b"", b"null"):
        param = "output_config.format.schema"
        raise invalid_request(f"`{param}` is missing", param=param)
    return OutputSchema(schema, is_strict=True)


def _thinking(said: SaidRequest) -> tuple[ReasoningEffort | None, int | None, bool | None]:
    """Effort, budget in tokens, and whether it is wanted to be seen."""
    config, thinking = said.output_config, said.thinking
    effort: ReasoningEffort | None = config.effort if config is not None else None
    if thinking is None:
        return effort, None, None
    shows = thinking.display != "omitted"
    match thinking.type:
        case "disabled":
            return effort or "none", None, False
        case "enabled":
            return effort, thinking.budget_tokens, shows
        case "adaptive":
            return effort or "high", None, shows  # The reference: high, if nothing is said.


def _find_unknown(tree: dict[str, Json]) -> dict[str, bytes]:
    """Members that nobody modelled, by path."""
    found: dict[str, bytes] = {}
    _collect(tree, _KNOWN, "", found)
    for name, known in _KNOWN_INSIDE.items():
        inner = tree.get(name)
        if isinstance(inner, dict):
            _collect(inner, known, name, found)
    config = tree.get("output_config")
    form = config.get("format") if isinstance(config, dict) else None
    if isinstance(form, dict):
        _collect(form, _KNOWN_INSIDE["output_format"], "output_config.format", found)
    messages = tree.get("messages")
    for at, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict) and len(message) > len(("role", "content")):
            _collect(message, frozenset({"role", "content"}), f"messages[{at}]", found)
    return found


def _collect(
    members: dict[str, Json], known: frozenset[str], path: str, found: dict[str, bytes]
) -> None:
    for name, value in members.items():
        if name in known or value is None or value in _WITHOUT_EFFECT.get(name, ()):
            continue
        found[f"{path}.{name}" if path else name] = msgspec.json.encode(value)
