"""A policy that is not proved, over HTTP: put in force by an owner with a reason, and by nobody else."""

import json
from typing import Any

import httpx
import pytest

from gateway.identity import NewKey
from tests.gateway_process import RunningGateway, Scene, wait_for

ROOT = "/admin/api/v1/policies"
REFUTED = "policy: hasty\ninvariants:\n  - {never: 'target.boundary == \"external\"'}\n"
ADMIN = NewKey("platform", name="ops", roles=frozenset({"admin"}))


def apply(gateway: RunningGateway, key: str = "", **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key or gateway.key}"}
    return gateway.client.post(ROOT, json=body, headers=headers)


def test_an_owner_does_without_a_proof(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    """The activation and the log tell who and why, and every answer says it; a version that is put in force again
    needs its proof."""
    gateway = scene.gateway
    assert apply(gateway, document=REFUTED).status_code == 400
    made = apply(gateway, document=REFUTED, unproven="fire", reason="today")
    assert made.status_code == 201, made.text
    activation = made.json()["activation"]
    assert (activation["override"], activation["reason"]) == ("fire", "today")
    assert activation["activated_by"].startswith("first admin key (key_")
    [_, row] = gateway.rows("policy_activations")
    assert (row["override"], row["activated_by"]) == ("fire", activation["activated_by"])
    wait_for(lambda: gateway.say().headers["x-moegate-policy"].endswith("-unproven"))

    told: list[dict[str, Any]] = []

    def is_told() -> bool:
        lines = capfd.readouterr().out.splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        told.extend(one for one in said if one["event"] == "policy put in force without a proof")
        return bool(told)

    wait_for(is_told)
    assert [(one["level"], one["override"], one["author"]) for one in told] == [
        ("warning", "fire", activation["activated_by"])
    ]
    headers = {"authorization": f"Bearer {gateway.key}"}
    again = gateway.client.post(f"{ROOT}/2/activate", json={}, headers=headers)
    assert (again.status_code, "refuted" in again.text) == (400, True)
    unknown = gateway.client.post(f"{ROOT}/2/activate", json={"unproven": "x"}, headers=headers)
    assert (unknown.status_code, "unproven" in unknown.text) == (400, True)


def test_what_is_proved_is_no_override(scene: Scene) -> None:
    """The reason is not needed and not kept, and answers say nothing of it."""
    made = apply(scene.gateway, document="policy: fine\n", unproven="just in case")
    assert (made.status_code, made.json()["activation"]["override"]) == (201, None)
    wait_for(lambda: scene.gateway.say().headers["x-moegate-policy"].startswith("fine@"))
    assert not scene.gateway.say().headers["x-moegate-policy"].endswith("-unproven")


def test_who_is_no_owner_needs_a_proof(scene: Scene) -> None:
    """A plain admin gets 403, whether it is proved or not; an owner without a reason 400; nothing changes."""
    gateway = scene.gateway
    key = gateway.make_key(ADMIN)
    for document in (REFUTED, "policy: fine\n"):
        refused = apply(gateway, key, document=document, unproven="fire")
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (
            403,
            "not_owner",
            "unproven",
        )
        assert refused.headers["x-moegate-error"] == "policy_refused"
        assert refused.headers["x-should-retry"] == "false"
    for reason in ("", " \n"):
        empty = apply(gateway, document=REFUTED, unproven=reason)
        assert (empty.status_code, empty.json()["error"]["param"]) == (400, "unproven")
    elsewhere = NewKey("t", organisation="other", roles=frozenset({"admin", "owner"}))
    foreign = apply(gateway, gateway.make_key(elsewhere), document=REFUTED, unproven="fire")
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "not_admin")
    alone = gateway.make_key(NewKey("t", roles=frozenset({"owner"})))
    assert apply(gateway, alone, document=REFUTED, unproven="fire").status_code == 403
    assert len(gateway.rows("policies")) == len(gateway.rows("policy_activations")) == 1
    assert apply(gateway, key, document="policy: fine\n").status_code == 201


def test_examples_that_fail_are_no_matter_of_proof(scene: Scene) -> None:
    """An owner's reason does not put a document in force that does not do what it says."""
    document = (
        f"{REFUTED}labels: {{mail: {{detect: [pii.email]}}}}\n"
        "examples:\n  - {given: {text: hi}, expect: {labels: [mail]}}\n"
    )
    answer = apply(scene.gateway, document=document, unproven="fire")
    assert (answer.status_code, "example 1" in answer.json()["error"]["message"]) == (400, True)
