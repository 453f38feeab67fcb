"""Every recorded Responses exchange: requests parse, pass and come back; answers keep their meaning and are valid."""

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)
from backends.wire.failure import WireError
from backends.wire.openai_chat import read_error
from backends.wire.openai_responses import (
    EventParser,
    parse_request,
    patch_request,
    render_request,
)
from backends.wire.openai_responses.passing import ResponsesPassRelay
from backends.wire.openai_responses.rendering import render_answer
from backends.wire.prompt import Asked, Opaque, Prompt, Reasoning, Refusal, Text
from backends.wire.provider_tools import may_travel
from backends.wire.relay import TranslatingRelay
from tests.clients.replay import read_exchanges

Exchange = dict[str, Any]
EVENTS: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
LATER = {"error", "annotations", "logprobs"}


@pytest.fixture(scope="module")
def exchanges(shared: Any) -> list[Exchange]:
    """All recorded exchanges in the format."""
    found = [one for one in read_exchanges(shared) if one["api"] == "responses"]
    assert len(found) >= 360
    return found


def good(exchanges: list[Exchange], *, is_stream: bool) -> Iterator[tuple[Exchange, bytes]]:
    """Exchanges that went well, with their answers' bytes."""
    for exchange in exchanges:
        if exchange["response"]["status"] == 200 and exchange["stream"] == is_stream:
            body = exchange["response"]["body"]
            yield exchange, body.encode() if is_stream else json.dumps(body).encode()


def prompt_of(exchange: Exchange, **more: Any) -> Prompt:
    return parse_request(json.dumps({**exchange["request"]["body"], **more}).encode(), Asked())


def test_every_recorded_request_parses(exchanges: list[Exchange]) -> None:
    """All but the one that OpenAI refused for the same reason; nothing of the input is lost."""
    refused: list[tuple[str | None, str]] = []
    for exchange in exchanges:
        body = exchange["request"]["body"]
        try:
            prompt = prompt_of(exchange)
        except WireError as error:
            refused.append((error.failure.code, exchange["response"]["body"]["error"]["code"]))
            continue
        said = body.get("input")
        if isinstance(said, list):
            parts = [part for message in prompt.messages for part in message.parts]
            assert len(parts) + sum(not item.get("content", True) for item in said) >= len(said)
        assert len(prompt.tools) + len(prompt.provider_tools) >= len(body.get("tools") or ())
    assert refused == [("decimal_below_min_value", "decimal_below_min_value")]


def flat(prompt: Prompt) -> list[Any]:
    """What a prompt says, whatever its messages are made of."""
    kept: list[Any] = []
    for message in prompt.messages:
        for part in message.parts:
            if isinstance(part, Reasoning) and not part.signature:
                continue  # Thinking that nobody signed is listed.
            kept.append((message.role, part))
    return kept


def test_recorded_requests_come_back_equal_when_rendered(exchanges: list[Exchange]) -> None:
    """Parse → render → parse: messages, tools and options are the same."""
    compared = 0
    for exchange in exchanges:
        try:
            before = prompt_of(exchange)
            rendered = render_request(
                before, model=before.request_model or "m", output_cap=None,
                output_tokens_default=1000, allows_provider_tools=True,
            )  # fmt: skip
        except WireError:
            continue  # Files that OpenAI keeps; a bad temperature.
        body = json.loads(rendered.body)
        assert body["store"] is False
        if not body["input"]:
            continue
        after = parse_request(rendered.body, Asked())
        assert flat(after) == flat(before), exchange["id"]
        assert [
            (t.name, json.loads(t.parameters or b"0"), bool(t.is_strict)) for t in after.tools
        ] == [(t.name, json.loads(t.parameters or b"0"), bool(t.is_strict)) for t in before.tools]
        kept = [t for t in before.provider_tools if may_travel(t.kind, allows_provider_tools=True)]
        assert len(after.provider_tools) == len(kept)
        for name in (
            "sampling",
            "output_tokens_max",
            "reasoning_effort",
            "shows_reasoning",
            "hints",
        ):
            assert getattr(after, name) == getattr(before, name), (exchange["id"], name)
        compared += 1
    assert compared > 340


def test_recorded_requests_pass_with_the_published_edits(exchanges: list[Exchange]) -> None:
    """Written in any way, the decoded body differs by the edits only."""
    for exchange in exchanges:
        body = exchange["request"]["body"]
        for raw in (json.dumps(body).encode(), json.dumps(body, indent=2).encode()):
            try:
                prompt = parse_request(raw, Asked())
            except WireError:
                continue
            patched, lost = patch_request(
                prompt, model="x/y", output_cap=None, allows_provider_tools=True
            )
            expected = {**body, "model": "x/y", "store": False}
            got = json.loads(patched)
            if lost:
                for name in ("tools", "tool_choice", "parallel_tool_calls", "input"):
                    expected.pop(name, None)
                    got.pop(name, None)
            assert got == expected, exchange["id"]


