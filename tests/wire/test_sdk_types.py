"""What clients are sent is what the official SDKs' typed models hold: no other type, and no member that they lack.

The SDKs themselves take anything; here their models are asked strictly. Answers written by hand and made at random
need no recordings.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

import anthropic.types
import openai.types
import openai.types.chat
import openai.types.responses
import openai.types.shared
import pydantic
import pytest
from anthropic.types.shared import ErrorResponse
from google.genai import types as google
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.clients import CLIENTS
from backends.wire.events import (
    CallDelta,
    CallStart,
    Citation,
    End,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    TokenLogprob,
)
from backends.wire.failure import Failure, FailureKind, WireError
from backends.wire.prompt import Asked, Prompt, WireFormat
from backends.wire.targets import TARGETS
from backends.wire.usage import Usage
from tests.clients.replay import read_exchanges
from tests.wire.translated import (
    WITHOUT_CALLS,
    Translated,
    by_hand,
    render,
    said_events,
    translated,
)

Adapter = pydantic.TypeAdapter[Any]


def by_type(events: Any) -> Adapter:
    """The adapter of a union whose members differ in ``type``: pydantic tries the one that is meant, not all."""
    union = get_args(events)[0]
    told: Any = Annotated[union, pydantic.Field(discriminator="type")]  # pyright: ignore[reportInvalidTypeForm] - found at run time
    return Adapter(told)


PLAIN: Mapping[WireFormat, Adapter] = {
    "openai-chat": Adapter(openai.types.chat.ChatCompletion),
    "openai-completions": Adapter(openai.types.Completion),
    "openai-responses": Adapter(openai.types.responses.Response),
    "anthropic-messages": Adapter(anthropic.types.Message),
    "gemini": Adapter(google.GenerateContentResponse),
}
EVENTS: Mapping[WireFormat, Adapter] = {
    "openai-chat": Adapter(openai.types.chat.ChatCompletionChunk),
    "openai-completions": Adapter(openai.types.Completion),
    "openai-responses": by_type(openai.types.responses.ResponseStreamEvent),
    "anthropic-messages": by_type(anthropic.types.RawMessageStreamEvent),
    "gemini": Adapter(google.GenerateContentResponse),
}
ERRORS: Mapping[WireFormat, Adapter] = {
    "openai-chat": Adapter(openai.types.shared.ErrorObject),
    "openai-completions": Adapter(openai.types.shared.ErrorObject),
    "openai-responses": Adapter(openai.types.shared.ErrorObject),
    "anthropic-messages": Adapter(ErrorResponse),
}
"""Google's SDK has no model of an error."""

BEYOND: Mapping[WireFormat, Mapping[str, str]] = {
    "openai-chat": {
        r"choices\[\]\.(delta|message)\.reasoning_content": "thinking, as DeepSeek, xAI and SGLang show it",
        r"choices\[\]\.delta\.annotations": "sources, which the SDK's model has in plain answers only",
        r"choices\[\]\.(delta|message)\.reasoning_details": "thinking that is signed, as OpenRouter gives it",
        r"choices\[\]\.(delta|message)\.tool_calls\[\]\.extra_content": "a call's signature, as Google gives it",
        "request_id": "of errors: what to look for in the log",
    },
    "openai-completions": {"request_id": "as above"},
    "openai-responses": {
        r"(response\.)?(store|frequency_penalty|presence_penalty)": "OpenAI sends them",
        r"(response\.)?tools\[\].*": "as the client sent it",
        "error": "of the event that ends a broken stream: only then does the SDK raise",
        "request_id": "of errors: what to look for in the log",
    },
    "anthropic-messages": {
        r"usage\.cache_creation": "of `message_delta`: how long what was written is kept, for the price"
    },
    "gemini": {},
}
"""Members that the models lack, as regular expressions of where they stand, and why they are sent."""


