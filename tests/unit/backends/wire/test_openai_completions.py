"""Legacy Completions: one text in, text_completion objects out, whoever answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from backends.wire.clients import CLIENTS
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
from backends.wire.openai_completions import EventParser, parse_request
from backends.wire.openai_completions.passing import CompletionsPassRelay
from backends.wire.prompt import Asked, Message, Prompt, Text
from backends.wire.targets import TARGETS
from backends.wire.usage import Usage

CLIENT = CLIENTS["openai-completions"]
START = Start("cmpl-1", "served", 7)
USAGE = Usage(input_tokens=3, output_tokens=2)


def prompt(**more: object) -> Prompt:
    """A prompt of a good body."""
    body = {"model": "m", "prompt": "Once upon", **more}
    return CLIENT.parse_request(json.dumps(body).encode(), Asked())


def refusal(**more: object) -> Failure:
    """Why a body is not taken."""
    with pytest.raises(WireError) as raised:
        prompt(**more)
    return raised.value.failure


def streamed(asked: Prompt, events: list[Event]) -> list[dict[str, Any]]:
    """The chunks of a stream, which ends in [DONE]."""
    renderer = CLIENT.open_renderer(asked)
    out = b"".join(renderer.render(event) for event in events)
    *chunks, done, rest = out.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(chunk.removeprefix(b"data: ")) for chunk in chunks]


def plain(asked: Prompt, events: list[Event]) -> tuple[Completion, tuple[str, ...]]:
    """The whole answer as the SDK reads it, and what it lacks."""
    body, dropped = CLIENT.render_answer(asked, events)
    return Completion.model_validate_json(body), dropped


def test_a_text_is_a_users_turn() -> None:
    """Text, sampling, ends and the end user's id are where every target finds them."""
    asked = prompt(
        max_tokens=9, temperature=0.5, top_p=0.25, n=2, stop=["a", "b"], seed=4, presence_penalty=1,
        frequency_penalty=-1, user="u", stream=True, stream_options={"include_usage": True},
    )  # fmt: skip
    assert asked.messages == (Message("user", (Text("Once upon"),)),)
    sampling = asked.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.25, 4)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1, -1)
    assert sampling.stop == ("a", "b")
    assert (asked.output_tokens_max, asked.choices, asked.hints.user) == (9, 2, "u")
    assert asked.is_stream
    assert asked.wants_usage


@pytest.mark.parametrize("said", [{}, {"max_tokens": None}])
def test_without_a_cap_it_is_openais_own_default(said: dict[str, object]) -> None:
    """Sixteen tokens, as the reference says."""
    assert prompt(**said).output_tokens_max == 16


def test_a_list_of_one_text_is_that_text() -> None:
    """As many clients send it."""
    assert prompt(prompt=["Once upon"]).messages == prompt().messages


