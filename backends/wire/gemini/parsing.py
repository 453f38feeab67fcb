"""The body of ``generateContent`` or ``countTokens`` → prompt: everything understood, or refused with its place.

Promises: duplicate keys (also in two spellings), broken UTF-8, NaN, wrong types, unknown roles and broken media are
refused; members that are not modelled are kept by their path, so that what travels is also looked at. The
client's own bytes are kept for pass-through. Model and streaming stand in the address
(:mod:`backends.wire.gemini.paths`).
"""

from typing import get_args

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.gemini.logprobs import ALTERNATIVES_MAX
from backends.wire.gemini.members import Members, check_object, missing
from backends.wire.gemini.schema import to_json_schema, with_lower_types
from backends.wire.gemini.turns import CONTENTS_MAX, Turns
from backends.wire.json_scan import read_object
from backends.wire.prompt import (
    Asked,
    OutputSchema,
    Prompt,
    ProviderTool,
    ReasoningEffort,
    Sampling,
    Tool,
    ToolChoice,
)
from backends.wire.reading import check_range, too_many

TOOLS_MAX = 1024
"""Declarations and tools of Google's together."""
MEMBERS_MAX = 256
CHOICES_MAX = 128
STOPS_MAX = 64
TOKENS_MAX = 2**31 - 1
"""Only bounded, so that no request keeps the gateway busy for seconds."""

_MODES = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")
_LEVELS = frozenset(get_args(ReasoningEffort))
_DECLARATIONS = "functionDeclarations"


def parse_request(raw: bytes, asked: Asked) -> Prompt:
    """The prompt in ``raw``. Raises ``WireError`` with the path of what is wrong."""
    if len(read_object(raw)) > MEMBERS_MAX:
        raise invalid_request(f"the body may hold at most {MEMBERS_MAX} members")
    body = Members(raw, "")
    model = _read_model(body, asked)
    unknown: dict[str, bytes] = {}
    turns = Turns(unknown)
    if (system := body.child("systemInstruction")) is not None:
        turns.add_system(system)
    contents = body.children("contents", CONTENTS_MAX)
    if not contents:
        raise missing("contents")
    for content in contents:
        turns.add(content)
    if all(message.role == "system" for message in turns.messages):
        raise invalid_request("`contents` holds no parts", param="contents", code="empty_array")
    tools, provider_tools = _read_tools(body, unknown)
    choice, is_validated = _read_choice(body, unknown)
    if is_validated:
        tools = [msgspec.structs.replace(tool, is_strict=True) for tool in tools]
    config = body.child("generationConfig") or Members(b"{}", "generationConfig")
    prompt = Prompt(
        format="gemini",
        raw=raw,
        request_model=model,
        messages=tuple(turns.messages),
        tools=tuple(tools),
        tool_choice=choice,
        sampling=_read_sampling(config),
        output_tokens_max=_read_cap(config),
        output_schema=_read_output(config, unknown),
        provider_tools=tuple(provider_tools),
        choices=_read_choices(config),
        logprobs=_read_logprobs(config, unknown),
        is_stream=asked.is_stream,
        wants_usage=asked.is_stream,
        asked=asked,
        unknown=unknown,
    )
    prompt = _with_thinking(prompt, config)
    _keep_config(config, unknown)
    body.keep_rest(unknown)
    return prompt


def parse_count_request(raw: bytes, asked: Asked) -> Prompt:
    """The prompt whose tokens ``countTokens`` shall count. Raises ``WireError``."""
    read_object(raw)
    body = Members(raw, "")
    found = body.take("generateContentRequest")
    if found is None:
        return parse_request(raw, asked)
    if body.is_said("contents"):
        message = f"`contents` and `{found[1]}` exclude each other"
        raise invalid_request(message, param="contents", code="invalid_value")
    return parse_request(found[0], asked)


def render_count(input_tokens: int) -> bytes:
    """The answer to ``countTokens``."""
    return b'{"totalTokens":%d}' % input_tokens


