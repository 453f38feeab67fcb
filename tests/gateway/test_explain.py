"""``moegate policy explain`` tells how a request ended, as the record of the API does."""

import json

from typer.testing import CliRunner

from gateway.admission import Limit
from gateway.cli.main import app
from gateway.identity import NewKey
from tests.gateway_process import RunningGateway, Scene
from tests.upstreams import plain


def explain(gateway: RunningGateway, request_id: str, *words: str) -> str:
    gateway.rows("requests")
    environ = {
        "MOEGATE_HOME": str(gateway.settings.home),
        "MOEGATE_DATABASE_URL": gateway.settings.database_url,
    }
    done = CliRunner().invoke(app, ["policy", "explain", request_id, *words], env=environ)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_attempt_has_its_end_and_its_cost(scene: Scene) -> None:
    """One line each, in order, below the reasons."""
    scene.home.script.append(plain({"error": {"message": "boom"}}, status=500))
    answer = scene.gateway.say("hi")
    request_id = answer.headers["x-moegate-request-id"]
    lines = explain(scene.gateway, request_id).splitlines()
    at = lines.index("ended      answered")
    assert lines[at + 1] == f"cost       {answer.headers['x-moegate-cost-usd']} USD"
    assert lines[at + 2] == "attempts"
    assert lines[at + 3] == (
        "  1. sglang/home-model: failed, upstream_failed, status 500, 0.000000000 USD"
    )
    assert lines[at + 4].startswith(f"  2. {answer.headers['x-moegate-target']}: settled, stop, 0.0")  # fmt: skip
    assert lines[at + 5 :] == []


def test_refused_budget_is_told_as_such(scene: Scene) -> None:
    """Nothing was called: the words say why, and that there was no attempt."""
    poor = scene.gateway.make_key(NewKey("t", limit=Limit("", "month", 1)))
    answer = scene.gateway.say(
        "hi", "openai/gpt-5.4-nano", authorization=f"Bearer {poor}", max_tokens=100
    )
    assert answer.headers["x-moegate-error"] == "budget_exhausted"
    said = explain(scene.gateway, answer.headers["x-moegate-request-id"])
    assert "\nended      refused, budget_exhausted: the worst case of this request, at any" in said
    assert said.endswith("attempts   none\n")


def test_json_holds_what_the_api_gives(scene: Scene) -> None:
    """State, error and attempts, beside the facts and the decision."""
    request_id = scene.gateway.say("hi").headers["x-moegate-request-id"]
    said = json.loads(explain(scene.gateway, request_id, "--json"))
    record = scene.gateway.client.get(
        f"/admin/api/v1/requests/{request_id}",
        headers={"authorization": f"Bearer {scene.gateway.key}"},
    ).json()
    del record["explanation"]
    assert record["state"] == "answered"
    assert {name: said[name] for name in record} == record
    assert {"facts", "decision"} <= set(said)