def parse_stream(stream: bytes, cuts: list[int]) -> list[Event]:
    parser = EventParser()
    events: list[Event] = []
    for begin, end in itertools.pairwise([0, *cuts, len(stream)]):
        events += parser.feed(stream[begin:end])
    return events + parser.finish()


def final_of(stream: str) -> dict[str, Any]:
    """The last response object of a stream by an independent reading."""
    found: dict[str, Any] = {}
    for line in stream.splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            found = event.get("response") or found
    return found


def expected(response: dict[str, Any]) -> tuple[str, str, list[Any], list[Any], Any]:
    """Text, thinking, calls, signatures and counts of a whole response."""
    output = response["output"]
    texts = [
        part.get("text", part.get("refusal"))
        for item in output
        if item["type"] == "message"
        for part in item["content"]
    ]
    thinking = [
        "\n\n".join(
            part["text"] for part in (*(item.get("summary") or ()), *(item.get("content") or ()))
        )
        for item in output
        if item["type"] == "reasoning"
    ]
    calls = [
        (item["call_id"], item["name"], item["arguments"])
        for item in output
        if item["type"] == "function_call"
    ]
    # OpenAI encrypts anew in each event: which one it is does not matter.
    signatures = [
        item["id"]
        for item in output
        if item["type"] == "reasoning" and item.get("encrypted_content")
    ]
    usage = response.get("usage")
    counts = (usage["input_tokens"], usage["output_tokens"]) if usage else None
    counts = counts if counts != (0, 0) else None  # which is not believed
    return "".join(texts), "".join(thinking), calls, signatures, counts


def folded(events: list[Event]) -> tuple[str, str, list[Any], list[Any], Any]:
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, CallStart):
            calls[event.index] = [event.id, event.name, ""]
        elif isinstance(event, CallDelta):
            calls[event.index][2] += event.arguments
    end = events[-1]
    assert isinstance(end, End)
    counts = None if end.usage is None else (end.usage.input_tokens, end.usage.output_tokens)
    thought = [event for event in events if isinstance(event, ReasoningDelta)]
    return (
        "".join(event.text for event in events if isinstance(event, TextDelta | RefusalDelta)),
        "".join(event.text for event in thought),
        [tuple(call) for call in calls.values()],
        [event.id for event in thought if event.signature],
        counts,
    )


def test_every_plain_answer_says_what_its_body_says(exchanges: list[Exchange]) -> None:
    """Text, thinking, calls, signatures and counts."""
    count = 0
    for exchange, raw in good(exchanges, is_stream=False):
        events = EventParser().read_answer(raw)
        assert folded(events) == expected(exchange["response"]["body"]), exchange["id"]
        count += 1
    assert count >= 260


