"""Prove what a policy claims, for every request there can be; or show a request for which it does not hold.

Claims: the document's invariants, and three that are made of every policy: a further finding, a higher data class
and a lost detector never add a target. Every attempt is meant: retries, fallbacks, bursts and kept answers go only
to targets that the decision keeps, and what is said here is said of each of these.

Promises: ``proved`` only where Z3 finds no model of the opposite; ``refuted`` only with a witness for which the
real :func:`policies.decide.decide` does what the claim excludes. What cannot be evaluated counts against a claim.
A target is allowed only if every filling of the unknown labels allows it: a proof starts from the one filling that
the claim is about, and a model that a further filling rules out makes that filling part of the proof. Where a
constraint looks at more open labels than are filled in, it strikes everybody, here as there.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import z3

from policies.cel import Closure, Tree, Unevaluable, compile_tree
from policies.cel.solver import Text, Words
from policies.cel.terms import (
    Term,
    all_of,
    any_of,
    boolean,
    both,
    either,
    integer,
    lift,
    more_than,
    negate,
)
from policies.certificate import (
    Certificate,
    Claim,
    Kind,
    Scope,
    Verdict,
    digest_target,
    digest_targets,
    digest_verifier,
)
from policies.compile import CompiledPolicy, compile_policy
from policies.decide import allowed_targets, find_filling, request_row
from policies.document import PolicyDocument
from policies.facts import DATA_CLASSES, EMBED, TargetFacts
from policies.labels import UNKNOWN_LABELS_MAX, Worlds
from policies.numbers import Numbers
from policies.proofs.symbols import (
    Request,
    Target,
    Vocabulary,
    World,
    can_take,
    formulas,
    make_request,
    make_target,
    make_world,
)
from policies.proofs.witness import Reader, Witness, describe

EMPTY = (
    "what it assumes can hold of no request, for these targets all at once: it would say nothing"
)
ROUNDS_MAX = 200
"""Fillings that one proof may take up, one after the other."""


class Proof(msgspec.Struct, frozen=True):
    """What became of one claim. ``lines`` tell a counterexample to people, ``witness`` to ``decide``."""

    claim: str
    kind: Kind
    verdict: Verdict
    scope: Scope
    reason: str = ""
    lines: tuple[str, ...] = ()
    witness: Witness | None = None


class Goal(msgspec.Struct):
    """Something that should have no model: the terms, what is read from a model, and whether that is real.

    ``is_real`` says so of a witness, or gives the fillings (labels that are set) that rule it out, for ``refine``.
    """

    terms: list[Term]
    request: Request
    targets: Sequence[Target]
    is_real: Callable[[Witness, Reader], "Real"]
    refine: Callable[[frozenset[str]], Term]
    plain: list[Term]
    """What a counterexample is preferred to be, so that it reads well."""
    assumed: Sequence[Term] = ()
    """What the claim presumes. If that can never be, nothing is proved."""


class Real(msgspec.Struct, frozen=True):
    """A witness holds (``lines`` say how), or fillings rule it out, or nobody knows why it does not (both
    empty)."""

    lines: tuple[str, ...] = ()
    fillings: tuple[frozenset[str], ...] = ()


class Prover:
    """Proves claims about one document over one catalogue."""

    def __init__(
        self,
        document: PolicyDocument,
        targets: Sequence[TargetFacts],
        types: Iterable[str],
        *,
        look_seconds_max: float = 20.0,
        seconds_left: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """``types`` are those that detectors can find; one look of Z3 may take ``look_seconds_max``, and all
        together what ``seconds_left`` says."""
        self.document = document
        self.targets = tuple(targets)
        self._look_seconds_max = look_seconds_max
        self.seconds_left = seconds_left
        self.vocabulary = Vocabulary(document, (), types)
        self.inexact: list[str] = []
        compiled = compile_policy(document, ())
        self._labels = {label.name: label for label in compiled.labels}
        self._crowds = {
            constraint.labels
            for constraint in compiled.constraints
            if len(constraint.labels) > UNKNOWN_LABELS_MAX
        }
        """Labels of one constraint that may be more than are filled in."""

    def prove(self) -> tuple[Proof, ...]:
        """Every claim, in the order of the document, then those that are made of every policy."""
        proofs: list[Proof] = []
        for at, invariant in enumerate(self.document.data.invariants):
            place = f"invariants[{at}]"
            if invariant.never is not None:
                proofs.append(self._prove_never(f"never: {invariant.never}", f"{place}.never"))
            else:
                words = f"always_some_target: {invariant.always_some_target}"
                if invariant.assuming is not None:
                    words += f" (assuming {invariant.assuming})"
                proofs.append(self.prove_always(words, place))
        for words, change in (
            ("a further finding never adds a target", self._find_more),
            ("a higher data class never adds a target", self._raise_class),
            ("a lost detector never adds a target", self._lose),
        ):
            proofs.append(self._prove_monotone(words, change))
        return tuple(proofs)

    # One kind of claim each.

    def _prove_never(self, claim: str, path: str) -> Proof:
        tree = self.document.trees[path]
        happens = compile_tree(tree)

        def goal(facts: TargetFacts | None) -> Goal:
            request = make_request(self.vocabulary)
            target = make_target(self.vocabulary, facts)
            world = self.world(request, "fill ")
            said = formulas(world, target, self.inexact).truth(tree, path)

            def is_real(witness: Witness, reader: Reader) -> Real:
                (one,) = witness.targets
                policy = compile_policy(self.document, witness.targets)
                labels = _read_labels(world, reader)
                if not allowed_targets(policy, witness.facts, witness.quotes):
                    return Real(fillings=_rule_out(policy, witness))
                rows = Numbers(policy, witness.facts, (0,), witness.quotes).rows()
                request_facts = (labels, *request_row(witness.facts)[1:])
                does_happen = _may_hold(happens, request_facts, policy.rows[0], rows[0])
                if not find_worlds(policy, witness).may_be(labels):
                    return Real()
                shown = (
                    f"labels: {', '.join(sorted(labels)) or 'none'}",
                    f"kept: {say_target(one)}",
                )
                return Real(lines=shown) if does_happen else Real()

            return Goal(
                [
                    request.rules, target.rules, fits(request, target, self.document),
                    self.allows(world, target), either(said.holds, said.fails),
                ],
                request,
                (target,),
                is_real,
                lambda labels: self.allows(self.world_of(request, labels), target),
                plain_terms(request, target),
            )  # fmt: skip

        return self._prove_each(claim, "never", goal)

    def prove_always(self, claim: str, place: str) -> Proof:
        """That some target is left wherever the claim at ``place`` says so. Targets are looked at one by one: if any
        that is as assumed is left, then some is in every catalogue that has one; else it is asked of this one."""
        condition = self.document.trees[f"{place}.always_some_target"]
        assumed = self.document.trees.get(f"{place}.assuming")
        self.inexact.clear()
        goal = self.nobody_left(condition, assumed, place, (None,))
        proof = self._solve(claim, "always_some_target", "any catalogue", goal)
        if proof.verdict == "proved":
            return proof
        if not self.targets:
            reason = "the catalogue holds no target"
            return Proof(claim, "always_some_target", "refuted", "this catalogue", reason)
        self.inexact.clear()
        goal = self.nobody_left(condition, assumed, place)
        return self._solve(claim, "always_some_target", "this catalogue", goal)

    def nobody_left(
        self,
        condition: Tree | None,
        assumed: Tree | None,
        place: str = "",
        catalogue: Sequence[TargetFacts | None] | None = None,
    ) -> Goal:
        """A request for which ``condition`` holds, and ``assumed`` of every target, and that no target may take, of
        ``catalogue`` (None in it: any target) or else of all.

        It leaves the choice to the policy (``auto``): a name, or ``auto:private``, narrows it by itself. Who gives
        vectors can never do what others do: of them something is assumed only if vectors are asked for, and of the
        others only if not. Of some target it is assumed in any case.
        """
        asks = None if condition is None else compile_tree(condition)
        given = None if assumed is None else compile_tree(assumed)
        request = make_request(self.vocabulary)
        world = self.world(request, "fill ")
        terms = [request.rules, negate(request.is_private)]
        if condition is not None:
            made = formulas(world, None, self.inexact)
            terms.append(made.truth(condition, f"{place}.always_some_target").holds)
        targets: list[Target] = []
        plain: list[Term] = []
        held: list[Term] = []
        premises: list[Term] = [request.rules]
        facing = self.distinct_targets() if catalogue is None else catalogue
        for at, facts in enumerate(facing):
            target = make_target(self.vocabulary, facts, f"{at} ")
            is_fit = fits(request, target, self.document)
            terms += [target.rules, either(negate(is_fit), self.strikes(request, f"{at} ", target))]
            if assumed is not None:
                made = formulas(world, target, self.inexact)
                held.append(made.truth(assumed, f"{place}.assuming").holds)
                premises += [target.rules, either(negate(is_of_kind(request, target)), held[-1])]
            targets.append(target)
            plain += plain_terms(request, target)
        if assumed is not None:
            premises.append(any_of(held))
            terms += premises

        def is_real(witness: Witness, reader: Reader) -> Real:
            policy = compile_policy(self.document, witness.targets)
            if allowed_targets(policy, witness.facts, witness.quotes):
                return Real()
            labels = _read_labels(world, reader)
            rows = (labels, *request_row(witness.facts)[1:])
            numbers = Numbers(policy, witness.facts, range(len(targets)), witness.quotes).rows()
            if not (
                find_worlds(policy, witness).may_be(labels)
                and (asks is None or _holds(asks, rows, (), ()))
                and (given is None or _are_as_assumed(given, rows, policy, numbers, witness))
            ):
                return Real()
            return Real(lines=(f"kept: none of {len(self.targets)} targets",))

        return Goal(
            terms, request, targets, is_real, lambda _labels: True, plain,
            () if assumed is None else premises,
        )  # fmt: skip

    def _prove_monotone(
        self, claim: str, change: Callable[[Request], tuple[Request, Term]]
    ) -> Proof:
        """That a target which the changed request may use was one before the change."""

        def goal(facts: TargetFacts | None) -> Goal:
            before = make_request(self.vocabulary)
            after, rules = change(before)
            target = make_target(self.vocabulary, facts)
            seen = self.world(before, "fill ")
            then = make_world(self.vocabulary, after, seen.labels, self.inexact)

            def is_real(witness: Witness, reader: Reader) -> Real:
                policy = compile_policy(self.document, witness.targets)
                changed = reader.facts(after)
                if not allowed_targets(policy, changed, witness.quotes):
                    return Real(
                        fillings=_rule_out(policy, msgspec.structs.replace(witness, facts=changed))
                    )
                if allowed_targets(policy, witness.facts, witness.quotes):
                    return Real()
                (one,) = witness.targets
                said = "; ".join(describe(changed))
                return Real(
                    lines=("not kept for this request", f"kept: {say_target(one)}", f"for: {said}")
                )

            return Goal(
                [
                    before.rules, rules, target.rules, fits(before, target, self.document),
                    self.allows(then, target), self.strikes(before, "", target),
                ],
                before,
                (target,),
                is_real,
                lambda labels: self.allows(self.world_of(after, labels), target),
                plain_terms(before, target),
            )  # fmt: skip

        return self._prove_each(claim, "monotone", goal)

    def _find_more(self, before: Request) -> tuple[Request, Term]:
        found = {
            one: either(is_in, boolean(f"more {number}"))
            for number, (one, is_in) in enumerate(before.found.items())
        }
        return replace(before, found=found), True

    def _raise_class(self, before: Request) -> tuple[Request, Term]:
        raised = integer("raised class")
        symbols = {**before.symbols, "request.data_class": Text(raised, words=DATA_CLASSES)}
        rules = both(raised > before.data_class, raised < len(DATA_CLASSES))
        return replace(before, symbols=symbols, data_class=raised), rules

    def _lose(self, before: Request) -> tuple[Request, Term]:
        found = {
            one: both(is_in, boolean(f"still {number}"))
            for number, (one, is_in) in enumerate(before.found.items())
        }
        lost = {
            one: either(
                is_lost, both(before.found[one], negate(found[one])), boolean(f"lost too {number}")
            )
            for number, (one, is_lost) in enumerate(before.lost.items())
        }
        return replace(before, found=found, lost=lost), True

    # What they share.

    def _prove_each(
        self, claim: str, kind: Kind, goal: Callable[[TargetFacts | None], Goal]
    ) -> Proof:
        """For any target that there can be; failing that, for each of the catalogue."""
        self.inexact.clear()
        proof = self._solve(claim, kind, "any catalogue", goal(None))
        if proof.verdict == "proved" or not self.targets:
            return proof
        for facts in self.distinct_targets():
            self.inexact.clear()  # what is undecided of any target may be plain of this one
            proof = self._solve(claim, kind, "this catalogue", goal(facts))
            if proof.verdict != "proved":
                break
        return proof

    def _solve(self, claim: str, kind: Kind, scope: Scope, goal: Goal) -> Proof:
        solver: Any = z3.Solver()
        solver.add(lift(all_of(goal.terms)))
        for _round in range(ROUNDS_MAX):
            left = min(self._look_seconds_max, self.seconds_left())
            if left <= 0:
                return Proof(claim, kind, "timeout", scope, "the time for all proofs was over")
            solver.set("timeout", max(1, int(left * 1000)))
            outcome = solver.check()
            if outcome == z3.unsat:
                if goal.assumed and self._can_never_be(goal.assumed):
                    return Proof(claim, kind, "undecided", scope, EMPTY)
                return Proof(claim, kind, "proved", scope)
            if outcome != z3.sat:
                reason = f"Z3 gave up: {solver.reason_unknown()}"
                return Proof(claim, kind, "timeout", scope, reason)
            reader = Reader(_plainest(solver, goal.plain), self.vocabulary)
            witness = reader.witness(goal.request, goal.targets)
            real = goal.is_real(witness, reader)
            if real.lines:
                lines = (*describe(witness.facts), *real.lines)
                return Proof(claim, kind, "refuted", scope, lines=lines, witness=witness)
            if not real.fillings:
                break
            solver.add(lift(all_of(goal.refine(labels) for labels in real.fillings)))
        return Proof(claim, kind, "undecided", scope, self._say_undecided())

    def _can_never_be(self, terms: Iterable[Term]) -> bool:
        solver: Any = z3.Solver()
        solver.set("timeout", int(self._look_seconds_max * 1000))
        solver.add(lift(all_of(terms)))
        return solver.check() == z3.unsat

    def _say_undecided(self) -> str:
        causes = ", ".join(dict.fromkeys(self.inexact))
        if not causes:
            return "no counterexample that Z3 finds happens in a real decision"
        return f"what has no exact formula stands in the way: {causes}"

    def world(self, request: Request, tag: str) -> World:
        """Some filling of what is unknown about ``request``."""
        fill = {name: boolean(f"{tag}{name}") for name in self.document.data.labels}
        return make_world(self.vocabulary, request, fill, self.inexact)

    def world_of(self, request: Request, labels: frozenset[str]) -> World:
        """The filling in which ``labels`` are set wherever they are open."""
        fill = {name: name in labels for name in self.document.data.labels}
        return make_world(self.vocabulary, request, fill, self.inexact)

    def allows(self, world: World, target: Target) -> Term:
        """Whether no constraint is violated in this filling, and not too many labels are open for one."""
        made = formulas(world, target, self.inexact)
        trees = self.document.trees
        parts = [
            negate(more_than((world.open[name] for name in crowd), UNKNOWN_LABELS_MAX))
            for crowd in self._crowds
        ]
        for at in range(len(self.document.data.constraints)):
            path = f"constraints[{at}]"
            holds = made.truth(trees[f"{path}.require"], f"{path}.require").holds
            when = trees.get(f"{path}.when")
            if when is not None and holds is not True:
                said = made.truth(when, f"{path}.when")
                holds = either(both(negate(said.holds), negate(said.fails)), holds)
            parts.append(holds)
        return all_of(parts)

    def strikes(self, request: Request, tag: str, target: Target) -> Term:
        """Whether constraints strike: in the filling called ``tag``, or for so many labels that are open, each in
        some filling."""
        world = self.world(request, f"{tag}fill ")
        crowded = [
            more_than(
                (
                    self.world(request, f"{tag}{name} fill ").open[name]
                    if self._labels[name].names_labels
                    else world.open[name]
                    for name in crowd
                ),
                UNKNOWN_LABELS_MAX,
            )
            for crowd in self._crowds
        ]
        return either(negate(self.allows(world, target)), *crowded)

    def distinct_targets(self) -> tuple[TargetFacts, ...]:
        """The targets, without those that differ in nothing the document speaks of."""
        used = self.vocabulary.target_facts
        seen: dict[tuple[object, ...], TargetFacts] = {}
        for target in self.targets:
            looks = (
                target.boundary, target.capabilities, target.context_tokens_max,
                *(getattr(target, path.removeprefix("target."), None) for path in used),
            )  # fmt: skip
            seen.setdefault(looks, target)
        return tuple(seen.values())


def fits(request: Request, target: Target, document: PolicyDocument) -> Term:
    """Whether nothing beside the constraints strikes: see ``decide``."""
    blind = {
        "any": True,
        "self_hosted": either(negate(request.is_blind), target.is_at_home),
        "refuse": negate(request.is_blind),
    }[document.data.unscannable]
    return both(
        can_take(request, target),
        target.is_healthy,
        negate(both(request.needs_bound, target.has_no_bound)),
        either(negate(request.is_private), target.is_at_home),
        blind,
    )


def is_of_kind(request: Request, target: Target) -> Term:
    """Whether ``request`` asks for vectors and ``target`` gives them, or neither."""
    needs = request.symbols["request.needs"]
    assert isinstance(needs, Words)
    gives, asks = target.capabilities.get(EMBED, False), needs.members[EMBED]
    return either(both(gives, asks), both(negate(gives), negate(asks)))


def plain_terms(request: Request, target: Target) -> list[Term]:
    """What most requests are like."""
    return [
        *(negate(one) for one in request.lost.values()),
        *(negate(one) for one in request.found.values()),
        negate(request.is_blind),
        negate(request.is_private),
        target.is_healthy,
        can_take(request, target),
        negate(target.has_no_bound),
        request.data_class == DATA_CLASSES.index("internal"),
        request.context_tokens == 1,
    ]


def _plainest(solver: Any, plain: Sequence[Term]) -> Any:
    """A model in which as much of ``plain`` holds as fits together, the first first."""
    model, taken = solver.model(), list[Term]()
    for term in plain:
        if isinstance(term, bool):
            continue
        if z3.is_true(model.eval(term, model_completion=True)):
            taken.append(term)
        elif solver.check(*taken, term) == z3.sat:
            taken.append(term)
            model = solver.model()
    return model


def find_worlds(policy: CompiledPolicy, witness: Witness) -> Worlds:
    """Every filling of what is unknown about a witness."""
    return Worlds(policy.labels, witness.facts.detection, request_row(witness.facts))


def _read_labels(world: World, reader: Reader) -> frozenset[str]:
    return frozenset(name for name, is_in in world.labels.items() if reader.truth(is_in))


def _holds(closure: Closure, *rows: Any) -> bool:
    try:
        return bool(closure(*rows))
    except Unevaluable:
        return False


def _are_as_assumed(
    given: Closure,
    request: Sequence[Any],
    policy: CompiledPolicy,
    numbers: Mapping[int, Any],
    witness: Witness,
) -> bool:
    """Whether ``given`` holds of some target, and of each that is of the request's kind."""
    asks = EMBED in witness.facts.needs
    held = [_holds(given, request, row, numbers[at]) for at, row in enumerate(policy.rows)]
    return any(held) and all(
        is_held or (EMBED in target.capabilities) != asks
        for is_held, target in zip(held, policy.targets, strict=True)
    )


