"""What is suggested to a refused client would really pass, one change at a time."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from policies.compile import compile_policy
from policies.decide import decide
from policies.document import parse_policy
from policies.facts import Detection, Facts, Quote, TargetFacts
from policies.remedies import what_would_pass
from tests.unit.policies.worlds import make_policy, worlds

CLOUD = TargetFacts(
    name="cloud/m", provider="cloud", model="m", boundary="external", region="us",
    capabilities=frozenset({"images"}), context_tokens_max=1000, output_tokens_max=100,
)  # fmt: skip
POLICY = {
    "policy": "p",
    "labels": {"personal": {"detect": ["pii.*"]}, "credentials": {"detect": ["secret.*"]}},
    "constraints": [
        {"name": "home", "require": 'target.boundary == "self_hosted"',
         "when": '"personal" in labels || "credentials" in labels || request.data_class == "restricted"'},
        {"name": "dear", "require": "worst_case_cost_usd <= 1.0"},
    ],
}  # fmt: skip
FACTS = Facts(
    organisation="o", team="t", key="k", residency="", data_class="internal", detection=Detection(),
    request_model="auto", prefer="policy", needs=frozenset(), is_stream=False,
    input_tokens_estimate=10, output_tokens_max=None, now=0.0,
)  # fmt: skip


def suggested(quote: Quote | None = None, **changes: Any) -> list[str]:
    """The remedies for a request with these ``changes``, at one target outside."""
    policy = compile_policy(parse_policy(json.dumps(POLICY), source="p"), (CLOUD,))
    facts = msgspec.structs.replace(FACTS, **changes)
    quotes = {"cloud/m": quote or Quote(10**6, 10**8)}
    return [str(one) for one in what_would_pass(policy, facts, None, quotes)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"detection": Detection(frozenset({"pii.card"}))}, "without what makes it `personal`: pii.card (`cloud/m`)"),
        ({"data_class": "restricted"}, "as `confidential` (`cloud/m`)"),
        ({"needs": frozenset({"tools"})}, "if it did without tools (`cloud/m`)"),
        ({"prefer": "private"}, "as `auto` (`cloud/m`)"),
        ({"detection": Detection(unscannable=frozenset({"image"}))}, "without its image (`cloud/m`)"),
        ({"detection": Detection(unknown=frozenset({"pii.card"}))},
         "once the detectors that failed find nothing in it (`cloud/m`)"),
        ({"quote": Quote(10**6, 2 * 10**9)}, "with a cap on the answer that brings its worst case near what is expected (`cloud/m`)"),
        ({"quote": Quote(1, 1, is_healthy=False)}, "once its targets answer again (`cloud/m`)"),
    ],
)  # fmt: skip
def test_one_change_that_lets_it_pass_is_named(changes: dict[str, Any], words: str) -> None:
    """Whatever stands in the way, alone."""
    assert words in suggested(**changes)


def test_a_cost_that_nobody_knows_is_not_talked_down() -> None:
    """Without an expected cost, no cap can be said to help."""
    assert not [one for one in suggested(quote=Quote(None, 2 * 10**9)) if "cap" in one]


def test_no_class_below_the_askers_own_is_suggested() -> None:
    """A request can raise the class of its key, never lower it."""
    policy = compile_policy(parse_policy(json.dumps(POLICY), source="p"), (CLOUD,))
    facts = msgspec.structs.replace(FACTS, data_class="restricted")
    quotes = {"cloud/m": Quote(10**6, 10**8)}
    assert what_would_pass(policy, facts, None, quotes, "restricted") == ()
    (only,) = what_would_pass(policy, facts, None, quotes, "confidential")
    assert only.change == "as `confidential`"


def test_two_labels_have_to_go_together() -> None:
    """Neither alone would do, so neither is suggested."""
    found = frozenset({"pii.card", "secret.aws_key"})
    said = suggested(detection=Detection(found))
    assert said == ["without all that was found in it: pii.card, secret.aws_key (`cloud/m`)"]


@given(worlds())
def test_suggestions_are_changes_that_leave_somebody(world: Any) -> None:
    """And none is made where a lower class, or anything else, would leave nobody."""
    catalogue, rules, objective, facts, quotes = world
    policy = make_policy(catalogue, rules, objective)
    for one in what_would_pass(policy, facts, None, quotes):
        assert one.targets
        assert set(one.targets) <= {target.name for target in catalogue}
        if one.change.startswith("as `") and one.change != "as `auto`":
            named: Any = one.change[4:-1]
            lower = msgspec.structs.replace(facts, data_class=named)
            assert decide(policy, lower, None, quotes).kept
