"""A client's Responses request → prompt: everything understood, or refused with its place.

Promises: as :mod:`backends.wire.openai_chat.request`: duplicate keys, broken UTF-8, wrong types, broken media are
refused; members that are not modelled are kept by their path, tools that are no functions as they came. What
concerns kept state (``store``, ``previous_response_id``, ``conversation``, ``background``, ``prompt``) stands in
``Prompt.unknown`` under its own name whenever it was said (``background`` if it is true), so that the gateway finds
it (:mod:`kept`).
"""

import re
from collections.abc import Mapping
from typing import cast, get_args

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.json_scan import read_object
from backends.wire.openai_chat.logprobs import ALTERNATIVES_MAX
from backends.wire.openai_responses.content import need
from backends.wire.openai_responses.items import Conversation
from backends.wire.openai_responses.said import SaidRequest, SaidThinking, SaidTool
from backends.wire.prompt import (
    Asked,
    Hints,
    Json,
    OutputSchema,
    Prompt,
    ProviderTool,
    ReasoningEffort,
    Sampling,
    Tool,
    ToolChoice,
)
from backends.wire.reading import Allowed, check_range, explain_invalid, too_many

ITEMS_MAX = 16_384
"""Items of the input and parts of their content together; so no request keeps the gateway busy for seconds."""
TOOLS_MAX = 1024
MEMBERS_MAX = 256
INCLUDE_MAX = 64
TOKENS_MAX = 2**31 - 1
ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
_INCLUDED = frozenset({ENCRYPTED, LOGPROBS})
"""What may be included and is understood here; the others stay as they came."""

_DECODER = msgspec.json.Decoder(SaidRequest)
_TOOL = msgspec.json.Decoder(SaidTool)
_KNOWN = frozenset(SaidRequest.__struct_fields__)
_KNOWN_TOOL = frozenset(SaidTool.__struct_fields__)
_KNOWN_INSIDE: Mapping[str, frozenset[str]] = {
    "text": frozenset({"format"}),
    "reasoning": frozenset({"effort", "summary", "generate_summary"}),
    "stream_options": frozenset({"include_obfuscation"}),
}
_KNOWN_FORMAT = frozenset({"type", "name", "description", "schema", "strict"})
_ALLOWED: Allowed = (
    (re.compile(r"reasoning\.effort"), ", ".join(f"`{word}`" for word in get_args(ReasoningEffort))),
    (re.compile(r"text\.format\.type"), "`text`, `json_object`, `json_schema`"),
)  # fmt: skip
_WITHOUT_EFFECT: Mapping[str, tuple[Json, ...]] = {
    "background": (False,),
    "truncation": ("disabled",),
    "service_tier": ("auto", "default"),
    "context_management": ([],),
    "verbosity": ("medium",),
    "defer_loading": (False,),
    "allowed_callers": (["direct"], []),
}
"""Values that say what holds anyway."""
_STATE_OF_INPUT = ("prompt", "previous_response_id", "conversation")
"""With one of these, the input may be nothing."""
_MODES = ("auto", "none", "required")


def parse_request(raw: bytes, asked: Asked) -> Prompt:
    """The prompt in ``raw``. Raises ``WireError`` with the path of what is wrong."""
    tree = read_object(raw)
    _refuse_crowds(tree)
    try:
        said = _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        raise explain_invalid(error, _ALLOWED) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise invalid_request(f"the body cannot be read as JSON: {error}") from error
    _check(said, tree)
    unknown = _find_unknown(tree)
    conversation = _read_input(said, unknown)
    tools, provider_tools = _tools(said, unknown)
    return Prompt(
        format="openai-responses",
        raw=raw,
        request_model=said.model or "",  # A kept prompt may name one.
        messages=conversation.finish(),
        tools=tools,
        tool_choice=_choice(tree.get("tool_choice"), unknown),
        allows_parallel_calls=said.parallel_tool_calls,
        sampling=Sampling(said.temperature, said.top_p),
        output_tokens_max=said.max_output_tokens,
        output_schema=_output_schema(said, unknown),
        reasoning_effort=said.reasoning.effort if said.reasoning is not None else None,
        shows_reasoning=_shows(said.reasoning, unknown),
        provider_tools=(*provider_tools, *conversation.provider_tools),
        hints=_hints(said, unknown),
        logprobs=_logprobs(said, unknown),
        is_stream=bool(said.stream),
        wants_usage=True,
        asked=asked,
        unknown=unknown,
    )


