"""A replay counts what another policy would do with recorded facts, and says what cannot be known from them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from policies.compile import CompiledPolicy, compile_policy
from policies.decide import decide
from policies.document import parse_policy
from policies.facts import Detection, Facts, Quote, TargetFacts
from policies.replay import EXAMPLES_MAX, Change, Past, Replay
from tests.unit.policies.worlds import make_policy, worlds

NOW = "rules-1"


def target(name: str, boundary: Any) -> TargetFacts:
    return TargetFacts(
        name=name, provider="p", model="m", boundary=boundary, region="eu", capabilities=frozenset(),
        context_tokens_max=1000, output_tokens_max=100,
    )  # fmt: skip


TARGETS = (target("own", "self_hosted"), target("cloud", "external"))
QUOTES = {
    "own": Quote(1000, 1000, 2.0, quality=0.5),
    "cloud": Quote(3000, 9000, 0.5, quality=0.9),
}


def policy(**members: Any) -> CompiledPolicy:
    labels = {"personal": {"detect": ["pii.email"]}}
    document = {"policy": "p", "labels": labels} | members
    return compile_policy(parse_policy(json.dumps(document), source="p"), TARGETS)


def past(number: int = 0, to: str | None = "cloud", **changes: Any) -> Past:
    facts = Facts(
        organisation="o", team="t", key="k", residency="", data_class="internal",
        detection=Detection(detectors=NOW), request_model="auto", prefer="policy",
        needs=frozenset(), is_stream=False, input_tokens_estimate=10, output_tokens_max=None, now=0.0,
    )  # fmt: skip
    return Past(f"req-{number}", msgspec.structs.replace(facts, **changes), QUOTES, to)


EMAIL = Detection(frozenset({"pii.email"}), detectors=NOW)
BEST = {"objective": [{"maximize": "quality"}]}
HOME = {"constraints": [{"name": "home", "require": 'target.boundary == "self_hosted"'}]}


def test_the_same_policy_moves_nothing() -> None:
    """And changes no number."""
    tally = Replay(policy(**BEST), NOW)
    for number in range(5):
        tally.add(past(number))
    assert (tally.decided, tally.moved.total()) == (5, 0)
    assert (tally.cost_usd.known, tally.cost_usd.mean, tally.cost_usd.interval) == (5, 0.0, 0.0)
    assert tally.examples() == []


def test_what_moves_is_counted_with_its_numbers() -> None:
    """From the cloud to home: cheaper, slower, not as good; by hand."""
    tally = Replay(policy(**HOME), NOW)
    tally.add(past(1))
    tally.add(past(2, to="own"))
    said = json.loads(json.dumps(tally.to_json()))
    assert said["moves"] == [{"from": "cloud", "to": "own", "requests": 1}]
    assert said["moved_share"] == 0.5
    assert said["crossings"] == [{"kind": "comes home", "data_class": "internal", "requests": 1}]
    assert said["expected_cost_usd"]["total"] == pytest.approx(-2e-6)
    assert said["expected_cost_usd"]["mean"] == pytest.approx(-1e-6)
    assert said["expected_ttft_seconds"]["mean"] == pytest.approx(0.75)
    assert said["quality"]["mean"] == pytest.approx(-0.2)
    (example,) = said["examples"]
    assert example["reason"] == "home: home"
    assert example["cost_change_nanousd"] == -2000


def test_the_interval_is_that_of_paired_differences() -> None:
    """Mean and standard error of 1, 2, 3, 4 by hand."""
    change = Change()
    for value in (1.0, 2.0, 3.0, 4.0):
        change.add(value)
    assert change.mean == 2.5
    assert change.interval == pytest.approx(1.96 * (5 / 3 / 4) ** 0.5)


def test_refusals_and_what_leaves_home_are_told_apart() -> None:
    """Newly refused, newly allowed, out of the house."""
    refusing = Replay(policy(constraints=[{"name": "none", "require": 'target.name == ""'}]), NOW)
    refusing.add(past(1))
    assert refusing.moved == {("cloud", "refused"): 1}
    assert refusing.examples()[0].kind == "newly refused"
    allowing = Replay(policy(**BEST), NOW)
    allowing.add(past(1, to=None))
    allowing.add(past(2, to="own", data_class="confidential"))
    assert [one.kind for one in allowing.examples()] == ["newly allowed", "leaves home"]
    assert allowing.crossings["leaves home", "confidential"] == 1
    assert allowing.cost_usd.known == 1


def test_what_was_not_recorded_is_not_guessed() -> None:
    """Other detectors, targets that are gone: undecided, each with its reason, and counted nowhere else."""
    tally = Replay(policy(**HOME), "rules-2")
    tally.add(past(1))
    gone = {**QUOTES, "gone": Quote(1, 1)}
    still = Replay(policy(**HOME), NOW)
    still.add(msgspec.structs.replace(past(2), quotes=gone))
    for one, words in ((tally, "other detectors"), (still, "not in the catalogue")):
        assert (one.decided, one.moved.total(), one.cost_usd.known) == (0, 0, 0)
        ((reason, count),) = one.undecided.items()
        assert words in reason
        assert count == 1


def test_detectors_do_not_matter_to_a_policy_that_asks_them_nothing() -> None:
    """Without a label of findings, any record will do."""
    document = parse_policy(json.dumps({"policy": "p"} | HOME), source="p")
    tally = Replay(compile_policy(document, TARGETS), "rules-2")
    tally.add(past())
    assert tally.decided == 1


def test_findings_count_as_they_were_recorded() -> None:
    """The label is set by what the detectors found then."""
    rule = {"name": "r", "when": '"personal" in labels', "require": 'target.name == "own"'}
    tally = Replay(policy(constraints=[rule], **BEST), NOW)
    tally.add(past(1))
    tally.add(past(2, detection=EMAIL))
    (example,) = tally.examples()
    assert (example.request_id, example.labels) == ("req-2", ("personal",))


def test_examples_are_few_and_of_every_kind() -> None:
    """A thousand moves of one kind do not hide the single refusal."""
    rule = {"name": "r", "when": '"personal" in labels', "require": 'target.name == ""'}
    tally = Replay(policy(constraints=[rule, *HOME["constraints"]]), NOW)
    for number in range(1000):
        tally.add(past(number))
    tally.add(past(1000, detection=EMAIL))
    examples = tally.examples()
    assert len(examples) == EXAMPLES_MAX
    assert (examples[0].kind, examples[0].request_id) == ("newly refused", "req-1000")


@given(worlds(), worlds())
def test_a_replay_is_what_deciding_again_says(one: Any, other: Any) -> None:
    """Over random worlds: moved if, and only if, the first choice is another."""
    catalogue, _rules, _objective, facts, quotes = one
    compiled = make_policy(catalogue, other[1], other[2])
    facts = msgspec.structs.replace(
        facts, detection=msgspec.structs.replace(facts.detection, detectors=NOW)
    )
    before = catalogue[0].name
    tally = Replay(compiled, NOW)
    tally.add(Past("r", facts, quotes, before))
    kept = decide(compiled, facts, None, quotes).kept
    after = kept[0].target if kept else "refused"
    assert dict(tally.moved) == ({} if after == before else {(before, after): 1})
