"""What a decision may never do, over random catalogues, policies and requests."""

from itertools import product
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from policies.compile import compile_policy
from policies.decide import decide
from policies.explain import explain, say_rule
from policies.facts import Decision, Detection, Facts, Kept, Quote, TargetFacts
from tests.unit.policies.worlds import TYPES, constraints, make_policy, worlds

World = tuple[
    tuple[TargetFacts, ...], list[dict[str, Any]], list[dict[str, Any]], Facts, dict[str, Quote]
]


def kept(decision: Decision) -> set[str]:
    return {one.target for one in decision.kept}


@given(worlds())
def test_the_same_facts_decide_the_same(world: World) -> None:
    """Also after they were written down and read again."""
    catalogue, rules, objective, facts, quotes = world
    policy = make_policy(catalogue, rules, objective)
    first = decide(policy, facts, None, quotes)
    stored = msgspec.json.decode(msgspec.json.encode(facts), type=Facts)
    kept_quotes = msgspec.json.decode(msgspec.json.encode(quotes), type=dict[str, Quote])
    again = decide(make_policy(catalogue, rules, objective), stored, None, kept_quotes)
    assert again == first


@given(worlds(), constraints)
def test_constraints_only_strike(world: World, more: list[dict[str, Any]]) -> None:
    """Whatever is added to a policy's constraints, no target comes back."""
    catalogue, rules, objective, facts, quotes = world
    fewer = decide(make_policy(catalogue, rules, objective), facts, None, quotes)
    stricter = decide(make_policy(catalogue, rules + more, objective), facts, None, quotes)
    assert kept(stricter) <= kept(fewer)


@given(worlds(), st.randoms(use_true_random=False))
def test_order_does_not_matter(world: World, dice: Any) -> None:
    """Constraints may stand in any order."""
    catalogue, rules, objective, facts, quotes = world
    shuffled = list(rules)
    dice.shuffle(shuffled)
    one = decide(make_policy(catalogue, rules, objective), facts, None, quotes)
    other = decide(make_policy(catalogue, shuffled, objective), facts, None, quotes)
    assert one.kept == other.kept


@given(worlds(), st.frozensets(st.sampled_from(TYPES)))
def test_lost_knowledge_never_widens(world: World, lost: frozenset[str]) -> None:
    """With labels open, no target is kept that some way of filling them in would strike."""
    catalogue, rules, objective, facts, quotes = world
    policy = make_policy(catalogue, rules, objective)
    seen = facts.detection.found - lost
    blind = decide(policy, _with(facts, Detection(seen, lost)), None, quotes)
    every = [
        kept(decide(policy, _with(facts, Detection(seen | frozenset(filled))), None, quotes))
        for filled in _subsets(lost)
    ]
    assert kept(blind) <= set.intersection(*every)


@given(worlds())
def test_every_target_is_accounted_for(world: World) -> None:
    """Kept once or struck for a reason, never both, and the words name each of them."""
    catalogue, rules, objective, facts, quotes = world
    decision = decide(make_policy(catalogue, rules, objective), facts, None, quotes)
    names = [one.target for one in decision.kept]
    struck = {one.target for one in decision.struck}
    assert len(names) == len(set(names))
    assert not set(names) & struck
    assert set(names) | struck == {target.name for target in catalogue}
    assert all(one.reason or one.by == "health" for one in decision.struck)
    words = explain(decision, facts, quotes)
    assert all(target.name in words for target in catalogue)


@given(worlds())
def test_who_is_held_back_is_told_only_where_nothing_else_is_in_the_way(world: World) -> None:
    """Who was kept is struck for the proof that is missing, and for everybody else nothing changes."""
    catalogue, rules, objective, facts, quotes = world
    policy = make_policy(catalogue, rules, objective)
    names = frozenset(target.name for target in catalogue)
    held = compile_policy(policy.document, catalogue, held_back=names)
    free, decision = decide(policy, facts, None, quotes), decide(held, facts, None, quotes)
    reached = kept(free) | {one.target for one in free.struck if one.by == "dominated"}
    assert decision.kept == ()
    assert {one.target for one in decision.struck if one.by == "proof"} == reached
    rest = [one for one in free.struck if one.by != "dominated"]
    assert [one for one in decision.struck if one.by != "proof"] == rest


