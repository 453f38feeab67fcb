"""The official OpenAI SDK against moegate as a newcomer starts it: the built-in simulator behind it."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.responses import ResponseIncompleteEvent

from tests.gateway_process import RunningGateway, running_gateway

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
LOOK_UP: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Greeting(pydantic.BaseModel):
    """The shape of an answer."""

    words: list[str]
    is_formal: bool


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningGateway]:
    """A gateway with nothing configured."""
    home: Path = tmp_path_factory.mktemp("home")
    with running_gateway(home, {"MOEGATE_SIMULATOR": "auto"}) as running:
        yield running


@pytest.fixture
def client(gateway: RunningGateway) -> Generator[openai.OpenAI]:
    """The SDK as its users set it up."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


def test_plain_and_streamed_say_the_same(client: openai.OpenAI, gateway: RunningGateway) -> None:
    """Text, finish reason and usage agree, and the accounts hold what both answers said."""
    plain = client.chat.completions.create(model="auto", messages=HELLO, max_tokens=12)
    text, finish, usage = "", None, None
    with client.chat.completions.create(
        model="auto", messages=HELLO, max_tokens=12, stream=True,
        stream_options={"include_usage": True},
    ) as stream:  # fmt: skip
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    assert plain.usage is not None
    assert usage is not None
    assert plain.choices[0].message.content == text
    assert plain.choices[0].finish_reason == finish == "length"
    assert usage.completion_tokens == plain.usage.completion_tokens == 12
    booked = sorted(gateway.rows("attempts"), key=lambda row: row["started_at"])[-2:]
    assert [(row["input_tokens"], row["output_tokens"]) for row in booked] == [
        (one.prompt_tokens, one.completion_tokens) for one in (plain.usage, usage)
    ]


def test_tools_are_called_and_answered(client: openai.OpenAI) -> None:
    """A tool is called with arguments of its schema, and its result is taken."""
    messages = list(HELLO)
    asked = client.chat.completions.create(
        model="auto", messages=messages, tools=[LOOK_UP], tool_choice="required"
    )
    message = asked.choices[0].message
    assert asked.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    history: list[Any] = [
        *messages,
        message.to_dict(),
        {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"},
    ]
    answered = client.chat.completions.create(model="auto", messages=history, tools=[LOOK_UP])
    assert answered.choices[0].message.content


def test_schemas_are_kept(client: openai.OpenAI) -> None:
    """What the SDK parses into a model of pydantic's is one."""
    answer = client.chat.completions.parse(
        model="auto", messages=HELLO, response_format=Greeting, max_tokens=200
    )
    assert isinstance(answer.choices[0].message.parsed, Greeting)


def test_models_are_listed(client: openai.OpenAI) -> None:
    """The choices of the policy stand beside the targets."""
    names = {model.id for model in client.models.list()}
    assert {"auto", "auto:private", "simulator/moegate-simulator"} <= names


def test_errors_are_the_sdks_own(client: openai.OpenAI, gateway: RunningGateway) -> None:
    """Each refusal is the exception that users of the SDK catch."""
    with pytest.raises(openai.NotFoundError, match="no-such-model"):
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="auto", messages=[])
    assert caught.value.param == "messages"
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="mg-wrong", max_retries=0) as other,
        pytest.raises(openai.AuthenticationError),
    ):
        other.models.list()


def test_responses_go_on_from_kept_ones(client: openai.OpenAI) -> None:
    """Create, go on (plain and streamed), look up, list the input page by page, delete."""
    first = client.responses.create(model="auto", input="Say hello.", max_output_tokens=8)
    second = client.responses.create(
        model="auto", input="And again.", max_output_tokens=8, previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    third = first
    with client.responses.create(
        model="auto", input="Once more.", max_output_tokens=8, previous_response_id=second.id,
        stream=True,
    ) as stream:  # fmt: skip
        for event in stream:
            if isinstance(event, ResponseIncompleteEvent):
                third = event.response
    looked_up = client.responses.retrieve(third.id)
    assert (looked_up.id, looked_up.output_text) == (third.id, third.output_text)
    pages = client.responses.input_items.list(third.id, limit=2, order="asc")
    items = [item.to_dict() for item in pages]
    said = [
        part["text"] for item in items for part in cast("list[dict[str, str]]", item["content"])
    ]
    assert said == [
        "Say hello.", first.output_text, "And again.", second.output_text, "Once more.",
    ]  # fmt: skip
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="auto", input="x", previous_response_id=third.id)
    assert refused.value.code == "previous_response_not_found"
