"""Command-line agents as their users run them: from npm, each in an empty home, before a gateway.

Behind it hosts that answer any prompt with one call of a tool, and its result with a word.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.gateway_process import RunningGateway, running_gateway
from tests.servers import find_free_port, listens, running

SAID = "moegate-was-here"
WRITTEN = "written.txt"
COMMAND = f"echo {SAID} | tee {WRITTEN}"
"""What the model makes the agent do: it is seen in a file, and in what goes back."""
LAST_WORDS = "all done"
INSTALL_SECONDS = 300
RUN_SECONDS = 120
CAN = ["tools", "parallel_tools", "images", "json_schema", "reasoning"]


@dataclass(frozen=True, slots=True)
class Stage:
    """``upstream`` tells what the hosts behind the gateway saw, and makes them fail."""

    gateway: RunningGateway
    upstream: httpx.Client

    def fail(self, *specs: str) -> None:
        """The next requests upstream meet these faults, one each; an empty one is none."""
        for spec in specs:
            self.upstream.post("/__fault", json={"spec": spec, "times": 1})

    def watch(self) -> "Watch":
        """What comes from now on."""
        return Watch(
            self,
            len(self.gateway.rows("requests")),
            len(self.gateway.rows("attempts")),
            len(self.upstream.get("/__log").json()),
        )


@dataclass(frozen=True, slots=True)
class Watch:
    """What one run of an agent left behind: counts of what was there before."""

    stage: Stage
    requests_before: int
    attempts_before: int
    sent_before: int

    def requests(self) -> list[dict[str, Any]]:
        """Rows of ``requests``, in order."""
        return self.stage.gateway.rows("requests")[self.requests_before :]

    def attempts(self) -> list[dict[str, Any]]:
        """Rows of ``attempts``, in order."""
        return self.stage.gateway.rows("attempts")[self.attempts_before :]

    def bodies(self) -> list[dict[str, Any]]:
        """What the hosts were asked, in order."""
        entries = self.stage.upstream.get("/__log").json()[self.sent_before :]
        return [entry["body"] for entry in entries if entry["body"] is not None]


@dataclass(frozen=True, slots=True)
class Ran:
    """A run of an agent that came to its end. ``wrote``: what stands in the file that the model wanted, if there is
    one."""

    code: int
    output: str
    errors: str
    wrote: str | None


def install(folder: Path, *packages: str, scripts: Sequence[str] = ()) -> Path:
    """Put npm packages into ``folder`` and run those of their install scripts that npm holds back.

    Gives the folder of their commands; skips without npm.
    """
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *packages]
    subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_SECONDS)
    for script in scripts:
        path = folder / "node_modules" / script
        subprocess.run(["node", str(path)], cwd=folder, check=True, timeout=INSTALL_SECONDS)
    return folder / "node_modules" / ".bin"


@contextlib.contextmanager
def staged(
    shared: Path,
    folder: Path,
    calls: Mapping[str, Mapping[str, str]],
    targets: Mapping[str, Mapping[str, object]],
    disable: Sequence[str] = (),
) -> Generator[Stage]:
    """A gateway before OpenAI, Anthropic, Google and a worker of one's own, all played by the replay.

    ``calls``: the arguments of the call that a model makes, by the tool that the agent offers for it. ``targets``:
    what stands in the catalogue of one's own; ``disable``: shipped ones that are not there.
    """
    port = find_free_port()
    replay = [
        sys.executable, str(shared / "tools" / "replay_upstream.py"), "--port", str(port),
        "--no-nearest", "--canned", LAST_WORDS,
    ]  # fmt: skip
    for name, arguments in calls.items():
        replay += ["--canned-tool", json.dumps({"name": name, "arguments": arguments})]
    common = {
        "context": 1_000_000,
        "output": 128_000,
        "can": CAN,
        "price": {"input": 1, "output": 4},
    }
    catalogue = folder / "catalogue.yaml"
    entries = {name: {**common, **entry} for name, entry in targets.items()}
    catalogue.write_text(yaml.safe_dump({"targets": entries, "disable": list(disable)}))
    origin = f"http://127.0.0.1:{port}"
    environ = {
        "OPENAI_API_KEY": "a", "OPENAI_BASE_URL": f"{origin}/p/openai/v1",
        "ANTHROPIC_API_KEY": "b", "ANTHROPIC_BASE_URL": f"{origin}/p/anthropic",
        "GEMINI_API_KEY": "c", "GOOGLE_GEMINI_BASE_URL": f"{origin}/p/google",
        "SGLANG_URLS": f"{origin}/p/local", "SGLANG_API_KEY": "d",
        "MOEGATE_CATALOGUE": str(catalogue),
    }  # fmt: skip
    with (
        running(replay, is_up=lambda: listens(port), log=folder / "replay.log"),
        running_gateway(folder / "home", environ) as gateway,
        httpx.Client(base_url=origin, timeout=10) as upstream,
    ):
        yield Stage(gateway, upstream)


def run_agent(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Ran:
    """``command`` in an empty git folder, with ``folder``/home as its home and nothing on standard input."""
    work = folder / "work"
    (folder / "home").mkdir(exist_ok=True)
    work.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=work, check=True)
    ran = subprocess.run(
        list(command),
        env={"PATH": os.environ["PATH"], "HOME": str(folder / "home"), **environ},
        cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS,
        check=False,
    )  # fmt: skip
    file = work / WRITTEN
    return Ran(ran.returncode, ran.stdout, ran.stderr, file.read_text() if file.exists() else None)


def tool_results(body: Mapping[str, Any]) -> list[str]:
    """What tools gave back in a request to a host, in whichever format it was asked."""
    if "input" in body:
        items = [item for item in body["input"] if item["type"] == "function_call_output"]
        return [item["output"] for item in items]
    if "contents" in body:
        parts = [part for content in body["contents"] for part in content["parts"]]
        found = [part["functionResponse"] for part in parts if "functionResponse" in part]
        return [json.dumps(one["response"]) for one in found]
    results: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            results.append(message["content"])
        elif isinstance(message["content"], list):
            blocks = [block for block in message["content"] if block["type"] == "tool_result"]
            results += [json.dumps(block["content"]) for block in blocks]
    return results
