"""Every recorded chat exchange of every OpenAI-compatible host passes through as it came."""

import gzip
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat import (
    ChatPassRelay,
    parse_request,
    patch_request,
    read_answer,
    read_error,
)
from backends.wire.outcome import Outcome
from backends.wire.prompt import Prompt

Exchange = dict[str, Any]

DIALECTS = {
    "tool_choice": {"any"},
    "reasoning_effort": {"default"},
    "tools[].type": {"custom", "openrouter:web_search", "openrouter:advisor"},
    "messages[].content[].type": {"thinking"},
    "messages[].content[].image_url": None,
    "messages[].content[].file.file_id": None,
    "messages[].content[].file.file_data": None,
    "response_format.json_schema.name": None,
    "functions": None,
}
"""Where hosts of the format go their own ways, or what OpenAI dropped: refused at this path (for this value).
Everything else that was recorded is understood."""

ERRORS_IN_200 = {"ac5cc7dd9a-00", "51a46be1bb-00"}
"""A Groq and an OpenRouter stream with an error inside."""


@pytest.fixture(scope="module")
def exchanges(shared: Path) -> list[Exchange]:
    """All recorded chats, with a body."""
    found = [one for path in sorted((shared / "exchanges").glob("*.jsonl*")) for one in read(path)]
    assert len(found) > 500
    return found


def read(path: Path) -> Iterator[Exchange]:
    raw = path.read_bytes()
    for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines():
        exchange = json.loads(line)
        if exchange["api"] == "chat" and isinstance(exchange["request"]["body"], dict):
            yield exchange


def write(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def asking(*, n: int = 1, wants_usage: bool = True) -> Prompt:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "n": n,
        "stream": True,
        "stream_options": {"include_usage": wants_usage},
    }
    return parse_request(write(body))


def streams(exchanges: list[Exchange]) -> Iterator[tuple[Exchange, bytes, Prompt]]:
    for exchange in exchanges:
        if exchange["stream"] and exchange["response"]["status"] == 200:
            n = exchange["request"]["body"].get("n") or 1
            yield exchange, exchange["response"]["body"].encode(), asking(n=n)


def relay(prompt: Prompt, *chunks: bytes) -> tuple[bytes, Outcome]:
    one = ChatPassRelay(prompt)
    out = b"".join(one.feed(chunk) for chunk in chunks) + one.finish()
    return out, one.outcome


def parse_or_refuse(raw: bytes) -> Prompt | Failure:
    try:
        return parse_request(raw)
    except WireError as error:
        return error.failure


def test_recorded_requests_are_understood(exchanges: list[Exchange]) -> None:
    """All but the named dialects: model, number of messages and stream flag as sent."""
    refused = 0
    for exchange in exchanges:
        body = exchange["request"]["body"]
        said = parse_or_refuse(write(body))
        if isinstance(said, Failure):
            refused += 1
            path = "".join(c for c in said.param or "" if not c.isdigit())
            words = DIALECTS[path]
            assert words is None or any(f"`{word}`" in said.message for word in words), said
            continue
        assert said.request_model == body["model"]
        assert len(said.messages) == len(body["messages"])
        assert said.is_stream == bool(body.get("stream"))
        assert len(said.tools) == len(body.get("tools") or ())
    assert refused <= 22


def test_recorded_requests_are_patched_without_loss(exchanges: list[Exchange]) -> None:
    """Escaped or not, spaced or not: the decoded body differs by the edits only."""
    for exchange in exchanges:
        body = exchange["request"]["body"]
        for raw in (write(body), json.dumps(body).encode(), json.dumps(body, indent=2).encode()):
            prompt = parse_or_refuse(raw)
            if isinstance(prompt, Failure):
                continue
            patched = patch_request(
                prompt, model="x/y", output_cap=None, ask_usage=prompt.is_stream
            )
            expected = {**body, "model": "x/y"}
            if prompt.is_stream:
                options = body.get("stream_options") or {}
                expected["stream_options"] = {**options, "include_usage": True}
            assert json.loads(patched) == expected


def expected_finish(raw: str) -> str | None:
    """The last finish reason by an independent reading."""
    found: str | None = None
    for line in raw.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:]).get("choices") or ():
                found = choice.get("finish_reason") or found
    return found


