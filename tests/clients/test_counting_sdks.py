"""Counting tokens through the official SDKs, against moegate as a newcomer starts it."""

from collections.abc import Generator
from pathlib import Path

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.gateway_process import RunningGateway, running_gateway

TEXT = "How many tokens are in this question? " * 10


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningGateway]:
    """A gateway with nothing configured: the simulator answers, which counts nothing, so all is estimated."""
    home: Path = tmp_path_factory.mktemp("home")
    with running_gateway(home, {"MOEGATE_SIMULATOR": "auto"}) as running:
        yield running


def test_every_sdk_counts(gateway: RunningGateway) -> None:
    """The same prompt is as long in each format, give or take nothing."""
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key) as claude:
        asked = claude.messages.count_tokens(
            model="auto", messages=[{"role": "user", "content": TEXT}]
        )
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as gpt:
        counted = gpt.responses.input_tokens.count(model="auto", input=TEXT)
    options = types.HttpOptions(base_url=gateway.url)
    with genai.Client(api_key=gateway.key, http_options=options) as gemini:
        told = gemini.models.count_tokens(model="auto", contents=TEXT)
    assert asked.input_tokens == counted.input_tokens == told.total_tokens
    assert len(TEXT) // 5 < asked.input_tokens < len(TEXT) // 3
