"""OpenAI's Responses: answers as events, and events as answers."""

import itertools
import json
import time
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.openai_responses import EventParser, parse_request
from backends.wire.openai_responses.passing import ResponsesPassRelay
from backends.wire.openai_responses.rendering import ResponsesRenderer, render_answer
from backends.wire.prompt import Asked, Prompt
from backends.wire.usage import Usage

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
BROKEN = Failure("upstream_failed", "it broke")
START = Start("chatcmpl-1", "m", 1700000000)
STOP: list[Event] = [Finish("stop", "stop"), End(Usage(3, 2, 1, 0, 0, 1))]


def prompt(**members: Any) -> Prompt:
    body = {"model": "m", "input": "hi", **members}
    return parse_request(json.dumps(body, indent=1).encode(), Asked())


def stream(events: list[Event], **members: Any) -> list[dict[str, Any]]:
    """The rendered events, each of which OpenAI's SDK takes."""
    renderer = ResponsesRenderer(prompt(**members))
    return read(b"".join(renderer.render(event) for event in events))


def read(out: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for block in out.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == len(found)
        EVENTS.validate_python(event)
        found.append(event)
    return found


def data_of(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(block.partition(b"data: ")[2]) for block in out.split(b"\n\n")[:-1]]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_the_order_of_a_text() -> None:
    """From created to completed, each part opened and closed once; usage in OpenAI's words."""
    events = stream([START, TextDelta("Hel"), TextDelta("lo"), *STOP])
    assert kinds(events) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    final = events[-1]["response"]
    assert final["status"] == "completed"
    assert final["output"][0]["content"][0]["text"] == "Hello"
    assert final["usage"] == {
        "input_tokens": 3, "output_tokens": 2, "total_tokens": 5,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 1},
    }  # fmt: skip
    assert (final["id"], final["output"][0]["id"]) == ("resp_chatcmpl1", "msg_chatcmpl1_0")


def test_the_request_is_repeated() -> None:
    """As it was said, with what it left out."""
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    said = {"instructions": "s", "tools": [tool], "temperature": 0.5, "metadata": {"a": "b"}}
    body, _ = render_answer(prompt(**said), [START, TextDelta("x"), *STOP])
    answer = json.loads(body)
    Response.model_validate(answer)
    assert answer["tools"] == [tool | {"description": None, "strict": True}]
    assert (answer["instructions"], answer["temperature"]) == ("s", 0.5)
    assert (answer["metadata"], answer["tool_choice"]) == ({"a": "b"}, "auto")
    assert answer["store"] is False


def test_the_form_of_the_text_is_repeated_whole() -> None:
    """A schema has its description and its strictness, said or not, as OpenAI repeats it."""
    form = {"type": "json_schema", "name": "a", "schema": {"type": "object"}}
    for strict in ({}, {"strict": False}):
        body, _ = render_answer(
            prompt(text={"format": form | strict}), [START, TextDelta("x"), *STOP]
        )
        expected = form | {"description": None, "strict": True} | strict
        assert json.loads(body)["text"] == {"format": expected, "verbosity": "medium"}
    body, _ = render_answer(prompt(text={"verbosity": "low"}), [START, TextDelta("x"), *STOP])
    assert json.loads(body)["text"] == {"format": {"type": "text"}, "verbosity": "low"}


def test_thinking_text_and_calls_are_items_of_their_own() -> None:
    """In the order they came, the signature of another on its thinking."""
    events = stream(
        [
            START, ReasoningDelta("hm"), ReasoningDelta("", "SIG", "anthropic"), TextDelta("well"),
            CallStart(0, "c1", "f"), CallDelta(0, '{"a":'), CallDelta(0, "1}"),
            Finish("tool_call", "tool_use"), End(None),
        ]
    )  # fmt: skip
    thinking, message, call = events[-1]["response"]["output"]
    assert thinking["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert thinking["encrypted_content"] == "mg1.anthropic.SIG"
    assert message["content"][0]["text"] == "well"
    assert (call["call_id"], call["arguments"]) == ("c1", '{"a":1}')
    assert events[-1]["response"]["usage"] is None


def test_interleaved_calls_stay_apart() -> None:
    """Each goes on under its own index until its own end."""
    events = stream(
        [
            START, CallStart(0, "a", "f"), CallDelta(0, '{"x":'), CallStart(1, "b", "g"), CallDelta(1, "{}"),
            CallDelta(0, "1}"), CallStart(2, "c", "h"), Finish("stop", "stop"), End(None),
        ]
    )  # fmt: skip
    output = events[-1]["response"]["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [
        ("a", '{"x":1}'),
        ("b", "{}"),
        ("c", "{}"),
    ]
    done = [event["output_index"] for event in events if event["type"].endswith("item.done")]
    assert sorted(done) == [0, 1, 2]


def test_calls_that_are_cut_short_cost_no_time() -> None:
    """Thousands that wait for their last brace, each begun amid the others: all are looked at a few times only."""
    count, piece = 3000, '{"a":{"b":"' + "x" * 5000 + '"}'
    events: list[Event] = [START]
    for at in range(count):
        events += [CallStart(at, f"call_{at}", "f"), CallDelta(at, piece)]
    events += [CallDelta(at, "}") for at in range(count)]
    renderer = ResponsesRenderer(prompt())
    began = time.process_time()
    for event in [*events, Finish("tool_call", "tool_calls"), End(None)]:
        renderer.render(event)
    assert time.process_time() - began < 2
    items = json.loads(renderer.final)["output"]
    assert [(one["status"], one["arguments"]) for one in items] == [
        ("completed", piece + "}")
    ] * count


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_call", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("pause", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("refusal", "incomplete", "content_filter"),
    ],
)
def test_ends(reason: FinishReason, status: str, why: str | None) -> None:
    """Only a good end is a completed response."""
    events = stream([START, TextDelta("x"), Finish(reason, "raw"), End(None)])
    assert events[-1]["type"] == f"response.{status}"
    details = events[-1]["response"]["incomplete_details"]
    assert details == (None if why is None else {"reason": why})
    assert events[-1]["response"]["output"][0]["status"] == status


