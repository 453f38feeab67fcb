"""The policies that come with moegate: proved, and so well covered that no rule can go unnoticed."""

import copy
import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import product
from typing import Any

import msgspec
import pytest
import yaml

from gateway.proving import find_shipped_certificate, prove
from policies.certificate import digest_verifier, parse_certificate
from policies.check import STAND_INS, check
from policies.document import PolicyDocument, parse_policy
from policies.facts import BOUNDARIES, TargetFacts

FOLDER = files("policies") / "defaults"
NAMES = sorted(entry.name[:-5] for entry in FOLDER.iterdir() if entry.name.endswith(".yaml"))


def read(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


# Every sort of target that a catalogue may hold; the names stand before and behind those of examples.
CATALOGUE = tuple(
    TargetFacts(
        name=f"{'az'[at % 2]}/{at}",
        provider="some",
        model=str(at),
        boundary=boundary,
        region=region,
        capabilities=frozenset({"embed"}) if gives_vectors else frozenset({"tools"}),
        context_tokens_max=8_000,
        output_tokens_max=1_000,
        retention_days=days,
        trains_on_inputs=trains,
    )
    for at, (boundary, region, days, trains, gives_vectors) in enumerate(
        product(BOUNDARIES, ("eu", "us", ""), (None, 0, 31), (None, False, True), (False, True))
    )
)


def is_noticed_by_claims(document: PolicyDocument) -> bool:
    """Whether a claim does not hold for any catalogue there may be."""
    found = prove(document, STAND_INS).certificate
    return not (found.is_proof and found.scope == "any catalogue")


def mutants(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document without one constraint, or with one of its expressions turned round."""
    whole = yaml.safe_load(read(name))
    for at, constraint in enumerate(whole["constraints"]):
        without = copy.deepcopy(whole)
        del without["constraints"][at]
        for example in without["examples"]:  # that the name is gone is no finding
            if example["expect"].get("struck_by") == constraint["name"]:
                del example["expect"]["struck_by"]
        without["examples"] = [one for one in without["examples"] if one["expect"]]
        yield f"without `{constraint['name']}`", without
        for part in ("when", "require"):
            if part in constraint:
                turned = copy.deepcopy(whole)
                turned["constraints"][at][part] = f"!({constraint[part]})"
                yield f"`{constraint['name']}` with its `{part}` turned round", turned


def test_there_is_one_for_each_need() -> None:
    """Balanced for a first start, and five for the usual cases."""
    assert NAMES == [
        "balanced", "cheapest-capable", "dev", "eu-residency", "private-by-default", "regulated-health",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_is_proved_for_any_catalogue_and_says_so(name: str) -> None:
    """Its certificate is of this text and of the code as it stands (`python tools/prove_policies.py`)."""
    document = parse_policy(read(name), source=name)
    carried = parse_certificate((FOLDER / f"{name}.proof.json").read_bytes())
    assert carried.verifier == digest_verifier(), "run `python tools/prove_policies.py`"
    assert carried == prove(document, STAND_INS).certificate
    assert carried.scope == "any catalogue"
    assert find_shipped_certificate(document, "any") == carried
    changed = parse_policy(read(name) + "# changed\n", source=name)
    assert find_shipped_certificate(changed, "any") is None


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_can_go_or_turn_round_unnoticed(name: str) -> None:
    """A claim tells of each constraint, and so does an example, by what becomes of a request."""
    for words, mutant in mutants(name):
        document = parse_policy(json.dumps(mutant), source=name)
        assert not check(document, ()).is_ok, words
        assert is_noticed_by_claims(document), words


@pytest.mark.parametrize("name", NAMES)
def test_its_examples_hold_whatever_is_switched_on(name: str) -> None:
    """With targets of every sort beside those of examples: who trains, who keeps, and who says nothing of it."""
    report = check(parse_policy(read(name), source=name), CATALOGUE)
    assert report.is_ok, report.lines()


@pytest.mark.parametrize("name", NAMES)
def test_own_servers_are_never_passed_over(name: str) -> None:
    """Whatever is found or lost: a server at home that is up and can do it is left, as far as prices allow. To strike
    servers at home as well is noticed."""
    document = parse_policy(read(name), source=name)
    (claim,) = [one for one in document.data.invariants if one.always_some_target == "true"]
    assert 'target.boundary == "self_hosted"' in str(claim.assuming)
    whole = yaml.safe_load(read(name))
    whole["constraints"].append(
        {"name": "none", "when": "clock.hour == 3", "require": "target.name == ''"}
    )
    whole["invariants"] = [msgspec.to_builtins(claim)]
    assert is_noticed_by_claims(parse_policy(json.dumps(whole), source=name))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_it_is_idle(name: str) -> None:
    """No rule without effect, no preference that never counts, nobody left without a target."""
    document = parse_policy(read(name), source=name)
    findings = prove(document, STAND_INS, analyses=True).findings
    assert not [finding for finding in findings if not finding.startswith("target ")]
