"""What clients are sent is what the providers' own published documents describe.

The control is what the providers themselves were recorded to send: a rule that their answers break is a fault of
the document, or younger than the answer. Both stand in tables, and a row that nothing breaks any more has to go.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import pytest
from hypothesis import given

from backends.wire.clients import CLIENTS
from backends.wire.events import Event
from backends.wire.failure import Failure, FailureKind
from backends.wire.prompt import Asked, Prompt, WireFormat
from backends.wire.targets import TARGETS
from tests.clients.replay import read_exchanges
from tests.wire.published import (
    DOCUMENTS,
    PROVIDERS,
    Document,
    DocumentMissing,
    Problem,
    openai_document,
)
from tests.wire.test_sdk_types import answers
from tests.wire.translated import (
    APIS,
    Translated,
    by_hand,
    read_events,
    render,
    said_events,
    translated,
)

Rule = tuple[str, str]
"""Where, and which rule of JSON Schema."""

ANSWERS: Mapping[WireFormat, str] = {
    "openai-chat": "CreateChatCompletionResponse",
    "openai-responses": "Response",
    "anthropic-messages": "Message",
    "gemini": "GenerateContentResponse",
}
CHUNKS = {
    "openai-chat": "CreateChatCompletionStreamResponse",
    "gemini": "GenerateContentResponse",
}
"""Formats whose streams have one kind of event."""

FAULTS: Mapping[WireFormat, Mapping[Rule, str]] = {
    "openai-chat": {},
    "openai-responses": {
        ("user", "type"): "null if nothing was said",
        ("safety_identifier", "type"): "the same",
        ("prompt_cache_key", "type"): "the same",
        ("text.format.description", "type"): "the same",
        ("usage", "type"): "null until it is known",
    },
    "anthropic-messages": {
        ("container", "required"): "only there if there is one",
        ("content.[].citations", "required"): "only there where citing was asked for",
        ("content_block.citations", "required"): "the same",
        ("content.[].caller", "required"): "only there with tools that code may call",
        ("content_block.caller", "required"): "the same",
        ("delta.container", "required"): "as above",
        ("usage.inference_geo", "required"): "newer models only",
        ("usage.server_tool_use", "required"): "only there if one was used",
        ("usage.service_tier", "required"): "not in every answer",
    },
    "gemini": {("", "additionalProperties"): "`status` of an error, which only its text describes"},
}
"""Rules that the providers' own answers break, and ours as well."""

RECORDED: Mapping[WireFormat, frozenset[Rule]] = {
    "openai-chat": frozenset({("system_fingerprint", "type")}),
    "openai-responses": frozenset(
        {
            ("status", "enum"),
            ("instructions.[]", "oneOf"),
            ("tools.[].server_description", "type"),
        }
    ),
    "anthropic-messages": frozenset(
        {
            ("content.[].type", "const"),
            ("content.[].name", "enum"),
            ("content_block.type", "const"),
            ("content_block.name", "enum"),
            ("delta.type", "const"),
        }
    ),
    "gemini": frozenset(),
}
"""Rules that only recordings break: answers of betas, and those that are older than the rule."""

LATER: Mapping[WireFormat, Mapping[Rule, str]] = {
    "gemini": {
        ("candidates.[].finishReason", "enum"): "`CONTINUATION` is younger than the document: "
        "google-genai 3.4.0 has it"
    }
}
"""Rules that ours may break although no recording did."""


@pytest.fixture(scope="module", params=list(TARGETS))
def client(request: pytest.FixtureRequest) -> WireFormat:
    """Each format that clients speak."""
    name: WireFormat = request.param
    return name


@pytest.fixture(scope="module")
def document(client: WireFormat) -> Document:
    """The one that describes it."""
    try:
        return DOCUMENTS[client]()
    except DocumentMissing as missing:
        pytest.skip(str(missing))


def problems(
    document: Document, client: WireFormat, plain: Any, events: Iterable[Any]
) -> Iterator[Problem]:
    """What is wrong with a whole answer, if there is one, and with a stream's events."""
    if plain is not None:
        yield from document.problems(ANSWERS[client], plain)
    for event in events:
        if client == "gemini" and "error" in event:
            yield from document.problems("Status", event["error"])
        elif "error" in event and client != "openai-responses":
            yield from document.problems("ErrorResponse", event)
        elif client in CHUNKS:
            yield from document.problems(CHUNKS[client], event)
        else:
            yield from document.event_problems(event)


def rule(problem: Problem) -> Rule:
    """The rule that is broken, wherever in a stream the object stands."""
    path = problem.path.removeprefix("response.").removeprefix("message.")
    return path, problem.rule


