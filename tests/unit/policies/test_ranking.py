"""The order of what is allowed: wishes, unknown numbers, passing by, and who is never reached."""

import json
from typing import Any

import pytest

from policies.compile import compile_policy
from policies.decide import decide
from policies.document import PolicyError, parse_policy
from policies.facts import Decision, Detection, Facts, Quote, TargetFacts

FACTS = Facts(
    organisation="o", team="t", key="k", residency="", data_class="internal",
    detection=Detection(), request_model="auto", prefer="policy", needs=frozenset(),
    is_stream=False, input_tokens_estimate=10, output_tokens_max=None, now=0.0,
)  # fmt: skip


def decided(quotes: dict[str, Quote], **members: Any) -> Decision:
    """What a policy of these ``members`` makes of targets with these numbers; ``own…`` are at home."""
    targets = tuple(
        TargetFacts(
            name=name, provider="p", model="m",
            boundary="self_hosted" if name.startswith("own") else "external",
            region="eu", capabilities=frozenset(), context_tokens_max=1000, output_tokens_max=100,
        )
        for name in quotes
    )  # fmt: skip
    document = parse_policy(json.dumps({"policy": "p"} | members), source="test")
    return decide(compile_policy(document, targets), FACTS, None, quotes)


def order(decision: Decision) -> list[str]:
    return [one.target for one in decision.kept]


def test_an_unknown_number_comes_last_unless_the_objective_says_what_it_counts_as() -> None:
    """Unmeasured quality is nobody's guess but the policy's."""
    quotes = {"a": Quote(1, 1, quality=0.6), "b": Quote(1, 1), "c": Quote(1, 1, quality=0.4)}
    assert order(decided(quotes, objective=[{"maximize": "quality"}])) == ["a", "c", "b"]
    taken = [{"maximize": "quality", "unknown": {"quality": 0.5}}]
    assert order(decided(quotes, objective=taken)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "objective", [{"minimize": "-1.0 / quality"}, {"maximize": "1.0 / quality"}]
)
def test_an_endless_number_comes_last(objective: dict[str, str]) -> None:
    """Division by nothing makes nobody the best, on either side."""
    quotes = {"a": Quote(1, 1, quality=0.0), "b": Quote(1, 1, quality=0.5)}
    assert order(decided(quotes, objective=[objective])) == ["b", "a"]


def test_an_unknown_number_counts_in_wishes_too() -> None:
    """A floor of quality is met by what unmeasured quality counts as."""
    quotes = {"a": Quote(5, 5, quality=0.9), "b": Quote(1, 1)}
    objective = {"minimize": "expected_cost_usd", "subject_to": ["quality >= 0.8"]}
    assert order(decided(quotes, objective=[objective])) == ["a", "b"]
    taken = objective | {"unknown": {"quality": 0.8}}
    assert order(decided(quotes, objective=[taken])) == ["b", "a"]


@pytest.mark.parametrize("name", ["qualty", "target.healthy", "request.model", "cached_tokens"])
def test_only_numbers_that_may_be_unknown_count_as_something(name: str) -> None:
    """Anything else under `unknown` is a slip."""
    text = json.dumps({"policy": "p", "objective": [{"minimize": "quality", "unknown": {name: 1}}]})
    with pytest.raises(PolicyError, match="finite numbers for quality, expected_cost_usd"):
        parse_policy(text, source="p")


def test_wishes_are_given_up_in_the_order_written() -> None:
    """And the decision says which."""
    quotes = {"a": Quote(2, 2, quality=0.5), "b": Quote(1, 1, quality=0.1)}
    objective = {
        "minimize": "expected_cost_usd",
        "subject_to": ["expected_ttft_s < 1.0", "quality >= 0.5"],
    }
    decision = decided(quotes, objective=[objective])
    assert order(decision) == ["a", "b"]
    assert decision.relaxed == ("expected_ttft_s < 1.0",)


def test_a_busy_target_at_home_stands_behind_the_others() -> None:
    """`burst` passes by who is at home, nobody else, and never strikes."""
    quotes = {
        "own": Quote(0, 0, 9.0), "own-2": Quote(1, 1, 1.0),
        "cloud": Quote(2, 2, 9.0), "cloud-2": Quote(3, 3, 1.0),
    }  # fmt: skip
    decision = decided(quotes, attempts={"max": 4, "burst": {"when": "expected_ttft_s > 5.0"}})
    assert order(decision) == ["own-2", "cloud", "cloud-2", "own"]
    assert decision.kept[-1].reason.endswith("behind the others, since expected_ttft_s > 5.0")


def test_an_unknown_wait_is_not_busy() -> None:
    """What cannot be evaluated moves nobody."""
    quotes = {"own": Quote(0, 0), "cloud": Quote(2, 2)}
    decision = decided(quotes, attempts={"burst": {"when": "expected_ttft_s > 5.0"}})
    assert order(decision) == ["own", "cloud"]


def test_who_could_never_be_reached_is_dropped() -> None:
    """Behind the attempts allowed, and in nothing better than any of them: not a choice at all."""
    quotes = {
        "a": Quote(1, 4, 1.0, quality=0.9), "b": Quote(2, 5, 1.0, quality=0.9),
        "worse": Quote(3, 6, 1.0, quality=0.8), "better": Quote(3, 6, 1.0, quality=0.95),
        "cheap at worst": Quote(3, 1, 1.0, quality=0.5), "unmeasured": Quote(3, 6, 1.0),
    }  # fmt: skip
    decision = decided(quotes, attempts={"max": 2})
    assert order(decision) == ["a", "b", "better", "cheap at worst", "unmeasured"]
    (dropped,) = decision.struck
    assert (dropped.target, dropped.by) == ("worse", "dominated")


def test_failures_that_move_on_are_the_policys() -> None:
    """All of them by default; the decision carries the list."""
    assert "rate_limited" in decided({"a": Quote(1, 1)}).fallback
    only = decided({"a": Quote(1, 1)}, attempts={"fallback": ["overloaded"]})
    assert only.fallback == ("overloaded",)
