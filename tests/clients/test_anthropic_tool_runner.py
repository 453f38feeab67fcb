"""The tool runner of Anthropic's SDK, which would have the server hold the conversation: it goes on without."""

from collections.abc import Generator

import anthropic
import pytest
from anthropic.types.beta import BetaMessage

from tests.clients.providers import TARGETS, Providers, running_providers

TURNS = 3


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Providers]:
    """Each kind of target behind one gateway."""
    with running_providers(tmp_path_factory.mktemp("providers")) as providers:
        yield providers


@anthropic.beta_tool
def get_weather(location: str) -> str:
    """The weather.

    Args:
        location: Where.
    """
    return f"sunny in {location}"


@pytest.mark.parametrize("target", TARGETS)
def test_every_turn_has_the_whole_conversation(running: Providers, target: str) -> None:
    """A thread is asked for, refused in the SDK's own words, and each turn reaches the target whole."""
    asked_before = len(running.host.requests)
    url, key = running.gateway.url, running.gateway.key
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        runner = client.beta.messages.tool_runner(
            model=TARGETS[target],
            max_tokens=1000,
            max_iterations=TURNS,
            tools=[get_weather],
            messages=[{"role": "user", "content": "How is the weather?"}],
        )
        said: list[BetaMessage] = list(runner)
    assert [message.stop_reason for message in said] == ["tool_use"] * TURNS
    requests = running.host.requests[asked_before:]
    assert len(requests) == TURNS
    for turn, request in enumerate(requests):
        assert b"How is the weather?" in request.body
        assert request.body.count(b"sunny in San Francisco") == turn
        assert b'"thread"' not in request.body