def recorded_problems(
    exchanges: Iterable[dict[str, Any]], document: Document, client: WireFormat
) -> Iterator[tuple[str, Problem]]:
    """What the provider's own answers break, with the recording's name."""
    for exchange in exchanges:
        if (APIS.get(exchange["api"]), exchange["provider"]) != (client, PROVIDERS[client]):
            continue
        body, status = exchange["response"]["body"], exchange["response"]["status"]
        if status != 200:
            error = body[0] if isinstance(body, list) else body
            found = problems(document, client, None, [error] if client == "gemini" else [])
        elif exchange["stream"]:
            events = [json.loads(line) for line in said_events(body.encode())]
            found = problems(document, client, None, events)
        elif isinstance(body, list):  # Gemini's stream as an array.
            found = problems(document, client, None, body)
        else:
            found = problems(document, client, body, ())
        for problem in found:
            yield exchange["id"], problem


def our_problems(document: Document, client: WireFormat, answer: Translated) -> list[Problem]:
    """Problems of ours that no table explains."""
    # Of the stream that broke only its end is new.
    said = said_events(answer.stream) + said_events(answer.cut)[-2:]
    events = [json.loads(one) for one in said]
    found = problems(document, client, json.loads(answer.plain), events)
    known = FAULTS[client].keys() | LATER.get(client, {}).keys()
    return [one for one in found if rule(one) not in known]


def test_recordings_break_nothing_but_what_is_known(
    shared: Any, document: Document, client: WireFormat
) -> None:
    """The control. Members that a recording lacks are younger than it; every other fault stands in a table."""
    seen: set[Rule] = set()
    for name, problem in recorded_problems(read_exchanges(shared), document, client):
        seen.add(rule(problem))
        known = FAULTS[client].keys() | RECORDED[client]
        assert problem.rule == "required" or rule(problem) in known, (name, problem)
    if "MOEGATE_OPENAI_OPENAPI" not in os.environ:  # A newer document has fewer faults.
        assert (FAULTS[client].keys() | RECORDED[client]) <= seen


def test_every_recorded_answer_is_as_described_for_each_client(
    shared: Any, document: Document, client: WireFormat
) -> None:
    """Whoever was recorded: plain, streamed and broken off, it is what the client's document says."""
    count = 0
    for answer in translated(read_exchanges(shared), client):
        assert our_problems(document, client, answer) == [], (answer.id, answer.source)
        count += 1
    assert count > 1500


def test_every_kind_of_target_answers_as_described(document: Document, client: WireFormat) -> None:
    """The same of answers written by hand, which need no recordings."""
    answers = list(translated(by_hand(), client))
    assert {answer.source for answer in answers} == set(TARGETS)
    for answer in answers:
        assert our_problems(document, client, answer) == [], answer.id


@given(events=answers())
def test_any_answer_is_as_described(
    document: Document, client: WireFormat, events: list[Event]
) -> None:
    """The same of answers made at random."""
    raw = b'{"include":["reasoning.encrypted_content"]}'
    prompt = Prompt(client, raw, "m", (), wants_usage=True, shows_reasoning=True, asked=Asked("m"))
    answer = render(events, prompt)
    assert our_problems(document, client, answer) == []


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_every_error_is_as_described(
    document: Document, client: WireFormat, kind: FailureKind
) -> None:
    """Bodies of every kind of failure."""
    failure = Failure(kind, "what was wrong", param="messages[0]")
    _, body = CLIENTS[client].render_failure(failure, "req_1")
    found = problems(
        document,
        client if client != "openai-responses" else "openai-chat",
        None,
        [json.loads(body)],
    )
    allowed = {*FAULTS[client], ("error.type", "const")} if kind == "too_large" else FAULTS[client]
    assert [one for one in found if rule(one) not in allowed] == []


def test_legacy_completions_are_as_described() -> None:
    """Whoever answers: plain, in pieces, and broken off."""
    try:
        document = openai_document()
    except DocumentMissing as missing:
        pytest.skip(str(missing))
    prompt = Prompt("openai-completions", b"{}", "m", (), is_stream=True, wants_usage=True)
    for exchange in by_hand():
        if "text" not in exchange["id"]:
            continue
        answer = render(read_events(exchange, APIS[exchange["api"]]), prompt)
        found = list(document.problems("CreateCompletionResponse", json.loads(answer.plain)))
        for event in map(json.loads, said_events(answer.stream) + said_events(answer.cut)):
            kind = "ErrorResponse" if "error" in event else "CreateCompletionResponse"
            found += document.problems(kind, event)
        # The document describes whole answers: the finish of a piece is null, at OpenAI as well.
        unknown = [one for one in found if one.path != "choices.[].finish_reason"]
        assert unknown == [], exchange["id"]
        assert all("None" in one.message for one in found if one not in unknown)
