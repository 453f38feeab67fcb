"""The real SGLang behind moegate: chats answered, usage and cached tokens booked; the simulator held to it."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from backends.sglang.simulator import SimulatorSettings, build_simulator
from tests.gateway_process import RunningGateway, running_gateway
from tests.sglang.asgi_server import serving
from tests.sglang.conformance import check, converse
from tests.sglang.worker import Worker, real_worker

pytestmark = pytest.mark.full

LAKE = "Say something about a quiet lake in the early morning light, please, and take your time."


@pytest.fixture(scope="module", params=["qwen3_moe", "deepseek_v3"])
def worker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Worker]:
    """A real worker of each architecture."""
    with real_worker(tmp_path_factory.mktemp("sglang"), request.param) as running:
        yield running


@pytest.fixture
def gateway(worker: Worker, tmp_path: Path) -> Generator[RunningGateway]:
    """A gateway before it."""
    with running_gateway(tmp_path, {"SGLANG_URLS": worker.url}) as running:
        yield running


def test_chats_are_answered_and_booked(gateway: RunningGateway) -> None:
    """Plain and streamed: the worker's own usage, cached tokens included, is what SQL holds."""
    first = gateway.say(LAKE, max_tokens=8, temperature=0.7)
    assert first.status_code == 200, first.text
    assert first.headers["x-moegate-target"] == "sglang/tiny"
    usage = [first.json()["usage"]]
    streamed = gateway.say(
        LAKE, max_tokens=8, temperature=0.7, stream=True, stream_options={"include_usage": True}
    )
    events = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    usage.append(json.loads(events[-2])["usage"])
    rows = sorted(gateway.rows("attempts"), key=lambda row: row["started_at"])
    for row, counted in zip(rows, usage, strict=True):
        assert row["usage_source"] == "provider"
        assert row["input_tokens"] == counted["prompt_tokens"]
        assert row["output_tokens"] == counted["completion_tokens"] == 8
        assert row["cache_read_tokens"] == (counted["prompt_tokens_details"] or {}).get(
            "cached_tokens", 0
        )
        assert row["finish_reason"] == "length"
    assert rows[1]["cache_read_tokens"] > 0


def test_private_prompt_is_answered_at_home(gateway: RunningGateway) -> None:
    """A card number stays with the worker of one's own."""
    answer = gateway.say("card 4111 1111 1111 1111", max_tokens=4)
    assert answer.headers["x-moegate-target"] == "sglang/tiny"


def test_too_long_prompt_is_the_clients_error(gateway: RunningGateway) -> None:
    """The worker's refusal comes out in OpenAI's words, without paths of its files."""
    answer = gateway.say("word and number 1 " * 2_000, max_tokens=4)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "/" not in answer.json()["error"]["message"].replace("and/or", "")


def test_simulator_is_held_to_the_real_server(worker: Worker) -> None:
    """Same fields, same stream shape, same errors as the real worker that runs now."""
    with serving(build_simulator(SimulatorSettings(model="tiny", context_tokens_max=4096))) as url:
        check(converse(url, "tiny"), converse(worker.url, worker.model))
