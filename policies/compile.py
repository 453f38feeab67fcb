"""Document × targets → what runs for every request.

What is about targets alone is looked at once, here, and kept as a bit mask; what is about the request is
a closure that runs once a request; only what mixes the two runs for each target.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from policies.cel import (
    QUOTE_FACTS,
    TARGET_FACTS,
    Closure,
    Scale,
    Scope,
    Sieve,
    Tree,
    Unevaluable,
    compile_scale,
    compile_sieve,
    compile_tree,
    labels_in,
    scopes_of,
)
from policies.cel.python import Value
from policies.cel.schema import names_of
from policies.document import PolicyDocument
from policies.facts import CAPABILITIES, FailureWord, Quote, Struck, TargetFacts
from policies.labels import Label, close_over
from policies.members import ObjectiveData, Unscannable

TargetRow = tuple[Value, ...]
"""The facts of a target, in the order of ``TARGET_FACTS``."""
QuoteRow = tuple[Value, ...]
"""The numbers of a target, in the order of ``QUOTE_FACTS``."""
MakeQuoteRows = Callable[[Mapping[int, Quote], int, int], dict[int, QuoteRow]]
"""From quotes by position, the mask of who can take the request, and how many attempts there may be."""


NEVER_REACHED = (
    "never reached: the {} tried before it are at least as good in cost, wait and quality"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One expression. ``is_per_target``: it looks at a target, or at its numbers. ``mask``: bit i is set
    where target i satisfies it (about targets alone). ``labels``: those that it depends on."""

    closure: Closure
    is_per_target: bool
    mask: int | None
    labels: frozenset[str]


@dataclass(frozen=True, slots=True)
class Constraint:
    """``when`` None: always. ``labels``: those that it depends on. ``strikes[i]`` is what is written down where
    it strikes target i; ``outside`` are those that can never satisfy it, if ``is_static``: ``when`` is about the
    request alone, and ``require`` about targets alone. ``sieve`` finds who does not satisfy ``require``, unless that is
    about targets alone."""

    name: str
    reason: str
    when: Part | None
    require: Part
    sieve: Sieve | None
    labels: frozenset[str]
    strikes: tuple[Struck, ...]
    is_static: bool
    outside: tuple[Struck, ...]


