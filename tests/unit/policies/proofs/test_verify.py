"""A claim is proved where it holds, refuted where it does not, and each counterexample really happens."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from policies.cel import solver
from policies.cel.solver import Truth
from policies.cel.terms import Term, both, either, negate
from policies.certificate import Certificate, digest_targets, parse_certificate
from policies.classify import Classifier
from policies.compile import compile_policy
from policies.decide import allowed_targets
from policies.document import parse_policy
from policies.facts import TargetFacts
from policies.proofs import symbols, verify
from policies.proofs.verify import Proof, Prover, certify
from tests.unit.policies import small

SEED = 20_261_127
TYPES = Classifier().types


def compare(seed: int, policies: int) -> dict[str, int]:
    """Prove and try everything; how often each verdict was given."""
    verdicts: dict[str, int] = {}
    for number in range(policies):
        dice = random.Random(f"{seed} {number}")
        text, targets = small.policy_text(dice), small.catalogue(dice)
        document = parse_policy(text, source="small")
        never, always, *built_in = Prover(document, targets, small.TYPES).prove()
        first, second = document.data.invariants
        shown = f"seed {seed} {number}: {text} {targets}"
        is_never = small.is_never(text, targets, first.never or "")
        assert never.verdict == ("proved" if is_never else "refuted"), (never, shown)
        is_always = small.is_always(
            text, targets, second.always_some_target or "", second.assuming or ""
        )
        assert always.verdict == ("proved" if is_always else "refuted"), (always, shown)
        for proof in (never, always, *built_in):
            assert proof.verdict in ("proved", "refuted"), (proof, shown)
            name = f"{proof.claim.split(':')[0]} {proof.verdict}"
            verdicts[name] = verdicts.get(name, 0) + 1
    return verdicts


def test_verdicts_are_those_of_trying_everything() -> None:
    """Over random small policies, claims of both kinds, both verdicts."""
    verdicts = compare(SEED, 25)
    assert verdicts["never proved"] > 1
    assert verdicts["never refuted"] > 10
    assert verdicts["always_some_target proved"] > 0
    assert verdicts["always_some_target refuted"] > 10


@pytest.mark.full
def test_verdicts_are_those_of_trying_everything_many_times() -> None:
    """The same in volume."""
    compare(SEED + 1, 150)


def _swapped(left: Truth, right: Truth) -> Truth:
    """`||` where `&&` is meant, or the other way round."""
    holds = either(left.holds, right.holds)
    return Truth(holds, both(negate(holds), either(left.fails, right.fails)))


def _without_errors(truth: Callable[..., Truth]) -> Callable[..., Truth]:
    return lambda *arguments: Truth(truth(*arguments).holds, fails=False)


def _strict(_operator: str, left: Term, right: Term) -> Term:
    return left < right


def _never_open(vocabulary: Any, request: Any, fill: Any, inexact: list[str]) -> symbols.World:
    return symbols.make_world(vocabulary, request, dict.fromkeys(fill, False), inexact)


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "or for and": (solver, "_both", _swapped),
    "and forgets errors": (solver, "_both", _without_errors(getattr(solver, "_both"))),  # noqa: B009  # private: mutants reach in
    "or forgets errors": (solver, "_either", _without_errors(getattr(solver, "_either"))),  # noqa: B009  # private: mutants reach in
    "every comparison is <": (solver, "_order", _strict),
    "costs compare as <": (solver, "_compare_cost", lambda _how, nano, usd: nano < int(usd * 1e9)),
    "truths are never the same": (solver, "same", both),
    "unknown labels are not set": (verify, "make_world", _never_open),
    "everybody fits": (verify, "fits", lambda *_: True),
}


@pytest.mark.full
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_solver_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of getting the formulas wrong, alone, is told apart from trying everything."""
    module, attribute, broken = MUTANTS[name]
    monkeypatch.setattr(module, attribute, broken)
    with pytest.raises(AssertionError):
        compare(SEED, 60)


HOME = TargetFacts(
    name="own/m", provider="own", model="m", boundary="self_hosted", region="home",
    capabilities=frozenset({"tools"}), context_tokens_max=1000, output_tokens_max=100,
)  # fmt: skip
CLOUD = TargetFacts(
    name="cloud/m", provider="cloud", model="m", boundary="external", region="us",
    capabilities=frozenset({"tools"}), context_tokens_max=1000, output_tokens_max=100,
)  # fmt: skip


