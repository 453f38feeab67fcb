"""Past requests under another policy: what would have gone elsewhere, cost otherwise, been refused or allowed.

A fold over recorded facts, at constant memory: the same facts and numbers, the same candidates, another document.
Promises: what cannot be decided from what was recorded is counted as such, with the reason, and never guessed;
nobody is called.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import Literal

import msgspec

from policies.compile import CompiledPolicy
from policies.decide import decide
from policies.facts import Decision, Facts, Quote

REFUSED = "refused"
"""The place of a request that no target may take."""
EXAMPLES_MAX = 10
Z_95 = 1.96
"""Normal quantile for a 95 % interval; with fewer than a few dozen requests it is too narrow."""

Kind = Literal["newly refused", "newly allowed", "leaves home", "comes home", "moved"]
KINDS: tuple[Kind, ...] = ("newly refused", "newly allowed", "leaves home", "comes home", "moved")
"""The most telling first."""


class Past(msgspec.Struct, frozen=True):
    """A request as it was recorded; ``target`` is its first choice then, None if it was refused."""

    request_id: str
    facts: Facts
    quotes: dict[str, Quote]
    target: str | None


class Example(msgspec.Struct, frozen=True):
    """One request that the other policy treats otherwise. Costs are expected, in nano-dollars."""

    kind: Kind
    request_id: str
    before: str
    after: str
    data_class: str
    team: str
    labels: tuple[str, ...]
    reason: str
    cost_change_nanousd: int | None


class Change(msgspec.Struct):
    """How a number changes from before to after, over the requests for which both are known.

    ``mean`` is a request's, ``interval`` half the width of its 95 % interval (normal approximation of the mean
    of paired differences); ``known`` the number of requests.
    """

    known: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, difference: float) -> None:
        """Welford's update: exact enough at any length."""
        self.known += 1
        step = difference - self.mean
        self.mean += step / self.known
        self.squares += step * (difference - self.mean)

    @property
    def interval(self) -> float | None:
        """None below two requests."""
        if self.known < 2:
            return None
        return Z_95 * (self.squares / (self.known - 1) / self.known) ** 0.5

    def to_json(self) -> dict[str, object]:
        """For programs; the total is over the requests for which it is known."""
        return {
            "known": self.known,
            "mean": self.mean,
            "interval_95": self.interval,
            "total": self.mean * self.known,
        }


