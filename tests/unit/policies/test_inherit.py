"""Overlays of teams and keys can only tighten; what does not fit is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.compile import CompiledPolicy, compile_policy
from policies.decide import decide
from policies.document import PolicyDocument, PolicyError, parse_policy
from policies.facts import Decision, Facts, Quote, TargetFacts
from policies.inherit import Canary, Level, Levels, inherit, label_version
from tests.unit.policies.worlds import LABELS, constraints, objectives, worlds

World = tuple[
    tuple[TargetFacts, ...], list[dict[str, Any]], list[dict[str, Any]], Facts, dict[str, Quote]
]


def document(name: str, **members: object) -> PolicyDocument:
    return parse_policy(json.dumps({"policy": name, **members}), source=name)


def ruled(name: str, rules: list[dict[str, Any]], **members: object) -> PolicyDocument:
    named = [{"name": f"rule {at}", **rule} for at, rule in enumerate(rules)]
    return document(name, labels=LABELS, constraints=named, **members)


def fit(whole: PolicyDocument, catalogue: tuple[TargetFacts, ...]) -> CompiledPolicy:
    return compile_policy(whole, catalogue, version=label_version(whole))


def allowed(decision: Decision) -> set[str]:
    """Kept, or only dropped for never being reached."""
    dropped = {one.target for one in decision.struck if one.by == "dominated"}
    return {one.target for one in decision.kept} | dropped


members = st.fixed_dictionaries(
    {},
    optional={
        "objective": objectives,
        "attempts": st.fixed_dictionaries(
            {"max": st.integers(1, 5)},
            optional={
                "fallback": st.lists(st.sampled_from(["overloaded", "rate_limited"]), unique=True),
                "burst": st.just({"when": "target.healthy"}),
            },
        ),
        "unscannable": st.sampled_from(["any", "self_hosted", "refuse"]),
        "cache": st.fixed_dictionaries({"sampled": st.booleans()}),
    },
)


@given(worlds(), members, st.lists(st.tuples(constraints, members), min_size=1, max_size=2))
def test_an_overlay_only_tightens(
    world: World, said: dict[str, Any], over: list[tuple[list[dict[str, Any]], dict[str, Any]]]
) -> None:
    """Whatever the levels say, what all of them keep each alone keeps too, in fewer attempts and caching less; what
    an overlay leaves out is as it is above."""
    catalogue, rules, _objective, facts, quotes = world
    base = ruled("base", rules, **said)
    overlays = [ruled(f"over{at}", more, **members) for at, (more, members) in enumerate(over)]
    whole = decide(fit(inherit(base, *overlays), catalogue), facts, None, quotes)
    open_members = {"unscannable": "any", "attempts": {"max": 10}, "cache": {"sampled": True}}
    loose = [
        ruled(f"over{at}", more, **_with_defaults(members, open_members))
        for at, (more, members) in enumerate(over)
    ]
    for part in (base, *loose):
        alone = decide(fit(part, catalogue), facts, None, quotes)
        assert allowed(whole) <= allowed(alone)
        assert whole.attempts_max <= alone.attempts_max
        assert set(whole.fallback) <= set(alone.fallback)
        assert whole.caches_sampled <= alone.caches_sampled


def _with_defaults(said: dict[str, Any], open_members: dict[str, Any]) -> dict[str, Any]:
    """``said`` with the loosest of what it leaves out."""
    attempts = open_members["attempts"] | said.get("attempts", {})
    return open_members | said | {"attempts": attempts}


def test_an_overlay_has_from_above_what_it_does_not_write() -> None:
    """Also where the default would be stricter; what it does write counts if it is stricter."""
    base = document("base", unscannable="any", attempts={"max": 7}, cache={"sampled": True})
    plain, rule = document("over"), document("rule", unscannable="refuse", attempts={"max": 2})
    data = inherit(base, plain).data
    assert (data.unscannable, data.attempts.max, data.cache.sampled) == ("any", 7, True)
    data = inherit(base, rule, plain).data
    assert (data.unscannable, data.attempts.max, data.cache.sampled) == ("refuse", 2, True)
    loose = inherit(document("base"), document("over", unscannable="any", attempts={"max": 9}))
    assert (loose.data.unscannable, loose.data.attempts.max) == ("self_hosted", 3)


def test_a_label_names_every_part() -> None:
    """Each level by its name and digest, and constraints of lower ones by their policy."""
    base, team = document("base"), document("team")
    key = document("key", constraints=[{"name": "eu", "require": 'target.region == "eu"'}])
    whole = inherit(base, team, key)
    parts = [f"{one.name}@{one.digest[:12]}" for one in (base, team, key)]
    assert fit(whole, ()).label == "+".join(parts)
    assert [one.name for one in whole.data.constraints] == ["key/eu"]
    assert whole.digest == "+".join(one.digest for one in (base, team, key))


def test_the_lowest_objective_and_burst_count() -> None:
    """They order what is left, so that a lower level may have its own; without one the upper one's stays."""
    base = document(
        "base",
        objective=[{"minimize": "expected_cost_usd"}],
        attempts={"burst": {"when": "target.healthy"}},
    )
    kept = inherit(base, document("none"))
    assert kept.data.objective == base.data.objective
    assert kept.data.attempts.burst == base.data.attempts.burst
    own = inherit(base, document("own", objective=[{"maximize": "quality"}]))
    assert [one.words for one in fit(own, ()).objectives] == ["most quality"]