def _read_model(body: Members, asked: Asked) -> str:
    said = body.text("model")
    model = asked.model or said
    if not model:
        raise invalid_request("`model` must not be empty", param="model")
    if said and said.rpartition("/")[2] != model.rpartition("/")[2]:
        message = "`model` in the body is another one than in the address"
        raise invalid_request(message, param="model", code="invalid_value")
    return model


def _read_tools(body: Members, unknown: dict[str, bytes]) -> tuple[list[Tool], list[ProviderTool]]:
    tools: list[Tool] = []
    provided: list[ProviderTool] = []
    for entry in body.children("tools", TOOLS_MAX):
        declarations = entry.children(_DECLARATIONS, TOOLS_MAX)
        tools += [_read_declaration(declared, unknown) for declared in declarations]
        found = ((name, entry.take(name)) for name in entry.names())
        provided += [ProviderTool(name, *one) for name, one in found if one is not None]
        if len(tools) + len(provided) > TOOLS_MAX:
            raise too_many("tools", TOOLS_MAX)
    return tools, provided


def _read_declaration(declared: Members, unknown: dict[str, bytes]) -> Tool:
    name = declared.text("name")
    if not name:
        raise missing(declared.path_of("name"))
    description = declared.text("description") or None
    older, newer = declared.take("parameters"), declared.take("parametersJsonSchema")
    if older is not None and newer is not None:
        message = f"`{older[1]}` and `{newer[1]}` exclude each other"
        raise invalid_request(message, param=older[1], code="invalid_value")
    parameters: bytes | None = None
    if newer is not None:
        parameters = with_lower_types(check_object(*newer))
    elif older is not None:
        parameters = _convert_schema(check_object(*older))
    declared.keep_rest(unknown)
    return Tool(name, description, parameters)


def _convert_schema(raw: bytes) -> bytes:
    return msgspec.json.encode(to_json_schema(msgspec.json.decode(raw)))


def _read_choice(body: Members, unknown: dict[str, bytes]) -> tuple[ToolChoice | None, bool]:
    """What may be called, and whether every schema is enforced."""
    config = body.child("toolConfig")
    if config is None:
        return None, False
    calling = config.child("functionCallingConfig")
    config.keep_rest(unknown)
    if calling is None:
        return None, False
    said = calling.text("mode")
    mode = (said or "MODE_UNSPECIFIED").upper()
    if mode not in _MODES:
        path = calling.path_of("mode")
        words = ", ".join(f"`{word}`" for word in _MODES[1:])
        shown = " ".join((said or "").split())[:40]
        message = f"`{shown}` is no value for `{path}`; it is one of {words}"
        raise invalid_request(message, param=path, code="invalid_value")
    allowed = calling.take("allowedFunctionNames")
    names: tuple[str, ...] = ()
    if allowed is not None:
        names = Members(b'{"n":%s}' % allowed[0], allowed[1].rpartition(".")[0]).texts("n")
    calling.keep_rest(unknown)
    if mode == "ANY" and len(names) == 1:
        return ToolChoice("named", names[0]), False
    if names and allowed is not None:
        unknown[allowed[1]] = allowed[0]
    match mode:
        case "ANY":
            return ToolChoice("required"), False
        case "NONE":
            return ToolChoice("none"), False
        case "VALIDATED":
            return ToolChoice("auto"), True
        case "AUTO":
            return ToolChoice("auto"), False
        case _:
            return None, False


def _read_sampling(config: Members) -> Sampling:
    sampling = Sampling(
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=config.whole("topK"),
        seed=config.whole("seed"),
        stop=config.texts("stopSequences"),
        presence_penalty=config.number("presencePenalty"),
        frequency_penalty=config.number("frequencyPenalty"),
    )
    if len(sampling.stop) > STOPS_MAX:
        raise too_many("generationConfig.stopSequences", STOPS_MAX)
    check_range("generationConfig.temperature", sampling.temperature, 0, 2)
    check_range("generationConfig.topP", sampling.top_p, 0, 1)
    check_range("generationConfig.topK", sampling.top_k, 0, TOKENS_MAX)
    check_range("generationConfig.presencePenalty", sampling.presence_penalty, -2, 2)
    check_range("generationConfig.frequencyPenalty", sampling.frequency_penalty, -2, 2)
    return sampling