def test_a_refusal_in_words_completes_the_answer() -> None:
    """It is a part of the message, behind the text."""
    events = stream([START, TextDelta("x"), RefusalDelta("no"), Finish("refusal", "r"), End(None)])
    content = events[-1]["response"]["output"][0]["content"]
    assert [part["type"] for part in content] == ["output_text", "refusal"]
    assert events[-1]["type"] == "response.completed"
    assert "refusal.delta" in kinds(events)


def test_an_error_is_no_end() -> None:
    """Neither a finish that is one, nor none at all."""
    with pytest.raises(WireError):
        stream([START, Finish("error", "boom")])
    endless: tuple[list[Event], ...] = ([START, End(None)], [START, TextDelta("x")])
    for events in endless:
        with pytest.raises(WireError):
            render_answer(prompt(), events)


def test_a_broken_stream_ends_in_errors() -> None:
    """The response failed, with what was whole of it; then the error that the SDK raises. No end."""
    renderer = ResponsesRenderer(prompt())
    out = renderer.render(START) + renderer.render(TextDelta("x")) + renderer.fail(BROKEN)
    events = read(out)
    assert kinds(events)[-2:] == ["failed", "error"]
    assert events[-2]["response"]["error"]["code"] == "server_error"
    assert events[-2]["response"]["output"] == []
    assert events[-1]["message"] == "it broke"
    assert kinds(read(ResponsesRenderer(prompt()).fail(BROKEN))) == ["error"]


def test_the_sdk_raises_a_broken_stream() -> None:
    """It does not take it for an answer."""
    renderer = ResponsesRenderer(prompt())
    out = renderer.render(START) + renderer.render(TextDelta("x")) + renderer.fail(BROKEN)

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=out, headers={"content-type": "text/event-stream"})

    http = httpx.Client(transport=httpx.MockTransport(answer))
    with (
        openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http) as client,
        pytest.raises(openai.APIError, match="it broke"),
    ):
        for _ in client.responses.create(model="m", input="hi", stream=True):
            pass


def test_openais_signature_is_shown_to_who_asks() -> None:
    """Others' always are, for they have to come back."""
    events: list[Event] = [START, ReasoningDelta("", "S", "openai", id="rs_9"), *STOP]
    assert stream(events)[-1]["response"]["output"] == []
    asked = stream(events, include=["reasoning.encrypted_content"])[-1]["response"]["output"]
    assert asked == [{"id": "rs_9", "type": "reasoning", "summary": [], "encrypted_content": "S"}]


def test_signatures_of_calls_and_hidden_thinking_have_items() -> None:
    """Each in front of what it belongs to, marked as what it is."""
    events = stream(
        [
            START, ReasoningDelta("", "H", "anthropic", is_redacted=True),
            CallStart(0, "c", "f", "G", 0, "gemini"), CallDelta(0, "{}"), Finish("stop", "s"), End(None),
        ]
    )  # fmt: skip
    output = events[-1]["response"]["output"]
    assert [item.get("encrypted_content") for item in output] == [
        "mg1.anthropic.hidden:H",
        "mg1.gemini.call:G",
        None,
    ]


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        for event in events
    )


def parse(raw: bytes) -> list[Event]:
    parser = EventParser()
    events = parser.feed(raw)
    if parser.failure is not None:
        raise WireError(parser.failure)
    return events + parser.finish()


CREATED: dict[str, Any] = {
    "type": "response.created",
    "response": {"id": "resp_1", "model": "m", "created_at": 5.0},
}
DONE: dict[str, Any] = {
    "type": "response.completed",
    "response": {"id": "resp_1", "status": "completed"},
}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}


def test_arguments_that_come_whole_only() -> None:
    """Without deltas, in the done event or in the item: once."""
    whole = {**CALL, "arguments": "{}"}
    for done in (
        [{"type": "response.function_call_arguments.done", "output_index": 1, "arguments": "{}"}],
        [],
    ):
        events = parse(
            sse(
                CREATED,
                {"type": "response.output_item.added", "output_index": 1, "item": CALL},
                *done,
                {"type": "response.output_item.done", "output_index": 1, "item": whole},
                DONE,
            )
        )
        assert events == [
            Start("resp_1", "m", 5),
            CallStart(0, "c", "f"),
            CallDelta(0, "{}"),
            Finish("tool_call", "completed"),
            End(None),
        ]