def test_invariants_of_all_levels_stay() -> None:
    """Each with its own expressions."""
    claims = [{"never": 'target.region == "us"'}, {"never": 'target.region == "eu"'}]
    whole = inherit(
        document("base", invariants=claims[:1]), document("over", invariants=claims[1:])
    )
    assert [one.never for one in whole.data.invariants] == [one["never"] for one in claims]
    assert {path for path in whole.trees if path.startswith("invariants")} == {
        "invariants[0].never",
        "invariants[1].never",
    }


@pytest.mark.parametrize(
    ("base", "over", "words"),
    [
        (
            {"labels": {"a": {"detect": ["pii.email"]}}},
            {"labels": {"a": {"detect": ["pii.card"]}}},
            "the label `a` is another one in `base`",
        ),
        (
            {"constraints": [{"name": "c", "require": "worst_case_request_cost_usd < 1.0"}]},
            {"attempts": {"max": 1}},
            "`attempts.max` has to be 3 here",
        ),
    ],
)
def test_what_would_loosen_is_refused(
    base: dict[str, Any], over: dict[str, Any], words: str
) -> None:
    """A label with another meaning, and fewer attempts where a bound counts them."""
    with pytest.raises(PolicyError, match=words):
        inherit(document("base", **base), document("over", **over))
    assert inherit(document("base", **base), document("over", labels=base.get("labels", {})))


def test_a_canary_takes_its_share_and_keeps_it() -> None:
    """A tenth of many keys, each always on its side, and others for another version."""
    keys = [f"key_{at}" for at in range(20_000)]
    one, other = (Canary(version, document("new"), 0.1) for version in (7, 8))
    taken = {key for key in keys if one.takes(key)}
    assert 0.09 < len(taken) / len(keys) < 0.11
    assert taken == {key for key in keys if one.takes(key)}
    assert taken != {key for key in keys if other.takes(key)}


def test_every_chain_that_a_key_may_have_is_ready() -> None:
    """Base, organisation, team and key, each with a canary or without."""
    docs = {at: document(f"p{at}") for at in range(1, 8)}
    over = {
        "organisation:o": Level(7, docs[7]),
        "team:t": Level(3, docs[3], Canary(4, docs[4], 0.5)),
        "team:u": Level(5, docs[5]),
        "key:k": Level(None, None, Canary(6, docs[6], 0.5)),
    }
    parents = {"key:k": "team:t", "team:t": "organisation:o", "team:u": "organisation:p"}
    levels = Levels(Level(1, docs[1], Canary(2, docs[2], 0.5)), over, parents)
    ready = levels.merged()
    keys = [f"other{at}" for at in range(40)]
    ways = [*((key, ("organisation:o", "team:t", f"key:{key}")) for key in ("k", *keys))]
    ways += [(key, ("organisation:p", "team:u", f"key:{key}")) for key in keys]
    ways += [(key, ("organisation:o", "team:v", f"key:{key}")) for key in keys]
    ways += [(key, ("organisation:q", "team:w", f"key:{key}")) for key in keys]
    assert {levels.chain(key, scopes) for key, scopes in ways} <= set(ready)
    assert set(ready) == {
        (base, *more)
        for base in (1, 2)
        for more in [(), (7,), (7, 3), (7, 4), (5,), (7, 3, 6), (7, 4, 6)]
    }
