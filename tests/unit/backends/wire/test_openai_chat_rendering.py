"""Events become OpenAI's chunks or its plain answer, which say the same."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

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
from backends.wire.failure import WireError
from backends.wire.openai_chat import ChatPassRelay, ChatRenderer, parse_request, render_answer
from backends.wire.usage import Usage

USAGE = Usage(10, 7, 4, 2, 1, 3)
START = Start("msg-1", "claude", 1_700_000_000)


def render(events: list[Event], *, includes_usage: bool = True) -> bytes:
    renderer = ChatRenderer(includes_usage=includes_usage)
    return b"".join(renderer.render(event) for event in events)


def chunks(raw: bytes) -> list[dict[str, Any]]:
    *data, done, rest = raw.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(one.removeprefix(b"data: ")) for one in data]


def fold(raw: bytes) -> dict[int, dict[str, Any]]:
    """Chunks put together as an SDK does it."""
    found: dict[int, dict[str, Any]] = {}
    for chunk in chunks(raw):
        ChatCompletionChunk.model_validate(chunk)
        for choice in chunk["choices"]:
            message = found.setdefault(
                choice["index"],
                {"content": "", "reasoning_content": "", "refusal": "", "calls": []},
            )
            delta = choice["delta"]
            for name in ("content", "reasoning_content", "refusal"):
                message[name] += delta.get(name) or ""
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    assert call["index"] == len(message["calls"])
                    message["calls"].append([call["id"], call["function"]["name"], ""])
                message["calls"][call["index"]][2] += call["function"]["arguments"]
            if choice["finish_reason"]:
                assert "finish" not in message
                message["finish"] = choice["finish_reason"]
    return found


TEXTS = st.text(max_size=6)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Answers of one or two choices with text, thoughts, refusals and parallel calls."""
    events: list[Event] = [START]
    for choice in range(draw(st.integers(1, 2))):
        events += [
            ReasoningDelta(text, choice=choice) for text in draw(st.lists(TEXTS, max_size=2))
        ]
        events += [TextDelta(text, choice) for text in draw(st.lists(TEXTS, max_size=3))]
        events += [RefusalDelta(text, choice) for text in draw(st.lists(TEXTS, max_size=1))]
        for index in range(draw(st.integers(0, 3))):
            events.append(CallStart(index, f"call-{index}", draw(TEXTS), choice=choice))
            events += [
                CallDelta(index, piece, choice) for piece in draw(st.lists(TEXTS, max_size=2))
            ]
        events.append(Finish(draw(st.sampled_from(["stop", "tool_call"])), "raw", choice))
    return [*events, End(draw(st.none() | st.just(USAGE)))]


@given(answers())
def test_stream_and_plain_answer_say_the_same(events: list[Event]) -> None:
    """Both hold to the SDK's types, and folding the one gives the other."""
    plain = json.loads(render_answer(events)[0])
    ChatCompletion.model_validate(plain)
    streamed = fold(render(events))
    for choice in plain["choices"]:
        message, other = choice["message"], streamed[choice["index"]]
        assert (message["content"] or "") == other["content"]
        assert (message["refusal"] or "") == other["refusal"]
        assert message.get("reasoning_content", "") == other["reasoning_content"]
        calls = message.get("tool_calls", [])
        assert [
            [c["id"], c["function"]["name"], c["function"]["arguments"]] for c in calls
        ] == other["calls"]
        assert choice["finish_reason"] == other["finish"]


@given(answers(), st.booleans())
def test_what_is_rendered_is_read_back(events: list[Event], wants_usage: bool) -> None:
    """The pass relay reads a rendered stream as whole, with its finish and its usage."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
        "stream_options": {"include_usage": wants_usage},
    }
    relay = ChatPassRelay(parse_request(json.dumps(body).encode()))
    raw = render(events, includes_usage=wants_usage)
    assert relay.feed(raw) == raw
    assert relay.outcome.is_complete
    assert relay.outcome.finish_reason in ("stop", "tool_call")
    end = events[-1]
    assert isinstance(end, End)
    expected = end.usage if wants_usage else None
    assert (relay.outcome.usage is None) == (expected is None)
    if relay.outcome.usage is not None:
        assert relay.outcome.usage.total_tokens == USAGE.total_tokens


def test_usage_counts_as_openai_does() -> None:
    """Cached and written tokens are parts of the prompt, reasoning is a part of the completion."""
    events: list[Event] = [START, TextDelta("x"), Finish("stop", "end_turn"), End(USAGE)]
    expected = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    last = chunks(render(events))[-1]
    assert (last["choices"], last["usage"]) == ([], expected)
    assert json.loads(render_answer(events)[0])["usage"] == expected
    assert all("usage" not in chunk for chunk in chunks(render(events, includes_usage=False)))


@pytest.mark.parametrize(
    ("reason", "word"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"),
     ("tool_call", "tool_calls"), ("refusal", "content_filter"), ("pause", "length")],
)  # fmt: skip
def test_each_finish_has_openais_word(reason: FinishReason, word: str) -> None:
    """None of them claims an end that was not."""
    events: list[Event] = [START, TextDelta("x"), Finish(reason, "raw"), End(None)]
    assert fold(render(events))[0]["finish"] == word
    assert json.loads(render_answer(events)[0])["choices"][0]["finish_reason"] == word


def test_a_finish_that_is_an_error_fails() -> None:
    """Streamed or not, with the provider's own word."""
    events: list[Event] = [START, Finish("error", "MALFORMED_FUNCTION_CALL"), End(USAGE)]
    for call in (render, render_answer):
        with pytest.raises(WireError, match="`MALFORMED_FUNCTION_CALL`"):
            call(events)


@pytest.mark.parametrize("events", [[], [START], [START, TextDelta("x")], [START, End(USAGE)]])
def test_an_answer_without_an_end_is_none(events: list[Event]) -> None:
    """A fold never makes up a finish."""
    with pytest.raises(WireError) as caught:
        render_answer(events)
    assert caught.value.failure.may_have_spent


def test_redacted_thoughts_are_not_shown() -> None:
    """What a provider redacted is no thinking to read."""
    events: list[Event] = [
        START, ReasoningDelta("secret", is_redacted=True), Finish("stop", "end_turn"), End(None),
    ]  # fmt: skip
    renderer = ChatRenderer(includes_usage=False)
    raw = b"".join(renderer.render(event) for event in events)
    body, dropped = render_answer(events)
    assert tuple(renderer.dropped) == dropped == ()
    assert b"secret" not in raw + body


def test_content_is_null_beside_calls_only() -> None:
    """As OpenAI has it: null beside a call, an empty text where nothing else was said."""
    called: list[Event] = [START, CallStart(0, "c", "f"), Finish("tool_call", "x"), End(None)]
    silent: list[Event] = [START, Finish("stop", "x"), End(None)]
    assert json.loads(render_answer(called)[0])["choices"][0]["message"]["content"] is None
    assert json.loads(render_answer(silent)[0])["choices"][0]["message"]["content"] == ""
