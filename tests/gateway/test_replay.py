"""``moegate policy replay`` decides what a gateway recorded by another policy, and calls nobody."""

import json
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli.main import app
from tests.gateway_process import RunningGateway, Scene

HOME = """policy: home-only
constraints:
  - {name: home, require: 'target.boundary == "self_hosted"', reason: nothing leaves}
"""


def replay(gateway: RunningGateway, *words: str) -> str:
    """What the command says, over the records and with the surroundings of ``gateway``."""
    gateway.rows("requests")
    environ = {
        "MOEGATE_HOME": str(gateway.settings.home),
        "MOEGATE_DATABASE_URL": gateway.settings.database_url,
        "OPENAI_API_KEY": "k",
        "SGLANG_URLS": ",".join(gateway.settings.sglang_urls),
    }
    done = CliRunner().invoke(app, ["policy", "replay", *words], env=environ)
    assert done.exit_code == 0, done.output
    return done.output


def chats(scene: Scene) -> int:
    """How many prompts went out so far."""
    both = (*scene.home.requests, *scene.outside.requests)
    return sum(one.path.endswith("/chat/completions") for one in both)


def test_recorded_requests_are_decided_by_another_policy(scene: Scene, tmp_path: Path) -> None:
    """One that went to a provider would be refused, one that stayed at home stays; nothing is called."""
    scene.gateway.say("hi", "openai/gpt-5.4-nano", max_tokens=10)
    scene.gateway.say("hi", "sglang/home-model")
    file = tmp_path / "home.yaml"
    file.write_text(HOME)
    calls = chats(scene)
    said = json.loads(replay(scene.gateway, str(file), "--since", "1h", "--json"))
    assert chats(scene) == calls
    assert (said["found"], said["decided"], said["moved"]) == (2, 2, 1)
    assert said["moves"] == [{"from": "openai/gpt-5.4-nano", "to": "refused", "requests": 1}]
    assert said["examples"][0]["reason"] == "home: nothing leaves"
    lines = replay(scene.gateway, str(file)).splitlines()
    assert lines[1] == "requests   2 in the last 7d"
    assert "moved      1 (50.0% of those decided)" in lines


def test_the_policy_in_force_moves_nothing(scene: Scene) -> None:
    """Decided again from what was recorded, each goes where it went; a sample is the same each time."""
    for number in range(6):
        scene.gateway.say(f"hi {number}")
    said = json.loads(replay(scene.gateway, "balanced", "--json"))
    assert (said["decided"], said["moved"]) == (6, 0)
    some = [json.loads(replay(scene.gateway, "balanced", "--json", "--sample", "3")) for _ in "ab"]
    assert some[0] == some[1]
    assert some[0]["sampled_share"] == 0.5
    assert some[0]["decided"] < 6


def test_a_span_that_is_none_is_refused(scene: Scene) -> None:
    """With a word on how one is written."""
    done = CliRunner().invoke(app, ["policy", "replay", "balanced", "--since", "yesterday"])
    assert done.exit_code == 1
    assert "write one as 90m" in str(done.exception or done.output)
    assert scene
