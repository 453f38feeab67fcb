"""A recorded decision as a replay reads it, and what records of older releases do not hold.

Promises: a record of any release since the first is read, or refused as a whole; what nobody measured when it was
written is told apart from what was measured and not known.
"""

import msgspec

from policies.cel.schema import names_of
from policies.compile import CompiledPolicy
from policies.facts import Facts, Quote

FORM = 1
"""What is written into records; those of before it was have 0. Goes up when the gateway begins to measure a fact."""
MEASURED_SINCE = {"cached_tokens": 1, "expected_ttft_s": 1, "quality": 1, "task": 1}
"""Fact → the form from which on records hold it. In earlier ones it looks unknown, and was only never looked at."""
BEST = "quality"
"""What `auto:best` ranks by, whatever a policy says."""


class KeptName(msgspec.Struct, frozen=True):
    """Of a recorded target that was kept, the name alone."""

    target: str


class RecordedDecision(msgspec.Struct, frozen=True):
    """As much of a decision as is compared; who was struck is read for examples alone."""

    kept: tuple[KeptName, ...] = ()
    struck: msgspec.Raw = msgspec.Raw(b"[]")


class Recorded(msgspec.Struct, frozen=True):
    """A recorded decision, without what a replay does not look at. ``catalogue`` is the version of then."""

    facts: Facts
    quotes: dict[str, Quote]
    decision: RecordedDecision
    catalogue: str = ""
    form: int = 0


def find_unmeasured(policy: CompiledPolicy, form: int, *, is_best: bool = False) -> str:
    """A fact that ``policy`` looks at, or the request itself (``is_best``), and that nobody measured for records of
    ``form``; empty if there is none."""
    used = {name.path for tree in policy.document.trees.values() for name in names_of(tree)}
    if is_best:
        used.add(BEST)
    return min((path for path in used if MEASURED_SINCE.get(path, 0) > form), default="")