def prove(
    claim: dict[str, str],
    *constraints: dict[str, str],
    targets: tuple[TargetFacts, ...] = (HOME, CLOUD),
    **members: Any,
) -> Proof:
    """What becomes of one claim, over one target at home and one outside, or others."""
    named = [{"name": f"rule {at}"} | one for at, one in enumerate(constraints)]
    document = {
        "policy": "p", "labels": {"credentials": {"detect": ["secret.*"]}}, "unscannable": "any",
        "constraints": named, "invariants": [claim],
    } | members  # fmt: skip
    parsed = parse_policy(json.dumps(document), source="p")
    return Prover(parsed, targets, TYPES).prove()[0]


SECRETS_STAY = {"never": '"credentials" in labels && target.boundary == "external"'}
HOME_ONLY = {"when": '"credentials" in labels', "require": 'target.boundary == "self_hosted"'}


def test_what_holds_for_every_target_is_proved_for_any_catalogue() -> None:
    """Nothing of the catalogue is needed, so a change of it changes nothing."""
    proof = prove(SECRETS_STAY, HOME_ONLY)
    assert (proof.verdict, proof.scope) == ("proved", "any catalogue")


def test_what_holds_because_of_the_targets_is_proved_for_these_alone() -> None:
    """The rule names a provider, and the catalogue's is at home."""
    proof = prove(SECRETS_STAY, {"require": 'target.provider == "own"'})
    assert (proof.verdict, proof.scope) == ("proved", "this catalogue")


def test_a_counterexample_reads_well_and_really_happens() -> None:
    """In facts that a person understands, and that decide the same when fed back."""
    proof = prove(SECRETS_STAY, {**HOME_ONLY, "when": HOME_ONLY["when"] + " && request.is_stream"})
    assert proof.verdict == "refuted"
    assert "labels: credentials" in proof.lines
    assert any(line.startswith("kept: cloud/m (external, ") for line in proof.lines)
    witness = proof.witness
    assert witness is not None
    assert not witness.facts.is_stream
    text = {"policy": "p", "labels": {"credentials": {"detect": ["secret.*"]}}, "constraints": []}
    policy = compile_policy(parse_policy(json.dumps(text), source="p"), witness.targets)
    assert allowed_targets(policy, witness.facts, witness.quotes) == {"cloud/m"}


@pytest.mark.parametrize(
    ("require", "verdict"),
    [
        ("worst_case_cost_usd <= 2.0", "proved"),
        ("worst_case_cost_usd < 2.000000001", "proved"),
        ("worst_case_cost_usd <= 2.000000001", "refuted"),
        ("worst_case_request_cost_usd <= 6.0", "proved"),
        ("worst_case_request_cost_usd <= 6.000000003", "refuted"),
        ("!(worst_case_cost_usd > 2.0)", "proved"),
        ("expected_cost_usd <= 2.0", "refuted"),
    ],
)
def test_money_is_exact_to_the_nano_dollar(require: str, verdict: str) -> None:
    """Doubles in the expressions, whole nano-dollars behind them; an unknown price is no way around."""
    assert prove({"never": "worst_case_cost_usd > 2.0"}, {"require": require}).verdict == verdict


@pytest.mark.parametrize(
    ("when", "never", "verdict"),
    [
        ('tenant.team.startsWith("legal")', 'tenant.team == "legal-eu"', "proved"),
        ('tenant.team.startsWith("legal")', 'tenant.team.endsWith("legal")', "refuted"),
        ('tenant.team.contains("a") || tenant.team.contains("b")', 'tenant.team == "ab"', "proved"),
        ('request.model in ["a", "b"]', 'request.model == "b"', "proved"),
        ('request.model in ["a", "b"]', 'request.model == "c"', "refuted"),
        ('request.data_class.startsWith("re")', 'request.data_class == "restricted"', "proved"),
        ("size(labels) > 0", '"credentials" in labels', "proved"),
        ('"tools" in request.needs', "size(request.needs) == 8", "proved"),
        ("clock.hour < 8", "clock.hour == 7 && clock.weekday == 6", "proved"),
        ("clock.hour < 8", "clock.hour == 8", "refuted"),
        ('task == "code"', 'task == "code"', "proved"),
    ],
)  # fmt: skip
def test_texts_sets_and_the_clock_have_exact_formulas(when: str, never: str, verdict: str) -> None:
    """Where the rule holds nobody is left, so the claim about it holds, or does not."""
    rule = {"when": when, "require": 'target.name == ""'}
    outside = {"require": 'target.name != ""'}
    assert prove({"never": f"{never} && target.name != ''"}, rule, outside).verdict == verdict


