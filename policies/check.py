"""Try a document before it is in force: does it fit the catalogue, do its examples come out."""

from dataclasses import dataclass
from typing import Literal

from policies.classify import Classifier
from policies.compile import CompiledPolicy, compile_policy
from policies.decide import decide
from policies.document import ExampleData, PolicyDocument
from policies.facts import Decision, Detection, Facts, Quote, Segment, TargetFacts

EXAMPLE_COST_NANOUSD = 1_000_000

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
        capabilities=frozenset(
            {"tools", "images", "audio", "documents", "json_schema", "reasoning"}
        ),
        context_tokens_max=1_000_000,
        output_tokens_max=100_000,
        quality=0.9,
        retention_days=0,
        trains_on_inputs=False,
    )
    for boundary, region in PLACES
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
    compiled = compile_policy(document, (*targets, *STAND_INS))
    for number, example in enumerate(document.data.examples, 1):
        problems += [f"example {number}: {what}" for what in _run(compiled, classifier, example)]
    return Report(
        policy=document.name,
        constraints=len(document.data.constraints),
        examples=len(document.data.examples),
        problems=tuple(problems),
        notes=tuple(_idle_rules(compiled, len(targets))),
    )


def _unknown_types(document: PolicyDocument, classifier: Classifier) -> list[str]:
    problems: list[str] = []
    for name, label in document.data.labels.items():
        for kind in label.detect:
            prefix = kind.removesuffix("*")
            is_known = kind in classifier.types or (
                kind.endswith("*") and any(one.startswith(prefix) for one in classifier.types)
            )
            if not is_known:
                known = ", ".join(sorted(classifier.types))
                problems.append(f"label `{name}`: no detector finds `{kind}`; there are {known}")
    return problems


def _run(compiled: CompiledPolicy, classifier: Classifier, example: ExampleData) -> list[str]:
    given, expect = example.given, example.expect
    found = classifier.scan([Segment("user", "text", given.text)])
    detection = Detection(found.found, found.unknown, frozenset(given.media), found.detectors)
    facts = Facts(
        organisation="example",
        team="example",
        key="example",
        residency=given.residency,
        data_class=given.data_class,
        detection=detection,
        request_model=given.model,
        prefer="policy",
        needs=frozenset(),
        is_stream=False,
        input_tokens_estimate=len(given.text) // 4 + 1,
        output_tokens_max=None,
        now=0.0,
    )
    quotes = {
        target.name: Quote(EXAMPLE_COST_NANOUSD, EXAMPLE_COST_NANOUSD, 1.0)
        for target in compiled.targets
    }
    decision = decide(compiled, facts, None, quotes)
    return _differences(compiled, decision, example) if expect else []


def _differences(compiled: CompiledPolicy, decision: Decision, example: ExampleData) -> list[str]:
    expect = example.expect
    known = {target.name: target for target in compiled.targets}
    wrong: list[str] = []
    if expect.only is not None:
        for kept in decision.kept:
            target = known[kept.target]
            for member in ("boundary", "region", "provider"):
                wanted = getattr(expect.only, member)
                if wanted is not None and getattr(target, member) != wanted:
                    wrong.append(f"`{target.name}` is left, whose {member} is not `{wanted}`")
        if not decision.kept:
            wrong.append("no target is left")
    struck_by = {struck.constraint for struck in decision.struck}
    if expect.struck_by is not None and expect.struck_by not in struck_by:
        wrong.append(f"`{expect.struck_by}` strikes nobody")
    if expect.nothing_struck and any(one.by == "constraint" for one in decision.struck):
        wrong.append(f"something is struck by {', '.join(sorted(filter(None, struck_by)))}")
    missing = set(expect.labels) - decision.labels
    if missing:
        wrong.append(f"the labels {', '.join(sorted(missing))} are not set")
    return wrong


def _idle_rules(compiled: CompiledPolicy, real: int) -> list[str]:
    """Rules that cannot do anything with the targets that are switched on."""
    everyone = (1 << real) - 1
    return [
        f"constraint `{constraint.name}` keeps every target that is switched on"
        for constraint in compiled.constraints
        if real
        and constraint.require.mask is not None
        and constraint.require.mask & everyone == everyone
    ]