class Replay:
    """Decides past requests by ``policy`` and keeps the tally. ``detectors`` is the present rule set."""

    def __init__(self, policy: CompiledPolicy, detectors: str) -> None:
        self._policy = policy
        self._detectors = detectors
        self._positions = {target.name: at for at, target in enumerate(policy.targets)}
        self._looks_for_types = any(label.types or label.prefixes for label in policy.labels)
        self.decided = 0
        self.undecided: Counter[str] = Counter()
        self.moved: Counter[tuple[str, str]] = Counter()
        self.crossings: Counter[tuple[Kind, str]] = Counter()
        self.cost_usd = Change()
        self.ttft_seconds = Change()
        self.quality = Change()
        self._telling: dict[Kind, list[tuple[int, str, Example]]] = {kind: [] for kind in KINDS}

    def add(self, past: Past) -> None:
        """Decide one request and count it."""
        reason = self._find_gap(past)
        if reason is not None:
            self.undecided[reason] += 1
            return
        candidates = [self._positions[name] for name in past.quotes]
        decision = decide(self._policy, past.facts, candidates, past.quotes)
        after = decision.kept[0].target if decision.kept else None
        self.decided += 1
        self._count_numbers(past, after)
        if after != past.target:
            self._count_move(past, after, decision)

    def _find_gap(self, past: Past) -> str | None:
        """Why nothing can be said of the request; None if it can."""
        if self._looks_for_types and past.facts.detection.detectors != self._detectors:
            return "its texts were looked at by other detectors than the present ones"
        if any(name not in self._positions for name in past.quotes):
            return "a target it could have gone to is not in the catalogue any more"
        return None

    def _count_numbers(self, past: Past, after: str | None) -> None:
        if past.target is None or after is None:
            return
        one, other = past.quotes.get(past.target), past.quotes[after]
        if one is None:
            return
        if one.expected_cost_nanousd is not None and other.expected_cost_nanousd is not None:
            self.cost_usd.add((other.expected_cost_nanousd - one.expected_cost_nanousd) / 1e9)
        if one.expected_ttft_seconds is not None and other.expected_ttft_seconds is not None:
            self.ttft_seconds.add(other.expected_ttft_seconds - one.expected_ttft_seconds)
        if one.quality is not None and other.quality is not None:
            self.quality.add(other.quality - one.quality)

    def _count_move(self, past: Past, after: str | None, decision: Decision) -> None:
        before = past.target
        self.moved[before or REFUSED, after or REFUSED] += 1
        kind = self._kind(before, after)
        if kind != "moved":
            self.crossings[kind, past.facts.data_class] += 1
        change = _cost_change(past.quotes, before, after)
        example = Example(
            kind=kind,
            request_id=past.request_id,
            before=before or REFUSED,
            after=after or REFUSED,
            data_class=past.facts.data_class,
            team=past.facts.team,
            labels=tuple(sorted(decision.labels)),
            reason=_reason(before, decision),
            cost_change_nanousd=change,
        )
        telling = self._telling[kind]
        entry = (abs(change or 0), past.request_id, example)
        if len(telling) < EXAMPLES_MAX:
            heapq.heappush(telling, entry)
        elif entry[:2] > telling[0][:2]:
            heapq.heapreplace(telling, entry)

    def _kind(self, before: str | None, after: str | None) -> Kind:
        if after is None:
            return "newly refused"
        if before is None:
            return "newly allowed"
        was_home, is_home = (
            name in self._positions and bool(self._policy.self_hosted >> self._positions[name] & 1)
            for name in (before, after)
        )
        if was_home == is_home:
            return "moved"
        return "comes home" if is_home else "leaves home"

    def examples(self) -> list[Example]:
        """The most telling: one of each kind and way first, then those with the largest change of cost."""
        ranked = [
            example
            for kind in KINDS
            for _size, _id, example in sorted(self._telling[kind], key=lambda one: one[:2], reverse=True)
        ]  # fmt: skip
        seen: set[tuple[str, str, str]] = set()
        first: list[Example] = []
        rest: list[Example] = []
        for example in ranked:
            way = (example.kind, example.before, example.after)
            (rest if way in seen else first).append(example)
            seen.add(way)
        return (first + rest)[:EXAMPLES_MAX]

    def to_json(self) -> dict[str, object]:
        """For programs."""
        gaps = sum(self.undecided.values())
        moved = sum(self.moved.values())
        return {
            "requests": self.decided + gaps,
            "decided": self.decided,
            "undecided": [{"reason": why, "requests": n} for why, n in self.undecided.most_common()],
            "moved": moved,
            "moved_share": moved / self.decided if self.decided else None,
            "moves": [
                {"from": before, "to": after, "requests": count}
                for (before, after), count in self.moved.most_common()
            ],
            "crossings": [
                {"kind": kind, "data_class": data_class, "requests": count}
                for (kind, data_class), count in sorted(self.crossings.items())
            ],
            "expected_cost_usd": self.cost_usd.to_json(),
            "expected_ttft_seconds": self.ttft_seconds.to_json(),
            "quality": self.quality.to_json(),
            "examples": [msgspec.to_builtins(example) for example in self.examples()],
        }  # fmt: skip


def _cost_change(quotes: Mapping[str, Quote], before: str | None, after: str | None) -> int | None:
    one, other = (quotes.get(name or "") for name in (before, after))
    if one is None or other is None:
        return None
    if one.expected_cost_nanousd is None or other.expected_cost_nanousd is None:
        return None
    return other.expected_cost_nanousd - one.expected_cost_nanousd


def _reason(before: str | None, decision: Decision) -> str:
    """Why it does not go where it went: what strikes that target now, else what puts another before it."""
    for one in decision.struck:
        if one.target == before:
            return f"{one.constraint}: {one.reason}" if one.constraint else one.reason
    if decision.kept:
        return decision.kept[0].reason
    return next((one.reason for one in decision.struck), "no target is left")
