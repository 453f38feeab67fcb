"""The real Claude Code finishes a task with a tool call, whichever provider answers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gateway_process import RunningGateway, running_gateway
from tests.servers import find_free_port, listens, running

pytestmark = pytest.mark.full

PACKAGE = "@anthropic-ai/claude-code@2.1.197"
SAID = "moegate-was-here"
TARGETS = {
    "own/claude": ("anthropic", "claude-opus-4-8"),
    "own/gpt": ("openai", "gpt-5.5"),
    "own/gemini": ("gemini", "gemini-2.5-flash"),
}
INSTALL_SECONDS = 300
RUN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Stage:
    """The command, and a gateway before providers that answer any prompt with one call of a tool, then a word."""

    command: Path
    gateway: RunningGateway


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Claude Code from the npm registry."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("claude-code")
    install = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", PACKAGE]
    subprocess.run(install, cwd=folder, check=True, timeout=INSTALL_SECONDS)
    script = folder / "node_modules/@anthropic-ai/claude-code/install.cjs"
    subprocess.run(["node", str(script)], cwd=folder, check=True, timeout=INSTALL_SECONDS)
    return folder / "node_modules/.bin/claude"


@pytest.fixture(scope="module")
def stage(
    command: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Stage]:
    """One gateway for all runs."""
    folder = tmp_path_factory.mktemp("stage")
    port = find_free_port()
    call = {"name": "Bash", "arguments": {"command": f"echo {SAID}", "description": "say"}}
    replay = [
        sys.executable, str(shared / "tools" / "replay_upstream.py"), "--port", str(port),
        "--no-nearest", "--canned", "all done", "--canned-tool", json.dumps(call),
    ]  # fmt: skip
    catalogue = folder / "catalogue.yaml"
    targets = {
        name: {
            "provider": provider,
            "model": model,
            "context": 1_000_000,
            "output": 128_000,
            "can": ["tools", "parallel_tools", "images", "json_schema", "reasoning"],
            "price": {"input": 1, "output": 4},
        }
        for name, (provider, model) in TARGETS.items()
    }
    catalogue.write_text(yaml.safe_dump({"targets": targets}))
    origin = f"http://127.0.0.1:{port}/p"
    environ = {
        "OPENAI_API_KEY": "a", "OPENAI_BASE_URL": f"{origin}/openai/v1",
        "ANTHROPIC_API_KEY": "b", "ANTHROPIC_BASE_URL": f"{origin}/anthropic",
        "GEMINI_API_KEY": "c", "GOOGLE_GEMINI_BASE_URL": f"{origin}/google",
        "SGLANG_URLS": f"{origin}/local", "SGLANG_API_KEY": "d",
        "MOEGATE_CATALOGUE": str(catalogue),
    }  # fmt: skip
    with (
        running(replay, is_up=lambda: listens(port), log=folder / "replay.log"),
        running_gateway(folder / "home", environ) as gateway,
    ):
        yield Stage(command, gateway)


@pytest.mark.parametrize("model", [*TARGETS, "auto:private"])
def test_a_task_with_a_tool_call(stage: Stage, model: str, tmp_path: Path) -> None:
    """It asks, calls the tool that the model wants, sends the result back and ends well; both calls are booked."""
    before = len(stage.gateway.rows("requests"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "work", check=True)
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "IS_SANDBOX": "1",
        "ANTHROPIC_BASE_URL": stage.gateway.url, "ANTHROPIC_API_KEY": stage.gateway.key,
        "ANTHROPIC_MODEL": model, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1",
    }  # fmt: skip
    ran = subprocess.run(
        [str(stage.command), "-p", "say hello", "--output-format", "stream-json", "--verbose",
         "--allowedTools", "Bash"],
        env=environ, cwd=tmp_path / "work", stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=RUN_SECONDS, check=False,
    )  # fmt: skip
    events: list[dict[str, Any]] = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, ran.stdout + ran.stderr
    blocks = [
        block
        for event in events
        if event["type"] in ("assistant", "user")
        for block in event["message"]["content"]
    ]
    kinds = [block["type"] for block in blocks]
    assert kinds == ["tool_use", "tool_result", "text"]
    assert SAID in json.dumps(blocks[1])
    assert events[-1]["result"] == "all done"
    rows = stage.gateway.rows("requests")[before:]
    assert {(row["format"], row["state"]) for row in rows} == {("anthropic-messages", "answered")}
    assert len(rows) == 2
