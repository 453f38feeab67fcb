"""The policies that come with moegate: proved, and so well covered that no rule can go unnoticed."""

import copy
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
import yaml

from gateway.proving import find_shipped_certificate, prove
from policies.certificate import digest_verifier, parse_certificate
from policies.check import STAND_INS, check
from policies.document import PolicyDocument, PolicyError, parse_policy

FOLDER = files("policies") / "defaults"
NAMES = sorted(entry.name[:-5] for entry in FOLDER.iterdir() if entry.name.endswith(".yaml"))


def read(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def is_noticed(document: PolicyDocument) -> bool:
    """Whether an example fails, or a claim does not hold for any catalogue there may be."""
    found = prove(document, STAND_INS).certificate
    is_proof = found.is_proof and found.scope == "any catalogue"
    return not check(document, ()).is_ok or not is_proof


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
    """An example or a claim tells of each constraint."""
    for words, mutant in mutants(name):
        assert is_noticed(parse_policy(json.dumps(mutant), source=name)), words


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_it_is_idle(name: str) -> None:
    """No rule without effect, no preference that never counts, nobody left without a target."""
    document = parse_policy(read(name), source=name)
    findings = prove(document, STAND_INS, analyses=True).findings
    assert not [finding for finding in findings if not finding.startswith("target ")]


def test_labels_that_depend_on_themselves_are_refused() -> None:
    """With the way round."""
    labels = {"a": {"when": '"b" in labels'}, "b": {"when": '"a" in labels'}}
    with pytest.raises(PolicyError, match="themselves: a → b → a"):
        parse_policy(json.dumps({"policy": "p", "labels": labels}), source="p")
