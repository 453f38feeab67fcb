"""Work beside the requests goes on, whatever becomes of one piece of it."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from gateway import background
from gateway.background import Background


async def test_what_must_not_end_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in a watch is told, and the watch goes on."""
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.0)
    begun, is_third = 0, asyncio.Event()

    async def watch() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError("a defect")
        is_third.set()
        await asyncio.Event().wait()

    with capture_logs() as lines:
        work = Background(structlog.get_logger())
        work.keep(watch, "watch")
        async with asyncio.timeout(5):
            await is_third.wait()
            await work.close()
    assert [(line["work"], line["error"]) for line in lines] == [("watch", "KeyError")] * 2


async def test_what_came_to_its_end_is_not_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that finds nothing to watch returns, and that is all."""
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.0)
    begun = 0

    async def watch() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise KeyError("a defect")

    work = Background(structlog.get_logger())
    work.keep(watch, "watch")
    for _ in range(20):
        await asyncio.sleep(0)
    await work.close()
    assert begun == 2


async def test_closing_waits_for_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends soon comes to its end, what does not is cancelled and gone."""
    monkeypatch.setattr(background, "CLOSE_SECONDS", 0.1)
    ended: list[str] = []

    async def last(seconds: float, name: str) -> None:
        try:
            await asyncio.sleep(seconds)
            ended.append(name)
        finally:
            ended.append(f"{name} let go")

    work = Background(structlog.get_logger())
    work.start(last(0.01, "short"), "short")
    work.start(last(60, "long"), "long")
    await work.close()
    assert ended == ["short", "short let go", "long let go"]
