"""One host that plays OpenAI, Anthropic, Google and a worker of one's own: by hand, each in its own format.

Asked with tools it thinks and calls the first one, asked without any it thinks and says :data:`TEXT`; plain or
streamed, as it is asked.
"""

import contextlib
import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.gateway_process import RunningGateway, running_gateway
from tests.upstreams import Recorded, Scripted, Upstream, event, plain, running_upstream

Json = dict[str, Any]

PIECES = ("Ahoy, ", "Alice: ", "1 2 3 4 5")
TEXT = "".join(PIECES)
THOUGHT = "Let me think."
ARGUMENTS = ('{"location":', '"San Francisco, CA"}')
INPUT_TOKENS, OUTPUT_TOKENS, THINKING_TOKENS = 20, 9, 3

TARGETS = {
    "gpt": "own/gpt",
    "claude": "own/claude",
    "gemini": "own/gemini",
    "sglang": "auto:private",
}
"""Kind of target → what a client asks for."""
_MODELS = {
    "own/gpt": ("openai", "gpt-5.5"),
    "own/claude": ("anthropic", "claude-sonnet-4-5"),
    "own/gemini": ("gemini", "gemini-3-pro-preview"),
}


@dataclass(frozen=True, slots=True)
class Providers:
    """A gateway, and the host behind it."""

    gateway: RunningGateway
    host: Upstream

    def last(self) -> Json:
        """The body that reached the host last."""
        body: Any = self.host.requests[-1].json
        return body


@contextlib.contextmanager
def running_providers(folder: Path) -> Generator[Providers]:
    """Both for as long as the context lasts."""
    catalogue = folder / "catalogue.yaml"
    can = ["tools", "parallel_tools", "images", "json_schema", "reasoning"]
    own = {"context": 200_000, "output": 8192, "can": can, "price": {"input": 1, "output": 4}}
    targets = {
        name: {"provider": at, "model": model, **own} for name, (at, model) in _MODELS.items()
    }
    catalogue.write_text(yaml.safe_dump({"targets": targets}))
    with running_upstream() as host:
        host.answer_by = answer
        environ = {
            "OPENAI_API_KEY": "sk-a", "OPENAI_BASE_URL": f"{host.url}/v1",
            "ANTHROPIC_API_KEY": "sk-b", "ANTHROPIC_BASE_URL": host.url,
            "GEMINI_API_KEY": "sk-c", "GOOGLE_GEMINI_BASE_URL": host.url,
            "SGLANG_URLS": host.url, "MOEGATE_CATALOGUE": str(catalogue),
        }  # fmt: skip
        with running_gateway(folder / "home", environ) as gateway:
            yield Providers(gateway, host)


def answer(request: Recorded) -> Scripted:
    """What the provider whose address this is says."""
    body: Any = request.json
    calls = bool(body.get("tools"))
    if request.path.startswith("/v1beta/"):
        return _gemini(calls=calls, is_stream=":stream" in request.path)
    is_stream = bool(body.get("stream"))
    if request.path == "/v1/messages":
        return _claude(calls=calls, is_stream=is_stream)
    if request.path == "/v1/responses":
        return _responses(body, calls=calls, is_stream=is_stream)
    return _chat(calls=calls, is_stream=is_stream)


def _streamed(events: Iterable[bytes]) -> Scripted:
    return Scripted(chunks=tuple(events), is_stream=True)


def _chat(*, calls: bool, is_stream: bool) -> Scripted:
    head = {"id": "chatcmpl-1", "created": 1_790_000_000, "model": "served-model"}
    usage = {
        "prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "completion_tokens_details": {"reasoning_tokens": THINKING_TOKENS},
    }  # fmt: skip
    finish = "tool_calls" if calls else "stop"

    def called(arguments: str) -> list[Json]:
        function = {"name": "get_weather", "arguments": arguments}
        return [
            {"index": 0, "id": "functions.get_weather:0", "type": "function", "function": function}
        ]

    if not is_stream:
        message = {"role": "assistant", "content": None if calls else TEXT,
                   "reasoning_content": THOUGHT,
                   "tool_calls": called("".join(ARGUMENTS)) if calls else None}  # fmt: skip
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return plain({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    deltas: list[Json] = [{"role": "assistant", "content": ""}, {"reasoning_content": THOUGHT}]
    if calls:
        deltas.append({"tool_calls": called("")})
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in ARGUMENTS
        ]
    else:
        deltas += [{"content": piece} for piece in PIECES]
    choices: list[list[Json]] = [
        [{"index": 0, "delta": one, "finish_reason": None}] for one in deltas
    ]
    choices.append([{"index": 0, "delta": {}, "finish_reason": finish}])
    head["object"] = "chat.completion.chunk"
    chunks = [event({**head, "choices": one}) for one in choices]
    return _streamed([*chunks, event({**head, "choices": [], "usage": usage}), b"data: [DONE]\n\n"])


def _claude(*, calls: bool, is_stream: bool) -> Scripted:
    used = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"thinking_tokens": THINKING_TOKENS}}  # fmt: skip
    message: Json = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [], "stop_reason": None, "stop_sequence": None, "usage": used,
    }  # fmt: skip
    stop = {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}
    tool: Json = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    if not is_stream:
        thinking = {"type": "thinking", "thinking": THOUGHT, "signature": "c2ln"}
        last = (
            {**tool, "input": json.loads("".join(ARGUMENTS))}
            if calls
            else {"type": "text", "text": TEXT}
        )
        return plain({**message, "content": [thinking, last], **stop})
    block: Json = tool if calls else {"type": "text", "text": ""}
    pieces = [
        {"type": "input_json_delta", "partial_json": one}
        if calls
        else {"type": "text_delta", "text": one}
        for one in (ARGUMENTS if calls else PIECES)
    ]
    said: list[Json] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "thinking_delta", "thinking": THOUGHT}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "signature_delta", "signature": "c2ln"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": block},
        *({"type": "content_block_delta", "index": 1, "delta": one} for one in pieces),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": stop, "usage": used},
        {"type": "message_stop"},
    ]  # fmt: skip
    return _streamed(b"event: %b\n" % one["type"].encode() + event(one) for one in said)


