"""The recorded providers as hosts: a replay of real exchanges, and a gateway in front of it."""

import contextlib
import json
import sys
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.gateway_process import RunningGateway, running_gateway
from tests.servers import find_free_port, listens, running

API_OF = {"openai": "chat", "anthropic": "messages", "gemini": "generateContent"}


@dataclass(slots=True)
class Stage:
    """A gateway in front of the replay. ``exchanges`` are the recordings by id."""

    gateway: RunningGateway
    replay: httpx.Client
    exchanges: dict[str, dict[str, Any]]

    def last(self) -> dict[str, Any]:
        """The recording that answered last, and what the replay saw of the request."""
        entries = self.replay.get("/__log").json()
        entry = next(one for one in reversed(entries) if one["exchange"])
        return self.exchanges[entry["exchange"]] | {"seen": entry}

    def fail(self, spec: str, times: int = 1) -> None:
        """The next requests upstream meet this fault."""
        self.replay.post("/__fault", json={"spec": spec, "times": times})


def read_exchanges(shared: Path) -> Generator[dict[str, Any]]:
    """Every recording."""
    import gzip

    for path in sorted((shared / "exchanges").glob("*.jsonl*")):
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        for line in data.decode().splitlines():
            yield json.loads(line)


def write_catalogue(path: Path, exchanges: Iterable[dict[str, Any]]) -> None:
    """Targets for every recorded model, at made-up prices: many are no longer in the catalogue."""
    provider_of = {"openai": "openai", "anthropic": "anthropic", "google": "gemini"}
    targets: dict[str, Any] = {}
    for exchange in exchanges:
        provider = provider_of.get(exchange["provider"])
        if provider is None or exchange["api"] != API_OF[provider] or not exchange["model"]:
            continue
        targets[f"recorded-{provider}/{exchange['model']}"] = {
            "provider": provider,
            "model": exchange["model"],
            "context": 1_000_000,
            "output": 8192,
            "can": ["tools", "parallel_tools", "images", "audio", "documents", "json_schema", "reasoning",
                    "logprobs", "seed", "choices"],
            "price": {"input": 1, "output": 4, "cache_read": "0.1", "cache_write": "1.25"},
        }  # fmt: skip
    path.write_text(yaml.safe_dump({"targets": targets}))


@contextlib.contextmanager
def replaying(shared: Path, folder: Path) -> Generator[Stage]:
    """The replay as OpenAI, Anthropic, Google and a worker of one's own; the gateway before it."""
    exchanges = list(read_exchanges(shared))
    catalogue = folder / "catalogue.yaml"
    write_catalogue(catalogue, exchanges)
    port = find_free_port()
    command = [sys.executable, str(shared / "tools" / "replay_upstream.py"), "--port", str(port)]
    command += ["--corpus", str(shared / "exchanges"), "--ignore", "stream_options"]
    origin = f"http://127.0.0.1:{port}"
    environ = {
        "OPENAI_API_KEY": "sk-a", "OPENAI_BASE_URL": f"{origin}/p/openai/v1",
        "ANTHROPIC_API_KEY": "sk-b", "ANTHROPIC_BASE_URL": f"{origin}/p/anthropic",
        "GEMINI_API_KEY": "sk-c", "GOOGLE_GEMINI_BASE_URL": f"{origin}/p/google",
        "SGLANG_URLS": f"{origin}/p/local", "SGLANG_API_KEY": "sk-d",
        "MOEGATE_CATALOGUE": str(catalogue),
    }  # fmt: skip
    with (
        running(command, is_up=lambda: listens(port), log=folder / "replay.log"),
        running_gateway(folder / "home", environ) as gateway,
        httpx.Client(base_url=origin, timeout=10) as replay,
    ):
        yield Stage(gateway, replay, {one["id"]: one for one in exchanges})
