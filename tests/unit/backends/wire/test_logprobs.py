"""Log probabilities are asked for and given in every format that has words for them."""

import json
from typing import Any

import msgspec
import pytest
from google.genai import types as google
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from backends.wire.clients import CLIENTS
from backends.wire.events import (
    CallDelta,
    CallStart,
    End,
    Event,
    Finish,
    LogprobsDelta,
    ReasoningDelta,
    Start,
    TextDelta,
    TokenLogprob,
)
from backends.wire.openai_chat.logprobs import read_choice, read_part
from backends.wire.prompt import Asked, Prompt, WireFormat
from backends.wire.targets import TARGETS

CARRIERS: tuple[WireFormat, ...] = ("openai-chat", "openai-responses", "gemini")
ALTERNATIVE = TokenLogprob("Hey", -2.25, [72, 101, 121])
HELLO = TokenLogprob("Hello", -0.5, [72], [TokenLogprob("Hello", -0.5, [72]), ALTERNATIVE])
WORLD = TokenLogprob(" wörld", -1.5)

figures = st.floats(-100, 0)
tokens = st.builds(
    TokenLogprob,
    st.text(max_size=3),
    figures,
    st.none() | st.lists(st.integers(0, 255), max_size=3),
    st.lists(st.builds(TokenLogprob, st.text(max_size=3), figures, st.none()), max_size=2),
)


def asker(format: WireFormat) -> Prompt:
    """Somebody who streams."""
    return Prompt(format, b"{}", "m", (), is_stream=True, wants_usage=True, asked=Asked("m"))


def answer_of(pieces: list[list[TokenLogprob]]) -> list[Event]:
    """An answer in pieces of text, each with its tokens behind it."""
    events: list[Event] = [Start("r", "m", 1)]
    for piece in pieces:
        events.append(TextDelta("x" + "".join(one.token for one in piece)))
        if piece:
            events.append(LogprobsDelta(piece))
    return [*events, Finish("stop", "stop"), End(None)]


def shape(format: WireFormat, found: list[TokenLogprob], *, is_stream: bool) -> list[object]:
    """What of the tokens a format keeps: its bytes are its own affair."""
    keeps_bytes = format == "openai-chat"
    if format == "openai-responses" and not is_stream:
        assert all(one.bytes is not None for one in found)
    return [
        (one.token, one.logprob, one.bytes if keeps_bytes else None,
         [(other.token, other.logprob) for other in one.top_logprobs])
        for one in found
    ]  # fmt: skip


@pytest.mark.parametrize("format", CARRIERS)
@pytest.mark.parametrize("is_stream", [False, True])
@given(pieces=st.lists(st.lists(tokens, max_size=2), max_size=3))
def test_tokens_come_out_as_they_went_in(
    format: WireFormat, is_stream: bool, pieces: list[list[TokenLogprob]]
) -> None:
    """In each format an answer says the tokens, their log probabilities and what stands beside them."""
    events = answer_of(pieces)
    parser = TARGETS[format].open_parser()
    if is_stream:
        renderer = CLIENTS[format].open_renderer(asker(format))
        found = parser.feed(b"".join(renderer.render(event) for event in events))
        found += parser.finish()
    else:
        found = parser.read_answer(CLIENTS[format].render_answer(asker(format), events)[0])
    given_ = [one for event in found if isinstance(event, LogprobsDelta) for one in event.tokens]
    expected = [one for piece in pieces for one in piece]
    assert shape(format, given_, is_stream=is_stream) == shape(format, expected, is_stream=True)
    text = "".join(event.text for event in found if isinstance(event, TextDelta))
    assert text == "".join("x" + "".join(one.token for one in piece) for piece in pieces)


def test_sdks_read_them() -> None:
    """Each provider's own types have the tokens where they look for them."""
    events = answer_of([[HELLO], [WORLD]])
    body = CLIENTS["openai-chat"].render_answer(asker("openai-chat"), events)[0]
    chat = ChatCompletion.model_validate_json(body, strict=True).choices[0].logprobs
    assert chat is not None
    assert chat.content is not None
    assert [one.token for one in chat.content] == ["Hello", " wörld"]
    assert [one.bytes for one in chat.content[0].top_logprobs] == [[72], ALTERNATIVE.bytes]
    body = CLIENTS["openai-responses"].render_answer(asker("openai-responses"), events)[0]
    part: Any = Response.model_validate_json(body).output[0]
    assert part.content[0].logprobs[1].bytes == list(" wörld".encode())
    body = CLIENTS["gemini"].render_answer(asker("gemini"), events)[0]
    candidates = google.GenerateContentResponse.model_validate_json(body).candidates
    assert candidates is not None
    result = candidates[0].logprobs_result
    assert result is not None
    assert result.top_candidates is not None
    assert [len(step.candidates or ()) for step in result.top_candidates] == [2, 0]


