"""The real Claude Code finishes a task with a tool call, whichever provider answers, and gets over what breaks."""

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

pytestmark = pytest.mark.full

PACKAGE = "@anthropic-ai/claude-code@2.1.197"
TARGETS = {
    "own/claude": {"provider": "anthropic", "model": "claude-opus-4-8"},
    "own/gpt": {"provider": "openai", "model": "gpt-5.5"},
    "own/gemini": {"provider": "gemini", "model": "gemini-2.5-flash"},
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the command."""
    scripts = ("@anthropic-ai/claude-code/install.cjs",)
    return install(tmp_path_factory.mktemp("claude-code"), PACKAGE, scripts=scripts)


@pytest.fixture(scope="module")
def stage(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """One gateway for all runs."""
    calls = {"Bash": {"command": COMMAND, "description": "say"}}
    with staged(shared, tmp_path_factory.mktemp("stage"), calls, TARGETS) as stage:
        yield stage


def run(commands: Path, stage: Stage, model: str, folder: Path) -> Ran:
    """One prompt, without anybody who could be asked."""
    environ = {
        "IS_SANDBOX": "1", "ANTHROPIC_BASE_URL": stage.gateway.url,
        "ANTHROPIC_API_KEY": stage.gateway.key, "ANTHROPIC_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
    }  # fmt: skip
    command = [str(commands / "claude"), "-p", "say hello", "--output-format", "stream-json"]
    command += ["--verbose", "--allowedTools", "Bash"]
    return run_agent(command, folder, environ)


def check(ran: Ran, watch: Watch) -> None:
    """The tool ran once, the model got its result, and its last words were shown."""
    assert ran.code == 0, ran.output + ran.errors
    assert ran.wrote == f"{SAID}\n"
    events: list[dict[str, Any]] = [json.loads(line) for line in ran.output.splitlines()]
    blocks = [
        block
        for event in events
        if event["type"] in ("assistant", "user")
        for block in event["message"]["content"]
    ]
    kinds = [block["type"] for block in blocks]
    assert kinds == ["tool_use", "tool_result", "text"]
    assert SAID in json.dumps(blocks[1])
    assert events[-1]["result"] == LAST_WORDS
    bodies = watch.bodies()
    assert SAID in "".join(tool_results(bodies[-1]))
    assert not tool_results(bodies[0])


@pytest.mark.parametrize("model", [*TARGETS, "auto", "auto:private"])
def test_a_task_with_a_tool_call(commands: Path, stage: Stage, model: str, tmp_path: Path) -> None:
    """It asks, calls the tool that the model wants, sends the result back and ends well; both calls are booked."""
    watch = stage.watch()
    check(run(commands, stage, model, tmp_path), watch)
    rows = watch.requests()
    assert [(row["format"], row["state"]) for row in rows] == [
        ("anthropic-messages", "answered")
    ] * 2


FAULTS = [
    ("own/claude", ("429:1",)),
    ("own/claude", ("error-mid:5",)),
    ("own/claude", ("", "reset-mid:4")),
    ("own/gpt", ("", "close-mid:3")),
    ("own/gemini", ("error-mid:0",)),
]
"""Before anything was seen of an answer, and amid its words."""


@pytest.mark.parametrize(("model", "faults"), FAULTS, ids=str)
def test_it_gets_over_a_fault(
    commands: Path, stage: Stage, model: str, faults: tuple[str, ...], tmp_path: Path
) -> None:
    """It asks again and finishes; what broke is booked as failed."""
    watch = stage.watch()
    stage.fail(*faults)
    check(run(commands, stage, model, tmp_path), watch)
    states = ["answered", "answered"]
    states.insert(len(faults) - 1, "failed")
    assert [row["state"] for row in watch.requests()] == states