def test_what_holds_for_each_target_as_assumed_holds_for_any_catalogue() -> None:
    """If any such target is left then one is, in every catalogue that has one; otherwise it is asked of this one."""
    plain = "target.healthy && target.capable && worst_case_cost_usd <= 1.0"
    home = f'{plain} && target.boundary == "self_hosted"'
    for assuming, scope in ((home, "any catalogue"), (plain, "this catalogue")):
        claim = {"always_some_target": "true", "assuming": assuming}
        proof = prove(claim, HOME_ONLY)
        assert (proof.verdict, proof.scope) == ("proved", scope)
        empty = prove(claim, HOME_ONLY, targets=())
        assert empty.verdict == ("proved" if scope == "any catalogue" else "refuted")


VECTORS = structs.replace(CLOUD, name="cloud/v", capabilities=frozenset({"embed"}))


def test_targets_that_give_vectors_do_not_make_a_claim_empty() -> None:
    """No target gives vectors and answers: what is capable of one thing is not presumed to be of the other."""
    targets = (HOME, CLOUD, VECTORS)
    claim = {
        "always_some_target": "true",
        "assuming": "target.healthy && target.capable && worst_case_cost_usd <= 1.0",
    }
    nobody = {"require": 'target.name == "x"'}
    assert prove(claim, nobody, targets=targets).verdict == "refuted"
    proof = prove(claim, HOME_ONLY, targets=targets)
    assert proof.verdict == "refuted"  # nobody at home gives vectors
    assert "needs: embed" in proof.lines
    chats = claim | {"always_some_target": '!("embed" in request.needs)'}
    assert prove(chats, HOME_ONLY, targets=targets).verdict == "proved"


@pytest.mark.parametrize(
    "assuming", ["false", 'target.boundary == "self_hosted" && target.capable']
)
def test_what_assumes_the_impossible_is_not_proved(assuming: str) -> None:
    """It would hold of nothing, and so of everything."""
    claim = {"always_some_target": "true", "assuming": assuming}
    proof = prove(claim, HOME_ONLY)
    assert proof.verdict == "undecided"
    assert "it would say nothing" in proof.reason


def test_lost_detectors_are_part_of_every_proof() -> None:
    """Where a label is unknown every filling has to leave somebody."""
    always = {"always_some_target": "true", "assuming": "target.healthy && target.capable"}
    free = {"assuming": always["assuming"] + " && worst_case_cost_usd <= 1.0"}
    assert prove(always | free, HOME_ONLY).verdict == "proved"
    other = {"when": '!("credentials" in labels)', "require": 'target.boundary == "external"'}
    proof = prove(always | free, HOME_ONLY, other)
    assert proof.verdict == "refuted"
    assert any(line.startswith("detectors lost: secret.") for line in proof.lines)


@pytest.mark.parametrize(
    ("when", "broken"),
    [
        ('!("credentials" in labels)', "a further finding never adds a target"),
        ('request.data_class == "public"', "a higher data class never adds a target"),
    ],
)
def test_policies_that_reward_what_should_restrict_are_found_out(when: str, broken: str) -> None:
    """Of every policy it is proved that more knowledge of danger never opens a target."""
    rule = {"name": "r", "when": when, "require": 'target.boundary == "self_hosted"'}
    document = {
        "policy": "p", "labels": {"credentials": {"detect": ["secret.*"]}}, "constraints": [rule],
    }  # fmt: skip
    proofs = Prover(parse_policy(json.dumps(document), source="p"), (HOME, CLOUD), TYPES).prove()
    assert [proof.claim for proof in proofs if proof.verdict != "proved"] == [broken]


def test_a_certificate_is_of_one_text_and_its_catalogue() -> None:
    """Written and read again; void for another text, and for another catalogue if it needed this one."""
    text = {"policy": "p", "constraints": [{"name": "r", "require": 'target.provider == "own"'}],
            "invariants": [{"never": 'target.boundary == "external"'}]}  # fmt: skip
    document = parse_policy(json.dumps(text), source="p")
    targets = (HOME, CLOUD)
    proofs = Prover(document, targets, TYPES).prove()
    found = certify(document, targets, proofs)
    assert found.scope == "this catalogue"
    again: Certificate = parse_certificate(json.dumps(_as_json(found)))
    assert again.is_valid_for(document.digest, digest_targets((CLOUD, HOME)))
    assert not again.is_valid_for(document.digest, digest_targets((CLOUD,)))
    assert not again.is_valid_for("another", digest_targets(targets))


def _as_json(found: Certificate) -> Any:
    import msgspec  # to go through JSON is what is tested

    return msgspec.to_builtins(found)
