"""The real Gemini CLI finishes a task with a tool call, whichever provider answers, and gets over what breaks."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.agents import (
    COMMAND,
    LAST_WORDS,
    SAID,
    Ran,
    Stage,
    Watch,
    install,
    run_agent,
    staged,
    tool_results,
)
from tests.gateway_process import RunningGateway, running_gateway

pytestmark = pytest.mark.full

PACKAGE = "@google/gemini-cli@0.61.0"
KNOWN = "gemini-2.5-pro"
"""A model that the command knows: for it, it says how much to think."""
TARGETS: dict[str, dict[str, object]] = {
    "own/gemini": {"provider": "gemini", "model": "gemini-2.5-flash"},
    "own/claude": {"provider": "anthropic", "model": "claude-opus-4-8", "aliases": [KNOWN]},
    "own/gpt": {"provider": "openai", "model": "gpt-5.5"},
}
CLAUDES = {"generationConfig.topP", "generationConfig.topK"}
LOST: dict[str, set[str]] = {
    "own/gemini": set(),
    "own/claude": CLAUDES,
    KNOWN: CLAUDES,
    "own/gpt": {"generationConfig.topK"},
    "auto:private": set(),
}
"""What may not travel, by model."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the command."""
    return install(tmp_path_factory.mktemp("gemini-cli"), PACKAGE)


@pytest.fixture(scope="module")
def stage(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """One gateway for all runs."""
    calls = {"run_shell_command": {"command": COMMAND, "description": "say"}}
    with staged(
        shared,
        tmp_path_factory.mktemp("stage"),
        calls,
        TARGETS,
        disable=[f"gemini/{KNOWN}"],
    ) as stage:
        yield stage


def run(
    commands: Path, gateway: RunningGateway, model: str, folder: Path, key: str | None = None
) -> Ran:
    """One prompt, without anybody who could be asked."""
    settings = folder / "home" / ".gemini"
    settings.mkdir(parents=True)
    chosen = {"security": {"auth": {"selectedType": "gemini-api-key"}}}
    (settings / "settings.json").write_text(json.dumps(chosen))
    environ = {
        "GEMINI_API_KEY": key or gateway.key,
        "GOOGLE_GEMINI_BASE_URL": gateway.url,
    }
    command = [str(commands / "gemini"), "--skip-trust", "--approval-mode", "yolo"]
    command += ["-m", model, "-o", "json", "-p", "say hello"]
    return run_agent(command, folder, environ)


def check(ran: Ran, watch: Watch) -> None:
    """The tool ran once, the model got its result, and its last words were shown. What the command showed of an
    answer that broke it does not take back."""
    assert ran.code == 0, ran.output + ran.errors
    assert ran.wrote == f"{SAID}\n"
    told: dict[str, Any] = json.loads(ran.output)
    assert told["response"].endswith(LAST_WORDS)
    assert told["stats"]["tools"]["totalSuccess"] == told["stats"]["tools"]["totalCalls"] == 1
    bodies = watch.bodies()
    assert SAID in "".join(tool_results(bodies[-1]))
    assert not tool_results(bodies[0])
    counts = [model["tokens"] for model in told["stats"]["models"].values()]
    answered = [row for row in watch.attempts() if row["state"] == "settled"]
    for name, column in (("prompt", "input_tokens"), ("candidates", "output_tokens")):
        assert sum(tokens[name] for tokens in counts) == sum(row[column] for row in answered) > 0
    assert sum(row["cost_nanousd"] > 0 for row in answered) in (0, 2)


@pytest.mark.parametrize("model", list(LOST))
def test_a_task_with_a_tool_call(commands: Path, stage: Stage, model: str, tmp_path: Path) -> None:
    """It asks, runs the command that the model wants, sends the result back and ends well; both calls are booked,
    and what could not travel is listed, no more and no less."""
    watch = stage.watch()
    ran = run(commands, stage.gateway, model, tmp_path)
    check(ran, watch)
    assert json.loads(ran.output)["response"] == LAST_WORDS
    rows = watch.requests()
    assert [(row["format"], row["state"]) for row in rows] == [("gemini", "answered")] * 2
    for row in (*rows, *watch.attempts()):
        assert {name for name in row["dropped"].split(",") if name} == LOST[model]


def test_thinking_is_asked_for_in_the_targets_words(
    commands: Path, stage: Stage, tmp_path: Path
) -> None:
    """The budget that the command names becomes an effort."""
    watch = stage.watch()
    run(commands, stage.gateway, KNOWN, tmp_path)
    for body in watch.bodies():
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body["output_config"] == {"effort": "medium"}


def test_the_first_thing_that_a_newcomer_sees(commands: Path, tmp_path: Path) -> None:
    """Nothing is configured: the simulator answers, and says so. ``auto`` would be a word of the command's own."""
    with running_gateway(tmp_path / "moegate", {"MOEGATE_SIMULATOR": "auto"}) as gateway:
        ran = run(commands, gateway, "auto:private", tmp_path)
    assert ran.code == 0, ran.output + ran.errors
    assert json.loads(ran.output)["response"].startswith("This is the moegate simulator")


FAULTS = [
    ("own/gemini", ("", "reset-mid:1")),
    ("own/claude", ("reset-mid:5",)),
    ("own/claude", ("", "reset-mid:4")),
    ("own/gpt", ("", "close-mid:2")),
]
"""Before anything was seen of an answer, and amid its last words."""


@pytest.mark.parametrize(("model", "faults"), FAULTS, ids=str)
def test_it_gets_over_a_fault(
    commands: Path, stage: Stage, model: str, faults: tuple[str, ...], tmp_path: Path
) -> None:
    """It asks again and finishes: half of an answer is not taken for one."""
    watch = stage.watch()
    stage.fail(*faults)
    check(run(commands, stage.gateway, model, tmp_path), watch)
    states = ["answered", "answered"]
    states.insert(len(faults) - 1, "failed")
    assert [row["state"] for row in watch.requests()] == states
