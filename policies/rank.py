"""What is allowed → in which order it is tried.

Promises: ranking never brings a target back; what is not known comes last unless the objective says what it
counts as; a target is dropped only where it could never be reached.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from policies.cel import Unevaluable
from policies.compile import CompiledPolicy, Objective, Part, QuoteRow
from policies.facts import Facts, Kept, Quote, Struck
from policies.labels import Request
from policies.numbers import Numbers

LAST = float("inf")


class Ranking(msgspec.Struct, frozen=True):
    """The order; which wishes were given up, since nobody met them; who is never reached."""

    kept: tuple[Kept, ...]
    relaxed: tuple[str, ...] = ()
    dropped: tuple[Struck, ...] = ()


def rank(
    policy: CompiledPolicy, facts: Facts, left: list[int], numbers: Numbers, request: Request
) -> Ranking:
    """``left`` in order of preference: as the model's name asked (``auto:cheap``), else by the first
    objective that holds, else by cost."""
    objective = _find_objective(policy, request) if facts.prefer in ("policy", "private") else None
    relaxed: tuple[str, ...] = ()
    if len(left) < 2:
        order, reason = left, lambda _at: "the only one left"
    elif objective is not None:
        order, relaxed, reason = _by_objective(policy, objective, left, numbers, request)
    elif facts.prefer == "best":
        order, reason = _sort(policy, left, _quality(numbers)), lambda _at: "auto:best"
    else:
        words = "auto:cheap" if facts.prefer == "cheap" else "least expected cost"
        order, reason = _sort(policy, left, _cost(numbers)), lambda _at: words
    passed_by = _busy(policy, order, numbers, request)
    if passed_by:
        order = [at for at in order if at not in passed_by] + [
            at for at in order if at in passed_by
        ]
    reached, dropped = _drop_dominated(policy, order, numbers)
    kept: list[Kept] = []
    for at in reached:
        quote = numbers.quote(at)
        words = reason(at)
        if at in passed_by:
            words += f"; behind the others, since {passed_by[at]}"
        kept.append(
            Kept(
                policy.targets[at].name,
                words,
                quote.expected_cost_nanousd,
                quote.worst_case_nanousd,
            )
        )
    return Ranking(tuple(kept), relaxed, dropped)


def _sort(policy: CompiledPolicy, left: list[int], key: Callable[[int], float]) -> list[int]:
    return sorted(left, key=lambda at: (key(at), policy.targets[at].name))


def _cost(numbers: Numbers) -> Callable[[int], float]:
    def key(at: int) -> float:
        cost = numbers.quote(at).expected_cost_nanousd
        return LAST if cost is None else cost

    return key


def _quality(numbers: Numbers) -> Callable[[int], float]:
    def key(at: int) -> float:
        quality = numbers.quote(at).quality
        return LAST if quality is None else -quality

    return key


def _find_objective(policy: CompiledPolicy, request: Request) -> Objective | None:
    for objective in policy.objectives:
        if objective.when is None or _holds(objective.when, request, (), ()):
            return objective
    return None


def _by_objective(
    policy: CompiledPolicy,
    objective: Objective,
    left: list[int],
    numbers: Numbers,
    request: Request,
) -> tuple[list[int], tuple[str, ...], Callable[[int], str]]:
    """The order, the wishes given up, and why each stands where it stands."""
    quoted = numbers.rows(left)
    rows = {at: _assume(objective, quoted[at]) for at in left}
    good, relaxed = _meet(policy, objective, left, rows, request)

    def key(at: int) -> float:
        try:
            found = float(objective.number(request, policy.rows[at], rows[at]))
        except Unevaluable:
            return LAST
        return LAST if math.isnan(found) else objective.sign * found

    if len(good) == len(left):
        order = _sort(policy, left, key)
    else:
        others = [at for at in left if at not in good]
        order = _sort(policy, good, key) + _sort(policy, others, key)
    wishes = ", ".join(text for text, _part in objective.subject_to if text not in relaxed)
    met = f"{objective.words} where {wishes}" if wishes else objective.words
    unmet = f"{objective.words}; does not meet {wishes}" if wishes else objective.words
    chosen = frozenset(good)
    return order, relaxed, lambda at: met if at in chosen else unmet


def _assume(objective: Objective, row: QuoteRow) -> QuoteRow:
    """``row`` with what the objective takes unknown numbers for."""
    if not objective.unknown:
        return row
    return tuple(
        objective.unknown.get(slot) if value is None else value for slot, value in enumerate(row)
    )


def _meet(
    policy: CompiledPolicy,
    objective: Objective,
    left: list[int],
    rows: dict[int, QuoteRow],
    request: Request,
) -> tuple[list[int], tuple[str, ...]]:
    """Who meets the wishes; when nobody does they are given up one by one, the first written first."""
    wishes = list(objective.subject_to)
    relaxed: list[str] = []
    while wishes:
        good = left
        for _text, part in wishes:
            good = [at for at in good if _holds(part, request, policy.rows[at], rows[at])]
        if good:
            return good, tuple(relaxed)
        relaxed.append(wishes.pop(0)[0])
    return left, tuple(relaxed)


def _busy(
    policy: CompiledPolicy, order: Sequence[int], numbers: Numbers, request: Request
) -> dict[int, str]:
    """Targets at home that the policy wants passed by at present, with the condition."""
    if policy.burst is None:
        return {}
    words, part = policy.burst
    rows = numbers.rows(order)
    return {
        at: words
        for at in order
        if policy.self_hosted >> at & 1 and _holds(part, request, policy.rows[at], rows[at])
    }


def _drop_dominated(
    policy: CompiledPolicy, order: list[int], numbers: Numbers
) -> tuple[list[int], tuple[Struck, ...]]:
    """``order`` without those behind the attempts allowed that are nowhere better than any of the attempts:
    whatever a budget passes over, they are not reached."""
    first = [numbers.quote(at) for at in order[: policy.attempts_max]]
    if len(order) <= policy.attempts_max:
        return order, ()
    reached = order[: policy.attempts_max]
    dropped: list[Struck] = []
    for at in order[policy.attempts_max :]:
        quote = numbers.quote(at)
        if all(_is_no_better(quote, other) for other in first):
            reason = (
                f"never reached: the {len(first)} tried before it are at least as good in cost, "
                "wait and quality"
            )
            dropped.append(Struck(policy.targets[at].name, "dominated", "", reason))
        else:
            reached.append(at)
    return reached, tuple(dropped)


def _is_no_better(one: Quote, other: Quote) -> bool:
    """Whether ``one`` is in nothing better than ``other``, as far as both are known; what is known of one
    alone cannot be compared."""
    return (
        _is_at_most(other.expected_cost_nanousd, one.expected_cost_nanousd)
        and _is_at_most(other.worst_case_nanousd, one.worst_case_nanousd)
        and _is_at_most(other.expected_ttft_seconds, one.expected_ttft_seconds)
        and _is_at_most(one.quality, other.quality)
    )


def _is_at_most(low: float | None, high: float | None) -> bool:
    return low is high is None or (low is not None and high is not None and low <= high)


def _holds(part: Part, request: Request, row: Request, quoted: QuoteRow) -> bool:
    try:
        return bool(part.closure(request, row, quoted))
    except Unevaluable:
        return False
