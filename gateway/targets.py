"""The targets of a catalogue as policies see them, and as reports count them."""

from backends.catalogue import Catalogue
from gateway.facts import target_facts
from policies.facts import TargetFacts

UNREACHED = "sglang-unreached"
"""The endpoint that stands for named workers that have not answered yet."""


def find_targets(catalogue: Catalogue) -> tuple[TargetFacts, ...]:
    """The targets of ``catalogue`` as policies see them."""
    return tuple(target_facts(target) for target in catalogue.targets)


def count_targets(catalogue: Catalogue) -> dict[str, int]:
    """How many targets each provider has; workers that have not answered yet are none."""
    counts: dict[str, int] = {}
    for target in catalogue.targets:
        if target.endpoint != UNREACHED:
            counts[target.provider] = counts.get(target.provider, 0) + 1
    return dict(sorted(counts.items()))
