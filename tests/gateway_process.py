"""The real gateway for tests: whole, over sockets, in a thread of this process."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from backends.catalogue import read_providers
from gateway.api.server import server_config
from gateway.app import Gateway
from gateway.clock import Clock
from gateway.identity import NewKey, create_key
from gateway.ledger import open_database
from gateway.prepare import prepare
from gateway.runtime import Runtime
from gateway.settings import ProviderVariables, Settings, load_settings
from tests.upstreams import Upstream, running_upstream

START_SECONDS = 15.0
# For clients of gateways, which speak plain HTTP: reading the web's certificates takes 30 ms of CPU each time.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(slots=True)
class RunningGateway:
    """A gateway that answers at ``url``; ``key`` is its admin key."""

    url: str
    key: str
    settings: Settings
    runtime: Runtime
    client: httpx.Client

    def chat(self, body: Mapping[str, object], **headers: str) -> httpx.Response:
        """One chat request with the admin key."""
        sent = {"authorization": f"Bearer {self.key}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/v1/chat/completions", json=body, headers=sent)

    def say(self, text: str = "hi", model: str = "auto", **more: object) -> httpx.Response:
        """One chat request with one message."""
        headers = {
            name: str(more.pop(name))
            for name in list(more)
            if name.startswith(("x_", "authorization"))
        }
        return self.chat(
            {"model": model, "messages": [{"role": "user", "content": text}], **more}, **headers
        )

    def make_key(self, asked: NewKey) -> str:
        """Another key."""

        async def make() -> str:
            engine = open_database(self.settings.database_url)
            try:
                return (await create_key(engine, asked, now=time.time()))[0]
            finally:
                await engine.dispose()

        return asyncio.run(make())

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, once everything that is journalled is in it."""
        from sqlalchemy import text

        async def read() -> list[dict[str, Any]]:
            engine = open_database(self.settings.database_url)
            try:
                async with engine.connect() as connection:
                    found = await connection.execute(text(f"SELECT * FROM {table}"))
                    return [dict(row) for row in found.mappings()]
            finally:
                await engine.dispose()

        journal = self.runtime.services.journal
        wait_for(lambda: journal.unshipped == 0)
        return asyncio.run(read())


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.005)


def make_settings(home: Path, environ: dict[str, str]) -> Settings:
    """Settings of a gateway that looks at nothing on this machine unless ``environ`` says so."""
    variables = {
        name: ProviderVariables(provider.api_key_variable, provider.base_url_variable)
        for name, provider in read_providers().items()
    }
    quiet = {"MOEGATE_DISCOVER": "off", "MOEGATE_SIMULATOR": "off", "MOEGATE_HOME": str(home)}
    return load_settings(environ=quiet | environ, variables=variables)


@contextlib.contextmanager
def running_gateway(
    home: Path, environ: dict[str, str], clock: Clock | None = None
) -> Generator[RunningGateway]:
    """A gateway for as long as the context lasts."""
    settings = make_settings(home, environ)
    prepared = asyncio.run(prepare(settings))
    started: list[Runtime] = []
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # The gateway tells that it has started before the server listens: who calls at once waits, and is not refused.
    listener.listen()
    config = server_config(Gateway(settings, started.append, clock))
    config.loop, config.timeout_graceful_shutdown = "asyncio", 2
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        wait_for(lambda: bool(started) or not thread.is_alive(), START_SECONDS)
        assert started, "the gateway did not start"
        with httpx.Client(base_url=url, timeout=30, verify=NO_CERTIFICATES) as client:
            key = prepared.admin_key or environ.get("MOEGATE_ADMIN_TOKEN", "")
            yield RunningGateway(url, key, settings, started[0], client)
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@dataclass(slots=True)
class Scene:
    """A gateway between two hosts: one outside (as OpenAI), one at home (as SGLang)."""

    gateway: RunningGateway
    outside: Upstream
    home: Upstream


def two_sided(outside: Upstream, home: Upstream) -> dict[str, str]:
    """The environment in which ``outside`` is OpenAI and ``home`` is a worker of one's own."""
    return {
        "OPENAI_API_KEY": "sk-test-outside",
        "OPENAI_BASE_URL": f"{outside.url}/v1",
        "SGLANG_URLS": home.url,
    }


@pytest.fixture
def scene(tmp_path: Path) -> Generator[Scene]:
    """A fresh gateway between two fresh hosts."""
    with (
        running_upstream() as outside,
        running_upstream() as home,
        running_gateway(tmp_path / "home", two_sided(outside, home)) as gateway,
    ):
        yield Scene(gateway, outside, home)
