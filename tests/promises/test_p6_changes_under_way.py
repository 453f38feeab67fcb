"""P6 while things change: a policy taken back during its proof, targets whose proof broke down, keys that move.

The attacks: a rollback that overtakes the proof of what it takes back; a proof that raises as targets appear; keys that
come to another team, with and without an overlay of their own, after the policies were loaded.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import text as sql

from gateway import policy_follow, world
from gateway.identity import NewKey, lookup
from gateway.ledger import open_database
from gateway.policy_store import Change, apply_policy
from gateway.proving import Certifier, Gaps
from gateway.routing import Chains, RoutingTable
from policies.document import parse_policy
from policies.facts import TargetFacts
from policies.inherit import Levels
from tests.gateway_process import RunningGateway, Scene, running_gateway, wait_for
from tests.policy_changes import ask_nothing
from tests.upstreams import chat_answer, running_upstream

Proofs = tuple[Levels, Gaps]
Certify = Callable[[Certifier, Levels, tuple[TargetFacts, ...]], Awaitable[Proofs]]


def apply(gateway: RunningGateway, written: str, scope: str = "") -> None:
    """Put a policy in force that nobody looked at, as a process with other targets may."""

    async def run() -> None:
        engine = open_database(gateway.settings.database_url)
        document, change = parse_policy(written, source="test"), Change("a test", scope)
        await apply_policy(engine, document, written, change, ask_nothing, now=time.time())
        await engine.dispose()

    asyncio.run(run())


def change_rows(gateway: RunningGateway, statement: str) -> None:
    """Run one statement on the gateway's database."""

    async def run() -> None:
        engine = open_database(gateway.settings.database_url)
        async with engine.begin() as connection:
            await connection.execute(sql(statement))
        await engine.dispose()

    asyncio.run(run())


def test_what_was_taken_back_during_its_proof_is_never_in_force(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback comes while a process still proves: what it takes back decides not even for a second."""
    begun, is_free = threading.Event(), threading.Event()
    taken: list[str] = []
    certify: Certify = Certifier.certify_levels
    swap = RoutingTable.swap_policies

    async def slowly(self: Certifier, levels: Levels, targets: tuple[TargetFacts, ...]) -> Proofs:
        if levels.base.document is not None and levels.base.document.name == "slow":
            begun.set()
            await asyncio.to_thread(is_free.wait, 10)
        return await certify(self, levels, targets)

    def note(self: RoutingTable, levels: Levels, chains: Chains) -> None:
        swap(self, levels, chains)
        taken.append(self.current.policy.label.partition("@")[0])

    monkeypatch.setattr(policy_follow, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(Certifier, "certify_levels", slowly)
    monkeypatch.setattr(RoutingTable, "swap_policies", note)
    apply(scene.gateway, "policy: slow\n")
    assert begun.wait(5)
    apply(scene.gateway, "policy: back\n")
    is_free.set()
    wait_for(lambda: "back" in taken)
    assert taken == ["back"]


def test_targets_whose_proof_breaks_down_are_proved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while targets are taken up (no memory, say) is no reason to wait until others appear."""
    monkeypatch.setattr(world, "FOLLOW_SECONDS", 0.05)
    certify: Certify = Certifier.certify_levels
    broken: list[int] = []
    with running_upstream() as home, running_upstream() as late:
        home.default = late.default = chat_answer()
        late.models = ()
        urls = f"{home.url},{late.url}"
        with running_gateway(tmp_path / "home", {"SGLANG_URLS": urls}) as gateway:

            async def break_once(
                self: Certifier, levels: Levels, targets: tuple[TargetFacts, ...]
            ) -> Proofs:
                if not broken:
                    broken.append(1)
                    raise MemoryError
                return await certify(self, levels, targets)

            monkeypatch.setattr(Certifier, "certify_levels", break_once)
            late.models = ("new",)
            routing = gateway.runtime.services.routing
            wait_for(lambda: any("new" in one.name for one in routing.current.targets))
            assert broken


def test_a_key_that_moves_is_decided_by_where_it_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its policy is that of its new team at once, and with an overlay of its own over that one within a second; until
    then it is told to come back, never decided by less."""
    monkeypatch.setattr(lookup, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(policy_follow, "POLL_SECONDS", 0.02)
    gateway = scene.gateway
    token = gateway.make_key(NewKey("loose", name="mover"))
    gateway.make_key(NewKey("strict"))
    [key] = [row["key_id"] for row in gateway.rows("keys") if row["name"] == "mover"]
    teams = {row["name"]: row["team_id"] for row in gateway.rows("teams")}
    apply(gateway, "policy: tight\nattempts: {max: 1}\n", f"team:{teams['strict']}")

    def ask() -> str:
        answer = gateway.say(authorization=f"Bearer {token}")
        assert answer.status_code in (200, 503), answer.text
        return answer.headers.get("x-moegate-policy", "")

    routing = gateway.runtime.services.routing
    wait_for(lambda: "+tight@" in "".join(one.label for one in routing.current.chains.values()))
    assert "+tight@" not in ask()
    change_rows(gateway, f"UPDATE keys SET team_id = '{teams['strict']}' WHERE key_id = '{key}'")
    assert "+tight@" in ask()
    apply(gateway, "policy: own\n", f"key:{key}")
    wait_for(lambda: "+tight@" in (label := ask()) and "+own@" in label)
    change_rows(gateway, f"UPDATE keys SET team_id = '{teams['loose']}' WHERE key_id = '{key}'")
    wait_for(lambda: "+tight@" not in (label := ask()) and "+own@" in label, 3)
