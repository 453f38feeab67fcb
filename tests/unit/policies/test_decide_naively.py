"""The decision is what an obviously right evaluator says, over random policies and requests.

Seeded and plain rather than drawn by hypothesis: volume counts here, and a failure prints its seed.
"""

import json
import random
from typing import Any

import pytest

from policies.compile import compile_policy
from policies.decide import decide
from policies.document import parse_policy
from policies.facts import DATA_CLASSES, Detection, Facts, Quote, TargetFacts
from tests.unit.policies.naive import kept_names
from tests.unit.policies.worlds import TYPES

ATOMS = (
    '"a" in labels', '"b" in labels', '"c" in labels', '"d" in labels', "size(labels) >= 2",
    "request.input_tokens > 1000", "request.is_stream", 'tenant.residency == "eu"',
    'request.data_class in ["confidential", "restricted"]', '"images" in request.needs',
    'tenant.team.startsWith("le")', "difficulty > 0.5", 'task == "code"', "clock.hour < 8",
    'target.boundary == "self_hosted"', 'target.region in ["eu", "home"]', "target.healthy",
    "target.retention_days == 0", "target.trains_on_inputs == false", "target.capable",
    "worst_case_cost_usd <= 1.0", "worst_case_request_cost_usd <= 2.0", "quality >= 0.7",
    "expected_cost_usd < worst_case_cost_usd", "cached_tokens > 0", "expected_ttft_s < 3.0",
    '"tools" in target.capabilities', 'target.model.endsWith("1")', 'request.model.contains("m")',
)  # fmt: skip
ABOUT_REQUESTS = ATOMS[5:14]
SEED = 20_261_127


def expression(dice: random.Random, atoms: tuple[str, ...] = ATOMS, depth: int = 2) -> str:
    """A random expression over ``atoms``."""
    if depth == 0 or dice.random() < 0.4:
        return dice.choice(atoms)
    left, right = (expression(dice, atoms, depth - 1) for _ in range(2))
    shape = dice.choice(("{} && {}", "{} || {}", "!({})", "{} ? {} : true", "({}) == ({})"))
    return shape.format(f"({left})", f"({right})")


def policy_text(dice: random.Random) -> str:
    """A random document: labels that name labels, conditions, demands."""
    labels: dict[str, dict[str, Any]] = {
        "a": {"detect": dice.sample(TYPES, dice.randint(1, 2))},
        "b": {"detect": ["secret.*"], "when": expression(dice, ABOUT_REQUESTS, 1)},
        "d": {"when": expression(dice, (*ABOUT_REQUESTS, *ATOMS[:3]))},
        "c": {"when": expression(dice, (*ABOUT_REQUESTS, *ATOMS[:2]), 1)},
    }
    constraints = [
        {"name": f"rule {at}", "require": expression(dice)}
        | ({"when": expression(dice)} if dice.random() < 0.8 else {})
        for at in range(dice.randint(0, 4))
    ]
    document = {
        "policy": "p", "labels": labels, "constraints": constraints,
        "unscannable": dice.choice(("any", "self_hosted", "refuse")),
        "attempts": {"max": dice.randint(1, 4)},
    }  # fmt: skip
    return json.dumps(document)


def catalogue(dice: random.Random) -> tuple[TargetFacts, ...]:
    """Up to six random targets."""
    return tuple(
        TargetFacts(
            name=f"t{at}",
            provider=dice.choice(("openai", "own")),
            model=f"m-{dice.randint(1, 3)}",
            boundary=dice.choice(("self_hosted", "external")),
            region=dice.choice(("eu", "us", "home")),
            capabilities=frozenset(dice.sample(("tools", "images", "json_schema"), 2))
            if dice.random() < 0.9
            else frozenset({"embed"}),
            context_tokens_max=dice.choice((1000, 100_000)),
            output_tokens_max=1000,
            retention_days=dice.choice((None, 0, 30)),
            trains_on_inputs=dice.choice((None, True, False)),
        )
        for at in range(dice.randint(1, 6))
    )


def request(dice: random.Random) -> Facts:
    """A random request; a third of them lost a detector."""
    found = frozenset(kind for kind in TYPES if dice.random() < 0.2)
    lost = frozenset(kind for kind in TYPES if dice.random() < 0.4)
    return Facts(
        organisation="o",
        team=dice.choice(("legal", "sales")),
        key="k",
        residency=dice.choice(("", "eu")),
        data_class=dice.choice(DATA_CLASSES),
        detection=Detection(
            found,
            lost if dice.random() < 0.33 else frozenset(),
            frozenset({"image"}) if dice.random() < 0.1 else frozenset(),
        ),
        request_model=dice.choice(("auto", "m-1", "gpt")),
        prefer="private" if dice.random() < 0.1 else "policy",
        needs=frozenset({dice.choice(("tools", "images", "embed"))})
        if dice.random() < 0.2
        else frozenset(),
        is_stream=dice.random() < 0.5,
        input_tokens_estimate=dice.choice((1, 1001, 2001, 300_000)),
        output_tokens_max=None,
        now=dice.uniform(0, 2_000_000_000),
        needs_bound=dice.random() < 0.5,
        task=dice.choice((None, "code", "chat")),
    )


def quote(dice: random.Random) -> Quote:
    """Random numbers, some on the edges that expressions name, some unknown."""
    return Quote(
        expected_cost_nanousd=dice.choice((None, 0, 5 * 10**8, 10**9)),
        worst_case_nanousd=dice.choice((None, 5 * 10**8, 10**9, 10**9 + 1)),
        expected_ttft_seconds=dice.choice((None, 2.9, 3.0)),
        is_healthy=dice.random() < 0.9,
        quality=dice.choice((None, 0.69, 0.7)),
        cached_tokens=dice.choice((0, 500)),
    )


def compare(seed: int, policies: int, requests_each: int) -> tuple[int, int]:
    """Decide both ways; how many targets were kept, and struck, in all."""
    kept = struck = 0
    for number in range(policies):
        dice = random.Random(f"{seed} {number}")
        text, targets = policy_text(dice), catalogue(dice)
        document = parse_policy(text, source="random")
        policy = compile_policy(document, targets)
        for _ in range(requests_each):
            facts = request(dice)
            quotes = {target.name: quote(dice) for target in targets}
            decision = decide(policy, facts, None, quotes)
            # Who is never reached was allowed.
            dropped = {one.target for one in decision.struck if one.by == "dominated"}
            found = {one.target for one in decision.kept} | dropped
            expected = kept_names(document, targets, facts, quotes)
            assert found == expected, f"seed {seed} {number}: {text} {facts} {quotes}"
            kept += len(found)
            struck += len(targets) - len(found)
    return kept, struck


def test_a_decision_is_what_an_obvious_evaluator_says() -> None:
    """Random policies, catalogues, requests and numbers: the same targets are kept."""
    kept, struck = compare(SEED, policies=150, requests_each=20)
    assert kept > 1000
    assert struck > 1000


@pytest.mark.full
def test_a_decision_is_what_an_obvious_evaluator_says_100_000_times() -> None:
    """The same in volume."""
    compare(SEED + 1, policies=2000, requests_each=50)
