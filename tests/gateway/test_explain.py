"""``moegate policy explain`` tells how a request ended, as the record of the API does."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from gateway.admission import Limit
from gateway.api.requests import wants_text
from gateway.cli.main import app
from gateway.explaining import Explanation, explain_booked
from gateway.identity import NewKey
from gateway.ledger import open_database
from tests.gateway_process import RunningGateway, Scene, two_sided, wait_for
from tests.upstreams import plain

OUTSIDE = "openai/gpt-5.5"
CARD = "charge 4111 1111 1111 1111"
WAY = "  without what makes it `client_data`: pii.card (`openai/gpt-5.5`)"


def explain(
    gateway: RunningGateway, request_id: str, *words: str, seen: dict[str, str] | None = None
) -> str:
    """What the command says; ``seen`` are the variables that switch targets on."""
    gateway.rows("requests")
    environ = (seen or {}) | {
        "MOEGATE_DISCOVER": "off",
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


def refuse(scene: Scene, words: str = CARD, **more: Any) -> str:
    """The id of a request that no target may take."""
    answer = scene.gateway.say(words, OUTSIDE, **more)
    assert answer.json()["error"]["code"] == "no_target", answer.text
    return answer.headers["x-moegate-request-id"]


def change(gateway: RunningGateway, statement: str, **values: str) -> None:
    """Write into the tables behind the gateway's back."""

    async def write() -> None:
        engine = open_database(gateway.settings.database_url)
        async with engine.begin() as connection:
            await connection.execute(text(statement), values)
        await engine.dispose()

    gateway.rows("requests")
    asyncio.run(write())


def apply(
    gateway: RunningGateway, document: str, scope: str = "", unproven: str | None = None
) -> None:
    answer = gateway.client.post(
        "/admin/api/v1/policies",
        json={"document": document, "scope": scope, "unproven": unproven},
        headers={"authorization": f"Bearer {gateway.key}"},
    )
    assert answer.status_code == 201, answer.text


def test_what_would_pass_is_told_of_the_past(scene: Scene) -> None:
    """Decided under the version of then, though another is in force by now."""
    gateway, seen = scene.gateway, two_sided(scene.outside, scene.home)
    request_id = refuse(scene)
    apply(gateway, "policy: open\n")
    wait_for(lambda: gateway.say(CARD, OUTSIDE).status_code == 200)
    lines = explain(gateway, request_id, seen=seen).splitlines()
    at = lines.index("would pass")
    assert (lines[at - 1], lines[at + 1]) == ("", WAY)
    assert lines[lines.index("ended      refused, no_target: "
        "the policy, or what the request needs, leaves no target") - 1] == ""  # fmt: skip
    said = json.loads(explain(gateway, request_id, "--json", seen=seen))
    assert said["would_pass"][0] == {"change": WAY.strip().split(" (")[0], "targets": [OUTSIDE]}
    assert said["would_pass_note"] == ""


def test_nothing_is_suggested_below_the_class_of_the_key(scene: Scene) -> None:
    """A key whose prompts are confidential gets no way that would declare them to be less."""
    seen = two_sided(scene.outside, scene.home)
    key = scene.gateway.make_key(NewKey("t", data_class="confidential"))
    own = json.loads(explain(scene.gateway, refuse(scene, "hi", authorization=f"Bearer {key}"),
        "--json", seen=seen))  # fmt: skip
    assert own["would_pass"] == []
    assert "no single change" in explain(scene.gateway, own["request_id"], seen=seen)
    raised = explain(scene.gateway, refuse(scene, "hi", x_data_class="confidential"), seen=seen)
    assert f"\nwould pass\n  as `internal` (`{OUTSIDE}`)\n" in raised


def test_an_overlay_is_part_of_what_decided(scene: Scene) -> None:
    """Base and overlay are found by what the record calls them."""
    gateway = scene.gateway
    key = f"Bearer {gateway.make_key(NewKey('careful'))}"
    apply(
        gateway,
        "policy: home\nconstraints:\n  - {name: no tools outside, "
        "when: '\"tools\" in request.needs', require: 'target.boundary == \"self_hosted\"'}\n",
        "team:careful",
    )
    tools = [{"type": "function", "function": {"name": "f"}}]

    def ask() -> bool:
        return gateway.say("hi", OUTSIDE, authorization=key, tools=tools).status_code == 403

    wait_for(ask)
    request_id = refuse(scene, "hi", authorization=key, tools=tools)
    said = explain(gateway, request_id, seen=two_sided(scene.outside, scene.home))
    assert f"\nwould pass\n  if it did without tools (`{OUTSIDE}`)\n" in said


def test_ways_past_a_policy_that_was_not_proved_say_so(scene: Scene) -> None:
    """A record does not tell who would have been held back had no constraint struck first."""
    document = (
        "policy: claims\nconstraints:\n  - {name: no tools, when: '\"tools\" in request.needs', "
        "require: 'target.boundary == \"self_hosted\"'}\n"
        "invariants:\n  - never: 'target.boundary == \"external\"'\n"
    )
    apply(scene.gateway, document, unproven="an exercise")
    tools = [{"type": "function", "function": {"name": "f"}}]
    wait_for(lambda: scene.gateway.say("hi", OUTSIDE, tools=tools).status_code == 403)
    request_id = refuse(scene, "hi", tools=tools)
    seen = two_sided(scene.outside, scene.home)
    said = json.loads(explain(scene.gateway, request_id, "--json", seen=seen))
    assert [one["targets"] for one in said["would_pass"]] == [[OUTSIDE]]
    assert "may have been held back" in said["would_pass_note"]


