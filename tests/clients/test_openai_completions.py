"""OpenAI's SDK and its legacy completions: what it reads is what was said, whoever answered, and is booked."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.clients.replay import Stage, replaying
from tests.clients.seen import recorded
from tests.gateway_process import RunningGateway, Scene, running_gateway
from tests.upstreams import Scripted, event, plain

TARGETS = {
    "gpt": "recorded-openai/gpt-4o",
    "claude": "recorded-anthropic/claude-sonnet-4-5",
    "gemini": "recorded-gemini/gemini-2.5-flash",
}
HELLO = "Say hello in French."
PLACES = {"gpt": 3, "claude": 5, "gemini": 1}


@pytest.fixture(scope="module")
def stage(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """One gateway before recorded providers."""
    with replaying(shared, tmp_path_factory.mktemp("replay")) as running:
        yield running


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningGateway]:
    """One gateway with the built-in simulator behind it."""
    home: Path = tmp_path_factory.mktemp("home")
    with running_gateway(home, {"MOEGATE_SIMULATOR": "auto"}) as running:
        yield running


Seen = tuple[str, str | None, tuple[int, int] | None]


def ask(gateway: RunningGateway, model: str, *, stream: bool, **more: Any) -> Seen:
    """Text, finish and counts as the SDK's user sees them."""
    said = {"model": model, "prompt": HELLO, "max_tokens": 1000, **more}
    answers: list[openai.types.Completion]
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        create: Any = client.completions.create
        if stream:
            answers = list(create(**said, stream=True, stream_options={"include_usage": True}))
        else:
            answers = [create(**said)]
    text, finish, counts = "", None, None
    for answer in answers:
        assert answer.object == "text_completion"
        if answer.usage is not None:
            counts = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
        for choice in answer.choices:
            text += choice.text
            finish = choice.finish_reason or finish
    return text, finish, counts


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("target", list(TARGETS))
def test_chats_answer(stage: Stage, target: str, stream: bool) -> None:
    """A target that only chats answers a text as a user's turn: text, finish and counts as recorded."""
    seen = ask(stage.gateway, TARGETS[target], stream=stream)
    wanted = recorded(stage.last())
    assert seen == (wanted.text, wanted.finish, wanted.tokens)


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("fault", ["reset-mid", "close-mid", "error-mid", "malformed"])
def test_streams_that_break_raise(stage: Stage, fault: str, target: str) -> None:
    """A stream that breaks in the middle raises in the SDK."""
    stage.fail(f"{fault}:{PLACES[target]}", times=4)
    try:
        with pytest.raises(openai.APIError):
            ask(stage.gateway, TARGETS[target], stream=True)
    finally:
        stage.replay.post("/__reset")
        stage.gateway.runtime.services.signals.health.record_success(TARGETS[target], 0)


def test_a_worker_goes_on_from_the_bare_text(simulated: RunningGateway) -> None:
    """Plain and streamed say the same; the default cap holds; what the SDK reads is booked."""
    whole = ask(simulated, "auto", stream=False)
    assert ask(simulated, "auto", stream=True)[:2] == whole[:2]
    _text, finish, counts = ask(simulated, "auto", stream=False, max_tokens=None)
    assert finish == "length"
    assert counts is not None
    assert counts[1] == 16
    rows = simulated.rows("requests")
    assert {(row["format"], row["state"]) for row in rows} == {("openai-completions", "answered")}
    last = max(simulated.rows("attempts"), key=lambda row: row["started_at"])
    assert (last["input_tokens"], last["output_tokens"]) == counts


def complete(scene: Scene, **more: object) -> Any:
    """One request without the SDK, to the worker at home."""
    body = {"model": "auto:private", "prompt": HELLO, **more}
    headers = {"authorization": f"Bearer {scene.gateway.key}"}
    return scene.gateway.client.post("/v1/completions", json=body, headers=headers)


COUNTS = {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}
CHOICE = {"index": 0, "text": " hi", "logprobs": None, "finish_reason": "stop"}
COMPLETION = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [CHOICE], "usage": COUNTS}  # fmt: skip


def test_what_a_worker_gets(scene: Scene) -> None:
    """The client's own members, the worker's model, the cap, and none of what its owner decides."""
    scene.home.default = plain(COMPLETION)
    answer = complete(scene, echo=True, min_p=0.5, lora_path="x", prompt_embeds="AA==")
    assert answer.json() == COMPLETION
    assert answer.headers["x-moegate-dropped"] == "lora_path, prompt_embeds"
    (asked,) = scene.home.requests
    assert asked.path == "/v1/completions"
    assert asked.json == {
        "max_tokens": 16, "model": "home-model", "prompt": HELLO, "echo": True, "min_p": 0.5,
    }  # fmt: skip
    (row,) = scene.gateway.rows("attempts")
    assert (row["input_tokens"], row["output_tokens"], row["state"]) == (4, 1, "settled")


def test_a_cut_completion_is_booked_and_told(scene: Scene) -> None:
    """A worker that breaks off: an error event, no [DONE], and a bound in the books."""
    scene.home.default = Scripted(
        chunks=(event(COMPLETION | {"choices": [CHOICE | {"finish_reason": None}], "usage": None}),),
        fault="cut", is_stream=True,
    )  # fmt: skip
    said = complete(scene, stream=True).text
    assert '"error"' in said.strip().splitlines()[-1]
    assert "[DONE]" not in said
    (row,) = scene.gateway.rows("attempts")
    assert row["state"] == "failed"
    assert row["input_tokens"] > 0


def test_private_texts_stay_at_home(scene: Scene) -> None:
    """A card number in the text, or in any other member, reaches nobody outside."""
    card = "my card is 4111 1111 1111 1111"
    scene.home.default = plain(COMPLETION)
    for said in (
        {"prompt": card},
        {"prompt": [card]},
        {"stop": card},
        {"odd": {"deep": card}},
        {"user": card},
    ):
        answer = complete(scene, **{"model": "auto", **said})
        assert answer.status_code == 200, answer.text
        refused = complete(scene, **{"model": "openai/gpt-5.4-nano", **said})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_target")
    assert scene.outside.requests == []
