"""P5: what was recorded of a request decides the same again, and says why in words."""

import json
from typing import Any

import pytest

from gateway.decision_record import parse_decision, render_decision
from policies.decide import decide
from tests.gateway_process import Scene
from tests.upstreams import plain

ASKED: tuple[dict[str, Any], ...] = (
    {"text": "hi"},
    {"text": "hi", "model": "auto:best"},
    {"text": "hi", "model": "auto:cheap", "stream": True},
    {"text": "hi", "model": "gpt-5.5", "max_tokens": 7},
    {"text": "card 4111 1111 1111 1111"},
    {"text": "card 4111 1111 1111 1111", "model": "openai/gpt-5.5"},
    {"text": "hi", "x_data_class": "restricted"},
    {"text": "hi", "tools": [{"type": "function", "function": {"name": "f"}}]},
    {"text": "word " * 50_000},
)


@pytest.mark.parametrize("is_home_up", [True, False])
def test_stored_facts_decide_the_same(scene: Scene, is_home_up: bool) -> None:
    """The record alone, under the policy it names, gives the same order and the same reasons; health
    and prices are the ones of that moment, not of today."""
    if not is_home_up:
        scene.home.default = plain({"error": {"message": "down"}}, status=500)
    for asked in ASKED:
        scene.gateway.say(**asked)
    rows = scene.gateway.rows("requests")
    assert len(rows) == len(ASKED)
    routing = scene.gateway.runtime.services.routing.current
    names = [target.name for target in routing.targets]
    for row in rows:
        record = parse_decision(row["decision"])
        assert record.decision.policy == routing.policy.label == row["policy"]
        assert record.catalogue == routing.catalogue.version
        candidates = [names.index(name) for name in record.quotes]
        again = decide(routing.policy, record.facts, candidates, record.quotes)
        assert again == record.decision
        assert render_decision(record) == row["decision"], "written and read without a change"


def test_explanations_name_every_target(scene: Scene) -> None:
    """For each target in question: its rank or who struck it; and not a word of the prompt."""
    answer = scene.gateway.say("the zebra's card is 4111 1111 1111 1111")
    request_id = answer.headers["x-moegate-request-id"]
    scene.gateway.rows("requests")
    record = scene.gateway.client.get(
        f"/admin/api/v1/requests/{request_id}",
        headers={"authorization": f"Bearer {scene.gateway.key}"},
    ).json()
    said = record["explanation"]
    for target in scene.gateway.runtime.services.routing.current.targets:
        assert target.name in said or target.provider in said, said
    assert "confidential stays home" in said
    assert "pii.card" in said
    assert "zebra" not in json.dumps(record)
    assert "4111" not in json.dumps(record)
