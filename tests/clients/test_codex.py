"""The real Codex CLI finishes a task with a tool call, whichever provider answers, and gets over what breaks."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from gateway.admission import Limit
from gateway.identity import NewKey
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

PACKAGE = "@openai/codex@0.171.0"
KNOWN = "gpt-5.5"
"""A model that Codex knows: then, and for words that begin so, it offers a patch tool of its own and a tool search;
for others a group of tools."""
TARGETS: dict[str, dict[str, object]] = {
    "own/gpt": {"provider": "openai", "model": "gpt-5.5"},
    "own/claude": {
        "provider": "anthropic", "model": "claude-opus-4-8", "aliases": [f"{KNOWN}-at-claude"],
    },
    "own/gemini": {
        "provider": "gemini", "model": "gemini-2.5-flash", "aliases": [f"{KNOWN}-at-gemini"],
    },
}  # fmt: skip
UNKNOWN_LOST = {"tools.namespace", "tools.web_search", "client_metadata"}
KNOWN_LOST = {
    "tools.custom", "tools.tool_search", "tools.web_search", "client_metadata", "text.verbosity",
}  # fmt: skip
LOST: dict[str, set[str]] = {
    "own/gpt": set(),
    KNOWN: set(),
    "own/claude": UNKNOWN_LOST,
    f"{KNOWN}-at-claude": KNOWN_LOST,
    "own/gemini": UNKNOWN_LOST | {"prompt_cache_key"},
    f"{KNOWN}-at-gemini": KNOWN_LOST | {"prompt_cache_key"},
    "auto:private": UNKNOWN_LOST,
}
"""What may not travel, by model. A group of tools, tools without a schema and what OpenAI runs exist nowhere else."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the command."""
    return install(tmp_path_factory.mktemp("codex"), PACKAGE)


@pytest.fixture(scope="module")
def stage(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    """One gateway for all runs."""
    calls = {"exec_command": {"cmd": COMMAND}}
    with staged(shared, tmp_path_factory.mktemp("stage"), calls, TARGETS) as stage:
        yield stage


def run(
    commands: Path, gateway: RunningGateway, model: str, folder: Path, key: str | None = None
) -> Ran:
    """One prompt, without anybody who could be asked."""
    settings = folder / "home" / ".codex"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text(
        f'model = "{model}"\n'
        'model_provider = "moegate"\n'
        "[model_providers.moegate]\n"
        'name = "moegate"\n'
        f'base_url = "{gateway.url}/v1"\n'
        'env_key = "MOEGATE_KEY"\n'
        'wire_api = "responses"\n'
    )
    return run_agent(command(commands), folder, {"MOEGATE_KEY": key or gateway.key})


def command(commands: Path) -> list[str]:
    """What is typed."""
    words = ["exec", "--skip-git-repo-check", "--json", "-s", "danger-full-access", "say hello"]
    return [str(commands / "codex"), *words]


def check(ran: Ran, watch: Watch) -> None:
    """The tool ran once, the model got its result, and its last words were shown."""
    assert ran.code == 0, ran.output + ran.errors
    assert ran.wrote == f"{SAID}\n"
    events: list[dict[str, Any]] = [json.loads(line) for line in ran.output.splitlines()]
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    done = [
        item for item in items if item["type"] != "error"
    ]  # It warns of models that it does not know.
    assert [item["type"] for item in done] == ["command_execution", "agent_message"]
    assert (done[0]["aggregated_output"], done[0]["exit_code"]) == (f"{SAID}\n", 0)
    assert done[1]["text"] == LAST_WORDS
    bodies = watch.bodies()
    assert SAID in "".join(tool_results(bodies[-1]))
    assert not any(tool_results(body) for body in bodies[:-1])
    usage = events[-1]["usage"]
    answered = [row for row in watch.attempts() if row["state"] == "settled"]
    for name in ("input_tokens", "output_tokens"):
        assert usage[name] == sum(row[name] for row in answered) > 0
    assert sum(row["cost_nanousd"] > 0 for row in answered) in (0, 2)


@pytest.mark.parametrize("model", list(LOST))
def test_a_task_with_a_tool_call(commands: Path, stage: Stage, model: str, tmp_path: Path) -> None:
    """It asks, runs the command that the model wants, sends the result back and ends well; both calls are booked,
    and what could not travel is listed, no more and no less."""
    watch = stage.watch()
    check(run(commands, stage.gateway, model, tmp_path), watch)
    rows = watch.requests()
    assert [(row["format"], row["state"]) for row in rows] == [("openai-responses", "answered")] * 2
    for row in (*rows, *watch.attempts()):
        assert {name for name in row["dropped"].split(",") if name} == LOST[model]


def test_a_key_with_a_budget_searches_nothing(commands: Path, stage: Stage, tmp_path: Path) -> None:
    """What OpenAI would run has no bound: it is left out and listed, and the task is done all the same."""
    key = stage.gateway.make_key(NewKey("agents", limit=Limit("", "month", 5 * 10**9)))
    watch = stage.watch()
    check(run(commands, stage.gateway, "own/gpt", tmp_path, key), watch)
    assert [row["dropped"] for row in watch.requests()] == ["tools.web_search"] * 2
    for body in watch.bodies():
        assert body["max_output_tokens"] == 128_000
        assert "web_search" not in {tool["type"] for tool in body["tools"]}


def test_the_first_thing_that_a_newcomer_sees(commands: Path, tmp_path: Path) -> None:
    """Nothing is configured: the simulator answers, and says so."""
    with running_gateway(tmp_path / "moegate", {"MOEGATE_SIMULATOR": "auto"}) as gateway:
        ran = run(commands, gateway, "auto", tmp_path)
    assert ran.code == 0, ran.output + ran.errors
    assert "This is the moegate simulator" in ran.output
    assert "You wrote: say hello" in ran.output


def test_openais_own_address_may_be_moegates(commands: Path, stage: Stage, tmp_path: Path) -> None:
    """One line of settings instead of a provider of one's own. It then tries a WebSocket, once."""
    settings = tmp_path / "home" / ".codex"
    settings.mkdir(parents=True)
    address = f'openai_base_url = "{stage.gateway.url}/v1"\n'
    (settings / "config.toml").write_text(f'model = "{KNOWN}"\n{address}')
    watch = stage.watch()
    ran = run_agent(command(commands), tmp_path, {"CODEX_API_KEY": stage.gateway.key})
    check(ran, watch)
    assert "Reconnecting" not in ran.output


@pytest.mark.parametrize("model", ["own/gpt", "own/claude"])
@pytest.mark.parametrize(
    "fault", ["reset-mid:5", "close-mid:5", "error-mid:5", "malformed:5", "429:1"]
)
def test_it_gets_over_a_fault(
    commands: Path, stage: Stage, fault: str, model: str, tmp_path: Path
) -> None:
    """It asks again and finishes; what broke is booked as failed."""
    watch = stage.watch()
    stage.fail(fault)
    check(run(commands, stage.gateway, model, tmp_path), watch)
    assert [row["state"] for row in watch.requests()] == ["failed", "answered", "answered"]


@pytest.mark.parametrize("model", ["own/gpt", "own/claude"])
def test_it_knows_a_context_that_is_too_long(
    commands: Path, stage: Stage, model: str, tmp_path: Path
) -> None:
    """And does not ask again."""
    watch = stage.watch()
    stage.fail("context")
    ran = run(commands, stage.gateway, model, tmp_path)
    assert ran.code == 1
    assert "ran out of room" in ran.output
    assert [row["error"] for row in watch.requests()] == ["context_too_long"]
