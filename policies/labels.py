"""What a prompt is: findings and facts of the request → labels, each set, not set, or unknown.

A label may name others in its condition, so they are looked at in an order in which those stand before it.
Promises: knowledge that was lost is filled in both ways (:class:`Worlds`); a label that depends on another
follows it in every filling.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from policies.cel import Closure, Unevaluable
from policies.cel.python import Value
from policies.facts import Detection

UNKNOWN_LABELS_MAX = 10
"""2^10 fillings are tried for one constraint; where more labels are open it strikes."""

Request = tuple[Value, ...]
"""The facts of a request, in the order of ``REQUEST_FACTS``; the labels stand first."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label: the types that set it, and the condition that does. ``names_labels``: the condition looks at
    other labels; ``depends_on``: all that it depends on, itself among them."""

    name: str
    types: frozenset[str]
    prefixes: tuple[str, ...]
    when: Closure | None
    names_labels: bool
    depends_on: frozenset[str]

    def is_named_by(self, types: frozenset[str]) -> bool:
        """Whether one of ``types`` sets it."""
        return bool(types & self.types) or (
            bool(self.prefixes) and any(kind.startswith(self.prefixes) for kind in types)
        )


def find_labels(
    labels: tuple[Label, ...], detection: Detection, request: Request
) -> frozenset[str] | None:
    """The labels that are set, or None where one of them is unknown."""
    found, lost = detection.found, detection.unknown
    known: set[str] = set()
    for label in labels:
        if found and label.is_named_by(found):
            known.add(label.name)
            continue
        if lost and label.is_named_by(lost):
            return None
        if label.when is not None:
            seen = (frozenset(known), *request[1:]) if label.names_labels else request
            try:
                if label.when(seen, (), ()):
                    known.add(label.name)
            except Unevaluable:
                return None
    return frozenset(known)


class Worlds:
    """Every way of filling in what is unknown about one request."""

    __slots__ = ("_detection", "_filled", "_labels", "_request")

    def __init__(self, labels: tuple[Label, ...], detection: Detection, request: Request) -> None:
        self._labels = labels
        self._detection = detection
        self._request = request
        self._filled: dict[frozenset[str], list[Request] | None] = {}

    def fill(self, names: frozenset[str]) -> list[Request] | None:
        """The request once for each filling that ``names`` can tell apart (labels, with all that they depend
        on); None if more than ``UNKNOWN_LABELS_MAX`` of them are open."""
        if names not in self._filled:
            self._filled[names] = self._fill(names)
        return self._filled[names]

    def _fill(self, names: frozenset[str]) -> list[Request] | None:
        fillings: list[frozenset[str]] = [frozenset()]
        rest, open_ones = self._request[1:], 0
        for label in self._labels:
            if label.name not in names:
                continue
            following: list[frozenset[str]] = []
            is_open = False
            for filling in fillings:
                is_set = self._look(label, filling)
                if is_set is not False:
                    following.append(filling | {label.name})
                if not is_set:
                    following.append(filling)
                is_open |= is_set is None
            open_ones += is_open
            if open_ones > UNKNOWN_LABELS_MAX:
                return None
            fillings = following
        return [(filling, *rest) for filling in fillings]

    def _look(self, label: Label, filling: frozenset[str]) -> bool | None:
        """Whether ``label`` is set where ``filling`` is; None: nobody knows."""
        if label.is_named_by(self._detection.found):
            return True
        is_open = label.is_named_by(self._detection.unknown)
        if label.when is not None:
            try:
                if label.when((filling, *self._request[1:]), (), ()):
                    return True
            except Unevaluable:
                is_open = True
        return None if is_open else False

    def may_be(self, labels: frozenset[str]) -> bool:
        """Whether in some filling just these are set."""
        filling: frozenset[str] = frozenset()
        for label in self._labels:
            is_set, is_in = self._look(label, filling), label.name in labels
            if is_set is not None and is_set != is_in:
                return False
            if is_in:
                filling |= {label.name}
        return True

    def sort(self) -> tuple[frozenset[str], frozenset[str]]:
        """The labels that are set in every filling, and those that are in some."""
        known: set[str] = set()
        unknown: set[str] = set()
        for label in self._labels:
            worlds = self.fill(label.depends_on)
            in_some = worlds is None or any(label.name in _labels_in(world) for world in worlds)
            if worlds is not None and all(label.name in _labels_in(world) for world in worlds):
                known.add(label.name)
            elif in_some:
                unknown.add(label.name)
        return frozenset(known), frozenset(unknown)


def _labels_in(world: Request) -> frozenset[str]:
    labels = world[0]
    return labels if isinstance(labels, frozenset) else frozenset()


def close_over(names: frozenset[str], named: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """``names`` with all that they depend on; ``named``: label → the labels that its condition names."""
    closed: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in closed and name in named:
            closed.add(name)
            left += named[name]
    return frozenset(closed)