@dataclass(frozen=True, slots=True)
class Objective:
    """A ranking. ``sign`` is 1 to minimise and -1 to maximise ``number``; ``unknown`` is what a number of a
    quote that nobody knows counts as, by its place in ``QUOTE_FACTS``. A sieve finds who does not meet a wish."""

    when: Part | None
    number: Scale
    sign: int
    words: str
    subject_to: tuple[tuple[str, Sieve], ...]
    unknown: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy fitted to one catalogue. ``label`` is what answers and records call it.

    Sets of targets are bit masks: ``everyone``, ``self_hosted``, ``can`` (by capability).
    ``context_tokens_least`` is the shortest context. ``dominated[i]`` is what is written down where target i is
    never reached. ``held_back`` are those of which it is not proved.
    """

    document: PolicyDocument
    label: str
    targets: tuple[TargetFacts, ...]
    rows: tuple[TargetRow, ...]
    everyone: int
    self_hosted: int
    held_back: int
    can: Mapping[str, int]
    context_tokens_least: int
    labels: tuple[Label, ...]
    constraints: tuple[Constraint, ...]
    objectives: tuple[Objective, ...]
    burst: tuple[str, Sieve] | None
    attempts_max: int
    fallback: tuple[FailureWord, ...]
    quote_rows: MakeQuoteRows
    dominated: tuple[Struck, ...]
    caches_sampled: bool
    unscannable: Unscannable


def compile_policy(
    document: PolicyDocument,
    targets: tuple[TargetFacts, ...],
    *,
    version: str = "",
    held_back: frozenset[str] = frozenset(),
) -> CompiledPolicy:
    """Fit ``document`` to ``targets``. ``version`` is shown after the name; else the digest is. ``held_back`` names
    those of which the document is not proved: they are struck."""
    return _Compiler(document, targets).compile(version, held_back)


class _Compiler:
    """One document on its way to one catalogue."""

    def __init__(self, document: PolicyDocument, targets: tuple[TargetFacts, ...]) -> None:
        self._document = document
        self._targets = targets
        self._rows = tuple(target_row(target) for target in targets)
        trees = document.trees
        self._named = {
            name: labels_in(trees.get(f"labels.{name}.when"), document.data.labels)
            for name in document.data.labels
        }

    def compile(self, version: str, held_back: frozenset[str]) -> CompiledPolicy:
        document, data = self._document, self._document.data
        burst = data.attempts.burst
        return CompiledPolicy(
            document=document,
            label=f"{document.name}@{version or document.digest[:12]}",
            targets=self._targets,
            rows=self._rows,
            everyone=(1 << len(self._targets)) - 1,
            self_hosted=self._mask(lambda target: target.boundary == "self_hosted"),
            held_back=self._mask(lambda target: target.name in held_back),
            can={
                word: self._mask(lambda target, word=word: word in target.capabilities)
                for word in CAPABILITIES
            },
            context_tokens_least=min(
                (target.context_tokens_max for target in self._targets), default=0
            ),
            labels=tuple(self._label(name) for name in document.label_order),
            constraints=tuple(self._constraint(at) for at in range(len(data.constraints))),
            objectives=tuple(self._objective(at, said) for at, said in enumerate(data.objective)),
            burst=None
            if burst is None
            else (burst.when, compile_sieve(document.trees["attempts.burst.when"])),
            attempts_max=data.attempts.max,
            fallback=data.attempts.fallback,
            quote_rows=_compile_rows(
                {name.path for tree in document.trees.values() for name in names_of(tree)}
            ),
            dominated=tuple(
                Struck(target.name, "dominated", "", NEVER_REACHED.format(data.attempts.max))
                for target in self._targets
            ),
            caches_sampled=data.cache.sampled,
            unscannable=data.unscannable,
        )

    def _mask(self, is_in: Callable[[TargetFacts], bool]) -> int:
        return sum(1 << at for at, target in enumerate(self._targets) if is_in(target))

    def _label(self, name: str) -> Label:
        detect = self._document.data.labels[name].detect
        tree = self._document.trees.get(f"labels.{name}.when")
        return Label(
            name=name,
            types=frozenset(kind for kind in detect if not kind.endswith("*")),
            prefixes=tuple(kind[:-1] for kind in detect if kind.endswith("*")),
            when=None if tree is None else compile_tree(tree),
            names_labels=tree is not None and bool(scopes_of(tree) & Scope.LABELS),
            depends_on=close_over(frozenset({name}), self._named),
        )

    def _constraint(self, at: int) -> Constraint:
        said = self._document.data.constraints[at]
        demand = self._document.trees[f"constraints[{at}].require"]
        when, require = self._part(f"constraints[{at}].when"), self._compile(demand)
        reason = said.reason or said.name
        strikes = tuple(
            Struck(target.name, "constraint", said.name, reason) for target in self._targets
        )
        mask = require.mask
        return Constraint(
            name=said.name,
            reason=reason,
            when=when,
            require=require,
            sieve=None if mask is not None else compile_sieve(demand),
            labels=require.labels if when is None else require.labels | when.labels,
            strikes=strikes,
            is_static=mask is not None and (when is None or not when.is_per_target),
            outside=()
            if mask is None
            else tuple(one for bit, one in enumerate(strikes) if not mask >> bit & 1),
        )

    def _objective(self, at: int, said: ObjectiveData) -> Objective:
        verb = "minimize" if said.minimize else "maximize"
        return Objective(
            when=self._part(f"objective[{at}].when"),
            number=compile_scale(self._document.trees[f"objective[{at}].{verb}"]),
            sign=1 if said.minimize else -1,
            words=f"least {said.minimize}" if said.minimize else f"most {said.maximize}",
            subject_to=tuple(
                (text, compile_sieve(self._document.trees[f"objective[{at}].subject_to[{number}]"]))
                for number, text in enumerate(said.subject_to)
            ),
            unknown={QUOTE_FACTS.index(name): value for name, value in said.unknown.items()},
        )

    def _part(self, path: str) -> Part | None:
        tree = self._document.trees.get(path)
        return None if tree is None else self._compile(tree)

    def _compile(self, tree: Tree) -> Part:
        closure, scopes = compile_tree(tree), scopes_of(tree)
        mask = None
        if not scopes & ~Scope.TARGET:
            mask = 0
            for at, row in enumerate(self._rows):
                try:
                    mask |= int(bool(closure((), row, ()))) << at
                except Unevaluable:
                    continue  # what cannot be evaluated strikes
        named = labels_in(tree, self._document.data.labels)
        return Part(
            closure,
            bool(scopes & (Scope.TARGET | Scope.QUOTE)),
            mask,
            close_over(named, self._named),
        )


_QUOTE_SOURCES = {
    "quality": "quote.quality",
    "cached_tokens": "quote.cached_tokens",
    "target.healthy": "quote.is_healthy",
    "target.capable": "(capable >> at & 1 == 1)",
    "expected_cost_usd": "(None if (n := quote.expected_cost_nanousd) is None else n / 1e9)",
    "worst_case_cost_usd": "(None if (n := quote.worst_case_nanousd) is None else n / 1e9)",
    "worst_case_request_cost_usd": (
        "(None if (n := quote.worst_case_nanousd) is None else n * attempts / 1e9)"
    ),
    "expected_ttft_s": "quote.expected_ttft_seconds",
}


def _compile_rows(used: set[str]) -> MakeQuoteRows:
    """A row is made for each target of each request: with what the document speaks of, and nothing else."""
    slots = ", ".join(_QUOTE_SOURCES[path] if path in used else "None" for path in QUOTE_FACTS)
    source = f"lambda quotes, capable, attempts: {{at: ({slots},) for at, quote in quotes.items()}}"
    return cast("MakeQuoteRows", eval(source, {"__builtins__": {}}))  # noqa: S307  # text of our own


def target_row(target: TargetFacts) -> TargetRow:
    """What expressions may ask of a target."""
    return tuple(_TARGET_VALUES[path](target) for path in TARGET_FACTS)


_TARGET_VALUES: Mapping[str, Callable[[TargetFacts], Value]] = {
    "target.name": lambda target: target.name,
    "target.provider": lambda target: target.provider,
    "target.model": lambda target: target.model,
    "target.boundary": lambda target: target.boundary,
    "target.region": lambda target: target.region,
    "target.capabilities": lambda target: target.capabilities,
    "target.context_tokens_max": lambda target: target.context_tokens_max,
    "target.output_tokens_max": lambda target: target.output_tokens_max,
    "target.retention_days": lambda target: target.retention_days,
    "target.trains_on_inputs": lambda target: target.trains_on_inputs,
}
