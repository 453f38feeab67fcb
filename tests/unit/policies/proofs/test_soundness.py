"""Nothing is proved that does not hold, nothing refuted that does not happen, and nothing brings the prover down."""

import json
from typing import Any

import msgspec
import pytest

from policies.certificate import SOURCES, digest_target
from policies.compile import compile_policy
from policies.decide import allowed_targets
from policies.document import parse_policy
from policies.proofs.verify import Proof, Prover, certify
from tests.unit.policies.proofs.test_verify import CLOUD, HOME, TYPES, prove

HOME_ONLY = 'target.boundary == "self_hosted"'
ALWAYS = {
    "always_some_target": "true",
    "assuming": "target.healthy && target.capable && worst_case_cost_usd <= 1.0",
}
MANY = [f"l{at}" for at in range(11)]


def prove_many(labels: list[str], **more: Any) -> tuple[tuple[Proof, ...], dict[str, Any]]:
    """All claims about a rule that looks at ``labels``, each with a type of its own."""
    when = " || ".join(f'"{name}" in labels' for name in labels)
    document: dict[str, Any] = {
        "policy": "p", "unscannable": "any", "invariants": [ALWAYS],
        "labels": {name: {"detect": [f"x.{name}"]} for name in labels} | more,
        "constraints": [{"name": "r", "when": when, "require": HOME_ONLY}],
    }  # fmt: skip
    return Prover(
        parse_policy(json.dumps(document), source="p"), (HOME, CLOUD), ()
    ).prove(), document


def test_too_many_open_labels_strike_in_proofs_too() -> None:
    """With eleven labels open nobody is left, and to find one of them brings a target back: both are told."""
    (always, more, *rest), document = prove_many(MANY)
    assert [one.verdict for one in (always, more)] == ["refuted", "refuted"]
    assert {one.verdict for one in rest} == {"proved"}
    witness = always.witness
    assert witness is not None
    assert witness.facts.detection.unknown == {f"x.{name}" for name in MANY}
    policy = compile_policy(parse_policy(json.dumps(document), source="p"), witness.targets)
    assert not allowed_targets(policy, witness.facts, witness.quotes)


def test_ten_open_labels_are_filled_in() -> None:
    """At the bound every claim still holds."""
    proofs, _ = prove_many(MANY[:10])
    assert {one.verdict for one in proofs} == {"proved"}


def test_labels_that_are_open_in_different_fillings_count_together() -> None:
    """One follows where another is set, one where it is not: never both, and the decision counts both."""
    when = {
        "yes": {"when": '"l0" in labels && task == "x"'},
        "no": {"when": '!("l0" in labels) && task == "x"'},
    }
    document = {
        "policy": "p", "unscannable": "any", "invariants": [ALWAYS],
        "labels": {name: {"detect": [f"x.{name}"]} for name in MANY[:9]} | when,
        "constraints": [{"name": "r", "when": "size(labels) > 0", "require": HOME_ONLY}],
    }  # fmt: skip
    parsed = parse_policy(json.dumps(document), source="p")
    assert Prover(parsed, (HOME, CLOUD), ()).prove()[0].verdict == "refuted"


def test_each_pattern_is_free_by_itself() -> None:
    """Two patterns that have no formula are not taken for one, however they lie in memory."""
    labels = {f"l{at}": {"when": f'tenant.team.matches("^{at}")'} for at in range(8)}
    for other in range(1, 8):
        rule = {"when": '"l0" in labels', "require": HOME_ONLY}
        claim = {"never": f'"l{other}" in labels && target.boundary == "external"'}
        assert prove(claim, rule, labels=labels).verdict == "undecided"


@pytest.mark.parametrize(
    ("claim", "labels"),
    [
        ({**ALWAYS, "always_some_target": 'tenant.team.matches("^eu-")'}, {}),
        ({"never": '"a" in labels && tenant.team == "x"'}, {"a": {"when": 'tenant.team.matches("^eu-")'}}),
    ],
)  # fmt: skip
def test_a_pattern_that_does_not_hold_makes_no_counterexample(
    claim: dict[str, str], labels: dict[str, Any]
) -> None:
    """Team x matches nothing here, so what happens to it speaks against no claim about those that do."""
    rules = [{"when": 'tenant.team == "x"', "require": 'target.name == ""'}] if not labels else []
    proof = prove(claim, *rules, labels=labels)
    assert proof.verdict == "undecided"
    assert "the pattern `^eu-` in `" in proof.reason


