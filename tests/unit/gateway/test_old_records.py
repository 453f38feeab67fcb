"""Records of every shape that there was: replayed, or counted with the reason, and none ends the run."""

import json

import pytest

from gateway.decision_record import parse_decision
from gateway.replay import UNREADABLE, replay_page
from policies.cel.schema import SCHEMA
from policies.compile import CompiledPolicy, compile_policy
from policies.document import parse_policy
from policies.recorded import FORM, MEASURED_SINCE
from policies.replay import REFUSED, Replay
from tests.unit.policies.test_replay import CATALOGUE, KNOWN, NOW

FIRST = """
{"facts": {"organisation": "default", "team": "t", "key": "k", "residency": "", "data_class": "internal",
           "detection": {"found": [], "unknown": [], "unscannable": [], "detectors": "5fe7a1c20b94"},
           "request_model": "auto", "prefer": "policy", "needs": [], "is_stream": false,
           "input_tokens_estimate": 12, "output_tokens_max": null, "now": 1764000000.5, "needs_bound": true},
 "quotes": {"home": {"expected_cost_nanousd": 0, "worst_case_nanousd": 0, "expected_ttft_seconds": null,
                     "is_healthy": true, "unhealthy_reason": ""},
            "dear": {"expected_cost_nanousd": 100, "worst_case_nanousd": 1000, "expected_ttft_seconds": null,
                     "is_healthy": true, "unhealthy_reason": ""}},
 "catalogue": "8c1f0a",
 "decision": {"policy": "balanced@9ddbc2fd26fb", "labels": [], "unknown_labels": [],
              "kept": [{"target": "home", "reason": "least expected cost", "expected_cost_nanousd": 0,
                        "worst_case_nanousd": 0}],
              "struck": [{"target": "dear", "by": "constraint", "constraint": "stays", "reason": "home"}],
              "attempts_max": 3, "relaxed": [], "caches_sampled": false}}
"""
"""As the first release wrote it: every member, nothing that came later."""
LEAN = """
{"facts": {"organisation": "default", "team": "t", "key": "k", "residency": "", "data_class": "internal",
           "detection": {"detectors": "5fe7a1c20b94"}, "request_model": "auto", "prefer": "policy", "needs": [],
           "is_stream": false, "input_tokens_estimate": 12, "output_tokens_max": null, "now": 1764000000.5,
           "needs_bound": true},
 "quotes": {"home": {"expected_cost_nanousd": 0, "worst_case_nanousd": 0, "quality": 0.5},
            "dear": {"expected_cost_nanousd": 100, "worst_case_nanousd": 1000}},
 "catalogue": "8c1f0a",
 "decision": {"policy": "balanced@9ddbc2fd26fb", "labels": [], "unknown_labels": [],
              "kept": [{"target": "home", "reason": "the only one left", "expected_cost_nanousd": 0}],
              "struck": [{"target": "dear", "by": "proof", "reason": "held back"}], "fallback": ["overloaded"]},
 "passed_over": 0}
"""
"""As written since members with their defaults are left out."""


def make(**parts: object) -> CompiledPolicy:
    """A policy of these parts alone."""
    rules = parts.pop("constraints", [])
    assert isinstance(rules, list)
    named = [{"name": f"rule {at}", **rule} for at, rule in enumerate(rules)]
    document = json.dumps({"policy": "p", "constraints": named, **parts})
    return compile_policy(parse_policy(document, source="test"), CATALOGUE)


BEST = make(objective=[{"maximize": "quality"}])
DEAREST = make(objective=[{"maximize": "expected_cost_usd"}])
ALL_HOME = make(constraints=[{"require": 'target.boundary == "self_hosted"'}])


def later(text: str, **members: object) -> str:
    """``text`` with members that came later, by their path: ``facts__detection__fault``."""
    record = json.loads(text)
    for path, value in members.items():
        inner = record
        *outer, last = path.split("__")
        for name in outer:
            inner = inner[name]
        inner[last] = value
    return json.dumps(record)


OLD = {
    "the first": FIRST,
    "faults of detectors": later(FIRST, facts__detection__fault=""),
    "targets passed over": later(FIRST, facts__detection__fault="", passed_over=1),
    "embeddings": later(FIRST, passed_over=0, facts__context_tokens_estimate=None),
    "before hard budgets": later(LEAN, facts__needs_bound=False),
    "without defaults": LEAN,
}


def run(policy: CompiledPolicy, *texts: str) -> Replay:
    replay = Replay(policy, KNOWN, NOW)
    replay_page(replay, [(f"r{at}", text) for at, text in enumerate(texts)])
    return replay


