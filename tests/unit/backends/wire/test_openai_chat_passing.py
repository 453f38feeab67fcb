"""Answers pass through as they came, are read on the way, and never end better than they did."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.failure import Failure, WireError
from backends.wire.openai_chat import ChatPassRelay, parse_request, read_answer, read_error
from backends.wire.openai_chat.usage import RawUsage, normalise_usage
from backends.wire.outcome import Outcome
from backends.wire.prompt import Prompt
from backends.wire.usage import Usage

DONE = b"data: [DONE]\n\n"
COUNTS = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def prompt(*, wants_usage: bool = True, n: int = 1) -> Prompt:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "n": n,
        "stream_options": {"include_usage": wants_usage},
    }
    return parse_request(json.dumps(body).encode())


def event(*, blanks: bool = False, **members: Any) -> bytes:
    body = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", **members}
    separators = (", ", ": ") if blanks else (",", ":")
    return (
        b"data: " + json.dumps(body, separators=separators, ensure_ascii=False).encode() + b"\n\n"
    )


def said(delta: dict[str, Any], finish: str | None = None, **members: Any) -> bytes:
    choice = {"index": members.pop("index", 0), "delta": delta, "logprobs": None}
    return event(choices=[{**choice, "finish_reason": finish}], **members)


def run(*chunks: bytes, asked: Prompt | None = None) -> tuple[bytes, Outcome]:
    relay = ChatPassRelay(asked or prompt())
    out = b"".join(relay.feed(chunk) for chunk in chunks) + relay.finish()
    return out, relay.outcome


def error_in(out: bytes) -> dict[str, Any]:
    """The error event that ``out`` ends in; nothing may come after it."""
    assert b"[DONE]" not in out
    return json.loads(out[out.rindex(b'data: {"error"') + len(b"data: ") :])["error"]


OPENAI = (
    said({"role": "assistant", "content": "", "refusal": None}, usage=None),
    said({"content": "Grüß "}, usage=None),
    said({"content": '"},\\"finish_reason\\":'}, usage=None),
    said({"content": "usage"}, usage=None),
    said(
        {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{"}}]},
        usage=None,
    ),
    said({}, "tool_calls", usage=None),
    event(choices=[], usage={**COUNTS, "prompt_tokens_details": {"cached_tokens": 8}}),
    DONE,
)
PADDED = (
    said({"role": "assistant", "content": ""}, usage=None, obfuscation="a9x"),
    said({"content": "one"}, usage=None, obfuscation="Xp"),
    said({"content": " two"}, usage=None, obfuscation=""),
    said({}, "stop", usage=None, obfuscation="e"),
    event(choices=[], usage=COUNTS, obfuscation="dkf"),
    DONE,
)
AZURE = (
    event(choices=[], prompt_filter_results=[{"prompt_index": 0}]),
    said({"content": "a"}, content_filter_results={}),
    said({}, "stop"),
    event(choices=[], usage=COUNTS),
    DONE,
)
DEEPSEEK = (said({"reasoning_content": "hm"}), said({"content": "x"}, "stop", usage=COUNTS), DONE)
GROQ = (
    said({"content": "x"}, x_groq={"id": "r"}),
    said({}, "stop", x_groq={"id": "r", "usage": COUNTS}),
    DONE,
)
OPENROUTER = (
    b": OPENROUTER PROCESSING\n\n",
    said({"role": "assistant", "content": "x"}),
    b": OPENROUTER PROCESSING\n\n",
    said({"content": ""}, "stop"),
    said({"content": ""}, "stop", usage=COUNTS),
    DONE,
)
MISTRAL = (
    event(choices=[{"index": 0, "delta": {"content": [{"type": "text", "text": "x"}]}}]),
    said({}, "length", usage=COUNTS),
    DONE,
)
SPACED = (
    event(blanks=True, choices=[{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]),
    event(blanks=True, choices=[{"index": 0, "delta": {"content": "y"}, "finish_reason": None}]),
    event(blanks=True, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    event(blanks=True, choices=[], usage=COUNTS),
    DONE,
)
PERPLEXITY = (
    said({"content": "x"}).replace(b"\n", b"\r\n"),
    said({"content": "y"}, "stop", usage=COUNTS).replace(b"\n", b"\r\n"),
)
BARE_CR = tuple(one.replace(b"\n", b"\r") for one in SPACED)
SEVERAL_LINES = (b'data: {"id":"c-1","model":"m-1",\ndata: "choices":[]}\n\n', *SPACED[1:])
WHOLE = {
    "openai": (OPENAI, "tool_call"),
    "padded": (PADDED, "stop"),
    "azure": (AZURE, "stop"),
    "deepseek": (DEEPSEEK, "stop"),
    "groq": (GROQ, "stop"),
    "openrouter": (OPENROUTER, "stop"),
    "mistral": (MISTRAL, "length"),
    "spaced": (SPACED, "stop"),
    "perplexity": (PERPLEXITY, "stop"),
    "bare cr": (BARE_CR, "stop"),
    "several lines": (SEVERAL_LINES, "stop"),
    "bom": ((b"\xef\xbb\xbf" + SPACED[0], *SPACED[1:]), "stop"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_stream_passes_as_it_came(name: str) -> None:
    """Each provider's habits: same bytes out, finish, usage and names read."""
    events, finish = WHOLE[name]
    out, outcome = run(*events)
    assert out == b"".join(events)
    assert outcome.is_complete
    assert outcome.failure is None
    assert outcome.finish_reason == finish
    assert (outcome.response_id, outcome.response_model) == ("c-1", "m-1")
    assert outcome.usage is not None
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (9, 4)


