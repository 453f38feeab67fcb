"""The bound of a prompt's tokens against every count that real providers gave for real prompts."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backends.pricing import input_tokens_bound

MEDIA = ("image", "audio", "file", "document", "inlineData", "inline_data", "fileData", "video")
AGENTS = ("compound",)
"""Models that search and read by themselves before they answer; the catalogue has none of them."""
ELSEWHERE = ("previous_response_id", "cachedContent", "cached_content", "container", "mcp_servers")
"""Members that bring tokens which are not in the body."""


def exchanges(shared: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((shared / "exchanges").glob("*.jsonl*")):
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        for line in text.decode().splitlines():
            yield json.loads(line)


def counted(exchange: dict[str, Any]) -> int | None:
    """All input tokens as the provider counted them, cached ones included; None if it did not."""
    usage = exchange.get("usage")
    if not isinstance(usage, dict):
        return None
    if "promptTokenCount" in usage:
        return int(usage["promptTokenCount"])
    if "prompt_tokens" in usage:
        return int(usage["prompt_tokens"])
    if exchange["api"] == "messages" and "input_tokens" in usage:
        cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
        return int(usage["input_tokens"]) + sum(int(usage.get(name) or 0) for name in cached)
    return None


def has_more_than_text(body: dict[str, Any]) -> bool:
    """Whether the provider reads something besides the body: media, stored context, its own tools."""
    text = json.dumps(body)
    if any(f'"{word}' in text for word in MEDIA) or any(name in body for name in ELSEWHERE):
        return True
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        return True
    own = [
        tool
        for tool in tools
        if isinstance(tool, dict)
        and not (
            {"functionDeclarations", "function_declarations", "function", "input_schema"}
            & tool.keys()
        )
    ]
    return bool(own) or "web_search_options" in body or "plugins" in body


def test_no_provider_counted_more_tokens_than_the_bound(shared: Path) -> None:
    """Every recorded text prompt, with and without tools: what was billed as input stays below."""
    checked, worst = 0, 0.0
    for exchange in exchanges(shared):
        body = exchange["request"]["body"]
        tokens = counted(exchange)
        if tokens is None or not isinstance(body, dict) or has_more_than_text(body):
            continue
        if exchange["model"].startswith(AGENTS):
            continue
        messages = body.get("messages") or body.get("contents") or []
        declared = body.get("tools") or []
        tools = sum(
            len(tool.get("functionDeclarations") or tool.get("function_declarations") or [0])
            for tool in declared
        )
        size = len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())
        bound = input_tokens_bound(size, messages=len(messages), tools=tools)
        assert tokens <= bound, (exchange["id"], exchange["model"], tokens, bound)
        checked, worst = checked + 1, max(worst, tokens / bound)
    assert checked > 300
    assert worst > 0.2  # else the bound would be idle