@pytest.mark.parametrize("text", OLD.values(), ids=OLD.keys())
def test_record_of_every_release_is_decided_again(text: str) -> None:
    """Members that it lacks have the meaning that their absence had; explanations read it too."""
    assert run(DEAREST, text).moves == {("home", "dear"): 1}
    assert run(ALL_HOME, text).moves == {("home", "home"): 1}
    assert parse_decision(text).decision.kept[0].target == "home"


@pytest.mark.parametrize("text", OLD.values(), ids=OLD.keys())
def test_what_nobody_measured_then_is_not_taken_for_unknown(text: str) -> None:
    """A policy that looks at it is not replayed over such records, one that does not is."""
    replay = run(BEST, text)
    assert dict(replay.undecidable) == {"`quality` was not measured yet": 1}
    assert run(BEST, later(text, form=FORM)).decided == 1
    asked = later(text, facts__prefer="best", facts__request_model="auto:best")
    assert dict(run(ALL_HOME, asked).undecidable) == {"`quality` was not measured yet": 1}


@pytest.mark.parametrize("fact", MEASURED_SINCE)
def test_each_fact_is_looked_for_wherever_a_policy_may_name_it(fact: str) -> None:
    """In both halves of a constraint, in an objective, in a burst."""
    wish = {"cached_tokens": "cached_tokens < 1", "task": 'task == "x"'}.get(fact, f"{fact} < 1.0")
    if fact == "task":
        policy = make(
            labels={"a": {"when": wish}},
            constraints=[{"when": '"a" in labels', "require": "false"}],
        )
        assert dict(run(policy, LEAN).undecidable) == {"`task` was not measured yet": 1}
    for policy in (
        make(constraints=[{"require": wish}]),
        make(constraints=[{"when": wish, "require": "false"}]),
        make(objective=[{"minimize": "expected_cost_usd", "subject_to": [wish]}]),
        make(attempts={"burst": {"when": wish}}),
    ):
        assert dict(run(policy, LEAN).undecidable) == {f"`{fact}` was not measured yet": 1}


def test_every_fact_that_may_be_unknown_says_since_when_it_is_measured() -> None:
    """A new one has to be added here, or to those that early records lack."""
    ever = {"expected_cost_usd", "worst_case_cost_usd", "worst_case_request_cost_usd"}
    of_catalogue = {"target.retention_days", "target.trains_on_inputs"}
    by_nobody = {"difficulty"}
    unknown = {path for path, (_kind, _scope, may_be_unknown) in SCHEMA.items() if may_be_unknown}
    assert unknown == (MEASURED_SINCE.keys() - {"cached_tokens"}) | ever | of_catalogue | by_nobody


def test_detectors_of_which_only_the_patterns_are_known_are_not_guessed() -> None:
    """Their code is not known, so a label that needs a detector leaves the request undecided."""
    policy = make(labels={"a": {"detect": ["pii.card"]}})
    assert dict(run(policy, LEAN).undecidable) == {
        "this release does not know what the detectors `5fe7a1c20b94` looked for": 1
    }


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", ""),
        ("{", ""),
        ("null", ""),
        ("[]", ""),
        ("{}", ""),
        ("[" * 100_000, ""),
        (LEAN + "x", ""),
        (later(LEAN, facts__data_class="secret"), " (`facts.data_class`)"),
        (later(LEAN, facts__now="today"), " (`facts.now`)"),
        (later(LEAN, facts__input_tokens_estimate=1.5), " (`facts.input_tokens_estimate`)"),
        (later(LEAN, quotes=[]), " (`quotes`)"),
        (later(LEAN, quotes__home={}), " (`quotes[...]`)"),
        (later(LEAN, decision__kept=[{"target": "gone"}]), ""),
        (later(LEAN, quotes__dear__expected_cost_nanousd=10**400), ""),
        (LEAN.replace("1764000000.5", "1e400"), " (`facts.now`)"),
    ],
)
def test_what_cannot_be_read_is_counted_and_the_run_goes_on(text: str, where: str) -> None:
    """Whatever a row holds, the ones beside it are decided, and nothing of it is counted elsewhere."""
    replay = run(DEAREST, LEAN, text, FIRST)
    assert dict(replay.undecidable) == {UNREADABLE + where: 1}
    assert (replay.decided, replay.moves) == (2, {("home", "dear"): 2})
    assert replay.cost.asked == 2


def test_reason_of_a_newer_release_does_not_end_the_run() -> None:
    """Who was struck is read for an example alone: a word that this release does not know is said to be one."""
    struck = [{"target": "dear", "by": "a new way"}]
    text = later(LEAN, decision__kept=[], decision__struck=struck)
    replay = run(DEAREST, text)
    assert replay.moves == {(REFUSED, "dear"): 1}
    assert replay.examples()[0].reason == "then: for a reason that this release cannot read"
