"""A running gateway and versions of policies: applied, scheduled, tried by some, overlaid, and over HTTP."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from gateway.identity import NewKey
from gateway.ledger import open_database
from gateway.policy_store import Change, apply_policy
from policies.document import parse_policy
from tests.gateway_process import RunningGateway, Scene, wait_for
from tests.policy_changes import refute

ROOT = "/admin/api/v1/policies"
SWITCH_SECONDS = 2.0
"""A second for the gateway, and one for a busy machine."""


def post(gateway: RunningGateway, path: str = "", key: str = "", **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key or gateway.key}"}
    if (digest := body.pop("if_match", None)) is not None:
        headers["if-match"] = f'"{digest}"'
    return gateway.client.post(f"{ROOT}{path}", json=body, headers=headers)


def get(gateway: RunningGateway, path: str = "", key: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {key or gateway.key}"}
    return gateway.client.get(f"{ROOT}{path}", headers=headers)


def policy_of(gateway: RunningGateway, key: str = "") -> str:
    """The name of the policy that decides for a key, without digests."""
    answer = gateway.say(authorization=f"Bearer {key or gateway.key}")
    parts = answer.headers["x-moegate-policy"].split("+")
    return "+".join(part.split("@")[0] for part in parts)


def wait_for_policy(gateway: RunningGateway, name: str, key: str = "") -> None:
    wait_for(lambda: policy_of(gateway, key) == name, SWITCH_SECONDS)


def test_a_running_gateway_switches_and_goes_back(scene: Scene) -> None:
    """Within a second, to a new document and to the old one again; the history has both, and who did it."""
    gateway = scene.gateway
    made = post(gateway, document="policy: next\n", reason="because")
    assert (made.status_code, made.json()["version"], made.json()["is_new"]) == (201, 2, True)
    assert made.json()["author"].startswith("first admin key (key_")
    wait_for_policy(gateway, "next")
    assert post(gateway, document="policy: next\n").json()["activation"] is None
    assert post(gateway, "/1/activate", reason="back").status_code == 200
    wait_for_policy(gateway, "balanced")
    assert [one["version"] for one in get(gateway).json()["data"]] == [2, 1]
    shown = get(gateway, "/2").json()
    assert (shown["text"], shown["reason"]) == ("policy: next\n", "because")
    assert "+policy: next" in shown["diff"]
    [certificate] = shown["proofs"]
    assert {claim["verdict"] for claim in certificate["claims"]} == {"proved"}


def test_a_schedule_starts_by_itself(scene: Scene) -> None:
    """At its time and not before; until then the status lists it."""
    gateway, at = scene.gateway, time.time() + 1.5
    assert post(gateway, document="policy: later\n", at=at).status_code == 201
    assert [one["version"] for one in get(gateway, "/status").json()["scheduled"]] == [2]
    while time.time() < at - 0.2:
        assert policy_of(gateway) == "balanced"
    wait_for(lambda: policy_of(gateway) == "later", 0.2 + SWITCH_SECONDS)
    assert get(gateway, "/status").json()["scheduled"] == []


def test_a_canary_is_tried_by_its_share(scene: Scene) -> None:
    """Each key stays on its side; then everybody has it."""
    gateway = scene.gateway
    keys = [gateway.make_key(NewKey("t", name=f"k{at}")) for at in range(12)]
    post(gateway, document="policy: bold\n", canary=0.5)
    wait_for(lambda: len({policy_of(gateway, key) for key in keys}) == 2, SWITCH_SECONDS)
    sides = [policy_of(gateway, key) for key in keys]
    assert sides == [policy_of(gateway, key) for key in keys]
    assert set(sides) == {"balanced", "bold"}
    post(gateway, document="policy: bold\n")
    wait_for(lambda: {policy_of(gateway, key) for key in keys} == {"bold"}, SWITCH_SECONDS)


def test_an_overlay_tightens_for_its_team_alone(scene: Scene) -> None:
    """Its constraint strikes what the base allows, the answer names both, and the others notice nothing."""
    gateway = scene.gateway
    key = gateway.make_key(NewKey("careful"))
    over = (
        "policy: home\nconstraints:\n"
        "  - {name: at home, require: 'target.boundary == \"self_hosted\"'}\n"
    )
    assert post(gateway, document=over, scope="team:careful").status_code == 201
    wait_for_policy(gateway, "balanced+home", key)
    assert policy_of(gateway) == "balanced"
    assert post(gateway, document="policy: ours\n", scope="organisation:default").status_code == 201
    wait_for_policy(gateway, "balanced+ours+home", key)
    wait_for_policy(gateway, "balanced+ours")
    refused = gateway.say(model="openai/gpt-5.5", authorization=f"Bearer {key}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_target")
    assert "home/at home" in refused.json()["error"]["message"]
    assert gateway.say(model="openai/gpt-5.5").status_code == 200


def test_what_is_unproven_says_so(scene: Scene) -> None:
    """Each answer under it, and the record, have it in the policy's name."""
    gateway = scene.gateway

    async def apply() -> None:
        engine = open_database(gateway.settings.database_url)
        written = "policy: hasty\n"
        document = parse_policy(written, source="test")
        change = Change(author="owner", override="fire")
        await apply_policy(engine, document, written, change, refute, now=time.time())
        await engine.dispose()

    asyncio.run(apply())
    wait_for_policy(gateway, "hasty")
    answer = gateway.say()
    label = answer.headers["x-moegate-policy"]
    assert label.endswith("-unproven")
    rows = {row["request_id"]: row for row in gateway.rows("requests")}
    assert rows[answer.headers["x-moegate-request-id"]]["policy"] == label


