"""Another policy over decisions that were recorded: what it would have changed, as a fold over records.

Promises: constant memory, whatever the number of records; what cannot be decided from a record is counted
with its reason and never guessed: a type that the detectors of then looked for in another way than those of now, a
fact that nobody measured then. What was measured and not known stays unknown. Compared are the first targets of both
decisions, by the recorded quotes; targets are what the catalogue of now says of them.
"""

import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from policies.compile import CompiledPolicy
from policies.decide import decide
from policies.facts import Decision, Facts, Quote, Struck, TargetFacts
from policies.labels import Label
from policies.recorded import Recorded, find_unmeasured

REFUSED = "refused"
EXAMPLES_MAX = 10
Z_95 = 1.959964
"""Two-sided 95 % of the normal distribution."""


@dataclass(slots=True)
class Change:
    """Paired differences (then → now) by their moments; ``asked`` counts the pairs whose numbers may be unknown."""

    asked: int = 0
    known: int = 0
    total: float = 0.0
    """Of the differences; exact for whole numbers below 2^53."""
    mean: float = 0.0
    _squares: float = 0.0

    def add(self, before: float | None, after: float | None) -> None:
        """Count one request (Welford, 1962)."""
        self.asked += 1
        if before is None or after is None:
            return
        self.known += 1
        change = after - before
        self.total += change
        off = change - self.mean
        self.mean += off / self.known
        self._squares += off * (change - self.mean)

    @property
    def margin(self) -> float | None:
        """Half of the 95 % interval of the mean (normal approximation); None for fewer than two pairs."""
        if self.known < 2:
            return None
        return Z_95 * math.sqrt(self._squares / (self.known - 1) / self.known)


def share_interval(count: int, whole: int) -> tuple[float, float]:
    """The 95 % interval of a share of which a sample of ``whole`` shows ``count`` (Wilson, 1927)."""
    if not whole:
        return 0.0, 1.0
    share, weight = count / whole, Z_95**2 / whole
    middle = (share + weight / 2) / (1 + weight)
    off = Z_95 / (1 + weight) * math.sqrt((share * (1 - share) + weight / 4) / whole)
    return max(0.0, middle - off), min(1.0, middle + off)


class Unreadable(Exception):
    """A record that says what cannot be."""


class Example(msgspec.Struct, frozen=True):
    """One request that went elsewhere, in words."""

    request_id: str
    facts: str
    before: str
    after: str
    reason: str


Ranked = tuple[float, str, Example]