@pytest.mark.parametrize("wants_usage", [True, False])
@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data())
def test_the_cuts_change_nothing(name: str, wants_usage: bool, data: st.DataObject) -> None:
    """One piece, byte by byte, or any cuts: same bytes out and the same outcome."""
    asked = prompt(wants_usage=wants_usage)
    raw = b"".join(WHOLE[name][0])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    expected = run(raw, asked=asked)
    assert run(*pieces, asked=asked) == expected
    assert run(*(raw[at : at + 1] for at in range(len(raw))), asked=asked) == expected


def test_usage_nobody_asked_for_is_held_back() -> None:
    """Its chunk is gone, so are the nulls that announce it; it is read all the same."""
    for events in (OPENAI, PADDED):
        out, outcome = run(*events, asked=prompt(wants_usage=False))
        expected = [one.replace(b',"usage":null', b"") for one in events[:-2]]
        assert out == b"".join(expected) + DONE
        assert outcome.usage is not None
        assert outcome.usage.input_tokens == 9


def test_usage_that_shares_its_chunk_stays() -> None:
    """It came unasked from a host that always sends it: the chunk passes as it is."""
    for events in (DEEPSEEK, GROQ, OPENROUTER):
        assert run(*events, asked=prompt(wants_usage=False))[0] == b"".join(events)


@pytest.mark.parametrize("name", WHOLE)
def test_a_stream_cut_before_its_finish_ends_in_an_error(name: str) -> None:
    """At every byte before the finish: a failure, an error event, no [DONE]."""
    events = WHOLE[name][0]
    raw = b"".join(events)
    at = max(raw.find(b'"finish_reason":"'), raw.find(b'"finish_reason": "'))
    for cut in range(0, at, 7):
        out, outcome = run(raw[:cut])
        assert not outcome.is_complete
        assert outcome.failure is not None
        assert outcome.failure.kind == "upstream_failed"
        assert outcome.failure.may_have_spent
        assert error_in(out)["code"] == "upstream_failed"


def test_a_stream_that_stops_short_of_a_choice_is_cut() -> None:
    """Two answers were asked for and one is finished: without [DONE] that is no end."""
    first, second = said({"content": "x"}, "stop"), said({"content": "y"}, "length", index=1)
    assert run(first, asked=prompt(n=2))[1].failure is not None
    assert run(first, second, asked=prompt(n=2))[1].is_complete
    assert run(first, DONE, asked=prompt(n=2))[1].is_complete


