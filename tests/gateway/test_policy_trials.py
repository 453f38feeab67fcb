"""Policies tried over HTTP: checked, explained and replayed as the commands do it, and nothing changes."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.identity import NewKey
from gateway.ledger import open_database
from tests.gateway_process import RunningGateway, Scene, two_sided, wait_for

ROOT = "/admin/api/v1/policies"
OUTSIDE = "openai/gpt-5.5"
AT_HOME = """
policy: at-home
constraints:
  - {name: stays, require: 'target.boundary == "self_hosted"', reason: nothing leaves}
"""
REFUTED = "policy: p\ninvariants:\n  - {never: 'target.boundary == \"external\"'}\n"
CHAT = {"model": OUTSIDE, "messages": [{"role": "user", "content": "hi"}]}
SECRET = {"model": OUTSIDE, "messages": [{"role": "user", "content": "card 4111 1111 1111 1111"}]}
OTHER_ADMIN = NewKey("t", organisation="other", roles=frozenset({"admin"}))


def post(gateway: RunningGateway, path: str, body: object, key: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {key or gateway.key}", "content-type": "application/json"}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.client.post(f"{ROOT}/{path}", content=raw, headers=headers)


def run(scene: Scene, *words: str, code: int = 0) -> Any:
    """What a command answers as JSON, with the targets of the gateway."""
    environ = two_sided(scene.outside, scene.home) | {
        "MOEGATE_HOME": str(scene.gateway.settings.home),
        "MOEGATE_DATABASE_URL": scene.gateway.settings.database_url,
        "MOEGATE_DISCOVER": "off",
    }
    done = CliRunner().invoke(app, ["policy", *words, "--json"], env=environ)
    assert done.exit_code == code, done.output
    return json.loads(done.output)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (AT_HOME, 0),
        (REFUTED, 1),
        (f"{AT_HOME}examples:\n  - {{given: {{text: hi}}, expect: {{nothing_struck: true}}}}\n", 1),
    ],
)
def test_a_check_is_that_of_the_command(
    scene: Scene, tmp_path: Path, document: str, code: int
) -> None:
    """Proved, refuted, or with examples that fail: the same JSON, and no version of it."""
    answer = post(scene.gateway, "check", {"document": document})
    path = tmp_path / "policy.yaml"
    path.write_text(document)
    assert answer.status_code == 200, answer.text
    assert answer.json() == run(scene, "check", str(path), code=code)
    assert answer.json()["ok"] is (code == 0)
    assert len(scene.gateway.rows("policies")) == 1
    assert len(scene.gateway.rows("policy_proofs")) <= 1


@pytest.mark.parametrize(
    ("format", "body"),
    [
        ("openai-chat", SECRET),
        ("openai-responses", {"model": OUTSIDE, "input": "hi"}),
        ("anthropic-messages", {**CHAT, "max_tokens": 9}),
        ("gemini", {"contents": [{"parts": [{"text": "hi"}]}]}),
    ],
)
def test_an_explanation_is_that_of_the_command(
    scene: Scene, tmp_path: Path, format: str, body: dict[str, object]
) -> None:
    """A request of each format is decided as the gateway would, and goes nowhere."""
    said_beside = {"model": OUTSIDE, "data_class": "internal", "task": "code"}
    answer = post(scene.gateway, "explain", {"request": body, "format": format, **said_beside})
    assert answer.status_code == 200, answer.text
    path = tmp_path / "body.json"
    path.write_text(json.dumps(body))
    words = ("explain", "--request", str(path), "--format", format, "--model", OUTSIDE)
    beside = ("--data-class", "internal", "--task", "code")
    said, shown = answer.json(), run(scene, *words, *beside)
    assert said["facts"]["task"] == "code"
    assert said["facts"].pop("now") == pytest.approx(shown["facts"].pop("now"), abs=60)
    assert said == shown
    assert bool(said["would_pass"]) == (body is SECRET)
    assert scene.outside.requests == scene.home.requests == []
    assert scene.gateway.rows("requests") == []


def test_an_explanation_is_under_the_policy_in_force(scene: Scene) -> None:
    """As soon as the gateway has switched."""
    gateway = scene.gateway
    headers = {"authorization": f"Bearer {gateway.key}"}
    assert gateway.client.post(ROOT, json={"document": AT_HOME}, headers=headers).status_code == 201

    def explain() -> Any:
        return post(gateway, "explain", {"request": CHAT}).json()["decision"]

    wait_for(lambda: explain()["policy"].startswith("at-home@"))
    assert explain()["kept"] == []


def test_a_replay_is_that_of_the_command(scene: Scene, tmp_path: Path) -> None:
    """The same figures over the same requests, all or a sample of them."""
    gateway = scene.gateway
    for model in ("auto", "openai/gpt-5.4-nano", "openai/gpt-5.4-nano"):
        gateway.say("hi", model)
    gateway.rows("requests")
    path = tmp_path / "policy.yaml"
    path.write_text(AT_HOME)
    whole = post(gateway, "replay", {"document": AT_HOME})
    assert whole.status_code == 200, whole.text
    assert whole.json() == run(scene, "replay", str(path))
    assert (whole.json()["decided"], whole.json()["newly_refused"]) == (3, 2)
    some = post(gateway, "replay", {"document": AT_HOME, "since": "1d", "sample": 1}).json()
    assert some == run(scene, "replay", str(path), "--since", "1d", "--sample", "1")
    assert (some["requests"], some["looked_at"] <= 3) == (3, True)
    named = post(gateway, "replay", {"document": AT_HOME, "team": "default", "until": "0d"}).json()
    assert named == whole.json()


def test_a_replay_tells_nothing_of_other_organisations(scene: Scene) -> None:
    """Neither in its figures nor in its examples; another's team by the same name is not one's own."""
    gateway = scene.gateway
    other = f"Bearer {gateway.make_key(replace(OTHER_ADMIN, team='default'))}"
    theirs = gateway.say("hi", "openai/gpt-5.4-nano", authorization=other)
    gateway.rows("requests")
    assert post(gateway, "replay", {"document": AT_HOME}).status_code == 400
    gateway.say("hi", "openai/gpt-5.4-nano")
    gateway.rows("requests")
    for more in ({}, {"team": "default"}):
        said = post(gateway, "replay", {"document": AT_HOME, **more})
        assert (said.json()["requests"], said.json()["newly_refused"]) == (1, 1)
        assert theirs.headers["x-moegate-request-id"] not in said.text


def copy_records(gateway: RunningGateway, copies: int) -> None:
    """So many requests more, each as the one that there is."""
    [row] = gateway.rows("requests")
    names = [name for name in row if name != "request_id"]

    async def write() -> None:
        engine = open_database(gateway.settings.database_url)
        async with engine.begin() as connection:
            await connection.execute(
                text(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :copies) "
                    f"INSERT INTO requests (request_id, {', '.join(names)}) "
                    f"SELECT 'req_' || i, {', '.join(names)} FROM requests, n"
                ),
                {"copies": copies},
            )
        await engine.dispose()

    asyncio.run(write())


def test_one_replay_at_a_time_and_answers_do_not_wait(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one runs a second is told to come back, others are answered at once, and its time ends it."""
    gateway, copies = scene.gateway, 15_000
    gateway.say("hi", "openai/gpt-5.4-nano")
    copy_records(gateway, copies)
    waits: list[float] = []
    refused: list[httpx.Response] = []

    def run_first() -> httpx.Response:
        while True:  # one of those below may have come before it
            answer = post(gateway, "replay", {"document": AT_HOME})
            if answer.status_code != 503:
                return answer

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run_first)
        while not first.done():
            started = time.monotonic()
            assert gateway.client.get("/healthz").status_code == 200
            waits.append(time.monotonic() - started)
            if not refused:
                answer = post(gateway, "replay", {"document": "policy: p\n"})
                refused += [answer] if answer.status_code == 503 else []
    assert first.result().json()["decided"] == copies + 1
    assert refused, "the first was over too soon to tell"
    assert refused[0].headers["x-moegate-error"] == "overloaded"
    assert int(refused[0].headers["retry-after"]) > 0
    assert sorted(waits)[len(waits) // 2] < 0.25
    monkeypatch.setattr("gateway.api.policy_trials.REPLAY_SECONDS_MAX", 0.05)
    late = post(gateway, "replay", {"document": AT_HOME})
    assert (late.status_code, late.json()["error"]["param"]) == (400, "since")
    assert "had to end after 0.05 seconds" in late.json()["error"]["message"]
    monkeypatch.undo()
    again = post(gateway, "replay", {"document": AT_HOME, "sample": 100})
    assert (again.status_code, again.json()["requests"]) == (200, copies + 1)
    assert 0 < again.json()["looked_at"] < 300


BAD: dict[str, tuple[str, object, str]] = {
    "no document": ("check", {}, "document"),
    "no JSON": ("check", b"policy: p", "the body does not fit"),
    "no UTF-8": ("check", b'{"document": "\xff"}', "the body does not fit"),
    "a list": ("replay", [], "the body does not fit"),
    "nested": ("explain", b'{"request": ' + b"[" * 100_000, "the body does not fit"),
    "an unknown member": ("check", {"document": "policy: p\n", "scope": ""}, "scope"),
    "no policy": ("check", {"document": "a"}, "document"),
    "a bad expression": (
        "check",
        {"document": "policy: p\nconstraints:\n  - {name: c, require: 'target.regio == 1'}\n"},
        "document:3:",
    ),
    "aliases": ("replay", {"document": "policy: &a p\ndescription: *a\n"}, "document:2:"),
    "no request": ("explain", {}, "request"),
    "a request that is none": ("explain", {"request": 1}, "does not parse as `openai-chat`"),
    "another format's": ("explain", {"request": CHAT, "format": "gemini"}, "gemini"),
    "no format": ("explain", {"request": CHAT, "format": "x"}, "`x` is no format"),
    "no class": ("explain", {"request": CHAT, "data_class": "x"}, "unknown data class"),
    "no task": ("explain", {"request": CHAT, "task": "Write Code"}, "no word for a task"),
    "no day": ("replay", {"document": AT_HOME, "since": "yesterday"}, "neither a number of days"),
    "no last day": ("replay", {"document": AT_HOME, "until": "x"}, "neither a number of days"),
    "a sample of none": ("replay", {"document": AT_HOME, "sample": 0}, "sample"),
    "a sample of too many": ("replay", {"document": AT_HOME, "sample": 10**6}, "sample"),
    "no records": ("replay", {"document": AT_HOME}, "no recorded requests"),
    "no team": ("replay", {"document": AT_HOME, "team": "a\0b"}, "printable"),
}  # fmt: skip


def test_each_bad_body_is_told_apart(scene: Scene) -> None:
    """A 400 that says what was wrong; what is too large is not read."""
    for name, (path, body, words) in BAD.items():
        answer = post(scene.gateway, path, body)
        assert (answer.status_code, name) == (400, name), answer.text
        assert words in answer.json()["error"]["message"], name
        assert "\n" not in answer.json()["error"]["message"], name
    unknown = post(scene.gateway, "explain", {"request": CHAT | {"model": "none"}})
    assert unknown.headers["x-moegate-error"] == "model_not_found"
    for path in ("check", "explain", "replay"):
        large = post(scene.gateway, path, {"document": "x" * 8_500_000})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("asked", [NewKey("t"), OTHER_ADMIN])
def test_trials_are_the_operators_alone(scene: Scene, asked: NewKey) -> None:
    """Who is no admin, and an admin of another organisation, tries nothing."""
    key = scene.gateway.make_key(asked)
    for path in ("check", "explain", "replay"):
        body = {"document": "policy: p\n"}
        assert post(scene.gateway, path, body, key).status_code == 403
        assert post(scene.gateway, path, body, "mg-none").status_code == 401