def _may_hold(closure: Closure, *rows: Any) -> bool:
    """What cannot be evaluated may."""
    try:
        return bool(closure(*rows))
    except Unevaluable:
        return True


def _rule_out(policy: CompiledPolicy, witness: Witness) -> tuple[frozenset[str], ...]:
    """A filling in which the witness' target is struck, if that is why it is not kept."""
    filling = find_filling(policy, witness.facts, witness.quotes)
    return () if filling is None else (filling,)


def say_target(target: TargetFacts) -> str:
    """A target in a few words."""
    said: Mapping[str, object] = {
        "provider": target.provider, "region": target.region,
        "retention days": target.retention_days, "trains on inputs": target.trains_on_inputs,
    }  # fmt: skip
    known = [f"{name} {value}" for name, value in said.items() if value not in ("other", "")]
    return f"{target.name} ({target.boundary}, {', '.join(known)})"


def certify(
    document: PolicyDocument, targets: Sequence[TargetFacts], proofs: Iterable[Proof]
) -> Certificate:
    """The certificate of ``proofs``, of ``document`` over ``targets``."""
    claims = tuple(Claim(one.claim, one.kind, one.verdict, one.scope, one.reason) for one in proofs)
    bare = Certificate(document.digest, digest_targets(targets), digest_verifier(), claims)
    if bare.scope == "any catalogue":
        return bare
    return msgspec.structs.replace(
        bare, targets=tuple(sorted({digest_target(target) for target in targets}))
    )