def _read_cap(config: Members) -> int | None:
    cap = config.whole("maxOutputTokens")
    check_range("generationConfig.maxOutputTokens", cap, 1, TOKENS_MAX)
    return cap


def _read_choices(config: Members) -> int:
    choices = config.whole("candidateCount")
    check_range("generationConfig.candidateCount", choices, 1, CHOICES_MAX)
    return choices or 1


def _read_logprobs(config: Members, unknown: dict[str, bytes]) -> int | None:
    is_wanted = config.flag("responseLogprobs")
    beside = config.whole("logprobs") or 0
    path = config.path_of("logprobs")
    check_range(path, beside, 0, ALTERNATIVES_MAX)
    if not is_wanted and beside:  # Nothing stands beside what was not asked for.
        unknown[path] = b"%d" % beside
    return beside if is_wanted else None


def _read_output(config: Members, unknown: dict[str, bytes]) -> OutputSchema | None:
    kind = config.text("responseMimeType") or "text/plain"
    older = config.take("responseSchema")
    newer = config.take("responseJsonSchema") or config.take("_responseJsonSchema")
    if older is not None and newer is not None:
        message = f"`{older[1]}` and `{newer[1]}` exclude each other"
        raise invalid_request(message, param=older[1], code="invalid_value")
    if kind not in ("application/json", "text/plain"):
        unknown["generationConfig.responseMimeType"] = msgspec.json.encode(kind)
        for found in (older, newer):
            if found is not None:
                unknown[found[1]] = found[0]
        return None
    if newer is not None:
        return OutputSchema(with_lower_types(check_object(*newer)))
    if older is not None:
        return OutputSchema(_convert_schema(check_object(*older)))
    return OutputSchema() if kind == "application/json" else None


def _with_thinking(prompt: Prompt, config: Members) -> Prompt:
    thinking = config.child("thinkingConfig")
    if thinking is None:
        return prompt
    shows = thinking.flag("includeThoughts")
    budget = thinking.whole("thinkingBudget")
    check_range(f"{thinking.path}.thinkingBudget", budget, -1, TOKENS_MAX)
    effort: ReasoningEffort | None = None
    level = (thinking.text("thinkingLevel") or "").lower()
    if level and level != "thinking_level_unspecified":
        if level not in _LEVELS:
            path = f"{thinking.path}.thinkingLevel"
            message = f"`{level[:40]}` is no value for `{path}`; it is one of `low`, `high`"
            raise invalid_request(message, param=path, code="invalid_value")
        effort = msgspec.convert(level, ReasoningEffort)
    thinking.keep_rest(prompt.unknown)
    if budget == 0 and effort is None:
        effort = "none"
    return msgspec.structs.replace(
        prompt,
        reasoning_effort=effort,
        # -1 leaves it to the model, which is what saying nothing does.
        reasoning_tokens_max=budget if budget is not None and budget > 0 else None,
        shows_reasoning=shows,
    )


_WITHOUT_EFFECT: dict[str, frozenset[bytes]] = {
    "responseModalities": frozenset({b'["TEXT"]', b'["Text"]', b'["text"]'}),
    "mediaResolution": frozenset({b'"MEDIA_RESOLUTION_UNSPECIFIED"'}),
}


def _keep_config(config: Members, unknown: dict[str, bytes]) -> None:
    for name in config.names():
        found = config.take(name)
        if found is None:
            continue
        raw, path = found
        plain = _WITHOUT_EFFECT.get(name)
        if raw in (b"false", b"{}", b"[]", b'""'):
            continue
        if plain is None or raw.replace(b" ", b"") not in plain:
            unknown[path] = raw
