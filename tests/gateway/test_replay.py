"""``moegate policy replay`` over what a real gateway wrote down, and over a trace."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.decision_record import parse_decision
from gateway.errors import StartError
from policies.recorded import FORM
from tests.gateway_process import Scene, two_sided, wait_for

AT_HOME = """
policy: at-home
constraints:
  - {name: stays, require: 'target.boundary == "self_hosted"', reason: nothing leaves}
objective:
  - minimize: expected_cost_usd
"""


def replay(scene: Scene, *words: str) -> str:
    environ = two_sided(scene.outside, scene.home) | {
        "MOEGATE_HOME": str(scene.gateway.settings.home),
        "MOEGATE_DATABASE_URL": scene.gateway.settings.database_url,
        "MOEGATE_DISCOVER": "off",
    }
    done = CliRunner().invoke(app, ["policy", "replay", *words], env=environ)
    if isinstance(done.exception, StartError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_real_records_move_nothing_under_their_policy_and_are_refused_under_a_stricter_one(
    scene: Scene, tmp_path: Path
) -> None:
    """Two requests, one by `auto`, one that names a model outside: only the latter is refused."""
    scene.gateway.say("hi")
    named = scene.gateway.say("hi", "openai/gpt-5.4-nano").headers["x-moegate-request-id"]
    written = [parse_decision(row["decision"]) for row in scene.gateway.rows("requests")]
    assert {one.form for one in written} == {FORM}
    same = json.loads(replay(scene, "balanced", "--json"))
    assert (same["decided"], same["moved"], same["undecidable"]) == (2, 0, {})
    policy = tmp_path / "at-home.yaml"
    policy.write_text(AT_HOME)
    strict = json.loads(replay(scene, str(policy), "--json"))
    assert (strict["newly_refused"], strict["newly_allowed"]) == (1, 0)
    (example,) = [one for one in strict["examples"] if one["after"] == "refused"]
    assert (example["request_id"], example["reason"]) == (named, "stays: nothing leaves")
    assert f"{named}: `openai/gpt-5.4-nano` of team" in replay(scene, str(policy))


def test_trace_is_decided_for_who_has_no_history(scene: Scene, tmp_path: Path) -> None:
    """Lengths alone: against the policy in force, with nothing found in any text."""
    trace = tmp_path / "trace.jsonl"
    lines = [{"timestamp": at, "input_length": 100, "output_length": 5} for at in range(3)]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = json.loads(replay(scene, "balanced", "--trace", str(trace), "--json"))
    assert (said["decided"], said["moved"]) == (3, 0)
    assert said["against"].startswith("balanced@")


BAD_LINES = {
    "{": "truncated",
    '{"timestamp": 0, "input_length": 1}': "`output_length`",
    '{"timestamp": 0, "input_length": -1, "output_length": 1}': "`$.input_length`",
    '{"timestamp": 0, "input_length": 1, "output_length": 1e99}': "`$.output_length`",
    '{"timestamp": 1e300, "input_length": 1, "output_length": 1}': "`$.timestamp`",
    '{"timestamp": -1, "input_length": 1, "output_length": 1}': "`$.timestamp`",
}


def test_bad_line_of_a_trace_is_named(scene: Scene, tmp_path: Path) -> None:
    """With its number and the member that is wrong, whatever number stands there."""
    trace = tmp_path / "trace.jsonl"
    for line, wrong in BAD_LINES.items():
        trace.write_text('{"timestamp": 0, "input_length": 1, "output_length": 1}\n' + line + "\n")
        with pytest.raises(StartError) as caught:
            replay(scene, "balanced", "--trace", str(trace))
        assert str(caught.value).startswith(f"`{trace}`, line 2: ")
        assert wrong in str(caught.value)


def test_span_without_requests_is_said_so(scene: Scene) -> None:
    """No report over nothing."""
    scene.gateway.say("hi")
    scene.gateway.rows("requests")
    with pytest.raises(StartError, match="no recorded requests in this span"):
        replay(scene, "balanced", "--until", "1d")


def test_interrupt_ends_without_a_stack_trace(tmp_path: Path) -> None:
    """Ctrl-C while it reads: nothing is reported of the part that was seen, and the exit code says why."""
    trace = tmp_path / "trace"
    os.mkfifo(trace)
    pipe = os.open(trace, os.O_RDWR)  # a writer that stays, so that the reader waits for more
    os.write(pipe, b'{"timestamp": 0, "input_length": 1, "output_length": 1}\n')
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "policy", "replay"]
    environ = {"MOEGATE_HOME": str(tmp_path), "MOEGATE_DISCOVER": "off", "MOEGATE_SIMULATOR": "on"}
    running = subprocess.Popen(
        [*command, "balanced", "--trace", str(trace)],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with running:
        wait_for(lambda: not select.select([pipe], [], [], 0)[0], seconds=60)
        running.send_signal(signal.SIGINT)
        said, complaints = running.communicate(timeout=60)
    os.close(pipe)
    assert (running.returncode, said) == (130, "")
    assert "Traceback" not in complaints
