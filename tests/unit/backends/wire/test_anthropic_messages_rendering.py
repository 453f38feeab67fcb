"""Answers of other targets as Anthropic's clients get them: what the corpus of recordings does not prove."""

import json

from backends.wire.anthropic_messages import EventParser
from backends.wire.clients import CLIENTS
from backends.wire.events import End, Event, Finish, Start, TextDelta
from backends.wire.failure import Failure
from backends.wire.prompt import Prompt
from backends.wire.usage import Usage

PROMPT = Prompt("anthropic-messages", b"{}", "m", ())
CODEC = CLIENTS["anthropic-messages"]


def answer(usage: Usage) -> list[Event]:
    return [Start("a", "m", 1), TextDelta("hi"), Finish("stop", "stop"), End(usage)]


def test_counts_come_back_whole() -> None:
    """What was read, written and thought is counted in the client's format as it was by the target."""
    usage = Usage(
        100,
        20,
        cache_read_tokens=40,
        cache_write_tokens=5,
        cache_write_1h_tokens=6,
        reasoning_tokens=7,
    )
    body, _ = CODEC.render_answer(PROMPT, answer(usage))
    assert json.loads(body)["usage"]["output_tokens_details"] == {"thinking_tokens": 7}
    assert EventParser().read_answer(body)[-1] == End(usage)
    renderer = CODEC.open_renderer(PROMPT)
    stream = b"".join(renderer.render(event) for event in answer(usage))
    assert EventParser().feed(stream)[-1] == End(usage)


def test_thinking_that_nobody_counted_is_not_counted() -> None:
    """None is null, as where Anthropic says nothing of it."""
    body, _ = CODEC.render_answer(PROMPT, answer(Usage(10, 2)))
    assert json.loads(body)["usage"]["output_tokens_details"] is None


def test_an_answer_says_that_nothing_is_said_of_its_stop() -> None:
    """``stop_details`` is null wherever the published schema wants the member."""
    body, _ = CODEC.render_answer(PROMPT, answer(Usage(10, 2)))
    assert json.loads(body)["stop_details"] is None
    renderer = CODEC.open_renderer(PROMPT)
    stream = b"".join(renderer.render(event) for event in answer(Usage(10, 2)))
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: ")]
    assert events[0]["message"]["stop_details"] is None
    assert events[-2]["delta"]["stop_details"] is None


def test_a_streams_error_has_all_members_of_an_error() -> None:
    """The published schema wants ``request_id`` in it, and takes null."""
    event = CODEC.open_renderer(PROMPT).fail(Failure("upstream_failed", "cut off"))
    said = json.loads(event.partition(b"data: ")[2])
    assert said == {
        "type": "error",
        "error": {"type": "api_error", "message": "cut off"},
        "request_id": None,
    }
