"""P6: what is in force is proved, of the targets at hand and by this release; what is not says so and holds back.

The attacks: other targets after the proof, at a restart and while the gateway runs; a certificate of another
release; levels that are proved apart and not together; changes that come between a proof and its activation;
provers that run out of time, and proofs without a database.
"""

import asyncio
import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text as sql

from gateway import proving, world
from gateway.app import check_start, open_gateway
from gateway.cli.doctor import examine
from gateway.errors import StartError
from gateway.ledger import open_database
from gateway.policy_store import Applied, Certify, Change, Proved, Unfit, Unproved, apply_policy
from gateway.prepare import prepare
from gateway.proving import Certifier
from policies.check import STAND_INS
from policies.document import PolicyDocument, parse_policy
from tests.gateway_process import (
    RunningGateway,
    make_settings,
    running_gateway,
    two_sided,
    wait_for,
)
from tests.policy_changes import ask_nothing
from tests.upstreams import Upstream, chat_answer, running_upstream

AT_HOME = """policy: at-home
invariants:
  - never: 'target.boundary == "external"'
"""
"""Claims what only a catalogue without providers makes true."""
SWITCH_SECONDS = 5.0
GPT = "openai/gpt-5.5"


@contextmanager
def at_home_only(folder: Path, home: Upstream) -> Generator[RunningGateway]:
    with running_gateway(folder, {"SGLANG_URLS": home.url}) as gateway:
        yield gateway


def post(gateway: RunningGateway, **said: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}"}
    return gateway.client.post("/admin/api/v1/policies", json=said, headers=headers)


def status(gateway: RunningGateway) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {gateway.key}"}
    return gateway.client.get("/admin/api/v1/policies/status", headers=headers).json()


def label_of(gateway: RunningGateway) -> str:
    return gateway.say().headers["x-moegate-policy"]


def names(gateway: RunningGateway) -> list[str]:
    return [target.name for target in gateway.runtime.services.routing.current.targets]


def change_rows(gateway: RunningGateway, statement: str) -> None:
    """Run one statement on the gateway's database."""

    async def run() -> None:
        engine = open_database(gateway.settings.database_url)
        async with engine.begin() as connection:
            await connection.execute(sql(statement))
        await engine.dispose()

    asyncio.run(run())


def test_a_provider_switched_on_after_the_proof_gets_nothing(tmp_path: Path) -> None:
    """Its targets are held back, the home goes on under a policy that says it is unproven, the status says why."""
    folder = tmp_path / "home"
    with running_upstream() as outside, running_upstream() as home:
        home.default = chat_answer()
        with at_home_only(folder, home) as gateway:
            assert post(gateway, document=AT_HOME).status_code == 201
            wait_for(lambda: label_of(gateway).startswith("at-home@"), SWITCH_SECONDS)
            assert not label_of(gateway).endswith("-unproven")
            key = gateway.key
        environ = two_sided(outside, home) | {"MOEGATE_ADMIN_TOKEN": key}
        with running_gateway(folder, environ) as gateway:
            assert label_of(gateway).endswith("-unproven")
            refused = gateway.say(model=GPT)
            assert (refused.status_code, refused.headers["x-moegate-error"]) == (503, "overloaded")
            assert "not proved" in refused.json()["error"]["message"]
            assert gateway.say().headers["x-moegate-target"].startswith("sglang")
            tried = gateway.client.post(
                "/admin/api/v1/policies/explain",
                json={"request": {"model": GPT, "messages": [{"role": "user", "content": "hi"}]}},
                headers={"authorization": f"Bearer {key}"},
            ).json()["decision"]
            assert tried["policy"].endswith("-unproven")
            assert [one["by"] for one in tried["struck"]] == ["proof"]
            over = "policy: over\ninvariants:\n  - never: 'target.boundary == \"self_hosted\"'\n"
            [team] = gateway.rows("teams")
            change(gateway, over, scope=f"team:{team['team_id']}", override="an exercise")
            wait_for(lambda: "+over@" in label_of(gateway), SWITCH_SECONDS)
            assert gateway.say(model=GPT).status_code == 503  # nobody did without the base's claim
            wait_for(lambda: bool(status(gateway)["processes"]), SWITCH_SECONDS)
            assert any("not proved with its targets" in one for one in status(gateway)["drift"])
        assert outside.requests == []


def test_a_first_start_with_a_claim_that_does_not_hold_is_none(tmp_path: Path) -> None:
    """No target is proved to be used as claimed, so that there is nothing to serve."""
    path = tmp_path / "mine.yaml"
    path.write_text(AT_HOME)
    environ = {"OPENAI_API_KEY": "sk-x", "MOEGATE_POLICY": str(path)}
    settings = make_settings(tmp_path / "home", environ)

    async def start() -> None:
        await prepare(settings)
        async with open_gateway(settings):
            pass

    refused = pytest.raises(StartError, match=r"does not work: .*refuted: never: target.boundary")
    with refused:
        asyncio.run(start())
    with refused:  # Before several processes start, which would be replaced for ever.
        asyncio.run(check_start(settings))
    assert [
        (one.name, one.state) for one in asyncio.run(examine(settings)) if "proved" in one.detail
    ] == [("policy", "broken")]


