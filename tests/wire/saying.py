"""Pieces of bodies that say one thing in each format, and questions to a body whether it says it.

What is said with them stands in :mod:`tests.wire.features`.
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


def equals(path: tuple[str | int, ...], value: object) -> Says:
    look = at(*path)
    return lambda body: look(body) == value


def say_function(**more: Any) -> Body:
    return {"name": "get_weather", "description": "Looks outside.", **more}


def say_tools(format: WireFormat, *, is_strict: bool | None = None) -> Body:
    strict = {} if is_strict is None else {"strict": is_strict}
    match format:
        case "openai-chat":
            function = say_function(parameters=SCHEMA, **strict)
            return {"tools": [{"type": "function", "function": function}]}
        case "openai-responses":
            return {"tools": [{"type": "function", **say_function(parameters=SCHEMA, **strict)}]}
        case "anthropic-messages":
            return {"tools": [say_function(input_schema=SCHEMA, **strict)]}
        case _:
            declared = say_function(parametersJsonSchema=SCHEMA)
            return {"tools": [{"functionDeclarations": [declared]}]}


def say_with_tools(format: WireFormat, **more: Any) -> Body:
    return say_tools(format) | more


def say_content(format: WireFormat, part: Body) -> Body:
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


def say_called(format: WireFormat, *, result: str = "sunny", is_error: bool = False) -> Body:
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
            return say_tools(format) | {"messages": said}
        case "openai-responses":
            items: list[Body] = [{"role": "user", "content": ASK}]
            items += [
                {"type": "function_call", "call_id": one, "name": "get_weather", "arguments": text}
                for one, text in zip(ids, arguments, strict=True)
            ]
            items += [
                {"type": "function_call_output", "call_id": one, "output": result} for one in ids
            ]
            return say_tools(format) | {"input": items}
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
            return say_tools(format) | {"messages": said}
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
            return say_tools(format) | {"contents": said}


SIGNATURES: dict[WireFormat, str] = {
    RESPONSES: "b3BlbmFp",
    ANTHROPIC: "YW50aHJv",
    GEMINI: "Z2VtaW5p",
}
"""What the provider of each format signed."""


def say_signed(format: WireFormat) -> Body:
    """An answer whose thinking was signed by OpenAI and by Anthropic, and whose call by Google."""
    by = [Signed(SIGNATURES[RESPONSES], "openai"), Signed(SIGNATURES[ANTHROPIC], "anthropic")]
    on_call = Signed(SIGNATURES[GEMINI], "gemini")
    body = say_called(format)
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


def counts_results(count: int) -> Mapping[WireFormat, Says]:
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


def say_config(**more: Any) -> Body:
    return {"generationConfig": more}


GEMINI_SCHEMA = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
JSON_SCHEMA = {"name": "answer", "schema": SCHEMA, "strict": True}
