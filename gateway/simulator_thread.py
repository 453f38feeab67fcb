"""The simulator inside the gateway's process: a server of its own on a free port of the loopback.

Spoken to over HTTP like any worker, so that the first request of a newcomer goes the way of all others.
"""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from backends.sglang.simulator import SimulatorSettings, build_simulator


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """Where it listens and what it serves."""

    url: str
    model: str
    context_tokens_max: int


@contextmanager
def run_simulator() -> Generator[RunningSimulator]:
    """A simulator for as long as the context lasts."""
    settings = SimulatorSettings()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    config = uvicorn.Config(
        build_simulator(settings), http="httptools", loop="uvloop", lifespan="off",
        access_log=False, log_level="warning",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="simulator", daemon=True
    )
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield RunningSimulator(url, settings.model, settings.context_tokens_max)
    finally:
        server.should_exit = True
        thread.join(timeout=5.0)
        listener.close()