@pytest.mark.parametrize(
    ("said", "words", "param"),
    [
        ({"prompt": ["a", "b"]}, "one text a request", "prompt"),
        ({"prompt": [1, 2]}, "numbers of tokens", "prompt"),
        ({"prompt": [[1], [2]]}, "numbers of tokens", "prompt"),
        ({"prompt": []}, "must not be empty", "prompt"),
        ({"prompt": None}, "is missing", "prompt"),
        ({"prompt": {}}, "must be", "prompt"),
        ({"model": ""}, "must not be empty", "model"),
        ({"suffix": "the end"}, "fills in", "suffix"),
        ({"best_of": 3}, "billed", "best_of"),
        ({"best_of": 2, "n": 3}, "billed", "best_of"),
        ({"max_completion_tokens": 5}, "send `max_tokens`", "max_completion_tokens"),
        ({"max_tokens": 0}, "between", "max_tokens"),
        ({"logprobs": 6}, "between", "logprobs"),
        ({"echo": 1}, "true or false", "echo"),
        ({"stop": ["a"] * 5}, "at most 4", "stop"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_place(
    said: dict[str, object], words: str, param: str
) -> None:
    """Before anything is decided, in words that say what would do."""
    failure = refusal(**said)
    assert words in failure.message
    assert failure.param == param


def test_values_that_say_nothing_are_no_loss() -> None:
    """Null, an empty suffix, a choice of one among one, no bias, no echo."""
    asked = prompt(suffix="", best_of=1, logit_bias={}, echo=False, logprobs=None, user=None)
    for target in TARGETS.values():
        rendered = target.render_request(
            asked, model="m", output_cap=None, output_tokens_default=10
        )
        assert rendered.dropped == ()


def test_what_a_chat_has_no_place_for_is_listed() -> None:
    """Log probabilities, biases and members nobody knows; each by the client's own name."""
    asked = prompt(logprobs=0, logit_bias={"50256": -100}, odd=[1], echo=True)
    for target in TARGETS.values():
        rendered = target.render_request(
            asked, model="m", output_cap=None, output_tokens_default=10
        )
        assert set(rendered.dropped) == {"logprobs", "logit_bias", "odd"}


def test_a_stream() -> None:
    """Chunks in order, each with its choice; usage in a chunk of its own if it was asked for."""
    events: list[Event] = [
        START,
        TextDelta("a "),
        TextDelta("time"),
        Finish("stop", "stop"),
        End(USAGE),
    ]
    chunks = streamed(prompt(), events)
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["a ", "time", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert {
        (chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks
    } == {("cmpl-1", "text_completion", 7, "served")}
    *_, last = streamed(prompt(stream_options={"include_usage": True}), events)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5


def test_a_whole_answer() -> None:
    """Choices in order with their texts, and what was used."""
    answer, dropped = plain(
        prompt(n=2),
        [START, TextDelta("b", 1), TextDelta("a"), Finish("stop", "stop", 1), Finish("length", "length"), End(USAGE)],
    )  # fmt: skip
    assert [(one.index, one.text, one.finish_reason) for one in answer.choices] == [
        (0, "a", "length"),
        (1, "b", "stop"),
    ]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 2)
    assert dropped == ()


def test_an_echo_stands_before_each_choice() -> None:
    """Plain and streamed, also where an answer is empty."""
    asked = prompt(n=2, echo=True)
    events: list[Event] = [
        START,
        TextDelta(" a"),
        Finish("stop", "stop"),
        Finish("stop", "stop", 1),
        End(None),
    ]
    answer, _ = plain(asked, events)
    assert [one.text for one in answer.choices] == ["Once upon a", "Once upon"]
    texts = ["", ""]
    for chunk in streamed(asked, events):
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == ["Once upon a", "Once upon"]


def test_refusals_are_text_and_thinking_is_listed() -> None:
    """The model's own words are shown; what has no place is named, not lost."""
    events: list[Event] = [
        START,
        ReasoningDelta("hm"),
        RefusalDelta("no"),
        Finish("refusal", "refusal"),
        End(None),
    ]
    answer, dropped = plain(prompt(), events)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("no", "content_filter")
    assert dropped == ("reasoning",)
    renderer = CLIENT.open_renderer(prompt())
    renderer.render(START)
    assert renderer.render(ReasoningDelta("hm")) == b""
    assert renderer.render(CallStart(0, "c", "f")) == renderer.render(CallDelta(0, "{}")) == b""
    assert list(renderer.dropped) == ["reasoning", "tool_calls"]


@pytest.mark.parametrize("reason", ["tool_call", "error"])
def test_an_end_that_is_none_fails(reason: FinishReason) -> None:
    """A call that nobody asked for, and a provider's error, are never a good end."""
    events: list[Event] = [START, TextDelta("a"), Finish(reason, "odd"), End(None)]
    with pytest.raises(WireError):
        CLIENT.render_answer(prompt(), events)
    renderer = CLIENT.open_renderer(prompt())
    with pytest.raises(WireError):
        renderer.render(events[2])
    with pytest.raises(WireError):
        CLIENT.render_answer(prompt(), [START, TextDelta("a")])


# ------ passed through ------


def chunk(text: str, finish: str | None = None, at: int = 0, **more: object) -> bytes:
    """One chunk as SGLang sends it."""
    choice = {
        "index": at,
        "text": text,
        "logprobs": None,
        "finish_reason": finish,
        "matched_stop": None,
    }
    body = {
        "id": "c",
        "object": "text_completion",
        "created": 7,
        "model": "m",
        "choices": [choice],
        "usage": None,
    }
    return b"data: " + json.dumps(body | more, separators=(",", ":")).encode() + b"\n\n"


COUNTED = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
STREAM = (
    chunk("a "), chunk("time"), chunk("", "stop"), chunk("", choices=[], usage=COUNTED), b"data: [DONE]\n\n",
)  # fmt: skip


@given(st.integers(0, sum(map(len, STREAM))), st.booleans())
def test_a_stream_passes_wherever_it_is_cut(at: int, wants_usage: bool) -> None:
    """The same bytes come out; usage that nobody asked for stays here, and is booked."""
    whole = b"".join(STREAM)
    relay = CompletionsPassRelay(prompt(stream_options={"include_usage": wants_usage}))
    out = relay.feed(whole[:at]) + relay.feed(whole[at:]) + relay.finish()
    shown = STREAM if wants_usage else (*STREAM[:3], STREAM[4])
    expected = b"".join(shown)
    assert out == (expected if wants_usage else expected.replace(b',"usage":null', b""))
    outcome = relay.outcome
    assert outcome.is_complete
    assert outcome.usage == USAGE
    assert (outcome.finish_reason, outcome.output_bytes, outcome.response_id) == ("stop", 6, "c")


@pytest.mark.parametrize(
    "pieces",
    [
        (STREAM[0],),
        (STREAM[0], b"data: {\n\n"),
        (STREAM[0], b"data: [DONE]\n\n"),
        (STREAM[0], b'data: {"error":{"message":"boom"}}\n\n'),
        (STREAM[0], b"event: error\ndata: {}\n\n"),
        (),
    ],
)
def test_a_broken_stream_ends_in_an_error(pieces: tuple[bytes, ...]) -> None:
    """Cut, broken, without a finish, an error inside: never a good end."""
    relay = CompletionsPassRelay(prompt())
    out = b"".join(relay.feed(piece) for piece in pieces) + relay.finish()
    assert relay.outcome.failure is not None
    assert not relay.outcome.is_complete
    assert b'"error"' in out.split(b"\n\n")[-2]
    assert b"[DONE]" not in out


def test_every_choice_has_to_end() -> None:
    """A host that closes after the last finish has ended; one that owes a choice has not."""
    relay = CompletionsPassRelay(prompt(n=2))
    relay.feed(chunk("a", "stop") + chunk("b", "length", 1))
    relay.finish()
    assert relay.outcome.is_complete
    relay = CompletionsPassRelay(prompt(n=2))
    relay.feed(chunk("a", "stop"))
    relay.finish()
    assert relay.outcome.failure is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"choices":[]}',
        b'{"choices":[{"text":"a"}]}',
        b'{"error":"x"}',
        b"\xff",
    ],
)
def test_a_whole_answer_that_is_none(body: bytes) -> None:
    """An error of ours, and no other."""
    with pytest.raises(WireError):
        EventParser().read_answer(body)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Neither a request nor an answer makes anything but our own error."""
    for read in (parse_request, EventParser().read_answer):
        try:
            read(raw)
        except WireError:
            continue
