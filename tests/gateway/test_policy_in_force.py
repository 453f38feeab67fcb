"""A running gateway follows the policy in SQL."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway import policy_follow
from gateway.ledger import open_database
from gateway.policy_store import Change, apply_policy, latest_activation
from policies.document import PolicyDocument, parse_policy
from tests.gateway_process import RunningGateway, Scene, wait_for
from tests.policy_changes import ask_nothing


def apply(gateway: RunningGateway, name: str, *, more: str = "") -> None:
    """Put a policy of one line in force, with ``more`` that nobody looked at."""

    async def write() -> None:
        engine = open_database(gateway.settings.database_url)
        text = f"policy: {name}\n"
        document = parse_policy(text, source="test")
        await apply_policy(
            engine, document, text + more, Change(author="a test"), ask_nothing, now=time.time()
        )
        await engine.dispose()

    asyncio.run(write())


def test_a_policy_that_does_not_work_is_tried_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another release, with a member unknown here: refused once, and the next one is taken up."""
    parsed, looks = [], 0

    def note(text: str, *, source: str) -> PolicyDocument:
        parsed.append(source)
        return parse_policy(text, source=source)

    def count(
        look: Callable[[AsyncEngine], Awaitable[int]],
    ) -> Callable[[AsyncEngine], Awaitable[int]]:
        async def counted(engine: AsyncEngine) -> int:
            nonlocal looks
            looks += 1
            return await look(engine)

        return counted

    monkeypatch.setattr(policy_follow, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(policy_follow, "latest_activation", count(latest_activation))
    monkeypatch.setattr("gateway.policy_store.versions.parse_policy", note)
    routing = scene.gateway.runtime.services.routing
    before = routing.current.policy.label
    apply(scene.gateway, "later", more="from_the_future: 1\n")
    wait_for(lambda: bool(parsed))
    seen = looks
    wait_for(lambda: looks > seen + 5)
    assert parsed == ["policy version 2"]
    assert routing.current.policy.label == before
    apply(scene.gateway, "mended")
    wait_for(lambda: routing.current.policy.label.startswith("mended@"))
    assert parsed == ["policy version 2", "policy version 3"]
