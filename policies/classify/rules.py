"""What a rule is, and all of them together.

Patterns are RE2: linear time, no look-around. A pattern that finds candidates has no counted repetition
that it does not need, since all of them share one automaton.
"""

from typing import NamedTuple

from policies.classify.checks import Check


class Rule(NamedTuple):
    """``kind`` is what a hit means. ``pattern`` runs over every text together with all other rules; where
    it hits, ``find`` (else ``pattern``) finds the candidates and ``check`` (if any) decides. A check that is
    ``dear`` (a hundred times the others') has a cheap one before it, and is counted where that one says yes."""

    kind: str
    pattern: str
    check: Check | None = None
    find: str | None = None
    dear: Check | None = None