def test_a_first_start_proves_over_the_targets_that_it_finds(tmp_path: Path) -> None:
    """A document of one's own that holds here, though not anywhere, is proved before anything is answered."""
    path = tmp_path / "mine.yaml"
    path.write_text(AT_HOME)
    with (
        running_upstream() as home,
        running_gateway(
            tmp_path / "home", {"SGLANG_URLS": home.url, "MOEGATE_POLICY": str(path)}
        ) as gateway,
    ):
        label = label_of(gateway)
        assert label.startswith("at-home@")
        assert not label.endswith("-unproven")


@pytest.mark.parametrize("model", ["fine", "odd"])
def test_targets_that_appear_are_used_once_they_are_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """A second worker comes up while the gateway runs: with a model that the claims allow, or with one that not."""
    monkeypatch.setattr(world, "FOLLOW_SECONDS", 0.1)
    document = "policy: picky\ninvariants:\n  - never: 'target.model == \"odd\"'\n"
    with running_upstream() as home, running_upstream() as late:
        home.default = late.default = chat_answer()
        late.models = ()
        urls = f"{home.url},{late.url}"
        with running_gateway(tmp_path / "home", {"SGLANG_URLS": urls}) as gateway:
            assert post(gateway, document=document).status_code == 201
            wait_for(lambda: label_of(gateway).startswith("picky@"), SWITCH_SECONDS)
            late.models = (model,)
            wait_for(lambda: any(model in name for name in names(gateway)), SWITCH_SECONDS)
            [target] = [name for name in names(gateway) if model in name]
            is_fine = model == "fine"
            answer = gateway.say(model=target)
            assert answer.status_code == (200 if is_fine else 503), answer.text
            assert label_of(gateway).endswith("-unproven") is not is_fine


def test_what_these_targets_kept_out_comes_in_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A policy that was proved elsewhere waits outside until the claims hold here, and not for the next change."""
    monkeypatch.setattr(world, "FOLLOW_SECONDS", 0.1)
    document = "policy: no-odd\ninvariants:\n  - never: 'target.model == \"odd\"'\n"
    with running_upstream() as home:
        home.default, home.models = chat_answer(), ("odd",)
        with running_gateway(tmp_path / "home", {"SGLANG_URLS": home.url}) as gateway:
            change(gateway, document, certify=ask_nothing)
            wait_for(lambda: "policy not taken up" in capfd.readouterr().out, SWITCH_SECONDS)
            assert not label_of(gateway).startswith("no-odd@")
            home.models = ("fine",)
            wait_for(lambda: label_of(gateway).startswith("no-odd@"), SWITCH_SECONDS)


def test_what_is_not_proved_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    """Refuted, with the counterexample; or out of time."""
    with (
        running_upstream() as outside,
        running_upstream() as home,
        running_gateway(tmp_path / "home", two_sided(outside, home)) as gateway,
    ):
        before = label_of(gateway)
        refused = post(gateway, document=AT_HOME)
        assert refused.status_code == 400
        assert "refuted: never: target.boundary" in refused.json()["error"]["message"]
        assert label_of(gateway) == before
        assert gateway.rows("policy_activations")[-1]["version"] == 1


def test_a_prover_without_time_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out is no proof."""
    monkeypatch.setattr(proving, "SECONDS_MAX", 0.0)
    with (
        running_upstream() as home,
        running_gateway(tmp_path / "home", {"SGLANG_URLS": home.url}) as gateway,
    ):
        refused = post(gateway, document=AT_HOME)
        assert refused.status_code == 400
        assert "timeout: never" in refused.json()["error"]["message"]


def test_another_release_proves_again(tmp_path: Path) -> None:
    """A certificate of other code stands for nothing: a start makes its own."""
    folder = tmp_path / "home"
    with running_upstream() as home:
        home.default = chat_answer()
        with at_home_only(folder, home) as gateway:
            assert post(gateway, document=AT_HOME).status_code == 201
            key = gateway.key
            change_rows(
                gateway,
                "UPDATE policy_proofs SET verifier = 'older', certificate = "
                "REPLACE(certificate, verifier, 'older')",
            )
        environ = {"SGLANG_URLS": home.url, "MOEGATE_ADMIN_TOKEN": key}
        with running_gateway(folder, environ) as gateway:
            assert not label_of(gateway).endswith("-unproven")
            verifiers = [
                json.loads(row["certificate"])["verifier"]
                for row in gateway.rows("policy_proofs")
                if "at-home" not in row["policy"]
            ]
            assert "older" in verifiers
            assert len(set(verifiers)) == 2


BASE = """policy: base
constraints:
  - {name: eu stays, when: 'tenant.residency == "eu"', require: 'target.region != "us"'}
invariants:
  - always_some_target: 'true'
    assuming: 'target.healthy && target.capable && worst_case_cost_usd <= 1.0'
"""
NARROW = """policy: narrow
constraints:
  - {name: only there, require: 'target.provider == "nowhere"'}
"""


