"""What a document will never do, or does to whom: rules without effect, targets out of reach, requests that nobody
may take, preferences that never come to anything.

These are findings for its author, not claims: each is exact where it is told, and silence proves nothing where Z3
gave up.
"""

import math
from collections.abc import Iterator
from typing import Any

import z3

from policies.cel.solver import Number
from policies.cel.terms import Term, all_of, both, either, lift, negate
from policies.proofs.symbols import Request, Target, World, formulas, make_request, make_target
from policies.proofs.verify import Prover, fits
from policies.proofs.witness import Reader, describe

LOOK_SECONDS_MAX = 2.0
CLASSES_MAX = 3
"""Kinds of requests without a target that are told."""


def analyse(prover: Prover) -> Iterator[str]:
    """Findings, one line each."""
    yield from _idle_constraints(prover)
    yield from _unreachable_targets(prover)
    yield from _shadowed(prover)
    yield from _contradictions(prover)
    if prover.seconds_left() <= 0:
        yield "not everything was looked at: the time was up"


def _holds_never(prover: Prover, *terms: Term) -> bool:
    """Whether Z3 says that no request is like this, in the time that is left."""
    seconds = min(LOOK_SECONDS_MAX, prover.seconds_left())
    if seconds <= 0:
        return False
    solver: Any = z3.Solver()
    solver.set("timeout", math.ceil(1000 * seconds))
    solver.add(lift(all_of(terms)))
    return solver.check() == z3.unsat


def _violates(prover: Prover, at: int, world: World, target: Target) -> Term:
    """Whether constraint ``at`` strikes in this filling."""
    made, trees = formulas(world, target, []), prover.document.trees
    demand = negate(made.truth(trees[f"constraints[{at}].require"]).holds)
    when = trees.get(f"constraints[{at}].when")
    if when is None:
        return demand
    said = made.truth(when)
    return both(either(said.holds, said.fails), demand)


def _case(prover: Prover) -> tuple[Request, World, Target]:
    request = make_request(prover.vocabulary)
    return request, prover.world(request, "fill "), make_target(prover.vocabulary, None)


def _idle_constraints(prover: Prover) -> Iterator[str]:
    """Constraints whose condition never holds, and those that strike nobody whom the others leave."""
    request, world, target = _case(prover)
    constraints = prover.document.data.constraints
    strikes = [_violates(prover, at, world, target) for at in range(len(constraints))]
    made = formulas(world, target, [])
    for at, said in enumerate(constraints):
        when = prover.document.trees.get(f"constraints[{at}].when")
        if when is not None:
            held = made.truth(when)
            if _holds_never(prover, request.rules, target.rules, either(held.holds, held.fails)):
                yield f"constraint `{said.name}`: its `when` never holds"
                continue
        others = (negate(one) for other, one in enumerate(strikes) if other != at)
        if _holds_never(
            prover,
            request.rules,
            target.rules,
            fits(request, target, prover.document),
            strikes[at],
            *others,
        ):
            yield f"constraint `{said.name}` strikes nobody whom the other rules leave"


def _unreachable_targets(prover: Prover) -> Iterator[str]:
    """Targets that no request may go to."""
    request = make_request(prover.vocabulary)
    world = prover.world(request, "fill ")
    for facts in prover.targets:
        target = make_target(prover.vocabulary, facts)
        if _holds_never(
            prover,
            request.rules,
            target.rules,
            fits(request, target, prover.document),
            prover.allows(world, target),
        ):
            yield f"target `{facts.name}`: no request may go there"


def _shadowed(prover: Prover) -> Iterator[str]:
    """Objectives behind one that always comes first, and wishes that everybody left meets."""
    request, world, target = _case(prover)
    made, trees = formulas(world, target, []), prover.document.trees
    allowed = both(
        request.rules,
        target.rules,
        fits(request, target, prover.document),
        prover.allows(world, target),
    )
    earlier: list[Term] = []
    for at, said in enumerate(prover.document.data.objective):
        when = trees.get(f"objective[{at}].when")
        holds = True if when is None else made.truth(when).holds
        if _holds_never(prover, request.rules, holds, *(negate(one) for one in earlier)):
            yield f"`objective[{at}]` is never reached: those before it, or its `when`, leave no request"
        earlier.append(holds)
        for number, text in enumerate(said.subject_to):
            wish = made.truth(trees[f"objective[{at}].subject_to[{number}]"])
            if _holds_never(prover, allowed, negate(wish.holds)):
                yield f"`objective[{at}].subject_to`: `{text}` is met by every target that is left"


def _contradictions(prover: Prover) -> Iterator[str]:
    """Kinds of requests for which the constraints leave nobody, though every target is at its best."""
    if not prover.targets or prover.seconds_left() <= 0:
        return
    goal = prover.nobody_left(None, None)
    able = [_is_at_its_best(one) for one in goal.targets]
    needs = goal.request.symbols["request.needs"]
    plain = (negate(one) for one in getattr(needs, "members", {}).values())
    solver: Any = z3.Solver()
    solver.set("timeout", 5000)
    solver.add(lift(all_of((*goal.terms, *able, *plain, negate(goal.request.is_blind)))))
    solver.add(goal.request.context_tokens == 1)
    for _number in range(CLASSES_MAX):
        if solver.check() != z3.sat:
            return
        model = solver.model()
        reader = Reader(model, prover.vocabulary)
        witness = reader.witness(goal.request, goal.targets)
        if not goal.is_real(witness, reader).lines:
            return
        yield f"nobody is left for: {'; '.join(describe(witness.facts))}"
        # Another kind: of another class, or with other findings.
        kind = [
            goal.request.data_class == reader.whole(goal.request.data_class),
            *(
                one if reader.truth(one) else negate(one)
                for one in (*goal.request.found.values(), *goal.request.lost.values())
            ),
        ]
        solver.add(lift(negate(all_of(kind))))


def _is_at_its_best(target: Target) -> Term:
    """Well, free, quick, good: then what strikes it is what the request is."""
    best = {"expected_cost_usd": 0, "worst_case_cost_usd": 0, "expected_ttft_s": 0, "quality": 1}
    numbers = ((target.symbols[path], value) for path, value in best.items())
    return all_of(
        (
            target.is_healthy,
            *(
                both(negate(one.fails), one.value == value)
                for one, value in numbers
                if isinstance(one, Number)
            ),
        )
    )
