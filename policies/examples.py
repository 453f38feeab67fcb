"""Run an example of a document: the request and the world that it gives, decided, against what it expects.

Promises: nothing is taken from the clock or from what is measured; what an example leaves out is the same everywhere.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal

from policies.classify import Classifier
from policies.compile import CompiledPolicy
from policies.decide import decide
from policies.facts import BOUNDARIES, Decision, Detection, Facts, Quote, Segment, TargetFacts
from policies.members import ExampleData, ExpectData, FirstData, GivenData, OnlyData

COST_USD = 0.001
TTFT_SECONDS = 1.0
QUALITY = 0.9
SECONDS_AN_HOUR = 3600
BYTES_A_TOKEN = 4
UNHEALTHY = "the example says that it does not answer"

Given = float | Literal["unknown"] | Mapping[str, float | Literal["unknown"]] | None
"""A number for every target, or by name or boundary; None: nothing is said of it."""


def run_example(
    compiled: CompiledPolicy, classifier: Classifier, example: ExampleData
) -> list[str]:
    """What comes out otherwise than ``example`` expects, in words; empty: it holds."""
    given = example.given
    if problems := _find_strangers(given, compiled.targets, classifier):
        return problems
    facts = _make_facts(given, _detect(given, classifier))
    quotes = {target.name: _make_quote(given, target) for target in compiled.targets}
    decision = decide(compiled, facts, None, quotes)
    return _compare(compiled.targets, decision, example.expect)


def find_types(patterns: Iterable[str], types: Iterable[str]) -> dict[str, frozenset[str]]:
    """Those of ``types`` that each pattern means: a type, or a prefix with ``*``."""
    known = frozenset(types)
    return {
        one: frozenset(kind for kind in known if kind.startswith(one[:-1]))
        if one.endswith("*")
        else known & {one}
        for one in patterns
    }


def _find_strangers(
    given: GivenData, targets: tuple[TargetFacts, ...], classifier: Classifier
) -> list[str]:
    """Types that no detector finds, and targets that are not here: with them an example says nothing."""
    problems: list[str] = []
    for kind, found in find_types(given.lost, classifier.types).items():
        if not found:
            known = ", ".join(sorted(classifier.types))
            problems.append(f"`lost`: no detector finds `{kind}`; there are {known}")
    here = {*BOUNDARIES, *(target.name for target in targets)}
    named: dict[str, Iterable[str]] = {"unhealthy": given.unhealthy}
    for member in ("worst_case_usd", "expected_usd", "ttft_seconds", "quality"):
        said: Given = getattr(given, member)
        named[member] = said if isinstance(said, Mapping) else ()
    for member, names in named.items():
        for name in names:
            if name not in here:
                close = difflib.get_close_matches(name, here, n=1)
                hint = f": did you mean `{close[0]}`?" if close else ""
                problems.append(f"`{member}`: no target is called `{name}`{hint}")
    return problems


def _detect(given: GivenData, classifier: Classifier) -> Detection:
    """What the detectors say: nothing of the types that were lost."""
    seen = classifier.scan([Segment("user", "text", given.text)])
    lost = frozenset[str]().union(*find_types(given.lost, classifier.types).values())
    return Detection(seen.found - lost, seen.unknown | lost, frozenset(given.media), seen.detectors)


def _make_facts(given: GivenData, detection: Detection) -> Facts:
    return Facts(
        organisation=given.organisation,
        team=given.team,
        key=given.key,
        residency=given.residency,
        data_class=given.data_class,
        detection=detection,
        request_model=given.model,
        prefer="policy",
        needs=frozenset(given.needs),
        is_stream=given.stream,
        input_tokens_estimate=given.input_tokens or len(given.text) // BYTES_A_TOKEN + 1,
        output_tokens_max=None,
        now=float(given.hour * SECONDS_AN_HOUR),
        task=given.task,
    )


def _make_quote(given: GivenData, target: TargetFacts) -> Quote:
    """A call there. Of two costs the one that is left out gives way, so that the worst is never below the other."""
    worst, expected = _find(given.worst_case_usd, target), _find(given.expected_usd, target)
    if worst is None:
        worst = COST_USD if expected in (None, "unknown") else max(COST_USD, expected)
    if expected is None:
        expected = COST_USD if worst == "unknown" else min(COST_USD, worst)
    wait, quality = _find(given.ttft_seconds, target), _find(given.quality, target)
    is_healthy = target.name not in given.unhealthy and target.boundary not in given.unhealthy
    return Quote(
        expected_cost_nanousd=_nanousd(expected),
        worst_case_nanousd=_nanousd(worst),
        expected_ttft_seconds=_known(TTFT_SECONDS if wait is None else wait),
        is_healthy=is_healthy,
        unhealthy_reason="" if is_healthy else UNHEALTHY,
        quality=_known(QUALITY if quality is None else quality),
    )


def _find(said: Given, target: TargetFacts) -> float | Literal["unknown"] | None:
    """What is said of ``target``: by name before by boundary."""
    if not isinstance(said, Mapping):
        return said
    for name in (target.name, target.boundary):
        if name in said:
            return said[name]
    return None


def _known(number: float | Literal["unknown"]) -> float | None:
    return None if number == "unknown" else number


def _nanousd(usd: float | Literal["unknown"]) -> int | None:
    return None if usd == "unknown" else round(usd * 1e9)


def _compare(targets: tuple[TargetFacts, ...], decision: Decision, expect: ExpectData) -> list[str]:
    known = {target.name: target for target in targets}
    kept = [known[one.target] for one in decision.kept]
    # Who is never reached in this world is struck by nothing, and would be reached in another.
    left = [*kept, *(known[one.target] for one in decision.struck if one.by == "dominated")]
    wrong: list[str] = []
    if expect.refused and kept:
        wrong.append(f"`{kept[0].name}` is left, where nobody should be")
    if expect.only is not None:
        for target in left:
            wrong += [f"`{target.name}` is left, {what}" for what in _differ(target, expect.only)]
    if expect.first is not None and kept:
        differences = _differ(kept[0], expect.first)
        wrong += [f"`{kept[0].name}` comes first, {what}" for what in differences]
    if (expect.only is not None or expect.first is not None) and not kept:
        wrong.append("no target is left")
    struck_by = {struck.constraint for struck in decision.struck}
    if expect.struck_by is not None and expect.struck_by not in struck_by:
        wrong.append(f"`{expect.struck_by}` strikes nobody")
    if expect.nothing_struck and any(one.by == "constraint" for one in decision.struck):
        wrong.append(f"something is struck by {', '.join(sorted(filter(None, struck_by)))}")
    if missing := set(expect.labels) - decision.labels:
        wrong.append(f"the labels {', '.join(sorted(missing))} are not set")
    if missing := set(expect.unknown_labels) - decision.unknown_labels:
        wrong.append(f"the labels {', '.join(sorted(missing))} are not unknown")
    return wrong


def _differ(target: TargetFacts, wanted: OnlyData | FirstData) -> list[str]:
    return [
        f"whose {member} is not `{value}`"
        for member in wanted.__struct_fields__
        if (value := getattr(wanted, member)) is not None and getattr(target, member) != value
    ]
