"""What the four formats have in common, said in each of them, and how to see it in a request of each.

A feature is what a client's body says more than a plain one, and one question to a target's body: does it say
so too? Only meaning is asked for, not spelling.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from backends.wire.gemini.signed import wrap_signature
from backends.wire.prompt import WireFormat
from backends.wire.signatures import Signed, wrap, wrap_signed

FORMATS: tuple[WireFormat, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic-messages",
    "gemini",
)
CHAT, RESPONSES, ANTHROPIC, GEMINI = FORMATS
COMPLETIONS: WireFormat = "openai-completions"
"""A format of clients only: a text, its sampling and its ends are all that it can say."""

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n pixel").decode()
PDF = base64.b64encode(b"%PDF-1.7 page").decode()
WAV = base64.b64encode(b"RIFF....WAVE").decode()
PICTURE = "https://pictures.example/cat.png"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
"""Strict in every format."""
ASK = "What is the weather?"

Body = dict[str, Any]
Says = Callable[[Body], bool]


@dataclass(frozen=True, slots=True)
class Feature:
    """``said``: the members that a client's plain body gets, by format; a format that is not there cannot say
    it. ``seen``: whether a target's body says it. ``part``: what a row of the matrix is called."""

    part: str
    said: Mapping[WireFormat, Body]
    seen: Mapping[WireFormat, Says]


def plain(format: WireFormat, **more: Any) -> Body:
    """A question in ``format``; ``more`` replaces or adds members."""
    match format:
        case "openai-chat":
            body: Body = {"model": "auto", "messages": [{"role": "user", "content": ASK}]}
        case "openai-responses":
            body = {"model": "auto", "input": [{"role": "user", "content": ASK}]}
        case "anthropic-messages":
            body = {
                "model": "auto",
                "max_tokens": 4096,
                "messages": [{"role": "user", "content": ASK}],
            }
        case "openai-completions":
            body = {"model": "auto", "prompt": ASK}
        case _:
            body = {"contents": [{"role": "user", "parts": [{"text": ASK}]}]}
    return body | more


def holds(word: str) -> Mapping[WireFormat, Says]:
    """A body of any format in which ``word`` stands somewhere."""

    def says(body: Body) -> bool:
        return word in json.dumps(body, ensure_ascii=False)

    return dict.fromkeys((*FORMATS, COMPLETIONS), says)


def at(*path: str | int) -> Callable[[Body], Any]:
    """What stands at ``path``, or None."""

    def look(body: Body) -> Any:
        found: Any = body
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    return look


def never(_body: Body) -> bool:
    """The format has no words for it."""
    return False


def _equal(path: tuple[str | int, ...], value: object) -> Says:
    look = at(*path)
    return lambda body: look(body) == value


def _function(**more: Any) -> Body:
    return {"name": "get_weather", "description": "Looks outside.", **more}


def _tools(format: WireFormat, *, is_strict: bool | None = None) -> Body:
    strict = {} if is_strict is None else {"strict": is_strict}
    match format:
        case "openai-chat":
            function = _function(parameters=SCHEMA, **strict)
            return {"tools": [{"type": "function", "function": function}]}
        case "openai-responses":
            return {"tools": [{"type": "function", **_function(parameters=SCHEMA, **strict)}]}
        case "anthropic-messages":
            return {"tools": [_function(input_schema=SCHEMA, **strict)]}
        case _:
            declared = _function(parametersJsonSchema=SCHEMA)
            return {"tools": [{"functionDeclarations": [declared]}]}


def _with_tools(format: WireFormat, **more: Any) -> Body:
    return _tools(format) | more


def _content(format: WireFormat, part: Body) -> Body:
    match format:
        case "openai-chat":
            return {
                "messages": [{"role": "user", "content": [{"type": "text", "text": ASK}, part]}]
            }
        case "openai-responses":
            parts = [{"type": "input_text", "text": ASK}, part]
            return {"input": [{"role": "user", "content": parts}]}
        case "anthropic-messages":
            return {
                "messages": [{"role": "user", "content": [{"type": "text", "text": ASK}, part]}]
            }
        case _:
            return {"contents": [{"role": "user", "parts": [{"text": ASK}, part]}]}


