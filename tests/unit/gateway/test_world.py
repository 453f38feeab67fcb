"""Looking for servers while the gateway runs."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from backends.adapter import ProviderAdapter
from backends.catalogue import Catalogue
from backends.transport import Transport
from gateway import world
from gateway.errors import StartError
from gateway.telemetry.log import LineWriter, make_logger
from gateway.world import World
from tests.gateway_process import make_settings


def test_what_could_not_be_taken_up_is_offered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets that changed stay to be taken up, though nothing changes any more."""
    monkeypatch.setattr(world, "FOLLOW_SECONDS", 0.0)
    offered: list[Catalogue] = []

    async def run() -> None:
        done = asyncio.Event()

        async def take(catalogue: Catalogue, adapters: Mapping[str, ProviderAdapter]) -> None:
            del adapters
            offered.append(catalogue)
            if len(offered) == 1:
                raise OSError("the prover could not be loaded")
            done.set()

        settings = make_settings(tmp_path, {"SGLANG_URLS": "http://127.0.0.1:9"})
        transport = Transport()
        with (tmp_path / "log").open("wb") as file:
            writer = LineWriter(file.fileno())
            looking = World(settings, transport, make_logger(writer, "info")).follow(take)
            following = asyncio.create_task(looking)
            await asyncio.wait_for(done.wait(), 10)
            following.cancel()
            writer.close()
        await transport.close()

    asyncio.run(run())
    assert offered[0] is offered[1]


def test_what_could_not_be_read_is_news_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is broken for a moment does not make a change unseen."""

    async def run() -> None:
        settings = make_settings(tmp_path, {"SGLANG_URLS": "http://127.0.0.1:9"})
        transport = Transport()
        with (tmp_path / "log").open("wb") as file:
            writer = LineWriter(file.fileno())
            seen = World(settings, transport, make_logger(writer, "info"))
            read, fails = world.read_catalogue, [True]

            def read_late(*asked: object) -> Catalogue:
                if fails:
                    fails.clear()
                    raise StartError("the file is not there")
                return read(*asked)  # pyright: ignore[reportArgumentType]  # as it was called

            monkeypatch.setattr(world, "read_catalogue", read_late)
            with pytest.raises(StartError):
                await seen.look()
            assert await seen.look()
            assert not await seen.look()
            writer.close()
        await transport.close()

    asyncio.run(run())