def _gemini(*, calls: bool, is_stream: bool) -> Scripted:
    usage = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS - THINKING_TOKENS,
             "thoughtsTokenCount": THINKING_TOKENS, "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS}  # fmt: skip
    call = {"name": "get_weather", "args": json.loads("".join(ARGUMENTS))}
    parts: list[Json] = [{"text": THOUGHT, "thought": True}]
    if calls:
        parts.append({"functionCall": call, "thoughtSignature": "c2ln"})
    else:
        parts += [{"text": piece} for piece in PIECES]

    def chunk(said: list[Json], **more: str) -> Json:
        candidate = {"index": 0, "content": {"role": "model", "parts": said}, **more}
        return {"candidates": [candidate], "usageMetadata": usage,
                "modelVersion": "gemini-3-pro-preview", "responseId": "r1"}  # fmt: skip

    if not is_stream:
        return plain(chunk(parts, finishReason="STOP"))
    chunks = [chunk([one]) for one in parts[:-1]] + [chunk(parts[-1:], finishReason="STOP")]
    return _streamed(event(one).replace(b"\n\n", b"\r\n\r\n") for one in chunks)


def _responses(asked: Json, *, calls: bool, is_stream: bool) -> Scripted:
    """OpenAI's own, which passes as it came."""
    response = _response(asked)
    thinking = {"id": "rs_1", "type": "reasoning", "summary": []}
    name = "function_call" if calls else "message"
    item: Json = {"id": "fc_1", "type": name, "status": "completed", "call_id": "call_1",
                  "name": "get_weather", "arguments": "".join(ARGUMENTS)}  # fmt: skip
    empty: Json = {**item, "status": "in_progress", "arguments": ""}
    part = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}
    if not calls:
        item = {
            "id": "msg_1",
            "type": name,
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }
        empty = {**item, "status": "in_progress", "content": []}
    usage = {
        "input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": OUTPUT_TOKENS, "output_tokens_details": {"reasoning_tokens": THINKING_TOKENS},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }  # fmt: skip
    whole = {**response, "status": "completed", "completed_at": 1_790_000_001,
             "output": [thinking, item], "usage": usage}  # fmt: skip
    if not is_stream:
        return plain(whole)
    place = {"item_id": item["id"], "output_index": 1}
    said: list[Json] = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": thinking},
        {"type": "response.output_item.done", "output_index": 0, "item": thinking},
        {"type": "response.output_item.added", "output_index": 1, "item": empty},
        *(_pieces_of_call(place) if calls else _pieces_of_text(place, part)),
        {"type": "response.output_item.done", "output_index": 1, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    numbered: list[Json] = [{**one, "sequence_number": at} for at, one in enumerate(said)]
    return _streamed(b"event: %b\n" % one["type"].encode() + event(one) for one in numbered)


def _pieces_of_call(place: Json) -> list[Json]:
    name = "response.function_call_arguments"
    deltas: list[Json] = [{"type": f"{name}.delta", **place, "delta": one} for one in ARGUMENTS]
    done = {"type": f"{name}.done", **place, "name": "get_weather", "arguments": "".join(ARGUMENTS)}
    return [*deltas, done]


def _pieces_of_text(place: Json, part: Json) -> list[Json]:
    place = {**place, "content_index": 0}
    deltas: list[Json] = [
        {"type": "response.output_text.delta", **place, "delta": one, "logprobs": []}
        for one in PIECES
    ]
    return [
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *deltas,
        {"type": "response.output_text.done", **place, "text": TEXT, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
    ]


def _response(asked: Json) -> Json:
    """A response that begins."""
    nothing = dict.fromkeys(
        ("error", "incomplete_details", "previous_response_id", "instructions", "usage", "completed_at",
         "max_output_tokens", "max_tool_calls", "prompt_cache_key", "safety_identifier", "user")
    )  # fmt: skip
    tools = [{"strict": True, "description": None, **tool} for tool in asked.get("tools") or ()]
    return {
        **nothing, "id": "resp_1", "object": "response", "created_at": 1_790_000_000,
        "model": "gpt-5.5", "status": "in_progress", "output": [], "tools": tools,
        "tool_choice": "auto", "truncation": "disabled", "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}, "verbosity": "medium"}, "top_p": 1.0,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "top_logprobs": 0, "temperature": 1.0,
        "reasoning": {"effort": "medium", "summary": None}, "store": False, "background": False,
        "service_tier": "default", "metadata": {},
    }  # fmt: skip
