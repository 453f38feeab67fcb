"""P7: what one organisation asks, pays and keeps, no other sees; secrets stand nowhere in the clear."""

import asyncio
import json
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from gateway.errors import StartError
from gateway.identity import NewKey, revoke_key
from gateway.ledger import open_database
from tests.gateway_process import RunningGateway, Scene, running_gateway, two_sided, wait_for
from tests.upstreams import Upstream, chat_answer, running_upstream

PRICED = "openai/gpt-5.4-nano"


OTHERS = NewKey("others", organisation="other")


@pytest.fixture(params=["memory", "redis"])
def apart(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Generator[tuple[RunningGateway, Upstream]]:
    """A gateway with a cache of each kind, before one host outside."""
    environ = {}
    if request.param == "redis":
        environ["MOEGATE_REDIS_URL"] = str(request.getfixturevalue("redis_url"))
    with running_upstream() as outside, running_upstream() as home:
        outside.default = home.default = chat_answer()
        with running_gateway(tmp_path / "home", two_sided(outside, home) | environ) as gateway:
            yield gateway, outside


def test_answers_of_one_are_not_the_others(apart: tuple[RunningGateway, Upstream]) -> None:
    """The same question of another organisation is a call of its own; inside one it is a hit."""
    gateway, outside = apart
    other = f"Bearer {gateway.make_key(OTHERS)}"
    assert gateway.say(model=PRICED, temperature=0).headers["x-moegate-cache"] == "miss"
    wait_for(lambda: gateway.say(model=PRICED, temperature=0).headers["x-moegate-cache"] == "hit")
    calls = len(outside.requests)
    asked = gateway.say(model=PRICED, temperature=0, authorization=other)
    assert asked.headers["x-moegate-cache"] == "miss"
    assert len(outside.requests) == calls + 1


def test_records_of_one_are_not_the_others(scene: Scene) -> None:
    """Another organisation's administrator and another key of one's own find nothing, and are told
    exactly what they would be told of an id that never was."""
    gateway = scene.gateway
    admin = f"Bearer {gateway.make_key(replace(OTHERS, roles=frozenset({'admin'})))}"
    colleague = f"Bearer {gateway.make_key(NewKey('default'))}"
    request_id = gateway.say().headers["x-moegate-request-id"]
    gateway.rows("requests")

    def look(path: str, authorization: str) -> tuple[int, str]:
        answer = gateway.client.get(path, headers={"authorization": authorization})
        return answer.status_code, (answer.json().get("error") or {}).get("message", "")

    path = f"/admin/api/v1/requests/{request_id}"
    assert look(path, f"Bearer {gateway.key}")[0] == 200
    nothing = look("/admin/api/v1/requests/req_never_was", admin)
    assert nothing[0] == 404
    assert look(path, admin) == look(path, colleague) == nothing


def test_decisions_of_one_team_are_not_the_others(scene: Scene) -> None:
    """A team's keys see why its own requests went where they went; another team and another organisation's
    administrator are told what they would be told of an id that never was."""
    gateway = scene.gateway
    own = f"Bearer {gateway.make_key(NewKey('search'))}"
    colleague, neighbour, admin = (
        f"Bearer {gateway.make_key(asked)}"
        for asked in (
            NewKey("search"),
            NewKey("sales"),
            replace(OTHERS, team="search", roles=frozenset({"admin"})),
        )
    )
    request_id = gateway.say(authorization=own).headers["x-moegate-request-id"]
    gateway.rows("requests")

    def look(authorization: str, asked: str, accept: str = "*/*") -> tuple[int, object]:
        path = f"/admin/api/v1/requests/{asked}/decision"
        headers = {"authorization": authorization, "accept": accept}
        answer = gateway.client.get(path, headers=headers)
        if answer.status_code == 200:
            return 200, None
        said = answer.json()["error"]
        del said["request_id"]  # that of the look itself
        return answer.status_code, said

    for allowed in (own, colleague, f"Bearer {gateway.key}"):
        assert look(allowed, request_id)[0] == 200
    for accept in ("*/*", "text/plain"):
        nothing = look(admin, "req_never_was", accept)
        assert nothing[0] == 404
        assert look(admin, request_id, accept) == look(neighbour, request_id, accept) == nothing
    assert look("Bearer mg-none", request_id)[0] == 401


def test_a_residency_is_the_organisations_own(scene: Scene) -> None:
    """No header of a client's widens where its data may go, and no second key changes it."""
    gateway = scene.gateway
    european = f"Bearer {gateway.make_key(replace(OTHERS, residency='eu'))}"
    for name in ("x_data_class", "x_residency", "x_moegate_residency", "x_moegate_data_class"):
        at_home = gateway.say(authorization=european, **{name: "public"})
        assert at_home.headers["x-moegate-target"] == "sglang/home-model"
        away = gateway.say(authorization=european, model="openai/gpt-5.5", **{name: "public"})
        assert (away.status_code, away.json()["error"]["code"]) == (403, "no_target")
    assert scene.outside.requests == []
    assert gateway.say(model="openai/gpt-5.5").status_code == 200
    for other in ("us", "none"):
        with pytest.raises(StartError, match="with the residency `eu`"):
            gateway.make_key(replace(OTHERS, residency=other))
    gateway.make_key(OTHERS)


def test_a_revoked_key_ends(scene: Scene) -> None:
    """Within the seconds that a key may be remembered."""
    gateway = scene.gateway
    key = gateway.make_key(NewKey("t", name="leaver"))
    assert gateway.say(authorization=f"Bearer {key}").status_code == 200
    [row] = [row for row in gateway.rows("keys") if row["name"] == "leaver"]

    async def revoke() -> None:
        engine = open_database(gateway.settings.database_url)
        assert await revoke_key(engine, row["key_id"], now=time.time())
        await engine.dispose()

    asyncio.run(revoke())
    wait_for(lambda: gateway.say(authorization=f"Bearer {key}").status_code == 401, 8)


def test_secrets_stand_nowhere(
    tmp_path: Path, redis_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Keys of clients and providers, prompts and answers: in no file, log, metric or Redis value."""
    prompt, answer = "the otter's plan for thursday", "an answer about otters"
    with running_upstream() as outside, running_upstream() as home:
        outside.default = home.default = chat_answer(answer)
        environ = two_sided(outside, home) | {
            "MOEGATE_REDIS_URL": redis_url, "MOEGATE_MASTER_KEY": "the master key of this test",
            "SGLANG_API_KEY": "sk-own-cluster-secret",
        }  # fmt: skip
        with running_gateway(tmp_path / "home", environ) as gateway:
            key = gateway.make_key(NewKey("t"))
            for _ in range(2):
                gateway.say(prompt, PRICED, temperature=0, authorization=f"Bearer {key}")
            gateway.say(prompt, authorization=f"Bearer {key}x")
            assert gateway.say(prompt).status_code == 200
            journal = b"".join(path.read_bytes() for path in tmp_path.rglob("*.journal"))
            gateway.rows("requests")
            metrics = gateway.client.get("/metrics").text
            with Redis.from_url(redis_url) as redis:
                kept = b"".join(
                    name + (redis.dump(name) or b"") for name in redis.scan_iter(count=1000)
                )
        files = b"".join(
            path.read_bytes()
            for path in (tmp_path / "home").rglob("*")
            if path.is_file() and path.name != "master.key"
        )
    logs = "".join(capfd.readouterr())
    assert kept, "nothing was kept in Redis, so nothing was looked at"
    assert b"req_" in journal, "nothing was journalled, so nothing was looked at"
    secrets = [key, gateway.key, "sk-test-outside", "sk-own-cluster-secret", prompt, answer]
    secrets += ["the master key of this test"]
    for place in (files, journal, kept, metrics.encode(), logs.encode()):
        for secret in secrets:
            assert secret.encode() not in place
            assert json.dumps(secret)[1:-1].encode() not in place
