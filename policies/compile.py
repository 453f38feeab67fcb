"""Document × targets → what runs for every request.

What is about targets alone is looked at once, here, and kept as a bit mask; what is about the request is
a closure that runs once a request; only what mixes the two runs for each target.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from policies.cel import Closure, Scope, Tree, Unevaluable, compile_tree, scopes_of
from policies.cel.python import Value
from policies.cel.schema import children_of
from policies.cel.tree import Constant, In, Name
from policies.document import PolicyDocument, PolicyError, Unscannable
from policies.facts import TargetFacts


@dataclass(frozen=True, slots=True)
class Label:
    """A label: the types that set it, and the condition that does."""

    name: str
    types: frozenset[str]
    prefixes: tuple[str, ...]
    when: Closure | None


@dataclass(frozen=True, slots=True)
class Part:
    """One expression. ``is_per_target``: it looks at a target, or at its numbers. ``mask``: bit i is set
    where target i satisfies it (about targets alone). ``labels``: the labels it names; None: it looks at
    all of them."""

    closure: Closure
    is_per_target: bool
    mask: int | None
    labels: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Constraint:
    """``when`` None: always."""

    name: str
    reason: str
    when: Part | None
    require: Part


@dataclass(frozen=True, slots=True)
class Objective:
    """A ranking. ``sign`` is 1 to minimise and -1 to maximise ``number``."""

    when: Part | None
    number: Closure
    sign: int
    words: str
    subject_to: tuple[tuple[str, Part], ...]


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy fitted to one catalogue. ``label`` is what answers and records call it."""

    document: PolicyDocument
    label: str
    targets: tuple[TargetFacts, ...]
    target_values: tuple[Mapping[str, Value], ...]
    self_hosted: int
    labels: tuple[Label, ...]
    constraints: tuple[Constraint, ...]
    objectives: tuple[Objective, ...]
    attempts_max: int
    caches_sampled: bool
    unscannable: Unscannable


def compile_policy(
    document: PolicyDocument, targets: tuple[TargetFacts, ...], *, version: str = ""
) -> CompiledPolicy:
    """Fit ``document`` to ``targets``. ``version`` is shown after the name; else the digest is."""
    values = tuple(target_values(target) for target in targets)
    data, trees = document.data, document.trees

    def part(path: str) -> Part | None:
        return _part(trees[path], values) if path in trees else None

    def needed(path: str) -> Part:
        found = part(path)
        if found is None:
            raise PolicyError(f"`{path}` is missing", source=document.source)
        return found

    constraints = tuple(
        Constraint(
            said.name, said.reason or said.name, part(f"constraints[{at}].when"),
            needed(f"constraints[{at}].require"),
        )
        for at, said in enumerate(data.constraints)
    )  # fmt: skip
    objectives = tuple(
        Objective(
            when=part(f"objective[{at}].when"),
            number=needed(f"objective[{at}].{'minimize' if said.minimize else 'maximize'}").closure,
            sign=1 if said.minimize else -1,
            words=f"least {said.minimize}" if said.minimize else f"most {said.maximize}",
            subject_to=tuple(
                (text, needed(f"objective[{at}].subject_to[{number}]"))
                for number, text in enumerate(said.subject_to)
            ),
        )
        for at, said in enumerate(data.objective)
    )
    return CompiledPolicy(
        document=document,
        label=f"{document.name}@{version or document.digest[:12]}",
        targets=targets,
        target_values=values,
        self_hosted=sum(
            1 << at for at, target in enumerate(targets) if target.boundary == "self_hosted"
        ),
        labels=tuple(
            Label(
                name,
                frozenset(kind for kind in said.detect if not kind.endswith("*")),
                tuple(kind[:-1] for kind in said.detect if kind.endswith("*")),
                None if said.when is None else compile_tree(trees[f"labels.{name}.when"]),
            )
            for name, said in data.labels.items()
        ),
        constraints=constraints,
        objectives=objectives,
        attempts_max=data.attempts.max,
        caches_sampled=data.cache.sampled,
        unscannable=data.unscannable,
    )


def _part(tree: Tree, values: tuple[Mapping[str, Value], ...]) -> Part:
    closure, scopes = compile_tree(tree), scopes_of(tree)
    mask = None
    if not scopes & ~Scope.TARGET:
        mask = 0
        for at, facts in enumerate(values):
            try:
                mask |= int(bool(closure(facts))) << at
            except Unevaluable:
                continue  # what cannot be evaluated strikes
    is_per_target = bool(scopes & (Scope.TARGET | Scope.QUOTE))
    return Part(closure, is_per_target, mask, _labels_of(tree))


def _labels_of(tree: Tree) -> frozenset[str] | None:
    """The labels that ``tree`` asks for by name; None if it looks at the set in another way."""
    if (
        isinstance(tree, In)
        and isinstance(tree.container, Name)
        and tree.container.path == "labels"
    ):
        if isinstance(tree.item, Constant):
            return frozenset({str(tree.item.value)})
        return None
    if isinstance(tree, Name):
        return None if tree.path == "labels" else frozenset()
    found: frozenset[str] = frozenset()
    for child in children_of(tree):
        inner = _labels_of(child)
        if inner is None:
            return None
        found |= inner
    return found


def target_values(target: TargetFacts) -> dict[str, Value]:
    """What expressions may ask of a target."""
    return {
        "target.name": target.name,
        "target.provider": target.provider,
        "target.model": target.model,
        "target.boundary": target.boundary,
        "target.region": target.region,
        "target.capabilities": target.capabilities,
        "target.context_tokens_max": target.context_tokens_max,
        "target.output_tokens_max": target.output_tokens_max,
        "target.retention_days": target.retention_days,
        "target.trains_on_inputs": target.trains_on_inputs,
    }