def _refuse_crowds(tree: Mapping[str, Json]) -> None:
    """Before anything is made of them."""
    if len(tree) > MEMBERS_MAX:
        raise invalid_request(f"the body may hold at most {MEMBERS_MAX} members")
    for name, count in (("tools", TOOLS_MAX), ("include", INCLUDE_MAX)):
        crowd = tree.get(name)
        if isinstance(crowd, list) and len(crowd) > count:
            raise too_many(name, count)
    items, parts = tree.get("input"), 0
    for item in items if isinstance(items, list) else ():
        parts += 1
        if isinstance(item, dict):
            for name in ("content", "output", "summary", "tools"):
                inner = item.get(name)
                parts += len(inner) if isinstance(inner, list) else 0
    if parts > ITEMS_MAX:
        words = f"`input` may hold at most {ITEMS_MAX} items and parts"
        raise invalid_request(words, param="input", code="array_above_max_length")


def _check(said: SaidRequest, tree: Mapping[str, Json]) -> None:
    """What types do not say."""
    if said.model is None and tree.get("prompt") is None:
        message = "`model` is missing"
        raise invalid_request(message, param="model", code="missing_required_parameter")
    if said.model == "":
        raise invalid_request("`model` must not be empty", param="model")
    has_state = any(tree.get(name) is not None for name in _STATE_OF_INPUT)
    if said.input is None and not has_state:
        message = "`input` is missing"
        raise invalid_request(message, param="input", code="missing_required_parameter")
    if said.input == [] and not has_state:
        message = "`input` must not be empty"
        raise invalid_request(message, param="input", code="empty_array")
    check_range("max_output_tokens", said.max_output_tokens, 1, TOKENS_MAX)
    check_range("top_logprobs", said.top_logprobs, 0, ALTERNATIVES_MAX)
    check_range("temperature", said.temperature, 0, 2)
    check_range("top_p", said.top_p, 0, 1)


def _read_input(said: SaidRequest, unknown: dict[str, bytes]) -> Conversation:
    conversation = Conversation(unknown)
    if said.instructions:
        conversation.say("system", said.instructions)
    if isinstance(said.input, str):
        conversation.say("user", said.input)
    else:
        for at, raw in enumerate(said.input or ()):
            conversation.add(bytes(raw), f"input[{at}]")
    return conversation


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
            kind = _kind_of(raw)
            if kind not in (None, "function"):
                others.append(ProviderTool(kind, bytes(raw), path))
                continue
            failure = explain_invalid(error, ()).failure
            param = f"{path}.{failure.param}" if failure.param else path
            raise invalid_request(failure.message, param=param, code=failure.code) from error
        if tool.type != "function":
            others.append(ProviderTool(tool.type, bytes(raw), path))
            continue
        schema = bytes(tool.parameters)
        name = need(tool.name or None, f"{path}.name")
        parameters = None if schema in (b"", b"null") else schema
        tools.append(Tool(name, tool.description, parameters, tool.strict))
        members = cast("dict[str, Json]", msgspec.json.decode(raw))
        _collect(members, _KNOWN_TOOL, path, unknown)
    return tuple(tools), tuple(others)


def _kind_of(raw: msgspec.Raw) -> str | None:
    members: Json = msgspec.json.decode(raw)
    kind = members.get("type") if isinstance(members, dict) else None
    return kind if isinstance(kind, str) else None