def _called(format: WireFormat, *, result: str = "sunny", is_error: bool = False) -> Body:
    """Two calls in parallel and their results."""
    ids, cities = ("call_a1", "call_b2"), ("Oslo", "Rome")
    arguments = [json.dumps({"city": city}) for city in cities]
    match format:
        case "openai-chat":
            calls = [
                {"id": one, "type": "function",
                 "function": {"name": "get_weather", "arguments": text}}
                for one, text in zip(ids, arguments, strict=True)
            ]  # fmt: skip
            said = [
                {"role": "user", "content": ASK},
                {"role": "assistant", "content": None, "tool_calls": calls},
                *({"role": "tool", "tool_call_id": one, "content": result} for one in ids),
            ]
            return _tools(format) | {"messages": said}
        case "openai-responses":
            items: list[Body] = [{"role": "user", "content": ASK}]
            items += [
                {"type": "function_call", "call_id": one, "name": "get_weather", "arguments": text}
                for one, text in zip(ids, arguments, strict=True)
            ]
            items += [
                {"type": "function_call_output", "call_id": one, "output": result} for one in ids
            ]
            return _tools(format) | {"input": items}
        case "anthropic-messages":
            uses = [
                {"type": "tool_use", "id": one, "name": "get_weather", "input": {"city": city}}
                for one, city in zip(ids, cities, strict=True)
            ]
            results = [
                {"type": "tool_result", "tool_use_id": one, "content": result,
                 **({"is_error": True} if is_error else {})}
                for one in ids
            ]  # fmt: skip
            said = [
                {"role": "user", "content": ASK},
                {"role": "assistant", "content": uses},
                {"role": "user", "content": results},
            ]
            return _tools(format) | {"messages": said}
        case _:
            parts = [{"functionCall": {"name": "get_weather", "args": {"city": c}}} for c in cities]
            outcome = {"error": result} if is_error else {"output": result}
            answers = [
                {"functionResponse": {"name": "get_weather", "response": outcome}} for _ in cities
            ]
            said = [
                {"role": "user", "parts": [{"text": ASK}]},
                {"role": "model", "parts": parts},
                {"role": "user", "parts": answers},
            ]
            return _tools(format) | {"contents": said}


SIGNATURES: dict[WireFormat, str] = {
    RESPONSES: "b3BlbmFp",
    ANTHROPIC: "YW50aHJv",
    GEMINI: "Z2VtaW5p",
}
"""What the provider of each format signed."""


def _signed(format: WireFormat) -> Body:
    """An answer whose thinking was signed by OpenAI and by Anthropic, and whose call by Google."""
    by = [Signed(SIGNATURES[RESPONSES], "openai"), Signed(SIGNATURES[ANTHROPIC], "anthropic")]
    on_call = Signed(SIGNATURES[GEMINI], "gemini")
    body = _called(format)
    match format:
        case "openai-chat":
            answer = body["messages"][1]
            answer["reasoning_details"] = [
                {"type": "reasoning.text", "text": "Hm.", "signature": wrap_signed(one, format)}
                for one in by
            ]
            google = {"thought_signature": wrap_signed(on_call, format)}
            answer["tool_calls"][0]["extra_content"] = {"google": google}
        case "openai-responses":
            texts = [wrap(one.signature or "", one.issuer, format) for one in by]
            texts.append(wrap("call:" + SIGNATURES[GEMINI], "gemini", format))
            body["input"][1:1] = [
                {"type": "reasoning", "summary": [], "encrypted_content": text} for text in texts
            ]
        case "anthropic-messages":
            texts = [wrap(one.signature or "", one.issuer, format) for one in by]
            carried = wrap("call:" + SIGNATURES[GEMINI], "gemini", format)
            body["messages"][1]["content"][:0] = [
                *({"type": "thinking", "thinking": "Hm.", "signature": text} for text in texts),
                {"type": "redacted_thinking", "data": carried},
            ]
        case _:
            parts = body["contents"][1]["parts"]
            parts[0]["thoughtSignature"] = SIGNATURES[GEMINI]
            parts[:0] = [
                {"text": "Hm.", "thought": True,
                 "thoughtSignature": wrap_signature(one.signature or "", one.issuer)}
                for one in by
            ]  # fmt: skip
    return body