@pytest.mark.parametrize(
    ("statement", "is_seen", "words"),
    [
        ("", False, "targets that were in question are gone: `openai/gpt-5.5`"),
        ("UPDATE policies SET digest = 'x' || digest", True, "is not in the history"),
        (
            "UPDATE policies SET text = 'polici: balanced'",
            True,
            "this release cannot read the policy `balanced@",
        ),
        (
            "UPDATE requests SET decision = replace(decision, 'confidential stays home', 'x')",
            True,
            "decided again with the targets and the release of now, it comes out otherwise",
        ),
    ],
)
def test_what_cannot_be_told_is_not_guessed(
    scene: Scene, statement: str, is_seen: bool, words: str
) -> None:
    """A target or a version that is gone, or another outcome: the reason, and no way."""
    request_id = refuse(scene)
    if statement:
        change(scene.gateway, statement)
    seen = two_sided(scene.outside, scene.home) if is_seen else {}
    said = explain(scene.gateway, request_id, seen=seen)
    [line] = [one for one in said.splitlines() if one.startswith("  it cannot be told: ")]
    assert words in line
    shown = json.loads(explain(scene.gateway, request_id, "--json", seen=seen))
    assert shown["would_pass"] is None
    assert shown["would_pass_note"] in line


def test_other_targets_than_then_are_mentioned(scene: Scene) -> None:
    """The way was decided over the targets of now, which are not those of then."""
    request_id = refuse(scene)
    seen = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    said = explain(scene.gateway, request_id, seen=seen)
    assert f"{WAY}\n" in said
    assert "\n  (with the targets as they are now)\n" in said


def ask(
    gateway: RunningGateway, request_id: str, accept: str = "*/*", key: str = ""
) -> httpx.Response:
    """The decision over HTTP."""
    gateway.rows("requests")
    return gateway.client.get(
        f"/admin/api/v1/requests/{request_id}/decision",
        headers={"authorization": f"Bearer {key or gateway.key}", "accept": accept},
    )


def test_the_endpoint_says_what_the_command_says(scene: Scene) -> None:
    """Of a request that was answered and of one that was refused, in words and as data."""
    gateway, seen = scene.gateway, two_sided(scene.outside, scene.home)
    for request_id in (gateway.say("hi").headers["x-moegate-request-id"], refuse(scene)):
        words = ask(gateway, request_id, "text/plain")
        assert words.headers["content-type"] == "text/plain; charset=utf-8"
        assert words.text == explain(gateway, request_id, seen=seen)
        data = ask(gateway, request_id)
        assert data.headers["content-type"] == "application/json"
        assert data.headers["vary"] == words.headers["vary"] == "accept"
        assert data.json() == json.loads(explain(gateway, request_id, "--json", seen=seen))
    assert f"\nwould pass\n{WAY}\n" in words.text
    assert data.json()["would_pass"][0]["targets"] == [OUTSIDE]
    assert (data.json()["state"], data.json()["error"]) == ("refused", "no_target")
    assert "4111" not in data.text + words.text


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        ("", False), ("*/*", False), ("text/plain", True), ("text/*", True), ("TEXT/PLAIN", True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False), ("text/plain, */*;q=0.1", True),
        ("text/plain;q=0.5, application/json", False), ("text/plain, application/json", False),
        ("text/plain;q=0, */*", False), ("text/plain;q=x", False), ("text/plain;q=nan", False),
        ("application/json;q=0.2, text/plain;charset=utf-8;q=0.3", True), (";;,,=", False),
    ],
)  # fmt: skip
def test_text_is_for_who_would_rather_have_it(accept: str, is_text: bool) -> None:
    """By the weights that a client gives, the most exact range first; JSON where nothing tells."""
    assert wants_text(accept) == is_text


def test_a_request_that_never_was_has_no_decision(scene: Scene) -> None:
    """A typed 404 in the form of other errors, whatever the client would rather have."""
    for request_id in ("req_none", "%00", "x" * 2000, "../policies"):
        answer = ask(scene.gateway, request_id, "text/plain")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_one_is_explained_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of a team may ask, and a long policy takes a core for a second."""
    gateway, under_way, most = scene.gateway, 0, 0
    request_id = refuse(scene)
    gateway.rows("requests")

    async def counted(*given: Any) -> Explanation:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _turn in range(200):  # of the loop, in which the others come
            await asyncio.sleep(0.001)
        under_way -= 1
        return await explain_booked(*given)

    monkeypatch.setattr("gateway.api.requests.explain_booked", counted)
    address = f"/admin/api/v1/requests/{request_id}/decision"
    headers = {"authorization": f"Bearer {gateway.key}"}
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(gateway.client.get, address, headers=headers) for _each in range(3)]
    assert [one.result().status_code for one in asked] == [200, 200, 200]
    assert most == 1
