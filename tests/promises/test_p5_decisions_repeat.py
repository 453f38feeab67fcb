"""P5: what was recorded of a request decides the same again, and says why in words."""

import asyncio
import json
import time
from typing import Any

import pytest

from gateway.decision_record import parse_decision, render_decision
from gateway.ledger import open_database
from gateway.policy_store import Change, apply_policy
from gateway.prepare import read_policy
from policies.compile import compile_policy
from policies.decide import decide
from policies.document import parse_policy
from tests.gateway_process import RunningGateway, Scene, wait_for
from tests.policy_changes import ask_nothing
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


def test_the_policy_of_that_moment_decides(scene: Scene) -> None:
    """Under a policy that came later the record still decides as it did: by the document in SQL's history
    that it names, on another day and with the hosts gone."""
    gateway = scene.gateway
    before = gateway.runtime.services.routing.current
    answers = [gateway.say(**asked) for asked in ASKED]
    apply_stricter(gateway)
    wait_for(lambda: gateway.runtime.services.routing.current.policy.label != before.policy.label)
    later = gateway.say("hi", model="auto:best")
    scene.outside.stop()
    rows = {row["request_id"]: row for row in gateway.rows("requests")}
    compiled = {
        (policy := compile_policy(parse_policy(row["text"], source="history"), before.facts)).label: policy
        for row in gateway.rows("policies")
    }  # fmt: skip
    assert len(compiled) == 2
    names = [target.name for target in before.targets]
    for answer in (*answers, later):
        record = parse_decision(rows[answer.headers["x-moegate-request-id"]]["decision"])
        policy = compiled[answer.headers["x-moegate-policy"]]
        candidates = [names.index(name) for name in record.quotes]
        assert decide(policy, record.facts, candidates, record.quotes) == record.decision
    asked_again = parse_decision(rows[answers[1].headers["x-moegate-request-id"]]["decision"])
    candidates = [names.index(name) for name in asked_again.quotes]
    now = compiled[later.headers["x-moegate-policy"]]
    other = decide(now, asked_again.facts, candidates, asked_again.quotes)
    assert other.kept != asked_again.decision.kept, "the later policy decides nothing else"


def apply_stricter(gateway: RunningGateway) -> None:
    """Put the other shipped policy in force."""

    async def apply() -> None:
        engine = open_database(gateway.settings.database_url)
        written, source = read_policy("private-by-default")
        document = parse_policy(written, source=source)
        await apply_policy(
            engine, document, written, Change(author="a test"), ask_nothing, now=time.time()
        )
        await engine.dispose()

    asyncio.run(apply())