def _result_count(count: int) -> Mapping[WireFormat, Says]:
    def chat(body: Body) -> bool:
        return sum(message["role"] == "tool" for message in body["messages"]) == count

    def named(word: str) -> Says:
        return lambda body: json.dumps(body).count(f'"{word}"') == count

    return {
        CHAT: chat,
        RESPONSES: named("function_call_output"),
        ANTHROPIC: named("tool_result"),
        GEMINI: named("functionResponse"),
    }


def _config(**more: Any) -> Body:
    return {"generationConfig": more}


GEMINI_SCHEMA = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
JSON_SCHEMA = {"name": "answer", "schema": SCHEMA, "strict": True}

FEATURES: tuple[Feature, ...] = (
    Feature(
        "system prompt",
        {
            CHAT: {"messages": [{"role": "system", "content": "Be a pirate."},
                                {"role": "user", "content": ASK}]},
            RESPONSES: {"instructions": "Be a pirate."},
            ANTHROPIC: {"system": "Be a pirate."},
            GEMINI: {"systemInstruction": {"parts": [{"text": "Be a pirate."}]}},
        },
        holds("Be a pirate."),
    ),
    Feature(
        "system prompt in blocks",
        {
            CHAT: {"messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be a pirate."},
                                               {"type": "text", "text": "Be brief."}]},
                {"role": "user", "content": ASK}]},
            RESPONSES: {"input": [
                {"role": "developer", "content": [{"type": "input_text", "text": "Be a pirate."},
                                                  {"type": "input_text", "text": "Be brief."}]},
                {"role": "user", "content": ASK}]},
            ANTHROPIC: {"system": [{"type": "text", "text": "Be a pirate."},
                                   {"type": "text", "text": "Be brief."}]},
            GEMINI: {"systemInstruction": {"parts": [{"text": "Be a pirate."}, {"text": "Be brief."}]}},
        },
        holds("Be brief."),
    ),
    Feature(
        "image, inline",
        {
            CHAT: _content(CHAT, {"type": "image_url",
                                  "image_url": {"url": f"data:image/png;base64,{PNG}"}}),
            RESPONSES: _content(RESPONSES, {"type": "input_image", "detail": "auto",
                                            "image_url": f"data:image/png;base64,{PNG}"}),
            ANTHROPIC: _content(ANTHROPIC, {"type": "image", "source": {
                "type": "base64", "media_type": "image/png", "data": PNG}}),
            GEMINI: _content(GEMINI, {"inlineData": {"mimeType": "image/png", "data": PNG}}),
        },
        holds(PNG),
    ),
    Feature(
        "image by address",
        {
            CHAT: _content(CHAT, {"type": "image_url", "image_url": {"url": PICTURE}}),
            RESPONSES: _content(RESPONSES, {"type": "input_image", "detail": "auto",
                                            "image_url": PICTURE}),
            ANTHROPIC: _content(ANTHROPIC, {"type": "image",
                                            "source": {"type": "url", "url": PICTURE}}),
            GEMINI: _content(GEMINI, {"fileData": {"mimeType": "image/png", "fileUri": PICTURE}}),
        },
        holds(PICTURE),
    ),
    Feature(
        "document, inline",
        {
            CHAT: _content(CHAT, {"type": "file", "file": {
                "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}),
            RESPONSES: _content(RESPONSES, {"type": "input_file", "filename": "a.pdf",
                                            "file_data": f"data:application/pdf;base64,{PDF}"}),
            ANTHROPIC: _content(ANTHROPIC, {"type": "document", "source": {
                "type": "base64", "media_type": "application/pdf", "data": PDF}}),
            GEMINI: _content(GEMINI, {"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
        },
        holds(PDF),
    ),
    Feature(
        "audio, inline",
        {
            CHAT: _content(CHAT, {"type": "input_audio",
                                  "input_audio": {"data": WAV, "format": "wav"}}),
            GEMINI: _content(GEMINI, {"inlineData": {"mimeType": "audio/wav", "data": WAV}}),
        },
        holds(WAV),
    ),
    Feature("tools", {one: _tools(one) for one in FORMATS}, holds("get_weather")),
    Feature(
        "strict tools",
        {one: _tools(one, is_strict=True) for one in (CHAT, RESPONSES, ANTHROPIC)},
        {
            CHAT: _equal(("tools", 0, "function", "strict"), value=True),
            RESPONSES: _equal(("tools", 0, "strict"), value=True),
            ANTHROPIC: _equal(("tools", 0, "strict"), value=True),
            GEMINI: _equal(("toolConfig", "functionCallingConfig", "mode"), "VALIDATED"),
        },
    ),
    Feature(
        "a tool has to be called",
        {
            CHAT: _with_tools(CHAT, tool_choice="required"),
            RESPONSES: _with_tools(RESPONSES, tool_choice="required"),
            ANTHROPIC: _with_tools(ANTHROPIC, tool_choice={"type": "any"}),
            GEMINI: _with_tools(GEMINI, toolConfig={"functionCallingConfig": {"mode": "ANY"}}),
        },
        {
            CHAT: _equal(("tool_choice",), "required"),
            RESPONSES: _equal(("tool_choice",), "required"),
            ANTHROPIC: _equal(("tool_choice", "type"), "any"),
            GEMINI: _equal(("toolConfig", "functionCallingConfig", "mode"), "ANY"),
        },
    ),
    Feature(
        "one tool has to be called",
        {
            CHAT: _with_tools(CHAT, tool_choice={"type": "function",
                                                 "function": {"name": "get_weather"}}),
            RESPONSES: _with_tools(RESPONSES, tool_choice={"type": "function",
                                                           "name": "get_weather"}),
            ANTHROPIC: _with_tools(ANTHROPIC, tool_choice={"type": "tool", "name": "get_weather"}),
            GEMINI: _with_tools(GEMINI, toolConfig={"functionCallingConfig": {
                "mode": "ANY", "allowedFunctionNames": ["get_weather"]}}),
        },
        {
            CHAT: _equal(("tool_choice", "function", "name"), "get_weather"),
            RESPONSES: _equal(("tool_choice", "name"), "get_weather"),
            ANTHROPIC: _equal(("tool_choice", "name"), "get_weather"),
            GEMINI: _equal(("toolConfig", "functionCallingConfig", "allowedFunctionNames", 0),
                           "get_weather"),
        },
    ),
    Feature(
        "no tool may be called",
        {
            CHAT: _with_tools(CHAT, tool_choice="none"),
            RESPONSES: _with_tools(RESPONSES, tool_choice="none"),
            ANTHROPIC: _with_tools(ANTHROPIC, tool_choice={"type": "none"}),
            GEMINI: _with_tools(GEMINI, toolConfig={"functionCallingConfig": {"mode": "NONE"}}),
        },
        {
            CHAT: _equal(("tool_choice",), "none"),
            RESPONSES: _equal(("tool_choice",), "none"),
            ANTHROPIC: _equal(("tool_choice", "type"), "none"),
            GEMINI: _equal(("toolConfig", "functionCallingConfig", "mode"), "NONE"),
        },
    ),
    Feature(
        "one call at a time",
        {
            CHAT: _with_tools(CHAT, parallel_tool_calls=False),
            RESPONSES: _with_tools(RESPONSES, parallel_tool_calls=False),
            ANTHROPIC: _with_tools(ANTHROPIC, tool_choice={
                "type": "auto", "disable_parallel_tool_use": True}),
        },
        {
            CHAT: _equal(("parallel_tool_calls",), value=False),
            RESPONSES: _equal(("parallel_tool_calls",), value=False),
            ANTHROPIC: _equal(("tool_choice", "disable_parallel_tool_use"), value=True),
           GEMINI: never},
    ),
    Feature("parallel calls and results", {one: _called(one) for one in FORMATS}, _result_count(2)),
    Feature(
        "a tool's error",
        {one: _called(one, result="no such city", is_error=True) for one in (ANTHROPIC, GEMINI)},
        {
            CHAT: lambda body: "error" in json.dumps(body["messages"]).lower(),
            RESPONSES: lambda body: "error" in json.dumps(body["input"]).lower(),
            ANTHROPIC: lambda body: '"is_error": true' in json.dumps(body),
            GEMINI: lambda body: '"error"' in json.dumps(body),
        },
    ),
    Feature(
        "JSON by a schema",
        {
            CHAT: {"response_format": {"type": "json_schema", "json_schema": JSON_SCHEMA}},
            RESPONSES: {"text": {"format": {"type": "json_schema", **JSON_SCHEMA}}},
            ANTHROPIC: {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            GEMINI: _config(**GEMINI_SCHEMA),
        },
        {
            CHAT: _equal(("response_format", "json_schema", "schema"), SCHEMA),
            RESPONSES: _equal(("text", "format", "schema"), SCHEMA),
            ANTHROPIC: _equal(("output_config", "format", "schema"), SCHEMA),
            GEMINI: _equal(("generationConfig", "responseJsonSchema"), SCHEMA),
        },
    ),
    Feature(
        "any JSON",
        {
            CHAT: {"response_format": {"type": "json_object"}},
            RESPONSES: {"text": {"format": {"type": "json_object"}}},
            GEMINI: _config(responseMimeType="application/json"),
        },
        {
            CHAT: _equal(("response_format", "type"), "json_object"),
            RESPONSES: _equal(("text", "format", "type"), "json_object"),
            ANTHROPIC: lambda body: bool(body.get("tools") or body.get("output_config")),
            GEMINI: _equal(("generationConfig", "responseMimeType"), "application/json"),
        },
    ),
    Feature(
        "stop sequences",
        {
            CHAT: {"stop": ["END"]},
            COMPLETIONS: {"stop": ["END"]},
            ANTHROPIC: {"stop_sequences": ["END"]},
            GEMINI: _config(stopSequences=["END"]),
        },
        {
            CHAT: _equal(("stop",), ["END"]),
            COMPLETIONS: _equal(("stop",), ["END"]),
            RESPONSES: never,
            ANTHROPIC: _equal(("stop_sequences",), ["END"]),
            GEMINI: _equal(("generationConfig", "stopSequences"), ["END"]),
        },
    ),
    Feature(
        "output cap",
        {
            CHAT: {"max_completion_tokens": 777},
            COMPLETIONS: {"max_tokens": 777},
            RESPONSES: {"max_output_tokens": 777},
            ANTHROPIC: {"max_tokens": 777},
            GEMINI: _config(maxOutputTokens=777),
        },
        holds("777"),
    ),
    Feature(
        "temperature",
        {
            CHAT: {"temperature": 0.25},
            COMPLETIONS: {"temperature": 0.25},
            RESPONSES: {"temperature": 0.25},
            ANTHROPIC: {"temperature": 0.25},
            GEMINI: _config(temperature=0.25),
        },
        holds("0.25"),
    ),
    Feature(
        "top_p",
        {
            CHAT: {"top_p": 0.75},
            COMPLETIONS: {"top_p": 0.75},
            RESPONSES: {"top_p": 0.75},
            ANTHROPIC: {"top_p": 0.75},
            GEMINI: _config(topP=0.75),
        },
        holds("0.75"),
    ),
    Feature(
        "top_k",
        {CHAT: {"top_k": 41}, COMPLETIONS: {"top_k": 41}, ANTHROPIC: {"top_k": 41}, GEMINI: _config(topK=41)},
        holds("41"),
    ),
    Feature(
        "seed",
        {CHAT: {"seed": 90210}, COMPLETIONS: {"seed": 90210}, GEMINI: _config(seed=90210)},
        holds("90210"),
    ),
    Feature(
        "penalties",
        {CHAT: {"presence_penalty": 0.375}, COMPLETIONS: {"presence_penalty": 0.375},
         GEMINI: _config(presencePenalty=0.375)},
        holds("0.375"),
    ),
    Feature(
        "several answers",
        {CHAT: {"n": 2}, COMPLETIONS: {"n": 2}, GEMINI: _config(candidateCount=2)},
        {
            CHAT: _equal(("n",), 2),
            COMPLETIONS: _equal(("n",), 2),
            RESPONSES: never,
            ANTHROPIC: never,
            GEMINI: _equal(("generationConfig", "candidateCount"), 2),
        },
    ),
    Feature(
        "reasoning effort",
        {
            CHAT: {"reasoning_effort": "low"},
            RESPONSES: {"reasoning": {"effort": "low"}},
            ANTHROPIC: {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            GEMINI: _config(thinkingConfig={"thinkingLevel": "low"}),
        },
        {
            CHAT: _equal(("reasoning_effort",), "low"),
            RESPONSES: _equal(("reasoning", "effort"), "low"),
            ANTHROPIC: lambda body: "thinking" in body,
            GEMINI: lambda body: "thinkingConfig" in body.get("generationConfig", {}),
        },
    ),
    Feature(
        "thinking budget",
        {
            ANTHROPIC: {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            GEMINI: _config(thinkingConfig={"thinkingBudget": 2048, "includeThoughts": True}),
        },
        {
            CHAT: lambda body: "reasoning_effort" in body,
            RESPONSES: lambda body: "reasoning" in body,
            ANTHROPIC: lambda body: "thinking" in body,
            GEMINI: lambda body: "thinkingConfig" in body.get("generationConfig", {}),
        },
    ),
    Feature(
        "signatures, to who signed",
        {one: _signed(one) for one in FORMATS},
        {one: holds(SIGNATURES.get(one, "mg1."))[one] for one in FORMATS},
    ),
    Feature(
        "end user's id",
        {
            CHAT: {"user": "user-4711"},
            COMPLETIONS: {"user": "user-4711"},
            RESPONSES: {"user": "user-4711"},
            ANTHROPIC: {"metadata": {"user_id": "user-4711"}},
        },
        holds("user-4711"),
    ),
    Feature(
        "cache hints",
        {ANTHROPIC: {"system": [{"type": "text", "text": "Be a pirate.", "cache_control": {"type": "ephemeral"}}]}},
        {CHAT: never, RESPONSES: never, GEMINI: never, ANTHROPIC: lambda body: "cache_control" in json.dumps(body)},
    ),
    Feature(
        "log probabilities",
        {CHAT: {"logprobs": True, "top_logprobs": 3}, COMPLETIONS: {"logprobs": 3},
         RESPONSES: {"top_logprobs": 3, "include": ["message.output_text.logprobs"]},
         GEMINI: _config(responseLogprobs=True, logprobs=3)},
        holds("logprobs"),
    ),
    Feature(
        "a search by the provider",
        {
            RESPONSES: {"tools": [{"type": "web_search"}]},
            ANTHROPIC: {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            GEMINI: {"tools": [{"googleSearch": {}}]},
        },
        dict.fromkeys(FORMATS, never),
    ),
)  # fmt: skip
