"""``moegate policy`` and what it says of the surroundings in which it looks."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.errors import StartError

DOCS = Path(__file__).parents[4] / "docs"
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


def run(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def chat(tmp_path: Path) -> str:
    """A file with a chat request."""
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(CHAT))
    return str(path)


def test_history_has_heads_that_keep_number_and_digest_apart() -> None:
    """What `rollback` takes is the version; what answers name is the digest."""
    run("init")
    head, first = run("policy", "history").splitlines()
    assert head.split() == ["version", "scope", "name", "digest", "created_at", "author", "reason"]
    (entry,) = json.loads(run("policy", "history", "--json"))
    assert set(head.split()) == set(entry)
    assert first.split()[:4] == ["1", "base", "balanced", entry["digest"][:12]]


def test_editors_get_the_schema_that_is_published() -> None:
    """From the command line as from the repository."""
    assert run("policy", "schema") == (DOCS / "policy.schema.json").read_text(encoding="utf-8")


def test_answers_name_the_targets_they_were_found_against(
    chat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The surroundings are the shell's, which need not be the gateway's."""
    run("init")
    trial = ("policy", "explain", "--request", chat)
    for words in (("policy", "check", "balanced"), trial):
        assert run(*words).splitlines()[-1] == "against 1 target: simulator 1"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    for words in (("policy", "check", "balanced"), trial):
        counts = json.loads(run(*words, "--json"))["targets"]
        assert list(counts) == ["openai"]
        assert run(*words).splitlines()[-1] == f"against {counts['openai']} targets: openai {counts['openai']}"  # fmt: skip


def test_a_counterexample_tells_what_it_turns_on(tmp_path: Path) -> None:
    """The number that the claim is about, or the constraint that leaves nobody: the request alone explains neither."""
    path = tmp_path / "cheap.yaml"
    path.write_text(
        "policy: p\nconstraints: [{name: cheap, require: worst_case_cost_usd <= 1.0}]\n"
        "invariants: [{never: worst_case_cost_usd > 0.5}, {always_some_target: 'true'}]\n"
    )
    said = CliRunner().invoke(app, ["policy", "check", str(path)]).output
    assert "\n    worst_case_cost_usd: 0.500000001\n" in said
    assert "\n    kept: none of 1 targets\n    struck by: cheap\n" in said


@pytest.mark.parametrize(
    ("format", "body"),
    [
        ("openai-responses", {"model": "auto", "input": "hi"}),
        ("anthropic-messages", {"model": "auto", "max_tokens": 9, "messages": CHAT["messages"]}),
        ("gemini", {"contents": [{"parts": [{"text": "hi"}]}]}),
        ("openai-completions", {"model": "auto", "prompt": "hi"}),
    ],
)
def test_a_request_of_any_format_is_explained(
    format: str, body: dict[str, object], tmp_path: Path
) -> None:
    """Not chats only: what each client sends is decided as the gateway would."""
    run("init")
    path = tmp_path / "body.json"
    path.write_text(json.dumps(body))
    said = run("policy", "explain", "--request", str(path), "--format", format)
    assert "1. simulator/moegate-simulator" in said
    wrong = CliRunner().invoke(app, ["policy", "explain", "--request", str(path), "--format", "x"])
    assert str(wrong.exception).startswith("`x` is no format; it is one of openai-chat, ")


@pytest.mark.parametrize(
    "words",
    [
        "usage", "keys list", "keys create --team t", "policy history", "policy rollback 1",
        "policy apply balanced", "policy explain req_1", "policy explain --request CHAT",
    ],
)  # fmt: skip
def test_missing_database_is_named_and_not_made(words: str, chat: str, tmp_path: Path) -> None:
    """Somebody asks from another account or directory than the gateway's, most likely."""
    done = CliRunner().invoke(app, [chat if word == "CHAT" else word for word in words.split()])
    path = tmp_path / "home" / "moegate.db"
    assert isinstance(done.exception, StartError)
    assert str(done.exception).startswith(f"`{path}` is not there: is this the gateway's")
    assert not path.exists()