def change(
    gateway: RunningGateway, written: str, certify: Certify | None = None, **said: Any
) -> Applied:
    """Apply as the command does, with the proofs of a certifier of its own over the gateway's targets."""

    async def run() -> Applied:
        engine = open_database(gateway.settings.database_url)
        certifier, facts = Certifier(engine), gateway.runtime.services.routing.current.facts

        async def prove_here(documents: Sequence[PolicyDocument]) -> Proved:
            return (await certifier.certify(documents, facts)).to_proved()

        try:
            return await apply_policy(
                engine,
                parse_policy(written, source="test"),
                written,
                Change(author="a test", **said),
                certify or prove_here,
                now=time.time(),
            )
        finally:
            await engine.dispose()

    return asyncio.run(run())


def test_levels_are_proved_together(tmp_path: Path) -> None:
    """An overlay that only tightens may leave nobody where the base claims that somebody is left; neither may it
    come in over a base that is only scheduled."""
    with (
        running_upstream() as home,
        running_gateway(tmp_path / "home", {"SGLANG_URLS": home.url}) as gateway,
    ):
        assert change(gateway, BASE).is_new
        with pytest.raises(Unproved, match="always_some_target"):
            change(gateway, NARROW, scope="team:t1")
        change(gateway, "policy: calm\n")
        later = time.time() + 1000
        change(gateway, BASE.replace("policy: base", "policy: base2"), starts_at=later)
        named = (
            r"^not proved of `base2@[^`]+` \(in force from [^)]+ on\); refuted: always_some_target"
        )
        with pytest.raises(Unproved, match=named):
            change(gateway, NARROW, scope="team:t1")
        assert change(gateway, NARROW, scope="team:t1", override="an exercise").activation


def test_what_comes_between_proof_and_activation_is_looked_at(tmp_path: Path) -> None:
    """Another change while a proof runs makes it run again, over what is in force then; and not for ever."""
    with (
        running_upstream() as home,
        running_gateway(tmp_path / "home", {"SGLANG_URLS": home.url}) as gateway,
    ):
        looks: list[list[str]] = []

        async def run(is_restless: bool) -> Applied:
            engine = open_database(gateway.settings.database_url)

            async def certify(documents: Sequence[PolicyDocument]) -> Proved:
                looks.append([one.name for one in documents])
                if is_restless or len(looks) == 1:
                    other = f"policy: other{len(looks)}\n"
                    await apply_policy(
                        engine, parse_policy(other, source="test"), other, Change(author="another"),
                        ask_nothing, now=time.time(),
                    )  # fmt: skip
                return Proved()

            try:
                return await apply_policy(
                    engine, parse_policy(NARROW, source="test"), NARROW,
                    Change(author="a test", scope="team:t1"), certify, now=time.time(),
                )  # fmt: skip
            finally:
                await engine.dispose()

        assert asyncio.run(run(is_restless=False)).is_new
        assert [names[-1].partition("@")[0] for names in looks] == ["balanced", "other1"]
        with pytest.raises(Unfit, match="try again"):
            asyncio.run(run(is_restless=True))


def test_without_a_database_a_process_proves_for_itself(tmp_path: Path) -> None:
    """What it knows it does not prove again."""

    async def run() -> None:
        engine = open_database(f"sqlite+aiosqlite:///{tmp_path}/no/such/folder.db")
        certifier, document = Certifier(engine), parse_policy("policy: calm\n", source="test")
        found = await certifier.certify([document], ())
        assert [one.is_proof for one in found.certificates[document.digest]] == [True]
        assert await certifier.certify([document], ()) == found
        await engine.dispose()

    asyncio.run(run())


def test_two_who_want_the_same_proof_share_one(tmp_path: Path) -> None:
    """Who waits for the prover finds what the other had it find, a failure too."""

    async def run() -> None:
        engine = open_database(f"sqlite+aiosqlite:///{tmp_path}/no/such/folder.db")
        certifier, document = Certifier(engine), parse_policy(AT_HOME, source="test")
        asked = (certifier.certify([document], STAND_INS) for _twice in range(2))
        first, second = await asyncio.gather(*asked)
        assert first.failed[document.digest] is second.failed[document.digest]
        await engine.dispose()

    asyncio.run(run())


def test_a_proof_takes_the_place_of_a_try_that_ran_out_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an owner put in force without is proved once when it can be, and not by each process again."""
    with (
        running_upstream() as home,
        running_gateway(tmp_path / "home", {"SGLANG_URLS": home.url}) as gateway,
    ):
        facts = gateway.runtime.services.routing.current.facts
        document = parse_policy(AT_HOME, source="test")

        async def is_proved() -> bool:
            engine = open_database(gateway.settings.database_url)
            found = await Certifier(engine).certify([document], facts)
            await engine.dispose()
            return not found.failed

        with monkeypatch.context() as hurried:
            hurried.setattr(proving, "SECONDS_MAX", 0.0)
            change(gateway, AT_HOME, override="an exercise")
            assert not asyncio.run(is_proved())
        assert asyncio.run(is_proved())
        monkeypatch.setattr(proving, "SECONDS_MAX", 0.0)
        assert asyncio.run(is_proved()), "it was kept"