@pytest.mark.parametrize("tail", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n\r"])
def test_done_without_its_empty_line_is_done(tail: bytes) -> None:
    """Some hosts close right after it."""
    out, outcome = run(said({"content": "x"}), tail)
    assert outcome.is_complete
    assert out.rstrip().endswith(b"data: [DONE]")


def test_nothing_passes_after_done() -> None:
    """Not in the same chunk, not in a later one."""
    out, outcome = run(SPACED[0] + DONE + SPACED[1], SPACED[1])
    assert out == SPACED[0] + DONE
    assert outcome.is_complete


BROKEN = {
    "cut JSON": said({"content": "xyz"})[:60] + b"\n\n",
    "cut in the delta": said({"content": "xyz"}).replace(b'xyz"', b"xyz"),
    "a brace too many": said({"content": "xyz"}).replace(b"xyz", b'"}xyz'),
    "a line end in the delta": said({"content": "xyz"}).replace(b'"xyz"', b'\r"xyz"'),
    "an empty line in the delta": said({"content": "xyz"}).replace(b'"xyz"', b'\n\n"xyz"'),
    "a list": b"data: [1]\n\n",
    "words": b"data: internal server error\n\n",
    "wrong types": b'data: {"choices": 5}\n\n',
    "endless nesting": b"data: " + b"[" * 100_000 + b"\n\n",
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("before", [1, 3])
def test_a_broken_event_ends_the_stream_in_an_error(name: str, before: int) -> None:
    """Also among events that are known by their frame: what came before passes, it does not."""
    sound = [said({"content": str(at)}) for at in range(before)]
    out, outcome = run(*sound, BROKEN[name], said({}, "stop"), DONE)
    assert out.startswith(b"".join(sound) + b'data: {"error"')
    assert error_in(out)["message"] == "the provider's answer is broken"
    assert outcome.failure is not None
    assert run(b"".join(sound) + BROKEN[name] + DONE)[0] == out


def test_a_frame_around_the_wrong_delta_is_not_learned() -> None:
    """A member of the same name elsewhere, in a text even: what does not read as JSON does not pass."""
    sound = event(note={"delta": "{}"}, choices=[{"index": 0, "delta": {}}])
    broken = sound.replace(b'"{}"', b'"{"x":1}"')
    out, outcome = run(sound, broken)
    assert outcome.failure is not None
    assert out.startswith(sound + b'data: {"error"')


def test_broken_padding_does_not_pass() -> None:
    """A quote that is escaped does not end it."""
    out, outcome = run(*PADDED[:2], PADDED[1].replace(b'"Xp"', b'"Xp\\"'))
    assert outcome.failure is not None
    assert out.startswith(b"".join(PADDED[:2]) + b'data: {"error"')


def test_nulls_that_announce_usage_are_held_back_wherever_they_stand() -> None:
    """Also before the choices, where every event of the stream has them."""
    events = [said({"content": text}) for text in ("a", "b", "c")]
    announced = [one.replace(b',"choices"', b',"usage":null,"choices"') for one in events]
    out, _ = run(*announced, DONE, asked=prompt(wants_usage=False))
    assert out == b"".join(events) + DONE


def test_usage_in_every_event_is_read_to_the_last() -> None:
    """Some hosts count as they go; the last count holds."""
    events = [
        said({"content": "x"}, usage={**COUNTS, "completion_tokens": count})
        for count in (1, 1, 2, 4)
    ]
    out, outcome = run(*events, said({}, "stop"), DONE)
    assert out == b"".join(events) + said({}, "stop") + DONE
    assert outcome.usage is not None
    assert outcome.usage.output_tokens == 4


IN_STREAM = {
    "groq": b'event: error\ndata: {"error":{"message":"bad call","code":"tool_use_failed","status_code":400}}\n\n',
    "openrouter": said({"content": ""}, error={"code": 502, "message": "bad call"}, usage=COUNTS),
    "words": b'data: {"error":"bad call"}\n\n',
    "sglang": b'data: {"error": {"object": "error", "message": "bad call", "code": 500}}\n\n',
}


@pytest.mark.parametrize("name", IN_STREAM)
def test_an_error_inside_of_a_stream_is_a_failure(name: str) -> None:
    """The client gets its format's event, whatever the host's looked like, and no [DONE]."""
    out, outcome = run(said({"content": "x"}), IN_STREAM[name], DONE)
    assert error_in(out) == {
        "message": "bad call", "type": "server_error", "param": None, "code": "upstream_failed",
    }  # fmt: skip
    assert outcome.failure is not None
    assert outcome.failure.may_have_spent
    assert not outcome.is_complete


def test_usage_beside_an_error_is_booked() -> None:
    """What was used is owed although there is no answer."""
    outcome = run(IN_STREAM["openrouter"])[1]
    assert outcome.usage is not None
    assert outcome.usage.total_tokens == 13


def test_an_error_event_without_words_is_a_failure() -> None:
    """The name alone says it."""
    out, outcome = run(said({"content": "x"}), b"event: error\ndata: {}\n\n", DONE)
    assert outcome.failure is not None
    assert error_in(out)["code"] == "upstream_failed"


def test_a_failure_from_outside_ends_the_stream_once() -> None:
    """A reset or a time-out: one error event, then nothing more."""
    relay = ChatPassRelay(prompt())
    relay.feed(said({"content": "x"}))
    out = relay.fail(Failure("upstream_timeout", "too slow"))
    assert error_in(out)["code"] == "timeout"
    assert relay.feed(DONE) == b""
    assert relay.finish() == b""
    assert relay.outcome.failure == Failure("upstream_timeout", "too slow")
    assert not relay.outcome.is_complete


@given(st.lists(st.text(max_size=8), max_size=6), st.booleans())
def test_output_bytes_bound_what_was_seen(texts: list[str], is_reasoning: bool) -> None:
    """Never fewer than the text's UTF-8 bytes, whichever way an event was recognised."""
    name = "reasoning_content" if is_reasoning else "content"
    outcome = run(*(said({name: text}) for text in texts), said({}, "stop"), DONE)[1]
    assert outcome.output_bytes >= sum(len(text.encode()) for text in texts)


@given(st.lists(st.binary(max_size=30) | st.sampled_from([*OPENAI, *PADDED]), max_size=8))
def test_any_bytes_give_an_outcome(chunks: list[bytes]) -> None:
    """No exception comes out, and an answer is whole or has failed."""
    outcome = run(*chunks)[1]
    assert outcome.is_complete == (outcome.failure is None)


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer is bounded."""
    monkeypatch.setattr("backends.wire.openai_chat.passing.EVENT_BYTES_MAX", 100)
    out, outcome = run(b"data: " + b"x" * 200)
    assert outcome.failure is not None
    assert error_in(out)["code"] == "upstream_failed"


ANSWER = {
    "id": "c-1",
    "model": "m-1",
    "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],
    "usage": {**COUNTS, "completion_tokens_details": {"reasoning_tokens": 3}},
}


def test_a_plain_answer_is_read_and_left_as_it_is() -> None:
    """Body untouched; usage, finish and names read."""
    body = json.dumps(ANSWER, indent=1).encode()
    answer = read_answer(prompt(), body)
    assert answer.body is body
    outcome = answer.outcome
    assert outcome.is_complete
    assert (outcome.finish_reason, outcome.response_id, outcome.response_model) == (
        "stop",
        "c-1",
        "m-1",
    )
    assert outcome.usage == Usage(9, 4, reasoning_tokens=3)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", b"[]", b'{"choices":[]}', json.dumps(ANSWER).encode()[:-9],
     b'{"error":{"message":"no"}}', b'{"choices":[{"finish_reason":1}]}'],
)  # fmt: skip
def test_a_broken_plain_answer_is_a_failure(body: bytes) -> None:
    """Also with status 200: whatever is no answer may have been paid for."""
    with pytest.raises(WireError) as caught:
        read_answer(prompt(), body)
    assert caught.value.failure.kind == "upstream_failed"
    assert caught.value.failure.may_have_spent


@given(st.binary(max_size=40), st.integers(100, 599))
def test_any_bytes_are_read_as_some_error(body: bytes, status: int) -> None:
    """Reading an error answer is total."""
    assert read_error(status, {}, body).upstream_status == status


def counts(prompt_tokens: int | None, completion_tokens: int | None = None, **more: Any) -> bytes:
    return json.dumps(
        {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, **more}
    ).encode()


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (counts(526, 27, total_tokens=625, completion_tokens_details={"reasoning_tokens": 72}),
         Usage(526, 99, reasoning_tokens=72)),
        (counts(10, 8, total_tokens=18, completion_tokens_details={"reasoning_tokens": 8}),
         Usage(10, 8, reasoning_tokens=8)),
        (counts(10, 2, total_tokens=12, prompt_cache_hit_tokens=7), Usage(10, 2, cache_read_tokens=7)),
        (counts(10, 2, prompt_tokens_details={"cached_tokens": 6, "cache_write_tokens": 3}), Usage(10, 2, 6, 3)),
        (counts(10, 2, prompt_tokens_details={"cached_tokens": 16}), Usage(10, 2, 10)),
        (counts(10), Usage(10, 0)),
        (counts(None), None),
        (counts(-1), None),
    ],
    ids=["xai", "openai", "deepseek", "cache writes", "more cached than read", "input only", "null", "negative"],
)  # fmt: skip
def test_each_way_of_counting_comes_to_one(raw: bytes, usage: Usage | None) -> None:
    """Reasoning is inside of the output, cached tokens are inside of the input."""
    assert normalise_usage(msgspec.json.decode(raw, type=RawUsage)) == usage
