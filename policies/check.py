"""Try a document before it is in force: does it fit the catalogue, do its examples come out."""

import difflib
from dataclasses import dataclass
from typing import Literal

import msgspec

from policies.cel import words_of
from policies.classify import Classifier
from policies.compile import CompiledPolicy, compile_policy
from policies.document import PolicyDocument
from policies.examples import find_types, run_example
from policies.facts import CAPABILITIES, EMBED, TargetFacts

# An example is about the rules, not about what happens to be switched on here: without a target on one
# side of the boundary it could not tell whether that side is struck.
PLACES: tuple[tuple[Literal["self_hosted", "external"], str], ...] = (
    ("self_hosted", "home"),
    ("external", "us"),
    ("external", "eu"),
)
STAND_INS = tuple(
    TargetFacts(
        name=f"example/{boundary}-{region}",
        provider="example",
        model=f"{boundary}-{region}",
        boundary=boundary,
        region=region,
        capabilities=frozenset(CAPABILITIES - {EMBED}),
        context_tokens_max=1_000_000,
        output_tokens_max=100_000,
        retention_days=0,
        trains_on_inputs=False,
    )
    for boundary, region in PLACES
)
# Beside them, who trains on prompts, who keeps them, and who gives vectors (and nothing else): without one of these
# nothing would tell whether it is struck.
OTHERS = (
    msgspec.structs.replace(STAND_INS[2], name="example/external-eu-trains", trains_on_inputs=True),
    msgspec.structs.replace(STAND_INS[2], name="example/external-eu-keeps", retention_days=365),
    *(
        msgspec.structs.replace(one, name=f"{one.name}-embed", capabilities=frozenset({EMBED}))
        for one in STAND_INS
    ),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. ``problems`` empty: the document may go into force."""

    policy: str
    constraints: int
    examples: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_ok(self) -> bool:
        """Whether nothing speaks against the document."""
        return not self.problems

    def lines(self) -> list[str]:
        """The report for people."""
        verdict = "fits" if self.is_ok else "does not work"
        head = f"{self.policy} {verdict}: {self.constraints} constraints, {self.examples} examples"
        return [
            head,
            *(f"problem: {one}" for one in self.problems),
            *(f"note: {one}" for one in self.notes),
        ]

    def to_json(self) -> dict[str, object]:
        """The report for programs."""
        return {
            "policy": self.policy,
            "ok": self.is_ok,
            "constraints": self.constraints,
            "examples": self.examples,
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


def check(document: PolicyDocument, targets: tuple[TargetFacts, ...]) -> Report:
    """Compile ``document`` for ``targets``, run its examples, look for rules that do nothing.

    Raises ``PolicyError`` where it cannot even be compiled.
    """
    classifier = Classifier()
    problems = _unknown_types(document, classifier)
    compiled = compile_policy(document, (*targets, *STAND_INS, *OTHERS))
    for number, example in enumerate(document.data.examples, 1):
        wrong = run_example(compiled, classifier, example)
        problems += [f"example {number}: {what}" for what in wrong]
    return Report(
        policy=document.name,
        constraints=len(document.data.constraints),
        examples=len(document.data.examples),
        problems=tuple(problems),
        notes=(*_idle_rules(compiled, len(targets)), *_strange_words(document, targets)),
    )


def _unknown_types(document: PolicyDocument, classifier: Classifier) -> list[str]:
    problems: list[str] = []
    for name, label in document.data.labels.items():
        for kind, found in find_types(label.detect, classifier.types).items():
            if not found:
                known = ", ".join(sorted(classifier.types))
                problems.append(f"label `{name}`: no detector finds `{kind}`; there are {known}")
    return problems


def _idle_rules(compiled: CompiledPolicy, real: int) -> list[str]:
    """Rules that cannot do anything with the targets that are switched on, or leave none of them."""
    if not compiled.constraints:
        return ["no constraint: every text may go to every target that is switched on"]
    everyone = left = (1 << real) - 1
    notes: list[str] = []
    for constraint in compiled.constraints:
        mask = constraint.require.mask
        if not real or mask is None:
            continue
        who = f"constraint `{constraint.name}`"
        if mask & everyone == everyone:
            notes.append(f"{who} keeps every target that is switched on")
        elif not mask & everyone:
            often = "for every request" if constraint.when is None else "where its `when` holds"
            notes.append(f"{who} strikes every target that is switched on, {often}")
        elif constraint.when is None:
            left &= mask
    if real and not left:
        notes.append(
            "the constraints together strike every target that is switched on, for every request"
        )
    return notes


def _strange_words(document: PolicyDocument, targets: tuple[TargetFacts, ...]) -> list[str]:
    """Constants that a fact is held against but is not, with the targets that are switched on: a slip would
    make a rule never hold, or a target that is not here yet."""
    known = {
        "target.name": {target.name for target in targets},
        "target.provider": {target.provider for target in targets},
        "target.model": {target.model for target in targets},
        "target.region": {target.region for target in targets},
    }
    notes: list[str] = []
    for path, tree in document.trees.items():
        for name, value in words_of(tree):
            here = known.get(name.path)
            if here and value not in here:
                close = difflib.get_close_matches(str(value), here, n=1)
                words = f": did you mean `{close[0]}`?" if close else ""
                notes.append(
                    f"`{path}`: no target that is switched on has the {name.path[7:]} `{value}`{words}"
                )
            if name.path == "tenant.residency" and str(value) != str(value).lower():
                notes.append(f"`{path}`: a residency is lower-case letters and never `{value}`")
    return notes