def _choice(said: Json, unknown: dict[str, bytes]) -> ToolChoice | None:
    """The choice; one of a tool that is no function, or among some of them, stays in ``unknown`` in part."""
    if said is None:
        return None
    if isinstance(said, str):
        for mode in _MODES:
            if said == mode:
                return ToolChoice(mode)
        words = ", ".join(f"`{mode}`" for mode in _MODES)
        message = f"`{said[:100]}` is no value for `tool_choice`; it is one of {words}"
        raise invalid_request(message, param="tool_choice", code="invalid_value")
    if not isinstance(said, dict):
        message = "`tool_choice` must be a text or an object"
        raise invalid_request(message, param="tool_choice", code="invalid_type")
    kind, name = said.get("type"), said.get("name")
    if kind == "function":
        path = "tool_choice.name"
        if not isinstance(name, str) or not name:
            message = f"`{path}` is missing"
            raise invalid_request(message, param=path, code="missing_required_parameter")
        _collect(said, frozenset({"type", "name"}), "tool_choice", unknown)
        return ToolChoice("named", name)
    if kind == "allowed_tools":
        return _allowed_choice(said, unknown)
    unknown["tool_choice"] = msgspec.json.encode(said)
    return None


def _allowed_choice(said: dict[str, Json], unknown: dict[str, bytes]) -> ToolChoice:
    _collect(said, frozenset({"type", "mode"}), "tool_choice", unknown)
    mode = said.get("mode")
    if mode not in (None, "auto", "required"):
        path = "tool_choice.mode"
        message = f"`{path}` is `auto` or `required`"
        raise invalid_request(message, param=path, code="invalid_value")
    return ToolChoice("required" if mode == "required" else "auto")


def _output_schema(said: SaidRequest, unknown: dict[str, bytes]) -> OutputSchema | None:
    form = said.text.format if said.text is not None else None
    if form is None:
        return None
    if form.type != "json_schema":
        for name in ("name", "description", "strict"):
            value = getattr(form, name)
            if value is not None:
                unknown[f"text.format.{name}"] = msgspec.json.encode(value)
        if bytes(form.schema) not in (b"", b"null"):
            unknown["text.format.schema"] = bytes(form.schema)
        return OutputSchema() if form.type == "json_object" else None
    name = need(form.name, "text.format.name")
    schema = bytes(form.schema)
    if schema in (b"", b"null"):
        need(None, "text.format.schema")
    return OutputSchema(schema, name, form.description, form.strict)


def _shows(said: SaidThinking | None, unknown: dict[str, bytes]) -> bool | None:
    """Whether thinking is wanted to be seen; how much of it is summed up is OpenAI's affair."""
    if said is None:
        return None
    words = (said.summary, said.generate_summary)
    for name, word in zip(("summary", "generate_summary"), words, strict=True):
        if word not in (None, "auto"):
            unknown[f"reasoning.{name}"] = msgspec.json.encode(word)
    return True if any(words) else None


def _hints(said: SaidRequest, unknown: dict[str, bytes]) -> Hints:
    left = [word for word in said.include or () if word not in _INCLUDED]
    if left:
        unknown["include"] = msgspec.json.encode(left)
    return Hints(user=said.user or None, cache_key=said.prompt_cache_key or None)


def _logprobs(said: SaidRequest, unknown: dict[str, bytes]) -> int | None:
    if LOGPROBS in (said.include or ()):
        return said.top_logprobs or 0
    if said.top_logprobs:  # Nothing stands beside what was not asked for.
        unknown["top_logprobs"] = b"%d" % said.top_logprobs
    return None


def _find_unknown(tree: dict[str, Json]) -> dict[str, bytes]:
    """Members that nobody modelled, by path."""
    found: dict[str, bytes] = {}
    _collect(tree, _KNOWN, "", found)
    for name, known in _KNOWN_INSIDE.items():
        inner = tree.get(name)
        if isinstance(inner, dict):
            _collect(inner, known, name, found)
    text = tree.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if isinstance(form, dict):
        _collect(form, _KNOWN_FORMAT, "text.format", found)
    return found


def _collect(
    members: dict[str, Json], known: frozenset[str], path: str, found: dict[str, bytes]
) -> None:
    for name, value in members.items():
        if name in known or value is None or value in _WITHOUT_EFFECT.get(name, ()):
            continue
        found[f"{path}.{name}" if path else name] = msgspec.json.encode(value)
