"""The real SGLang server as a test's worker: environment, checkpoint, process."""

import contextlib
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.servers import find_free_port, running

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent.parent / ".venv-sglang"
START_SECONDS = 240.0
CONTEXT_TOKENS = 4096
MODEL = "tiny"

Architecture = Literal["qwen3_moe", "deepseek_v3"]


@dataclass(frozen=True, slots=True)
class Worker:
    """A running server and the model it serves."""

    url: str
    model: str


def ensure_environment() -> Path:
    """Build SGLang's environment if it is not there; its Python."""
    subprocess.run(["sh", str(HERE / "setup.sh"), str(ENVIRONMENT)], check=True)
    return ENVIRONMENT / "bin" / "python"


@contextlib.contextmanager
def real_worker(folder: Path, architecture: Architecture) -> Generator[Worker]:
    """A real SGLang on the CPU with a tiny checkpoint of ``architecture``."""
    python = ensure_environment()
    checkpoint = folder / architecture
    environ = os.environ | {
        "SGLANG_USE_CPU_ENGINE": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONPATH": str(HERE / "shim"),
    }
    subprocess.run(
        [str(python), str(HERE / "make_checkpoint.py"), str(checkpoint), "--arch", architecture],
        check=True,
        capture_output=True,
        env=environ,
    )
    port = find_free_port()
    command = [
        str(python), "-m", "sglang.launch_server", "--model-path", str(checkpoint),
        "--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu",
        "--attention-backend", "torch_native", "--sampling-backend", "pytorch",
        "--disable-overlap-schedule", "--mem-fraction-static", "0.05", "--max-total-tokens", "8192",
        "--max-running-requests", "16", "--enable-metrics", "--enable-cache-report",
        "--sleep-on-idle", "--tool-call-parser", "qwen",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with running(
        command,
        is_up=lambda: _is_healthy(url),
        log=folder / f"{architecture}.log",
        environ=environ,
        start_seconds=START_SECONDS,
    ):
        yield Worker(url, MODEL)


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
