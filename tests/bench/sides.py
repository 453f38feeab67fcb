"""The sides of a run: moegate and the peers, how each is installed, started and asked."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

LITELLM = "litellm[proxy]==1.106.2"
ROUTER = "sglang-router==0.3.2"
PORTKEY = {"name": "peers", "private": True, "dependencies": {"@portkey-ai/gateway": "1.15.2"}}


class Unavailable(Exception):
    """A side that cannot run on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side. ``prepare`` installs and configures it and gives its environment and headers;
    ``does`` says in words what happens to each request."""

    name: str
    does: str
    port: int
    command: tuple[str, ...] = ()
    model: str = "stub-model"
    prepare: Callable[[Path, int, int], "Prepared"] | None = None
    rates: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds_factor: float = 1.0
    needs_servers: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a prepared side needs to run and to be asked. ``sidecars`` run on the other CPU."""

    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def _nginx(home: Path, port: int, stub: int) -> Prepared:
    if shutil.which("nginx") is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise Unavailable("nginx is not installed")
        _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "nginx-light"], home)
    for folder in ("nginx-body", "nginx-proxy"):
        (home / folder).mkdir(exist_ok=True)
    _fill("nginx.conf", home, port, stub)
    command = ("nginx", "-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr")
    return Prepared(command=command)


def _router(home: Path, port: int, stub: int) -> Prepared:
    python = _environment(home, "sglang-router", ROUTER)
    return Prepared(
        command=(
            str(python), "-m", "sglang_router.launch_router", "--host", "127.0.0.1",
            "--port", str(port), "--worker-urls", f"http://127.0.0.1:{stub}",
            "--policy", "round_robin", "--log-level", "error",
        )
    )  # fmt: skip


def _portkey(home: Path, port: int, stub: int) -> Prepared:
    if shutil.which("npm") is None:
        raise Unavailable("npm is not installed")
    folder = home / "portkey"
    start = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not start.exists():
        folder.mkdir(exist_ok=True)
        (folder / "package.json").write_text(json.dumps(PORTKEY))
        _run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], folder)
    shim = HERE / "peers" / "mutable-headers.mjs"
    return Prepared(
        environ={"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        headers=(
            "x-portkey-provider: openai",
            f"x-portkey-custom-host: http://127.0.0.1:{stub}/v1",
            "Authorization: Bearer sk-bench",
        ),
        command=("node", "--import", str(shim), str(start), "--headless", f"--port={port}"),
    )


def prepare_litellm(home: Path, port: int, stub: int) -> Prepared:
    """LiteLLM's proxy with a model for each format that the stub speaks."""
    python = _environment(home, "litellm", LITELLM)
    _fill("litellm.yaml", home, port, stub)
    return Prepared(
        environ={
            "LITELLM_MASTER_KEY": "sk-bench",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_PROXY": "*",
        },
        headers=("Authorization: Bearer sk-bench",),
        command=(
            str(python.parent / "litellm"), "--config", str(home / "litellm.yaml"), "--host",
            "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False",
        ),
    )  # fmt: skip


def _moegate(home: Path, port: int, stub: int) -> Prepared:
    """Everything on: key, policy, PII and secret scan, hard budget, journal, SQL, log, metrics."""
    return prepare_moegate(home, port, stub, "moegate", {})


def prepare_moegate(
    home: Path, port: int, stub: int, name: str, servers: Mapping[str, str]
) -> Prepared:
    state = home / name
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    config = state / "catalogue.yaml"
    config.write_text((HERE / "catalogue.yaml").read_text())
    moegate = Path(sys.executable).with_name("moegate")
    environ = {
        "MOEGATE_HOME": str(state),
        "MOEGATE_PORT": str(port),
        "MOEGATE_DISCOVER": "off",
        "MOEGATE_SIMULATOR": "off",
        "MOEGATE_CATALOGUE": str(config),
        "OPENAI_API_KEY": "sk-bench",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{stub}/v1",
        **servers,
    }
    _run([str(moegate), "init", "--quiet"], state, environ)
    made = subprocess.run(
        [str(moegate), "keys", "create", "--team", "bench", "--budget-usd", "1000000",
         "--period", "month", "--json"],
        capture_output=True, text=True, check=True, env=os.environ | environ, cwd=state,
    )  # fmt: skip
    return Prepared(
        environ=environ,
        headers=(f"Authorization: Bearer {json.loads(made.stdout)['key']}",),
        command=(str(moegate), "serve"),
    )


def _environment(home: Path, name: str, requirement: str) -> Path:
    python = home / name / "bin" / "python"
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(home / name)], home)
        _run([str(python), "-m", "pip", "install", "-q", requirement], home)
    return python


def _fill(name: str, home: Path, port: int, stub: int) -> None:
    text = (HERE / "peers" / name).read_text()
    (home / name).write_text(text.replace("@STUB@", str(stub)).replace("@PORT@", str(port)))


def _run(command: list[str], cwd: Path, environ: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False,
        env=os.environ | dict(environ or {}),
    )  # fmt: skip
    if done.returncode:
        raise Unavailable(
            f"`{' '.join(command[:4])} …` failed: {(done.stderr or done.stdout)[-300:]}"
        )


SIDES = (
    Side("direct", "no gateway: the load generator straight to the stub", 0),
    Side("nginx", "forwards bytes: no key, no policy, no accounts", 9201, prepare=_nginx),
    Side(
        "moegate", "key, policy, PII and secret scan, hard budget, journal and SQLite, log, metrics",
        9202, prepare=_moegate,
    ),
    Side(
        "moegate-full", "the same with budgets in Redis and accounts in PostgreSQL", 9203,
        needs_servers=True,
    ),
    Side("sglang-router", "forwards to one worker, counts its load", 9204, prepare=_router),
    Side(
        "portkey", "provider by header; no key check, no budget, no accounts", 9205,
        prepare=_portkey,
    ),
    Side(
        "litellm", "master key; no database, no Redis, so no budgets and no accounts", 9206,
        prepare=prepare_litellm, rates={"paced_chat": 20, "paced_stream": 4}, seconds_factor=1.5,
    ),
)  # fmt: skip