def test_a_response_without_deltas() -> None:
    """Some hosts send the last event only."""
    message = {
        "type": "message",
        "content": [{"type": "output_text", "text": "hi", "annotations": [{}]}],
    }
    parser = EventParser()
    response = {**DONE["response"], "output": [message, {"type": "web_search_call"}]}
    events = parser.feed(sse({"type": "response.completed", "response": response}))
    assert events == [
        Start("resp_1", "", 0),
        TextDelta("hi"),
        Finish("stop", "completed"),
        End(None),
    ]
    assert list(parser.dropped) == ["annotations", "output.web_search_call"]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete"}, "error"),
        ({"status": "cancelled"}, "error"),
    ],
)  # fmt: skip
def test_why_an_answer_ended(response: dict[str, Any], reason: str) -> None:
    """The host's own reason, or an error."""
    events = EventParser().read_answer(json.dumps({"output": [], **response}).encode())
    finish = events[-2]
    assert isinstance(finish, Finish)
    assert finish.reason == reason


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "x", "message": "it broke", "param": None},
        {"type": "error", "error": {"message": "it broke"}},
        {"type": "response.failed", "response": {"error": {"code": "x", "message": "it broke"}}},
    ],
)
def test_errors_in_a_stream(event: dict[str, Any]) -> None:
    """In any of their shapes, passing or not: never an end, and the numbers go on. Where a response began, that one
    failed; where none did, there is the error alone."""
    with pytest.raises(WireError, match="it broke"):
        parse(sse(CREATED, event))
    relay = ResponsesPassRelay(prompt())
    out = relay.feed(sse(CREATED, event))
    assert out.startswith(sse(CREATED))
    failed, error = data_of(out)[1:]
    assert (failed["type"], error["type"]) == ("response.failed", "error")
    assert (failed["sequence_number"], error["sequence_number"]) == (1, 2)
    response = failed["response"]
    assert (response["id"], response["status"]) == (CREATED["response"]["id"], "failed")
    assert response["error"]["message"] == error["message"]
    assert relay.outcome.failure is not None
    alone = ResponsesPassRelay(prompt()).feed(sse(event))
    assert kinds(read(alone)) == ["error"]


def test_a_context_that_ran_out_amid_a_stream() -> None:
    """Codex goes by the code: it then makes room instead of asking again."""
    code = "context_length_exceeded"
    error = {"code": code, "message": "Your input exceeds the context window of this model."}
    relay = ResponsesPassRelay(prompt())
    out = relay.feed(sse(CREATED, {"type": "response.failed", "response": {"error": error}}))
    failed, raised = data_of(out)[1:]
    assert (failed["response"]["error"]["code"], raised["code"]) == (code, code)


events_of_an_answer = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text(min_size=1, max_size=5)),
        st.builds(RefusalDelta, st.text(min_size=1, max_size=5)),
        st.builds(ReasoningDelta, st.text(min_size=1, max_size=5)),
        st.just(ReasoningDelta("", "SIG", "openai", id="rs_1")),
        st.just("call"),
    ),
    max_size=8,
)


@given(events_of_an_answer, st.data())
def test_what_is_rendered_reads_the_same_wherever_it_is_cut(
    said: list[Event | str], data: st.DataObject
) -> None:
    """Texts, thinking, calls and signatures, streamed and plain."""
    events: list[Event] = [START]
    for number, one in enumerate(said):
        if isinstance(one, str):
            events += [CallStart(number, f"c{number}", "f"), CallDelta(number, '{"a":1}')]
        else:
            events.append(one)
    events += STOP
    asked = prompt(include=["reasoning.encrypted_content"])
    renderer = ResponsesRenderer(asked)
    out = b"".join(renderer.render(event) for event in events)
    read(out)
    whole = parse(out)
    assert meaning(whole) == meaning(events)
    assert meaning(EventParser().read_answer(render_answer(asked, events)[0])) == meaning(events)
    cuts = data.draw(st.lists(st.integers(0, len(out)), max_size=6).map(sorted))
    parser = EventParser()
    pieces: list[Event] = []
    for begin, end in itertools.pairwise([0, *cuts, len(out)]):
        pieces += parser.feed(out[begin:end])
    assert pieces + parser.finish() == whole


def meaning(events: list[Event]) -> list[Any]:
    """What was said, pieces of a kind together."""
    found: list[Any] = []
    for event in events:
        match event:
            case TextDelta(text) | RefusalDelta(text) | ReasoningDelta(text) if text:
                kind = type(event).__name__
                if found and found[-1][0] == kind:
                    found[-1] = (kind, found[-1][1] + text)
                else:
                    found.append((kind, text))
            case ReasoningDelta():
                found.append(("signature", event.signature))
            case CallStart():
                found.append(("call", event.id))
            case CallDelta():
                found.append(("arguments", event.arguments))
            case End(usage):
                found.append(usage)
            case _:
                pass
    return found
