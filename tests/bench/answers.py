"""The answers of the stub: one text, whole and as a stream of 64 pieces, as each provider sends it.

Shapes as the providers sent them in 2026: OpenAI with ``usage: null`` and padding on every chunk, Anthropic
with blanks behind the JSON and a ping, Gemini with spaces, CRLF and its counts in every chunk.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

PIECES = 64
TEXTS = tuple(
    ("The", " gateway", " routes", " every", " prompt", " by", " policy", " and", " cost")[at % 9]
    for at in range(PIECES)
)
MODEL = "stub-model"
CREATED = 1790000000
INPUT_TOKENS = 100

_LETTERS = "aZ4kQp9LmX2vTr7"
_RATES = {"cached_tokens": 0, "audio_tokens": 0}
_DETAILS = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}

Json = Mapping[str, object]


def write_answers(folder: Path) -> None:
    """``NAME.json`` and ``NAME.sse`` for each format, where the stub looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "chat": (_chat(), _chat_events()),
        "messages": (_message(), _message_events()),
        "gemini": (_gemini("".join(TEXTS), "STOP"), _gemini_events()),
        "responses": (_response("completed", "".join(TEXTS)), _response_events()),
    }
    for name, (whole, events) in made.items():
        (folder / f"{name}.json").write_bytes(_dense(whole))
        (folder / f"{name}.sse").write_bytes(b"".join(events))


def _dense(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _padding(at: int) -> str:
    """As much as hides how long the piece is, roughly."""
    return (_LETTERS * 2)[at % 11 : at % 11 + 4 + at % 9]


def _chat() -> Json:
    message = {"role": "assistant", "content": "".join(TEXTS), "refusal": None, "annotations": []}
    return {
        "id": "chatcmpl-bench0001",
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _chat_usage(),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _chat_usage() -> Json:
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": PIECES,
        "total_tokens": INPUT_TOKENS + PIECES,
        "prompt_tokens_details": _RATES,
        "completion_tokens_details": _DETAILS,
    }


def _chat_events() -> Iterator[bytes]:
    begin: Json = {"role": "assistant", "content": "", "refusal": None}
    deltas: list[Json] = [begin, *({"content": text} for text in TEXTS), {}]
    for at, delta in enumerate(deltas):
        finish = None if delta else "stop"
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        yield _chat_event(at, [choice], None)
    yield _chat_event(len(deltas), [], _chat_usage())
    yield b"data: [DONE]\n\n"


def _chat_event(at: int, choices: list[Json], usage: Json | None) -> bytes:
    chunk = {
        "id": "chatcmpl-bench0001",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": None,
        "choices": choices,
        "usage": usage,
        "obfuscation": _padding(at),
    }
    return b"data: %b\n\n" % _dense(chunk)


def _message() -> Json:
    return {
        "model": MODEL,
        "id": "msg_bench0001",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "".join(TEXTS)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {**_message_usage(PIECES), "service_tier": "standard"},
    }


def _message_usage(output_tokens: int) -> Json:
    return {
        "input_tokens": INPUT_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
    }


def _message_events() -> Iterator[bytes]:
    begun = {**_message(), "content": [], "stop_reason": None, "usage": _message_usage(1)}
    yield _message_event(0, "message_start", {"message": begun})
    block = {"type": "text", "text": ""}
    yield _message_event(1, "content_block_start", {"index": 0, "content_block": block})
    yield b'event: ping\ndata: {"type": "ping"}\n\n'
    for at, text in enumerate(TEXTS):
        delta = {"type": "text_delta", "text": text}
        yield _message_event(at, "content_block_delta", {"index": 0, "delta": delta})
    yield _message_event(3, "content_block_stop", {"index": 0})
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = _message_usage(PIECES)
    yield _message_event(4, "message_delta", {"delta": stop, "usage": usage})
    yield _message_event(5, "message_stop", {})


def _message_event(at: int, name: str, members: Json) -> bytes:
    data = _dense({"type": name, **members})
    blanks = b" " * (at * 7 % 15)
    return b"event: %b\ndata: %b%b}\n\n" % (name.encode(), data[:-1], blanks)


def _gemini(text: str, finish: str | None = None) -> Json:
    candidate: dict[str, object] = {"content": {"parts": [{"text": text}], "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    usage = {
        "promptTokenCount": INPUT_TOKENS,
        "candidatesTokenCount": PIECES,
        "totalTokenCount": INPUT_TOKENS + PIECES,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": INPUT_TOKENS}],
        "serviceTier": "standard",
    }
    return {
        "candidates": [{**candidate, "index": 0}],
        "usageMetadata": usage,
        "modelVersion": MODEL,
        "responseId": "bench0001",
    }


def _gemini_events() -> Iterator[bytes]:
    for at, text in enumerate(TEXTS):
        chunk = _gemini(text, "STOP" if at == PIECES - 1 else None)
        yield b"data: %b\r\n\r\n" % json.dumps(chunk, separators=(",", ": ")).encode()


def _response(status: str, text: str) -> Json:
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
        "output_tokens": PIECES,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + PIECES,
    }
    return {
        "id": "resp_bench0001",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "completed_at": CREATED + 1 if text else None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": 256,
        "max_tool_calls": None,
        "model": MODEL,
        "output": [_item(status, text)] if text else [],
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": "none", "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 0.2,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if text else None,
        "user": None,
        "metadata": {},
    }


def _item(status: str, text: str) -> Json:
    content = [_part(text)] if text else []
    return {
        "id": "msg_bench0001",
        "type": "message",
        "status": status,
        "content": content,
        "role": "assistant",
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _response_events() -> Iterator[bytes]:
    text = "".join(TEXTS)
    of_item = {"output_index": 0}
    of_part = {"content_index": 0, "item_id": "msg_bench0001", **of_item}
    begun: Json = {"response": _response("in_progress", "")}
    members: list[tuple[str, Json]] = [
        ("created", begun),
        ("in_progress", begun),
        ("output_item.added", {"item": _item("in_progress", ""), **of_item}),
        ("content_part.added", {"part": _part(""), **of_part}),
    ]
    for at, piece in enumerate(TEXTS):
        delta = {**of_part, "delta": piece, "logprobs": [], "obfuscation": _padding(at)}
        members.append(("output_text.delta", delta))
    members += [
        ("output_text.done", {"text": text, "logprobs": [], **of_part}),
        ("content_part.done", {"part": _part(text), **of_part}),
        ("output_item.done", {"item": _item("completed", text), **of_item}),
        ("completed", {"response": _response("completed", text)}),
    ]
    for number, (name, said) in enumerate(members):
        kind = f"response.{name}"
        data = _dense({"type": kind, **said, "sequence_number": number})
        yield b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
