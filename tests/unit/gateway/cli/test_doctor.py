"""``moegate doctor``: what is right, what is not, what helps; each cause once, in one line."""

import json
import re

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app

Findings = dict[str, tuple[str, str]]


def look() -> tuple[int, Findings]:
    """Exit code, and state and words by name of what was looked at."""
    done = CliRunner().invoke(app, ["doctor", "--json"])
    said = json.loads(done.stdout)
    assert len({one["detail"] for one in said}) == len(said), "a cause is told once"
    assert not any("\n" in one["detail"] for one in said)
    assert all(one["advice"] for one in said if one["state"] != "ok"), "what would help is said"
    return done.exit_code, {one["name"]: (one["state"], one["detail"]) for one in said}


def test_before_the_first_start_nothing_is_broken() -> None:
    """What the first start will make is no fault."""
    code, found = look()
    assert code == 0
    assert found["database"][0] == found["state directory"][0] == "warning"
    assert "simulator" in found["targets"][1]


def test_after_it_everything_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy with its version, the providers with their targets."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert CliRunner().invoke(app, ["init"]).exit_code == 0
    code, found = look()
    assert code == 0
    assert {state for state, _words in found.values()} == {"ok"}
    assert found["policy"][1].startswith("balanced@")
    assert found["policy"][1].endswith("(version 1)")
    assert re.fullmatch(r"anthropic: \d+ \(not called\)", found["targets"][1])


def test_nothing_to_call_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a provider, a server at home or the simulator every request would fail."""
    monkeypatch.setenv("MOEGATE_SIMULATOR", "off")
    code, found = look()
    assert (code, found["targets"]) == (1, ("broken", "no target at all"))


def test_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the rest is looked at all the same."""
    monkeypatch.setenv("MOEGATE_DATABASE_URL", "postgresql://u:very-secret@127.0.0.1:1/m")
    code, found = look()
    assert code == 1
    assert found["database"][0] == "broken"
    assert "very-secret" not in found["database"][1]
    assert found["targets"][0] == "warning"


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("MOEGATE_REDIS_URL", "redis://127.0.0.1:1", "redis"),
        ("MOEGATE_REDIS_URL", "nonsense", "redis"),
        ("SGLANG_URLS", "http://127.0.0.1:1", "targets"),
        ("MOEGATE_CATALOGUE", "/nonexistent.yaml", "targets"),
        ("MOEGATE_DATABASE_URL", "mysql://db/m", "database"),
    ],
)
def test_what_is_broken_is_found_where_it_is(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, where: str
) -> None:
    """Exit code 1; what is sound stays sound."""
    if name != "MOEGATE_DATABASE_URL":
        assert CliRunner().invoke(app, ["init"]).exit_code == 0
    monkeypatch.setenv(name, value)
    code, found = look()
    assert code == 1
    assert where in {at for at, (state, _words) in found.items() if state == "broken"}
    if name != "MOEGATE_DATABASE_URL":
        assert found["database"][0] == "ok"
