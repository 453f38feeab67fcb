"""What the user of an SDK sees of an answer, and the same by an independent reading of a recorded one."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.wire import test_anthropic_corpus as anthropic_corpus
from tests.wire import test_gemini_corpus as gemini_corpus

WORDS = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "STOP": "stop", "completed": "stop",
    "length": "length", "max_tokens": "length", "MAX_TOKENS": "length", "incomplete": "length",
    "tool_calls": "calls", "tool_use": "calls",
    "content_filter": "filtered", "SAFETY": "filtered", "refusal": "filtered",
}  # fmt: skip
"""One word for what the formats call the same."""


@dataclass
class Seen:
    """``finish`` in one word for all formats; ``tokens`` of input (with cached) and output."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    finish: str = ""
    tokens: tuple[int, int] | None = None

    def finished(self, raw: object) -> "Seen":
        """Itself, with its finish: an answer with calls ends for them, whatever the format says."""
        word = getattr(raw, "value", raw)
        self.finish = "calls" if self.calls else WORDS[str(word)]
        return self


def load(arguments: str | None) -> Any:
    """Arguments as a value; broken ones as they are."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def recorded(exchange: dict[str, Any]) -> Seen:
    """A recorded answer of any format."""
    match exchange["api"]:
        case "messages":
            text, _thinking, calls, stop, taken, given, _cached = anthropic_corpus.expected(
                exchange
            )
            named = [(name, arguments) for _id, name, arguments in calls]
            return Seen(text, named, tokens=(taken, given)).finished(stop)
        case "generateContent":
            text, _thoughts, calls, _signatures, finish, counts = gemini_corpus.expected(exchange)
            return Seen(text, list(calls), tokens=counts).finished(finish)
        case "responses":
            return _responses(exchange)
        case _:
            return _chat(exchange)


def _events(body: str) -> list[dict[str, Any]]:
    lines = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def _chat(exchange: dict[str, Any]) -> Seen:
    body = exchange["response"]["body"]
    seen, usage, finish = Seen(), None, ""
    calls: dict[int, list[str]] = {}
    for chunk in _events(body) if exchange["stream"] else [body]:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            if choice["index"]:
                continue
            said = choice.get("delta") or choice.get("message") or {}
            seen.text += said.get("content") or ""
            finish = choice.get("finish_reason") or finish
            for at, call in enumerate(said.get("tool_calls") or ()):
                entry = calls.setdefault(call.get("index", at), ["", ""])
                entry[0] += call["function"].get("name") or ""
                entry[1] += call["function"].get("arguments") or ""
    seen.calls = [(name, load(text)) for name, text in (calls[at] for at in sorted(calls))]
    if usage:
        seen.tokens = (usage["prompt_tokens"], usage["completion_tokens"])
    return seen.finished(finish)


def _responses(exchange: dict[str, Any]) -> Seen:
    body = exchange["response"]["body"]
    if exchange["stream"]:
        ends = ("response.completed", "response.incomplete")
        body = next(event["response"] for event in _events(body) if event["type"] in ends)
    seen = Seen()
    for item in body["output"]:
        if item["type"] == "message":
            seen.text += "".join(part.get("text", "") for part in item["content"])
        elif item["type"] == "function_call":
            seen.calls.append((item["name"], load(item["arguments"])))
    usage = body.get("usage")
    if usage:
        seen.tokens = (usage["input_tokens"], usage["output_tokens"])
    return seen.finished(body["status"])