def test_each_process_says_what_it_runs(scene: Scene) -> None:
    """The status has this process with its versions, and no drift."""
    gateway = scene.gateway
    post(gateway, document="policy: next\n")

    def runs() -> list[tuple[str, dict[str, str]]]:
        shown = get(gateway, "/status").json()["processes"]
        return [(one["policy"].split("@")[0], one["versions"]) for one in shown]

    wait_for(lambda: runs() == [("next", {"": "2"})], SWITCH_SECONDS)
    status = get(gateway, "/status").json()
    assert status["drift"] == []
    [process] = status["processes"]
    assert process["catalogue"] == gateway.runtime.services.routing.current.catalogue.version
    assert [one["digest"] for one in status["in_force"]] == [get(gateway, "/2").json()["digest"]]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a bad expression": ({"document": "policy: p\nconstraints:\n  - {name: c, require: 'target.regio == 1'}\n"},
                         "document:3:"),
    "a claim that does not hold": (
        {"document": "policy: p\ninvariants:\n  - {never: 'target.boundary == \"external\"'}\n"}, "refuted"),
    "aliases": ({"document": "policy: &a p\ndescription: *a\n"}, "document:2:"),
    "nothing": ({}, "document"),
    "an unknown member": ({"document": "policy: p\n", "when": 1}, "when"),
    "a share of all": ({"document": "policy: p\n", "canary": 1}, "between 0 and 1"),
    "the past": ({"document": "policy: p\n", "at": 1}, "past"),
    "no scope": ({"document": "policy: p\n", "scope": "team:none"}, "no team"),
}  # fmt: skip


def test_what_is_refused_changes_nothing(scene: Scene) -> None:
    """Each bad change is a 400 that says where, one of stale knowledge a 412; the policy in force stays."""
    gateway = scene.gateway
    for name, (body, words) in BAD.items():
        answer = post(gateway, **body)
        assert (answer.status_code, name) == (400, name), answer.text
        assert words in answer.json()["error"]["message"], name
    stale = post(gateway, document="policy: p\n", if_match="0" * 64)
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "stale")
    assert post(gateway, document="x" * 2_000_000).status_code == 413
    for path in ("/9", "/x", "/99999999999999999999"):
        assert get(gateway, path).status_code == 404
        assert post(gateway, f"{path}/activate").status_code == 404
    assert len(gateway.rows("policies")) == len(gateway.rows("policy_activations")) == 1
    digest = get(gateway, "/1").headers["etag"].strip('"')
    assert post(gateway, document="policy: p\n", if_match=digest).status_code == 201


@pytest.mark.parametrize(
    "asked", [NewKey("t"), NewKey("t", organisation="other", roles=frozenset({"admin"}))]
)
def test_policies_are_the_operators_alone(scene: Scene, asked: NewKey) -> None:
    """Who is no admin, and an admin of another organisation, neither sees nor changes one."""
    gateway, key = scene.gateway, scene.gateway.make_key(asked)
    answers = [get(gateway, path, key) for path in ("", "/1", "/status")]
    answers.append(post(gateway, key=key, document="policy: p\n"))
    answers.append(post(gateway, "/1/activate", key=key))
    assert [one.status_code for one in answers] == [403] * 5
    unknown = [get(gateway, path, "mg-none") for path in ("", "/1", "/status")]
    unknown.append(post(gateway, key="mg-none", document="policy: p\n"))
    unknown.append(post(gateway, "/1/activate", key="mg-none"))
    assert [one.status_code for one in unknown] == [401] * 5
    assert len(gateway.rows("policies")) == 1


def test_what_no_history_can_hold_is_refused(scene: Scene) -> None:
    """Controls, which PostgreSQL or a terminal would not take, and starts that no calendar knows (milliseconds)."""
    headers = {"authorization": f"Bearer {scene.gateway.key}"}
    client, written = scene.gateway.client, "policy: fine\n"
    for param, said in (
        ("reason", {"reason": "a\x00b"}),
        ("scope", {"scope": "team:\x00"}),
        ("unproven", {"unproven": "\x1b[2J"}),
        (None, {"at": time.time() * 1000}),
    ):
        body = {"document": written} | said
        refused = client.post("/admin/api/v1/policies", json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    listed = client.get("/admin/api/v1/policies", params={"scope": "team:\x00"}, headers=headers)
    assert listed.status_code == 400
    assert len(scene.gateway.rows("policies")) == 1