def extras(value: object, path: str = "") -> Iterator[str]:
    """Where in a model stands what it has no member for."""
    if isinstance(value, pydantic.BaseModel):
        at = f"{path}." if path else ""
        yield from (at + name for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from extras(getattr(value, name), at + name)
    elif isinstance(value, list):
        for one in value:
            yield from extras(one, f"{path}[]")


def faults(client: WireFormat, adapter: Adapter, raw: bytes) -> list[str]:
    """What the model finds wrong with ``raw``, but for what stands in :data:`BEYOND`."""
    try:
        value = adapter.validate_json(raw, strict=True)
    except pydantic.ValidationError as error:
        return [str(error)]
    known = re.compile("|".join(BEYOND[client]) or "(?!)")
    return [path for path in extras(value) if known.fullmatch(path) is None]


def faults_of_events(client: WireFormat, events: list[bytes]) -> list[str]:
    """The same of events; an error in Chat, Messages and generateContent has a model of its own, or none."""
    found: list[str] = []
    for one in events:
        event, said = one, json.loads(one)
        if client == "openai-completions":
            # Null until the end, as in the reference's example of a stream; the model has no null.
            event = one.replace(b'"finish_reason":null', b'"finish_reason":"stop"')
        if "error" not in said or client == "openai-responses":
            found += faults(client, EVENTS[client], event)
        elif client in ERRORS:
            found += faults_of_error(client, event)
    return found


def faults_of_error(client: WireFormat, body: bytes) -> list[str]:
    """The same of an error's body."""
    if client == "anthropic-messages":
        return faults(client, ERRORS[client], body)
    return faults(client, ERRORS[client], json.dumps(json.loads(body)["error"]).encode())


def faults_of_answer(client: WireFormat, answer: Translated) -> list[str]:
    """The same of an answer in all of its forms."""
    # Of the stream that broke only its end is new.
    events = said_events(answer.stream) + said_events(answer.cut)[-2:]
    return faults(client, PLAIN[client], answer.plain) + faults_of_events(client, events)


@pytest.mark.parametrize("client", list(CLIENTS))
def test_every_kind_of_target_answers_in_the_sdks_types(client: WireFormat) -> None:
    """Text, thinking and calls of all four, plain, streamed and broken off."""
    answers = list(translated(by_hand(), client))
    assert {answer.source for answer in answers} == set(TARGETS)
    for answer in answers:
        assert faults_of_answer(client, answer) == [], answer.id


@pytest.mark.parametrize("client", list(CLIENTS))
def test_every_recorded_answer_is_in_the_sdks_types(shared: Any, client: WireFormat) -> None:
    """The same of every recorded answer."""
    count = 0
    for answer in translated(read_exchanges(shared), client):
        assert faults_of_answer(client, answer) == [], (answer.id, answer.source)
        count += 1
    assert count > 1000


@pytest.mark.parametrize("kind", get_args(FailureKind))
@pytest.mark.parametrize("client", list(ERRORS))
def test_every_error_is_in_the_sdks_types(client: WireFormat, kind: FailureKind) -> None:
    """Bodies of every kind of failure."""
    _, body = CLIENTS[client].render_failure(Failure(kind, "wrong", param="messages[0]"), "req_1")
    if (client, kind) == ("anthropic-messages", "too_large"):
        # `request_too_large` stands in Anthropic's page of errors, and not among the SDK's.
        body = body.replace(b"request_too_large", b"invalid_request_error")
    assert faults_of_error(client, body) == []


WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
REASONS: st.SearchStrategy[FinishReason] = st.sampled_from(
    [one for one in get_args(FinishReason) if one != "error"]
)
COUNTS = st.integers(0, 1000)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """The events of any answer that has an end; arguments are whole objects in pieces, calls one after another."""
    events: list[Event] = [Start(draw(WORDS), draw(WORDS), draw(st.integers(0, 2**40)))]
    issuers = st.sampled_from(["openai", "anthropic", "gemini", "xai"])
    odds = st.floats(-100, 0)
    token = st.builds(
        TokenLogprob, WORDS, odds, st.none() | st.lists(st.integers(0, 255), max_size=2)
    )
    tokens = st.builds(TokenLogprob, WORDS, odds, st.none(), st.lists(token, max_size=2))
    signatures = st.binary(min_size=1, max_size=8).map(lambda raw: b64encode(raw).decode())
    pieces = st.one_of(
        st.builds(TextDelta, WORDS),
        st.builds(RefusalDelta, WORDS),
        st.builds(LogprobsDelta, st.lists(tokens, min_size=1, max_size=2)),
        st.builds(Citation, st.just("https://example.com/a"), WORDS, st.none() | COUNTS),
        st.builds(ReasoningDelta, WORDS, st.none() | signatures, issuers),
        st.builds(ReasoningDelta, st.just(""), signatures, issuers, st.just(True)),
        st.builds(CallStart, st.just(0), WORDS, NAMES, st.none() | signatures, issuer=issuers),
    )
    calls = 0
    for one in draw(st.lists(pieces, max_size=8)):
        if isinstance(one, Citation) and one.start is not None:
            one.end = one.start + draw(COUNTS)
            events.append(one)
        elif isinstance(one, CallStart):
            one.index = calls
            text = json.dumps(draw(st.dictionaries(WORDS, WORDS, max_size=2)))
            cut = draw(st.integers(0, len(text)))
            events += [one, CallDelta(calls, text[:cut]), CallDelta(calls, text[cut:])]
            calls += 1
        else:
            events.append(one)
    events.append(Finish(draw(REASONS), draw(WORDS), stop_sequence=draw(st.none() | WORDS)))
    usage = st.builds(
        Usage, input_tokens=st.just(4000), output_tokens=st.just(2000), cache_read_tokens=COUNTS,
        cache_write_tokens=COUNTS, cache_write_1h_tokens=COUNTS, reasoning_tokens=COUNTS,
    )  # fmt: skip
    return [*events, End(draw(st.none() | usage))]


@pytest.mark.parametrize("client", list(CLIENTS))
@given(events=answers(), shows=st.booleans())
def test_any_answer_is_in_the_sdks_types(
    client: WireFormat, events: list[Event], shows: bool
) -> None:
    """Whatever a target says, and wherever its stream breaks."""
    raw = b'{"include":["reasoning.encrypted_content"]}'
    prompt = Prompt(
        client,
        raw,
        "m",
        (),
        is_stream=True,
        wants_usage=True,
        shows_reasoning=shows,
        asked=Asked("m"),
    )
    try:
        answer = render(events, prompt)
    except WireError:
        assert client in WITHOUT_CALLS
    else:
        assert faults_of_answer(client, answer) == []