def test_the_numbers_of_who_is_kept_are_told() -> None:
    """What it is expected to cost, when it begins, and what it holds; nothing of what is not known."""
    decision = Decision("p@1", frozenset(), frozenset(), (Kept("a/a", "x"), Kept("b/b", "x")), ())
    facts = Facts(
        organisation="o", team="t", key="k", residency="", data_class="public", detection=Detection(),
        request_model="auto", prefer="policy", needs=frozenset(), is_stream=True,
        input_tokens_estimate=9, output_tokens_max=None, now=0.0,
    )  # fmt: skip
    quotes = {"a/a": Quote(1_000_000, 5, 0.84, cached_tokens=1200), "b/b": Quote(None, None)}
    words = explain(decision, facts, quotes)
    assert "a/a (expected 0.001000000 USD, begins after 0.8 s, holds 1200 tokens of it): x" in words
    assert "b/b: x" in words


@given(worlds(), st.data())
def test_only_what_was_asked_for(world: World, data: st.DataObject) -> None:
    """Candidates bound the answer, and each is judged as if it stood alone."""
    catalogue, rules, objective, facts, quotes = world
    policy = make_policy(catalogue, rules, objective)
    asked = data.draw(st.lists(st.sampled_from(range(len(catalogue))), unique=True))
    some = kept(decide(policy, facts, asked, quotes))
    assert some == kept(decide(policy, facts, None, quotes)) & {catalogue[at].name for at in asked}


@given(worlds())
def test_who_is_not_well_or_not_able_is_not_kept(world: World) -> None:
    """Health, capabilities, bounds and `auto:private` strike whatever policy says."""
    catalogue, rules, objective, facts, quotes = world
    left = kept(decide(make_policy(catalogue, rules, objective), facts, None, quotes))
    for target in catalogue:
        if target.name in left:
            assert quotes[target.name].is_healthy
            assert facts.needs <= target.capabilities
            assert ("embed" in facts.needs) == ("embed" in target.capabilities)
            assert not facts.needs_bound or quotes[target.name].worst_case_nanousd is not None
            assert facts.prefer != "private" or target.boundary == "self_hosted"


@given(worlds())
def test_blind_spots_stay_at_home(world: World) -> None:
    """What nobody can look into goes nowhere, home only, or anywhere: as the policy says."""
    catalogue, rules, objective, facts, quotes = world
    seeing = _with(facts, msgspec.structs.replace(facts.detection, unscannable=frozenset()))
    blind = _with(facts, msgspec.structs.replace(facts.detection, unscannable=frozenset({"image"})))
    for word in ("any", "self_hosted", "refuse"):
        policy = make_policy(catalogue, rules, objective, word)
        allowed = kept(decide(policy, seeing, None, quotes))
        left = kept(decide(policy, blind, None, quotes))
        at_home = {one.name for one in catalogue if one.boundary == "self_hosted"}
        assert left == {"any": allowed, "self_hosted": allowed & at_home, "refuse": set()}[word]


def _with(facts: Facts, detection: Detection) -> Facts:
    return msgspec.structs.replace(facts, detection=detection)


def _subsets(types: frozenset[str]) -> list[set[str]]:
    ordered = sorted(types)
    return [
        {kind for kind, is_in in zip(ordered, filled, strict=True) if is_in}
        for filled in product((False, True), repeat=len(ordered))
    ]


def test_a_name_that_is_the_reason_is_said_once() -> None:
    """A constraint without a reason is given its name for one, an overlay's without the name of the overlay."""
    assert say_rule("cheap", "cheap") == "cheap"
    assert say_rule("team/cheap", "cheap", "`") == "`team/cheap`"
    assert say_rule("team/cheap", "too dear", "`") == "`team/cheap`: too dear"
    assert say_rule("", "it does not answer") == "it does not answer"
