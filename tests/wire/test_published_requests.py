"""What providers are asked is what their own published documents describe.

Recorded requests, asked in every other format, and prompts made at random. The control is again what was recorded
to be answered: see :mod:`tests.wire.test_published_schemas`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.clients import CLIENTS
from backends.wire.failure import WireError
from backends.wire.prompt import Asked, Prompt, WireFormat
from backends.wire.targets import TARGETS
from tests.clients.replay import read_exchanges
from tests.unit.backends.wire.test_anthropic_messages_and_gemini_rendering import prompts
from tests.wire.published import DOCUMENTS, PROVIDERS, Document, DocumentMissing, Problem
from tests.wire.translated import APIS

Rule = tuple[str, str]

REQUESTS: Mapping[WireFormat, str] = {
    "openai-chat": "CreateChatCompletionRequest",
    "openai-responses": "CreateResponse",
    "anthropic-messages": "CreateMessageParams",
    "gemini": "GenerateContentRequest",
}
MODELS: Mapping[WireFormat, tuple[str, ...]] = {
    "openai-chat": ("gpt-5.5", "gpt-4o", "o3"),
    "openai-responses": ("gpt-5.5", "gpt-4o", "o3"),
    "anthropic-messages": ("claude-3-5-haiku-latest", "claude-sonnet-4-5", "claude-opus-5-5"),
    "gemini": ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-3.8-flash"),
}
"""Of several generations: what they take differs."""

FAULTS: Mapping[WireFormat, Mapping[Rule, str]] = {
    "openai-chat": {},
    "openai-responses": {
        ("input.[]", "oneOf"): "a message is described twice",
        ("input.[].content.[].type", "enum"): "what the assistant said may come without an id",
        ("input.[].content.[].detail", "required"): "an image's detail may be left out",
    },
    "anthropic-messages": {},
    "gemini": {
        (
            "generationConfig.thinkingConfig.thinkingLevel",
            "enum",
        ): "is taken, and written in Google's pages, in small letters"
    },
}
"""Rules that requests break which the provider answered, and ours as well."""
KEPT = ("input.[].id", "input.[].type", "input.[].status", "input.[].result")
"""Members of items that only OpenAI knows: as the client sent them."""


@pytest.fixture(scope="module", params=list(TARGETS))
def target(request: pytest.FixtureRequest) -> WireFormat:
    """Each format that targets speak."""
    name: WireFormat = request.param
    return name


@pytest.fixture(scope="module")
def document(target: WireFormat) -> Document:
    """The one that describes it."""
    try:
        return DOCUMENTS[target]()
    except DocumentMissing as missing:
        pytest.skip(str(missing))


def answered(exchanges: Iterable[dict[str, Any]]) -> Iterator[tuple[WireFormat, dict[str, Any]]]:
    """Recordings of requests that went well, with their format."""
    for exchange in exchanges:
        if exchange["api"] in APIS and exchange["response"]["status"] == 200:
            yield APIS[exchange["api"]], exchange


def ask(prompt: Prompt, target: WireFormat, model: str, output_cap: int | None) -> Any:
    """The body for a target; None where it takes no such prompt."""
    try:
        rendered = TARGETS[target].render_request(
            prompt, model=model, output_cap=output_cap, output_tokens_default=4096
        )
    except WireError:
        return None
    return json.loads(rendered.body)


def unexplained(document: Document, target: WireFormat, body: Any) -> list[Problem]:
    """What is wrong with a body, but for what the table has."""
    found = document.problems(REQUESTS[target], body)
    return [one for one in found if (one.path, one.rule) not in FAULTS[target]]


def test_recorded_requests_break_what_the_table_says(
    shared: Any, document: Document, target: WireFormat
) -> None:
    """The control: each fault of the document stands in a request that was answered."""
    seen: set[Rule] = set()
    for source, exchange in answered(read_exchanges(shared)):
        if (source, exchange["provider"]) == (target, PROVIDERS[target]):
            found = document.problems(REQUESTS[target], exchange["request"]["body"])
            seen |= {(one.path, one.rule) for one in found}
    assert FAULTS[target].keys() <= seen


def test_every_recorded_request_is_asked_as_described(
    shared: Any, document: Document, target: WireFormat
) -> None:
    """Whoever asked it, of models of several generations in turn."""
    count = 0
    for number, (source, exchange) in enumerate(answered(read_exchanges(shared))):
        raw = json.dumps(exchange["request"]["body"]).encode()
        asked = Asked(exchange["model"] or "m", bool(exchange["stream"]))
        try:
            prompt = CLIENTS[source].parse_request(raw, asked)
        except WireError:
            continue
        body = ask(prompt, target, MODELS[target][number % 3], None)
        if body is None or not prompt.messages:
            continue  # What was said is kept by OpenAI.
        found = unexplained(document, target, body)
        assert [one for one in found if one.path not in KEPT] == [], exchange["id"]
        count += 1
    assert count > 1300


@given(prompt=prompts, at=st.integers(0, 2), output_cap=st.none() | st.integers(1, 5000))
def test_any_prompt_is_asked_as_described(
    document: Document, target: WireFormat, prompt: Prompt, at: int, output_cap: int | None
) -> None:
    """Whatever a prompt holds: a body that fits, or none."""
    body = ask(prompt, target, MODELS[target][at], output_cap)
    assert body is None or unexplained(document, target, body) == []