def test_recorded_streams_pass_as_they_came(exchanges: list[Exchange]) -> None:
    """Bytes, finish and usage as recorded; the two with an error inside fail."""
    seen = 0
    for exchange, raw, prompt in streams(exchanges):
        out, outcome = relay(prompt, raw)
        if exchange["id"] in ERRORS_IN_200:
            assert outcome.failure is not None
            assert b'data: {"error"' in out
            assert b"[DONE]" not in out
            continue
        seen += 1
        assert out == raw, exchange["id"]
        assert outcome.is_complete
        assert outcome.raw_finish_reason == expected_finish(raw.decode())
        check_usage(exchange, outcome)
    assert seen > 180


def check_usage(exchange: Exchange, outcome: Outcome) -> None:
    usage = exchange["usage"]
    assert (outcome.usage is None) == (not usage), exchange["id"]
    if outcome.usage is None:
        return
    details = usage.get("completion_tokens_details") or {}
    reasoning = details.get("reasoning_tokens") or 0
    output = usage["completion_tokens"]
    if usage["total_tokens"] == usage["prompt_tokens"] + output + reasoning:
        output += reasoning
    assert outcome.usage.input_tokens == usage["prompt_tokens"]
    assert outcome.usage.output_tokens == output
    assert outcome.usage.reasoning_tokens == min(reasoning, output)


def test_the_cuts_of_a_recorded_stream_change_nothing(exchanges: list[Exchange]) -> None:
    """Event by event and cut at random places: the same bytes and the same outcome."""
    rng = random.Random(7)
    for exchange, raw, prompt in streams(exchanges):
        whole = relay(prompt, raw)
        cuts = [0, *sorted(rng.choices(range(len(raw)), k=12)), len(raw)]
        pieces = [raw[begin:end] for begin, end in itertools.pairwise(cuts)]
        assert relay(prompt, *pieces) == whole, exchange["id"]
        events = raw.split(b"\n\n")
        assert relay(prompt, *(one + b"\n\n" for one in events[:-1]), events[-1]) == whole


def test_no_cut_of_a_recorded_stream_is_a_whole_answer(exchanges: list[Exchange]) -> None:
    """Cut before the first finish reason, anywhere: a failure, never an end."""
    rng = random.Random(8)
    for exchange, raw, prompt in streams(exchanges):
        end = raw.find(b'"finish_reason":"')
        for cut in rng.choices(range(max(end, 1)), k=8):
            out, outcome = relay(prompt, raw[:cut])
            assert outcome.failure is not None, exchange["id"]
            assert not outcome.is_complete
            assert b"[DONE]" not in out


def test_a_usage_chunk_is_hidden_from_who_did_not_ask(exchanges: list[Exchange]) -> None:
    """What is left is the recorded stream without it, and it is read all the same."""
    for exchange, raw, _ in streams(exchanges):
        n = exchange["request"]["body"].get("n") or 1
        out, outcome = relay(asking(n=n, wants_usage=False), raw)
        if outcome.failure is not None:
            continue
        lines = [line for line in out.splitlines() if line.startswith(b"data: {")]
        for line in lines:
            chunk = json.loads(line[6:])
            assert not (chunk.get("usage") and not chunk["choices"]), exchange["id"]
        check_usage(exchange, outcome)


def test_recorded_plain_answers_are_read(exchanges: list[Exchange]) -> None:
    """Untouched, with finish and usage as recorded."""
    for exchange in exchanges:
        if exchange["stream"] or exchange["response"]["status"] != 200:
            continue
        body = exchange["response"]["body"]
        answer = read_answer(asking(), write(body))
        assert answer.body == write(body)
        assert answer.outcome.raw_finish_reason == body["choices"][0]["finish_reason"]
        check_usage(exchange, answer.outcome)


def test_recorded_errors_are_understood(exchanges: list[Exchange]) -> None:
    """A complaint about the request reaches the client, our own trouble does not."""
    seen: set[int] = set()
    for exchange in exchanges:
        response = exchange["response"]
        status = response["status"]
        if status == 200:
            continue
        seen.add(status)
        failure = read_error(status, response["headers"], write(response["body"]))
        if status == 400:
            assert failure.kind in ("invalid_request", "context_too_long")
            words = " ".join(response["body"]["error"]["message"].split())
            assert failure.message == words[:1000].rstrip(".")
        else:
            assert failure.kind == ("rate_limited" if status == 429 else "upstream_failed")
            assert "key" not in failure.message.lower()
    assert seen == {400, 401, 404, 429}