@dataclass(slots=True)
class Replay:
    """Records so far under ``policy``.

    ``detectors``: version of a rule set → the types that it looks for, each with a digest of how; ``present`` are those
    of the rule set that would look now. ``catalogue`` is the version of the targets of ``policy``.
    """

    policy: CompiledPolicy
    detectors: Mapping[str, Mapping[str, str]]
    present: Mapping[str, str]
    catalogue: str = ""
    decided: int = 0
    other_catalogue: int = 0
    """Decided requests whose targets may have been described otherwise then."""
    undecidable: Counter[str] = field(default_factory=Counter[str])
    moves: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    crossings: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    """(direction, ``class`` or ``label``, its name) → requests."""
    outward: int = 0
    homeward: int = 0
    cost: Change = field(default_factory=Change)
    latency: Change = field(default_factory=Change)
    quality: Change = field(default_factory=Change)
    _examples: dict[tuple[int, str, str], list[Ranked]] = field(
        default_factory=dict[tuple[int, str, str], list[Ranked]]
    )
    _positions: dict[str, int] = field(init=False)
    _lacks: dict[tuple[str, int, bool], str] = field(
        default_factory=dict[tuple[str, int, bool], str]
    )

    def __post_init__(self) -> None:
        self._positions = {one.name: at for at, one in enumerate(self.policy.targets)}

    def add(self, request_id: str, recorded: Recorded) -> None:
        """Decide one record again and count what changes.

        Raises ``Unreadable`` for one that contradicts itself, ``ArithmeticError`` for numbers beyond all bounds, and
        has counted nothing then.
        """
        facts, quotes = recorded.facts, recorded.quotes
        positions = self._positions
        candidates: list[int] = []
        for name in quotes:
            at = positions.get(name)
            if at is None:
                self.undecidable[f"`{name}` is not in the catalogue any more"] += 1
                return
            candidates.append(at)
        if why := self._find_lack(
            (facts.detection.detectors, recorded.form, facts.prefer == "best")
        ):
            self.undecidable[why] += 1
            return
        decision = decide(self.policy, facts, candidates, quotes)
        kept = recorded.decision.kept
        before = kept[0].target if kept else REFUSED
        after = decision.kept[0].target if decision.kept else REFUSED
        if kept and before not in quotes:
            raise Unreadable
        then, now = _numbers(quotes.get(before)), _numbers(quotes.get(after))
        self.decided += 1
        self.other_catalogue += recorded.catalogue != self.catalogue
        self.moves[before, after] += 1
        if kept and decision.kept:
            self.cost.add(then[0], now[0])
            self.latency.add(then[1], now[1])
            self.quality.add(then[2], now[2])
        if before != after:
            weight = abs((now[0] or 0.0) - (then[0] or 0.0))
            self._tell(request_id, recorded, decision, before, after, weight)

    @property
    def seen(self) -> int:
        """Records looked at, decided or not."""
        return self.decided + self.undecidable.total()

    @property
    def moved(self) -> int:
        """Decided requests whose first target is another, or none."""
        return sum(count for (before, after), count in self.moves.items() if before != after)

    @property
    def newly_refused(self) -> int:
        """Requests that had a target and would have none."""
        return sum(
            count for (before, after), count in self.moves.items() if before != REFUSED == after
        )

    @property
    def newly_allowed(self) -> int:
        """Requests that had no target and would have one."""
        return sum(
            count for (before, after), count in self.moves.items() if before == REFUSED != after
        )

    def examples(self) -> list[Example]:
        """The ten most telling: each kind of change once before any twice, refusals and permissions first."""
        turns = [
            (turn, kind[0], cost, request_id, example)
            for kind, heap in self._examples.items()
            for turn, (cost, request_id, example) in enumerate(sorted(heap, reverse=True))
        ]
        turns.sort(key=lambda one: (one[0], one[1], -one[2], one[3]))
        chosen = turns[:EXAMPLES_MAX]
        chosen.sort(key=lambda one: (one[1], one[0], -one[2], one[3]))
        return [one[-1] for one in chosen]

    def _find_lack(self, key: tuple[str, int, bool]) -> str:
        """Why records of these detectors and this form, ranked by quality or not, do not hold what is looked at;
        empty if they do."""
        found = self._lacks.get(key)
        if found is None:
            version, form, is_best = key
            path = find_unmeasured(self.policy, form, is_best=is_best)
            found = f"`{path}` was not measured yet" if path else self._find_uncovered(version)
            self._lacks[key] = found
        return found

    def _find_uncovered(self, version: str) -> str:
        detecting = [label for label in self.policy.labels if label.types or label.prefixes]
        if not detecting:
            return ""
        then = self.detectors.get(version)
        if then is None:
            return f"this release does not know what the detectors `{version}` looked for"
        for label in detecting:
            if lacking := _lacking(label, then, self.present):
                return f"label `{label.name}` needs {lacking}"
        return ""

    def _tell(
        self,
        request_id: str,
        recorded: Recorded,
        decision: Decision,
        before: str,
        after: str,
        weight: float,
    ) -> None:
        crosses = False
        if REFUSED not in (before, after):
            crosses = self._cross(recorded.facts, decision, before, after)
        rank = 0 if REFUSED in (before, after) else 1 if crosses else 2
        heap = self._examples.setdefault((rank, before, after), [])
        if len(heap) == EXAMPLES_MAX and (weight, request_id) <= heap[0][:2]:
            return
        reason = _say_reason(recorded, decision, before, after)
        example = Example(request_id, _say_facts(recorded.facts, decision), before, after, reason)
        heapq.heappush(heap, (weight, request_id, example))
        if len(heap) > EXAMPLES_MAX:
            heapq.heappop(heap)

    def _cross(self, facts: Facts, decision: Decision, before: str, after: str) -> bool:
        """Count a move over the boundary; False if there is none."""
        was, will = (self._target(name).boundary for name in (before, after))
        if was == will:
            return False
        direction = f"{was} → {will}"
        if will == "external":
            self.outward += 1
        else:
            self.homeward += 1
        self.crossings[direction, "class", facts.data_class] += 1
        for label in decision.labels:
            self.crossings[direction, "label", label] += 1
        return True

    def _target(self, name: str) -> TargetFacts:
        return self.policy.targets[self._positions[name]]


def _lacking(label: Label, then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """A type that ``label`` names and that was looked for otherwise then than now, in words; empty if there is none."""
    for kind in sorted({*then, *now}):
        if label.is_named_by(frozenset((kind,))) and then.get(kind) != now.get(kind):
            if kind not in then:
                return f"`{kind}`, which was not looked for then"
            if kind not in now:
                return f"`{kind}`, which is not looked for any more"
            return f"`{kind}`, which was looked for by other rules then"
    return ""


Numbers = tuple[float | None, float | None, float | None]
"""Expected cost, wait and quality."""


def _numbers(quote: Quote | None) -> Numbers:
    """The numbers that are compared; raises ``OverflowError`` for a cost beyond all bounds."""
    if quote is None:
        return (None, None, None)
    cost = quote.expected_cost_nanousd
    return (None if cost is None else float(cost), quote.expected_ttft_seconds, quote.quality)


def _say_facts(facts: Facts, decision: Decision) -> str:
    labels = ", ".join(sorted(decision.labels)) or "no labels"
    return (
        f"`{facts.request_model}` of team `{facts.team}`, {facts.data_class}, {labels}, about "
        f"{facts.input_tokens_estimate} tokens"
    )


def _say_reason(recorded: Recorded, decision: Decision, before: str, after: str) -> str:
    """Why the target of then is not the first now; for the newly allowed, what stood in the way then."""
    if before == REFUSED:
        try:
            struck = msgspec.json.decode(recorded.decision.struck, type=tuple[Struck, ...])
        except msgspec.DecodeError:
            return "then: for a reason that this release cannot read"
        return "then: " + (_say_struck(struck, after) or "nobody was left")
    return _say_struck(decision.struck, before) or decision.kept[0].reason


def _say_struck(struck: tuple[Struck, ...], name: str) -> str:
    said = [
        f"{one.constraint}: {one.reason}" if one.constraint else one.reason
        for one in struck
        if one.target == name
    ]
    return "; ".join(dict.fromkeys(said))
