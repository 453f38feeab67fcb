"""``moegate policy`` and its versions: what is printed, and how each command ends."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.errors import StartError


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["policy", *words])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def refuse(*words: str) -> str:
    done = CliRunner().invoke(app, ["policy", *words])
    assert isinstance(done.exception, StartError), done.output
    return str(done.exception)


@pytest.fixture
def written(tmp_path: Path) -> str:
    """A file with a policy of its own, over a database with the first one."""
    assert CliRunner().invoke(app, ["init"]).exit_code == 0
    path = tmp_path / "mine.yaml"
    path.write_text("policy: mine\n")
    return str(path)


def test_versions_are_shown_and_compared(written: str) -> None:
    """The text as it was written, and a unified diff between any two."""
    assert run("apply", written, "--reason", "mine").startswith("in force: mine@")
    assert run("apply", written).startswith("already in force: mine@")
    assert run("show", "2") == "policy: mine\n"
    assert json.loads(run("show", "2", "--json"))["reason"] == "mine"
    assert "+policy: mine" in run("diff", "1", "2").splitlines()
    assert "-policy: mine" in json.loads(run("diff", "2", "1", "--json"))["diff"]
    assert run("rollback", "1").startswith("in force: balanced@")
    assert [one["version"] for one in json.loads(run("history", "--json"))] == [2, 1]
    assert "there is no policy version 7" in refuse("show", "7")
    assert "there is no policy version 7" in refuse("rollback", "7")


def test_a_version_carries_its_proof(written: str) -> None:
    """The certificate of what was applied: of its very text, and proved."""
    run("apply", written)
    stored = json.loads(run("show", "2", "--json"))
    [certificate] = stored["proofs"]
    assert certificate["policy"] == stored["digest"]
    assert {claim["verdict"] for claim in certificate["claims"]} == {"proved"}


def test_without_a_proof_only_with_a_reason(written: str) -> None:
    """A claim that does not hold is refused; put in force all the same, the history tells why."""
    Path(written).write_text(f"{Path(written).read_text()}invariants: [{{never: '1 == 1'}}]\n")
    refused = run("apply", written, code=1)
    assert "refuted" in refused
    assert re.fullmatch(r"not applied: not proved of `mine@[0-9a-f]{12}`", refused.splitlines()[-1])
    assert "needs a reason" in refuse("apply", written, "--unproven", " ")
    said = json.loads(run("apply", written, "--unproven", "fire", "--json"))
    assert said["activation"]["override"] == "fire"
    assert re.search(r" mine@[0-9a-f]{12}-unproven .* unproven: fire$", run("status"), re.MULTILINE)
    [tried] = json.loads(run("show", "2", "--json"))["proofs"]
    assert "refuted" in {claim["verdict"] for claim in tried["claims"]}
    assert "refuted" in run("rollback", "2", code=1)
    assert (
        json.loads(run("apply", "dev", "--unproven", "x", "--json"))["activation"]["override"]
        is None
    )


def test_a_start_and_a_share_are_told(written: str) -> None:
    """What the activation says is said back, and stands in the status."""
    said = run("apply", written, "--at", "2999-01-01T08:00", "--canary", "0.1")
    assert said.startswith("in force from 2999-01-01T08:00:00+00:00 on for 0.1 of the keys: mine@")
    status = run("status")
    assert "scheduled: version 2 over base at 2999-01-01T08:00:00+00:00" in status
    assert json.loads(run("status", "--json"))["scheduled"][0]["canary_share"] == 0.1
    assert "2001-01-01T08:00:00+00:00 does" in refuse("apply", written, "--at", "2001-01-01T08:00")
    run("apply", "dev", "--at", "2999-01-01T08:00")
    waiting = json.loads(run("status", "--json"))["scheduled"]
    assert [one["version"] for one in waiting] == [3], "what another takes the place of still waits"


def test_who_saw_another_document_changes_nothing(written: str) -> None:
    """``--if-match`` takes the digest in force, whole or as the status shows it, and no other."""
    digest = json.loads(run("history", "--json"))[0]["digest"]
    assert f"is `{digest}`" in refuse("apply", written, "--if-match", "0" * 64)
    assert "look again" in refuse("apply", written, "--if-match", digest[:11])
    run("apply", written, "--if-match", digest[:12])


def test_drift_from_a_file_is_a_failure(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 as long as the file is not what is in force, given or in the settings."""
    assert f"drift: `{written}`: balanced@" in run("status", written, code=1)
    monkeypatch.setenv("MOEGATE_POLICY", written)
    assert json.loads(run("status", "--json", code=1))["drift"]
    run("apply", written)
    assert "drift" not in run("status")


def test_a_scope_has_its_own_history(written: str) -> None:
    """An overlay of a team stands beside the base."""
    made = CliRunner().invoke(app, ["keys", "create", "--team", "search"])
    assert made.exit_code == 0
    assert "over `team:team_" in run("apply", written, "--scope", "team:search")
    assert [one["version"] for one in json.loads(run("history", "--scope", "base", "--json"))] == [
        1
    ]
    [entry] = json.loads(run("history", "--scope", "team:search", "--json"))
    assert entry["version"] == 2
    assert "is no scope" in refuse("apply", written, "--scope", "search")