def test_a_chunk_of_a_chat_is_openais() -> None:
    """Tokens stand beside an empty delta."""
    renderer = CLIENTS["openai-chat"].open_renderer(asker("openai-chat"))
    raw = b"".join(renderer.render(event) for event in answer_of([[HELLO]]))
    chunks = [json.loads(one[6:]) for one in raw.split(b"\n\n")[:-2]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    assert chunks[2]["choices"][0]["delta"] == {}
    assert chunks[2]["choices"][0]["logprobs"]["content"][0]["token"] == "Hello"


@pytest.mark.parametrize("is_stream", [False, True])
def test_messages_have_no_place_for_them(is_stream: bool) -> None:
    """Left out and listed, for nobody can ask for them there."""
    client = CLIENTS["anthropic-messages"]
    events = answer_of([[HELLO]])
    if is_stream:
        renderer = client.open_renderer(asker("anthropic-messages"))
        for event in events:
            renderer.render(event)
        assert tuple(renderer.dropped) == ("logprobs",)
    else:
        assert client.render_answer(asker("anthropic-messages"), events)[1] == ("logprobs",)


ASKED: dict[WireFormat, dict[str, Any]] = {
    "openai-chat": {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "logprobs": True,
    },
    "openai-responses": {"model": "m", "input": "hi", "include": ["message.output_text.logprobs"]},
    "gemini": {
        "contents": [{"parts": [{"text": "hi"}]}],
        "generationConfig": {"responseLogprobs": True},
    },
}
BESIDE = {
    "openai-chat": "top_logprobs", "openai-responses": "top_logprobs", "gemini": "logprobs",
}  # fmt: skip


def parse(format: WireFormat, count: int | None, *, is_asked: bool = True) -> Prompt:
    body: dict[str, Any] = json.loads(json.dumps(ASKED[format]))
    place = body["generationConfig"] if format == "gemini" else body
    if not is_asked:
        for name in ("logprobs", "include", "responseLogprobs"):
            place.pop(name, None)
    if count is not None:
        place[BESIDE[format]] = count
    return CLIENTS[format].parse_request(json.dumps(body).encode(), Asked("m"))


@pytest.mark.parametrize("format", CARRIERS)
@pytest.mark.parametrize("count", [None, 0, 3, 20])
def test_the_wish_is_understood_and_passed_on(format: WireFormat, count: int | None) -> None:
    """As every other format says it, with as many alternatives; nothing is listed."""
    prompt = parse(format, count)
    assert prompt.logprobs == (count or 0)
    assert not prompt.unknown
    models = {"gemini": "gemini-2.0-flash"}
    for target in CARRIERS:
        model = models.get(target, "gpt-4.1")
        rendered = TARGETS[target].render_request(
            prompt, model=model, output_cap=None, output_tokens_default=9
        )
        assert rendered.dropped == ()
        again = CLIENTS[target].parse_request(rendered.body, Asked(model))
        assert again.logprobs == prompt.logprobs


@pytest.mark.parametrize("format", CARRIERS)
def test_alternatives_to_what_nobody_asked_for_are_kept_apart(format: WireFormat) -> None:
    """They mean nothing alone, and are listed; none of them says nothing at all."""
    prompt = parse(format, 3, is_asked=False)
    assert prompt.logprobs is None
    assert list(prompt.unknown.values()) == [b"3"]
    assert not parse(format, 0, is_asked=False).unknown


@pytest.mark.parametrize("format", CARRIERS)
@pytest.mark.parametrize(
    ("target", "model"),
    [("gemini", "gemini-2.5-pro"), ("gemini", "gemini-3-pro-preview"), ("anthropic-messages", "claude-sonnet-4-5")],
)  # fmt: skip
def test_models_that_give_none_are_not_asked(
    format: WireFormat, target: WireFormat, model: str
) -> None:
    """They would answer with an error; both members are listed in the client's words."""
    rendered = TARGETS[target].render_request(
        parse(format, 3), model=model, output_cap=None, output_tokens_default=9
    )
    assert len(rendered.dropped) == 2
    assert b"ogprobs" not in rendered.body


def test_a_model_that_thinks_gives_none() -> None:
    """OpenAI refuses both together."""
    prompt = msgspec.structs.replace(parse("gemini", 3), reasoning_effort="high")
    rendered = TARGETS["openai-responses"].render_request(
        prompt, model="gpt-5.5", output_cap=None, output_tokens_default=9
    )
    assert rendered.dropped == (
        "generationConfig.responseLogprobs", "generationConfig.logprobs",
    )  # fmt: skip
    assert json.loads(rendered.body)["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize("byte", [-1, 256, 2**70])
def test_what_is_no_byte_is_named(byte: int) -> None:
    """It is not given on as one."""
    dropped: dict[str, None] = {}
    token = {"token": "a", "logprob": -1.0, "bytes": [byte]}
    assert read_part(msgspec.Raw(json.dumps([token]).encode()), dropped) == []
    assert dropped


def test_tokens_stand_behind_their_text() -> None:
    """A signature or a call in the same breath does not part them; without any text they are not of it."""
    result = {"chosenCandidates": [{"token": "hi", "logProbability": -1}]}
    call = {"functionCall": {"name": "f", "args": {}}}
    for parts, kinds in (
        ([{"text": "hi", "thoughtSignature": "s"}], [TextDelta, LogprobsDelta, ReasoningDelta]),
        ([{"text": "hi"}, call], [TextDelta, LogprobsDelta, CallStart, CallDelta]),
        ([call], [CallStart, CallDelta]),
    ):
        candidate = {"content": {"parts": parts}, "finishReason": "STOP", "logprobsResult": result}
        parser = TARGETS["gemini"].open_parser()
        events = parser.read_answer(json.dumps({"candidates": [candidate]}).encode())
        assert [type(event) for event in events[1:-2]] == kinds
        assert bool(parser.dropped) == (LogprobsDelta not in kinds)


@given(st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["content", "refusal", "token", "logprob", "bytes"]), inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_whatever_a_host_sends_is_read_or_named(junk: object) -> None:
    """Together's shape is another one; none of them breaks the answer."""
    raw = msgspec.Raw(json.dumps(junk).encode())
    for read in (read_choice, read_part):
        dropped: dict[str, None] = {}
        found = read(raw, dropped)
        assert found or dropped or not junk or isinstance(junk, dict)