def test_every_stream_says_what_its_last_event_says(exchanges: list[Exchange]) -> None:
    """The same of each stream, and the same events wherever it is cut."""
    rng = random.Random(9)
    count = 0
    for exchange, raw in good(exchanges, is_stream=True):
        whole = parse_stream(raw, [])
        assert folded(whole) == expected(final_of(raw.decode())), exchange["id"]
        assert parse_stream(raw, sorted(rng.choices(range(len(raw)), k=40))) == whole
        assert parse_stream(raw.replace(b"\n", b"\r\n"), [len(raw) // 2]) == whole
        count += 1
    assert count >= 88


def test_no_cut_of_a_stream_is_a_whole_answer(exchanges: list[Exchange]) -> None:
    """Cut before its last event, passing or translated: an error, never an end."""
    rng = random.Random(10)
    for exchange, raw in good(exchanges, is_stream=True):
        end = max(raw.find(b"event: response.completed"), raw.find(b"event: response.incomplete"))
        if end < 0:
            end = raw.find(b'"type":"response.completed"') - 10
        prompt = prompt_of(exchange)
        for cut in rng.choices(range(max(end, 1)), k=3):
            for relay in (ResponsesPassRelay(prompt), TranslatingRelay(EventParser(), prompt)):
                out = relay.feed(raw[:cut]) + relay.finish()
                assert relay.outcome.failure is not None, exchange["id"]
                assert b"event: error" in out
                assert b"event: response.completed" not in out


def test_streams_pass_as_they_came(exchanges: list[Exchange]) -> None:
    """Byte for byte but for what follows the end, and the outcome is read."""
    for exchange, raw in good(exchanges, is_stream=True):
        relay = ResponsesPassRelay(prompt_of(exchange))
        out = relay.feed(raw) + relay.finish()
        assert raw.startswith(out), exchange["id"]
        assert raw[len(out) :].strip() in (b"", b"data: [DONE]")
        assert relay.outcome.is_complete
        assert (relay.outcome.usage is None) == (not exchange["usage"].get("input_tokens"))


def includes_all(exchange: Exchange) -> Prompt:
    return prompt_of(exchange, include=["reasoning.encrypted_content"])


def spoken(events: list[Event]) -> tuple[Any, ...]:
    """An answer's meaning: ids of items follow from the answer's own."""
    text, thinking, calls, _, counts = folded(events)
    finish = next(event for event in events if isinstance(event, Finish))
    asked = [(call_id, name, arguments.strip() or "{}") for call_id, name, arguments in calls]
    signatures = [e.signature for e in events if isinstance(e, ReasoningDelta) and e.signature]
    return text, thinking, asked, signatures, counts, finish.reason


def check_numbers(events: list[dict[str, Any]]) -> None:
    """Numbers rise by one; items and parts open and close once, in order."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    begun: dict[int, str] = {}
    done: list[int] = []
    for event in events:
        match event["type"]:
            case "response.output_item.added":
                assert event["output_index"] == len(begun)
                begun[event["output_index"]] = event["item"]["id"]
            case "response.output_item.done":
                assert begun[event["output_index"]] == event["item"]["id"]
                done.append(event["output_index"])
            case _ if "item_id" in event:
                assert begun[event["output_index"]] == event["item_id"]
                assert event["output_index"] not in done
            case _:
                pass
    assert sorted(done) == sorted(begun)


def test_rendered_streams_are_valid_and_say_the_same(exchanges: list[Exchange]) -> None:
    """Parse → render → parse; every event and the last response are OpenAI's by its SDK's types."""
    for exchange, raw in good(exchanges, is_stream=True):
        prompt = includes_all(exchange)
        relay = TranslatingRelay(EventParser(), prompt)
        out = relay.feed(raw) + relay.finish()
        assert relay.outcome.failure is None, exchange["id"]
        events = [json.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data: ")]
        for event in events:
            EVENTS.validate_python(event, strict=False)
        check_numbers(events)
        again = parse_stream(out, [])
        assert spoken(again) == spoken(parse_stream(raw, [])), exchange["id"]
        final = events[-1]["response"]
        items = [e["item"] for e in events if e["type"] == "response.output_item.done"]
        assert sorted(items, key=str) == sorted(final["output"], key=str)


def test_rendered_answers_are_valid_and_say_the_same(exchanges: list[Exchange]) -> None:
    """The same of plain answers; and the members of the request are repeated."""
    for exchange, raw in good(exchanges, is_stream=False):
        prompt = includes_all(exchange)
        events = EventParser().read_answer(raw)
        body, dropped = render_answer(prompt, events)
        assert dropped == ()
        Response.model_validate_json(body)
        said = json.loads(body)
        assert spoken(EventParser().read_answer(body)) == spoken(events), exchange["id"]
        request = exchange["request"]["body"]
        for name in ("instructions", "tool_choice", "temperature", "max_output_tokens", "user"):
            if request.get(name) is not None:
                assert said[name] == request[name], (exchange["id"], name)
        assert len(said["tools"]) == len(request.get("tools") or ())


def test_recorded_errors_are_understood(exchanges: list[Exchange]) -> None:
    """A complaint about the request reaches the client, our own trouble does not."""
    for exchange in exchanges:
        response = exchange["response"]
        if response["status"] == 200:
            continue
        raw = json.dumps(response["body"]).encode()
        failure = read_error(response["status"], response["headers"], raw)
        kind = {400: "invalid_request", 401: "upstream_failed"}[response["status"]]
        assert failure.kind == kind


def test_parts_that_only_openai_knows_are_kept_whole(exchanges: list[Exchange]) -> None:
    """Searches, tools found later, compactions: each as it came."""
    kinds: set[str] = set()
    for exchange in exchanges:
        try:
            prompt = prompt_of(exchange)
        except WireError:
            continue
        items = exchange["request"]["body"].get("input")
        for message in prompt.messages:
            for part in message.parts:
                if isinstance(part, Opaque):
                    kinds.add(part.kind)
                    assert json.loads(part.raw) in items
                else:
                    assert not isinstance(part, Text | Refusal) or isinstance(part.text, str)
    assert {"web_search_call", "tool_search_output", "compaction", "mcp_call"} <= kinds
