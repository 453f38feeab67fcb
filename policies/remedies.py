"""What would have to be otherwise for a request that no target may take: found by deciding again.

Promises: nothing is suggested that was not decided; each remedy is one change, and names who would then do.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from policies.compile import CompiledPolicy
from policies.decide import decide
from policies.facts import DATA_CLASSES, DataClass, Facts, Quote

TARGETS_SHOWN = 3


class Remedy(msgspec.Struct, frozen=True):
    """One change, in words that follow "it would pass", and the targets that would be left."""

    change: str
    targets: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(f"`{name}`" for name in self.targets[:TARGETS_SHOWN])
        more = len(self.targets) - TARGETS_SHOWN
        return f"{self.change} ({shown}{f' and {more} more' if more > 0 else ''})"


def what_would_pass(
    policy: CompiledPolicy,
    facts: Facts,
    candidates: Sequence[int] | None,
    quotes: Mapping[str, Quote],
    data_class_least: DataClass = "public",
) -> tuple[Remedy, ...]:
    """The changes of which each alone would leave a target, the ones in the asker's hands first.

    ``data_class_least`` is the class of who asks: requests can raise it, and none is suggested below it.
    """
    found: list[Remedy] = []
    for change, otherwise, priced in _changes(policy, facts, quotes, data_class_least):
        decision = decide(policy, otherwise, candidates, priced)
        if decision.kept:
            found.append(Remedy(change, tuple(one.target for one in decision.kept)))
    return tuple(found)


def _changes(
    policy: CompiledPolicy, facts: Facts, quotes: Mapping[str, Quote], data_class_least: DataClass
) -> Iterator[tuple[str, Facts, Mapping[str, Quote]]]:
    seen = facts.detection
    for label in policy.labels:
        types = frozenset(kind for kind in seen.found if label.is_named_by(frozenset({kind})))
        if types:
            words = f"without what makes it `{label.name}`: {', '.join(sorted(types))}"
            cleaned = msgspec.structs.replace(seen, found=seen.found - types)
            yield words, msgspec.structs.replace(facts, detection=cleaned), quotes
    if len(seen.found) > 1:
        cleaned = msgspec.structs.replace(seen, found=frozenset())
        words = f"without all that was found in it: {', '.join(sorted(seen.found))}"
        yield words, msgspec.structs.replace(facts, detection=cleaned), quotes
    if seen.unscannable:
        clear = msgspec.structs.replace(seen, unscannable=frozenset())
        words = f"without its {', '.join(sorted(seen.unscannable))}"
        plain = frozenset(facts.needs - {"images", "audio", "documents", "media_urls"})
        yield words, msgspec.structs.replace(facts, detection=clear, needs=plain), quotes
    for need in sorted(facts.needs):
        without = msgspec.structs.replace(facts, needs=facts.needs - {need})
        yield f"if it did without {need.replace('_', ' ')}", without, quotes
    lowest, present = DATA_CLASSES.index(data_class_least), DATA_CLASSES.index(facts.data_class)
    for name in reversed(DATA_CLASSES[lowest:present]):
        yield f"as `{name}`", msgspec.structs.replace(facts, data_class=name), quotes
    if facts.prefer != "policy":
        yield "as `auto`", msgspec.structs.replace(facts, prefer="policy"), quotes
    cheap = {
        name: msgspec.structs.replace(
            one, worst_case_nanousd=min(one.worst_case_nanousd, one.expected_cost_nanousd)
        )
        if one.worst_case_nanousd is not None and one.expected_cost_nanousd is not None
        else one
        for name, one in quotes.items()
    }
    yield "with a cap on the answer that brings its worst case near what is expected", facts, cheap
    if seen.unknown:
        known = msgspec.structs.replace(seen, unknown=frozenset())
        words = "once the detectors that failed find nothing in it"
        yield words, msgspec.structs.replace(facts, detection=known), quotes
    if any(not one.is_healthy for one in quotes.values()):
        well = {
            name: msgspec.structs.replace(one, is_healthy=True, unhealthy_reason="")
            for name, one in quotes.items()
        }
        yield "once its targets answer again", facts, well