def test_the_reason_names_what_stands_in_this_claim_s_way() -> None:
    """The expression and its place, and nothing of the other claims."""
    document = {
        "policy": "p", "constraints": [],
        "invariants": [{"never": "clock.hour + 1 > 99"}, {"never": 'tenant.team.matches("q") && false'},
                       {"never": 'tenant.team.matches("r") && tenant.team == "s"'}],
    }  # fmt: skip
    parsed = parse_policy(json.dumps(document), source="p")
    first, second, third, *_ = Prover(parsed, (HOME, CLOUD), TYPES).prove()
    assert first.reason.endswith("way: arithmetic in `invariants[0].never`")
    assert second.verdict == "proved"
    assert third.reason.endswith("way: the pattern `r` in `invariants[2].never`")


@pytest.mark.parametrize(
    ("never", "verdict"),
    [
        ("size(request.data_class) == 99", "proved"),
        ("size(request.data_class) == 10", "refuted"),
        ("(request.is_stream ? worst_case_cost_usd : 0.5) > 2.0 && !request.is_stream", "proved"),
        ("(request.is_stream ? worst_case_cost_usd : 0.5) > 2.0", "refuted"),
        ('"tools" in (request.is_stream ? request.needs : target.capabilities)', "refuted"),
        ('"seed" in (request.is_stream ? request.needs : target.capabilities) && request.is_stream', "proved"),
        ('tenant.team in (request.is_stream ? ["a"] : ["b"]) && tenant.team == "c"', "proved"),
        ('(request.is_stream ? request.model : "b") == "c" && request.model == "d"', "proved"),
    ],
)  # fmt: skip
def test_choices_and_sizes_have_exact_formulas(never: str, verdict: str) -> None:
    """Between costs and numbers, sets, lists, texts: what is asked of a choice is asked of both sides."""
    assert prove({"never": never}).verdict == verdict


def test_a_choice_of_what_is_unknown_cannot_be_evaluated() -> None:
    """A task that nobody knows strikes, though both sides of the demand are true."""
    require = '((request.is_stream ? task : "a") == "b") ? true : true'
    assert prove(ALWAYS, {"require": require}).verdict == "refuted"


def test_patterns_on_targets_of_the_catalogue_are_decided() -> None:
    """Their names are constants."""
    proof = prove(
        {"never": 'target.boundary == "external"'}, {"require": 'target.name.matches("^own/")'}
    )
    assert (proof.verdict, proof.scope) == ("proved", "this catalogue")


def test_a_further_detector_can_make_a_proof_void() -> None:
    """It may set one label without another that always came with it, so certificates name the detectors."""
    document = {
        "policy": "p", "unscannable": "any",
        "labels": {"any": {"detect": ["x.*"]}, "one": {"detect": ["x.one"]}},
        "constraints": [{"name": "r", "when": '"one" in labels', "require": HOME_ONLY}],
        "invariants": [{"never": '"any" in labels && target.boundary == "external"'}],
    }  # fmt: skip
    parsed = parse_policy(json.dumps(document), source="p")
    verdicts = [
        Prover(parsed, (HOME, CLOUD), types).prove()[0].verdict
        for types in (["x.one"], ["x.one", "x.two"])
    ]
    assert verdicts == ["proved", "refuted"]
    assert "classify" in SOURCES


def test_what_joins_levels_makes_a_proof_void() -> None:
    """A base with an overlay has the digests of its parts, whatever is made of them."""
    assert "inherit.py" in SOURCES


def test_a_proof_of_another_release_covers_no_target() -> None:
    """What that one proved, of any catalogue or of this target, this one may refute."""
    parsed = parse_policy('{"policy": "p"}', source="p")
    proofs = Prover(parsed, (CLOUD,), ()).prove()
    made = certify(parsed, (CLOUD,), proofs)
    assert made.covers(digest_target(CLOUD))
    older = msgspec.structs.replace(made, verifier="older", targets=(digest_target(CLOUD),))
    assert not older.covers(digest_target(CLOUD))
