"""Nothing of a Responses, Messages or generateContent body travels where no detector looks."""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from backends.wire import gemini_embeddings, openai_embeddings
from backends.wire.anthropic_messages import patch_request as patch_messages
from backends.wire.clients import CLIENTS, EMBEDDERS
from backends.wire.failure import WireError
from backends.wire.gemini.patch import patch_request as patch_gemini
from backends.wire.openai_chat import patch_request as patch_chat
from backends.wire.openai_responses import patch_request as patch_responses
from backends.wire.prompt import Asked, Prompt, WireFormat
from gateway.facts import segments

MARK = "kzqxvjmwpt"
PIXEL = base64.b64encode(b"\x89PNG pixel").decode()
KEPT: dict[str, Any] = {"type": "ephemeral", "ttl": "1h"}
MESSAGES: dict[str, Any] = {
    "model": "m", "max_tokens": 2000, "stream": True, "cache_control": KEPT, "stop_sequences": ["q"],
    "system": [{"type": "text", "text": "s", "cache_control": KEPT}],
    "metadata": {"user_id": "u"}, "thinking": {"type": "adaptive", "display": "summarized"},
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "tools": [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}, "cache_control": KEPT, "strict": True},
        {"type": "bash_20250124", "name": "bash"},
    ],
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "hi", "cache_control": KEPT, "citations": None},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
             "cache_control": KEPT},
            {"type": "image", "source": {"type": "url", "url": "https://a.example/c"}},
            {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
            {"type": "document", "title": "T", "source": {"type": "file", "file_id": "f"}},
            {"type": "document", "title": "T", "context": "cx", "source": {
                "type": "content", "content": [{"type": "text", "text": "x"}]}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "t", "signature": "S"}, {"type": "text", "text": "x"},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"a": ["b"]}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "is_error": False, "content": [
            {"type": "text", "text": "r"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}]}]},
    ],
}  # fmt: skip
GENERATE: dict[str, Any] = {
    "systemInstruction": {"role": "system", "parts": [{"text": "s"}]},
    "contents": [
        {"role": "user", "parts": [
            {"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL, "displayName": "d"}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/c.png"}}]},
        {"role": "model", "parts": [
            {"text": "hm", "thought": True}, {"text": "x", "thoughtSignature": "U0lH"},
            {"functionCall": {"id": "c", "name": "f", "args": {"a": ["b"]}}, "thoughtSignature": "U0lH"},
            {"executableCode": {"language": "PYTHON", "code": "1"}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "c", "name": "f", "response": {"output": "r", "more": {"deep": "x"}}}}]},
    ],
    "tools": [{"functionDeclarations": [
        {"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}},
        {"name": "g", "parametersJsonSchema": {"type": "object"}}]}, {"googleSearch": {}}],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}], "labels": {"k": "x"},
    "generationConfig": {
        "temperature": 0.5, "stopSequences": ["x"], "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"}, "thinkingConfig": {"includeThoughts": True}},
}  # fmt: skip
RESPONSES: dict[str, Any] = {
    "model": "m", "stream": True, "instructions": "s", "store": True, "user": "u", "prompt_cache_key": "k",
    "include": ["reasoning.encrypted_content", "code_interpreter_call.outputs"], "metadata": {"k": "v"},
    "client_metadata": {"k": "v"}, "truncation": "auto", "stream_options": {"include_obfuscation": False},
    "reasoning": {"effort": "low", "summary": "concise", "context": "all_turns"}, "service_tier": "flex",
    "text": {"verbosity": "low", "format": {
        "type": "json_schema", "name": "n", "description": "d", "strict": True, "schema": {"type": "object"}}},
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True,
         "defer_loading": True},
        {"type": "custom", "name": "c", "format": {"type": "text"}}, {"type": "web_search"},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "g"}]}],
    "input": [
        {"role": "user", "content": "hi"},
        {"type": "message", "role": "user", "id": "msg_1", "status": "completed", "content": [
            {"type": "input_text", "text": "hi"},
            {"type": "input_image", "image_url": "https://a.example/c", "detail": "low"},
            {"type": "input_file", "filename": "f", "file_url": "https://a.example/c"},
            {"type": "input_file", "filename": "f", "file_id": "f"},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}],
         "content": [{"type": "reasoning_text", "text": "t"}], "encrypted_content": "S"},
        {"type": "message", "role": "assistant", "phase": "commentary", "content": [
            {"type": "output_text", "text": "x", "annotations": [{"type": "url_citation", "url": "u"}]},
            {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "namespace": "n", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "q"}},
        {"type": "custom_tool_call_output", "call_id": "d", "output": "r"}],
}  # fmt: skip
COMPLETION: dict[str, Any] = {
    "model": "m", "prompt": ["p"], "stream": True, "stream_options": {"include_usage": True}, "stop": ["s"],
    "user": "u", "echo": True, "logit_bias": {"50256": -100}, "odd": {"deep": ["x"]},
}  # fmt: skip
TEXTS: dict[str, Any] = {
    "model": "m",
    "input": ["p", "q"],
    "user": "u",
    "dimensions": 4,
    "encoding_format": "float",
    "odd": {"deep": ["x"]},
}
CONTENTS: dict[str, Any] = {
    "requests": [
        {"model": "models/m", "content": {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "X"},
        {"content": {"parts": [{"text": "c"}]}, "title": "t", "odd": {"deep": ["x"]}}],
}  # fmt: skip
CODECS = {**CLIENTS, **EMBEDDERS}
BODIES: dict[WireFormat, dict[str, Any]] = {
    "openai-responses": RESPONSES,
    "anthropic-messages": MESSAGES,
    "gemini": GENERATE,
    "openai-completions": COMPLETION,
    "openai-embeddings": TEXTS,
    "gemini-embeddings": CONTENTS,
}
SMALL = {"openai-completions", "openai-embeddings", "gemini-embeddings"}
OPAQUE = {"data"}
"""Bytes that nobody can read: media. What stands where a signature should and is none is a text like any other."""


def nodes(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Everything in a body, with its path."""
    yield path, node
    entries = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in entries:
        yield from nodes(value, (*path, key))


def marked(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The body with the mark as a member of each object, as the name of one, and as each text."""
    for path, node in nodes(body):
        said = copy.deepcopy(body)
        holder: Any = said
        for step in path[:-1]:
            holder = holder[step]
        where = ".".join(map(str, path))
        if isinstance(node, dict):
            here = holder[path[-1]] if path else said
            here["zz"] = MARK
            yield f"{where}.zz", said
            again = copy.deepcopy(said)
            place: Any = again
            for step in path:
                place = place[step]
            del place["zz"]
            place[MARK] = 1
            yield f"{where}.MARK", again
        elif isinstance(node, str) and path[-1] not in OPAQUE:
            holder[path[-1]] = MARK
            yield where, said


def travels(prompt: Prompt) -> bool:
    """Whether the mark leaves in pass-through."""
    if prompt.format == "gemini":
        body, _ = patch_gemini(prompt, model="m", output_cap=None, allows_provider_tools=True)
    elif prompt.format == "openai-embeddings":
        body = openai_embeddings.patch_request(prompt, model="m", knows_base64=True)
    elif prompt.format == "gemini-embeddings":
        body = gemini_embeddings.patch_request(prompt, model="m")
    elif prompt.format == "openai-completions":
        body = patch_chat(prompt, model="m", output_cap=None, ask_usage=True)
    elif prompt.format == "openai-responses":
        body, _ = patch_responses(prompt, model="m", output_cap=None, allows_provider_tools=True)
    else:
        body, _ = patch_messages(prompt, model="m", output_cap=None, allows_provider_tools=True)
    return MARK.encode() in body


@pytest.mark.parametrize("client", list(BODIES))
def test_what_travels_has_been_looked_at(client: WireFormat) -> None:
    """Any member and any text, at any place: in a segment, refused, or not sent."""
    unseen: list[str] = []
    count = 0
    for where, body in marked(BODIES[client]):
        try:
            prompt = CODECS[client].parse_request(
                json.dumps(body).encode(), Asked("m", is_batch=True)
            )
            leaves = travels(prompt)
        except WireError:
            continue
        count += 1
        if leaves and not any(MARK in segment.text for segment in segments(prompt)):
            unseen.append(where)
    assert unseen == []
    assert count > (8 if client in SMALL else 60)


@pytest.mark.parametrize(
    ("signature", "is_seen"), [("c2ln" * 16, False), ("c2ln", True), ("my card", True)]
)
@pytest.mark.parametrize("issuer", ["anthropic", "openai:rs_1", "openai:my card"])
def test_a_wrapped_signature_hides_no_text(signature: str, issuer: str, *, is_seen: bool) -> None:
    """In a chat: neither as the signature, nor as the name that stands with it. A real one is left alone."""
    detail = {"type": "reasoning.text", "text": "t", "signature": f"mg1.{issuer}.{signature}"}
    message = {"role": "assistant", "content": "x", "reasoning_details": [detail]}
    body = {"model": "m", "messages": [message]}
    prompt = CLIENTS["openai-chat"].parse_request(json.dumps(body).encode(), Asked())
    texts = [segment.text for segment in segments(prompt)]
    assert (signature in texts) is is_seen
    name = issuer.partition(":")[2]
    assert not name or name in texts
