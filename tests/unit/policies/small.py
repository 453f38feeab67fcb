"""Random policies over so few facts that every request can be tried."""

import json
import random
from collections.abc import Iterator
from itertools import product

import msgspec

from policies.cel import Unevaluable, compile_tree, parse
from policies.compile import CompiledPolicy, compile_policy
from policies.decide import allowed_targets, request_row
from policies.document import parse_policy
from policies.facts import DATA_CLASSES, Detection, Facts, Quote, TargetFacts
from policies.labels import Worlds
from policies.numbers import Numbers

TYPES = ("pii.email", "pii.card")
ABOUT_REQUESTS = (
    '"a" in labels', '"b" in labels', '"c" in labels', "size(labels) >= 2", "request.is_stream",
    'tenant.residency == "eu"', 'request.data_class in ["confidential", "restricted"]',
    'request.data_class == "public"', "difficulty > 0.5",
)  # fmt: skip
ABOUT_TARGETS = (
    'target.boundary == "self_hosted"', 'target.region == "eu"', "target.trains_on_inputs == false",
    "worst_case_cost_usd <= 0.05", "quality >= 0.7", "quality < 0.7",
)  # fmt: skip
ATOMS = ABOUT_REQUESTS + ABOUT_TARGETS


def expression(dice: random.Random, atoms: tuple[str, ...], depth: int) -> str:
    """A random expression over ``atoms``."""
    if depth == 0 or dice.random() < 0.35:
        return dice.choice(atoms)
    left, right = (expression(dice, atoms, depth - 1) for _ in range(2))
    shape = dice.choice(("{} && {}", "{} || {}", "!({})", "{} ? {} : false", "({}) == ({})"))
    return shape.format(f"({left})", f"({right})")


def policy_text(dice: random.Random) -> str:
    """A random document with one or two claims."""
    document = {
        "policy": "p",
        "labels": {
            "a": {"detect": ["pii.*"]},
            "b": {"detect": ["pii.card"], "when": dice.choice(ABOUT_REQUESTS[4:])},
            "c": {"when": expression(dice, ABOUT_REQUESTS[:2] + ABOUT_REQUESTS[4:], 1)},
        },
        "constraints": [
            {"name": f"rule {at}", "require": expression(dice, ABOUT_TARGETS + ABOUT_REQUESTS[:2], 1)}
            | ({"when": expression(dice, ABOUT_REQUESTS, 2)} if dice.random() < 0.8 else {})
            for at in range(dice.randint(1, 3))
        ],
        "unscannable": "any",
        "invariants": [
            {"never": expression(dice, ATOMS, 2)},
            {"always_some_target": expression(dice, ABOUT_REQUESTS[:8], 1), "assuming": "target.healthy && target.capable"}
            | ({"assuming": "target.healthy && target.capable && worst_case_cost_usd <= 0.01"} if dice.random() < 0.5 else {}),
        ],
    }  # fmt: skip
    return json.dumps(document)


def catalogue(dice: random.Random) -> tuple[TargetFacts, ...]:
    """One or two random targets."""
    return tuple(
        TargetFacts(
            name=f"t{at}", provider="p", model="m",
            boundary=dice.choice(("self_hosted", "external")), region=dice.choice(("eu", "us")),
            capabilities=frozenset(), context_tokens_max=1000, output_tokens_max=1000,
            trains_on_inputs=dice.choice((None, True, False)),
        )
        for at in range(dice.randint(1, 2))
    )  # fmt: skip


def every_request() -> Iterator[Facts]:
    """One of each kind that the expressions above can tell apart, and that fits every target."""
    for finds, data_class, residency, is_stream in product(
        product(("no", "found", "lost"), repeat=len(TYPES)), DATA_CLASSES, ("", "eu"), (False, True)
    ):
        kinds = dict(zip(TYPES, finds, strict=True))
        yield Facts(
            organisation="o", team="t", key="k", residency=residency, data_class=data_class,
            detection=Detection(
                frozenset(kind for kind, state in kinds.items() if state == "found"),
                frozenset(kind for kind, state in kinds.items() if state == "lost"),
            ),
            request_model="auto", prefer="policy", needs=frozenset(), is_stream=is_stream,
            input_tokens_estimate=1, output_tokens_max=None, now=0.0, needs_bound=False,
        )  # fmt: skip


WORSTS = (None, 10**7, 5 * 10**7, 5 * 10**7 + 1)
QUALITIES = (None, 0.5, 0.7)
EVERY_QUOTE = tuple(
    Quote(10**7, worst, quality=quality) for worst, quality in product(WORSTS, QUALITIES)
)


def happens(policy: CompiledPolicy, claim: str, facts: Facts, quote: Quote) -> bool:
    """Whether the only target may be used and ``claim`` holds, or cannot be evaluated, in some filling."""
    (target,) = policy.targets
    if not allowed_targets(policy, facts, {target.name: quote}):
        return False
    said = compile_tree(parse(claim))
    rows = Numbers(policy, facts, (0,), {target.name: quote}).rows()
    worlds = Worlds(policy.labels, facts.detection, request_row(facts))
    for world in worlds.fill(frozenset(label.name for label in policy.labels)) or ():
        try:
            if said(world, policy.rows[0], rows[0]):
                return True
        except Unevaluable:
            return True
    return False


def is_never(text: str, targets: tuple[TargetFacts, ...], claim: str) -> bool:
    """Whether nothing that may be used satisfies ``claim``, by trying everything."""
    document = parse_policy(text, source="small")
    return not any(
        happens(policy, claim, facts, quote)
        for policy in [compile_policy(document, (target,)) for target in targets]
        for facts in every_request()
        for quote in EVERY_QUOTE
    )


def is_always(text: str, targets: tuple[TargetFacts, ...], condition: str, assumed: str) -> bool:
    """Whether wherever ``condition`` may hold, with ``assumed`` of every target, one may be used."""
    document = parse_policy(text, source="small")
    policies = [compile_policy(document, (target,)) for target in targets]
    asked, given = compile_tree(parse(condition)), compile_tree(parse(assumed))
    for asked_for in every_request():
        facts = msgspec.structs.replace(
            asked_for, needs_bound=True
        )  # Strikes more, and never less.
        worlds = Worlds(policies[0].labels, facts.detection, request_row(facts))
        fillings = worlds.fill(frozenset(label.name for label in policies[0].labels)) or []
        if not any(asked(world, (), ()) for world in fillings):
            continue
        # Numbers are each target's own, so each may be looked at alone.
        if all(_can_be_struck(policy, given, facts) for policy in policies):
            return False
    return True


def _can_be_struck(policy: CompiledPolicy, given: object, facts: Facts) -> bool:
    assert callable(given)
    for quote in EVERY_QUOTE:
        quotes = {policy.targets[0].name: quote}
        row = Numbers(policy, facts, (0,), quotes).rows()[0]
        try:
            is_given = given(request_row(facts), policy.rows[0], row)
        except Unevaluable:
            continue
        if is_given and not allowed_targets(policy, facts, quotes):
            return True
    return False
