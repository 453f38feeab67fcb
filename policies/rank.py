"""What is allowed → in which order it is tried.

Promises: ranking never brings a target back; what is not known comes last unless the objective says what it
counts as; a target is dropped only where it could never be reached.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from policies.cel import Unevaluable
from policies.compile import CompiledPolicy, Objective, Part, QuoteRow
from policies.facts import Facts, Kept, Quote, Struck
from policies.labels import Request
from policies.numbers import Numbers

LAST = float("inf")
MIXED = float("-inf")
"""No cost, wait or quality is this."""


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
    good, met, unmet = left, "the only one left", ""
    relaxed: tuple[str, ...] = ()
    if len(left) < 2:
        order = left
    elif objective is not None:
        rows = numbers.rows()
        if objective.unknown:
            rows = {at: _assume(objective, row) for at, row in rows.items()}
        good, relaxed = _meet(policy, objective, left, rows, request)
        values = _values(policy, objective, left, rows, request)
        order = _sort(policy, good, values)
        if len(good) < len(left):
            order += _sort(policy, [at for at in left if at not in good], values)
        met, unmet = _say(objective, relaxed)
    elif facts.prefer == "best":
        met = "auto:best"
        order = _sort(policy, left, {at: _quality(numbers.quotes[at]) for at in left})
    else:
        met = "auto:cheap" if facts.prefer == "cheap" else "least expected cost"
        order = _sort(policy, left, {at: _cost(numbers.quotes[at]) for at in left})
    passed_by = _busy(policy, order, numbers, request)
    if passed_by:
        free = [at for at in order if at not in passed_by]
        order = free + [at for at in order if at in passed_by]
    reached, dropped = _drop_dominated(policy, order, numbers)
    chosen, targets, quotes = frozenset(good), policy.targets, numbers.quotes
    kept: list[Kept] = []
    for at in reached:
        quote = quotes[at]
        words = met if at in chosen else unmet
        if at in passed_by:
            words += f"; behind the others, since {passed_by[at]}"
        kept.append(
            Kept(targets[at].name, words, quote.expected_cost_nanousd, quote.worst_case_nanousd)
        )
    return Ranking(tuple(kept), relaxed, dropped)


def _sort(policy: CompiledPolicy, left: list[int], values: Mapping[int, float]) -> list[int]:
    """By value, then by name."""
    targets = policy.targets
    return [at for _value, _name, at in sorted([(values[at], targets[at].name, at) for at in left])]


def _cost(quote: Quote) -> float:
    cost = quote.expected_cost_nanousd
    return LAST if cost is None else cost


def _quality(quote: Quote) -> float:
    return LAST if quote.quality is None else -quote.quality


def _find_objective(policy: CompiledPolicy, request: Request) -> Objective | None:
    for objective in policy.objectives:
        if objective.when is None or _holds(objective.when, request):
            return objective
    return None


def _values(
    policy: CompiledPolicy,
    objective: Objective,
    left: list[int],
    rows: Mapping[int, QuoteRow],
    request: Request,
) -> dict[int, float]:
    """What is minimised, by position; a number that is not known, or is none, comes last."""
    known = objective.number(request, policy.rows, rows, left)
    if objective.sign < 0:
        known = {at: -number for at, number in known.items()}
    if len(known) < len(left):
        return dict.fromkeys(left, LAST) | known
    return known


def _say(objective: Objective, relaxed: tuple[str, ...]) -> tuple[str, str]:
    """Why those who meet the wishes stand where they stand, and those who do not."""
    wishes = ", ".join(text for text, _sieve in objective.subject_to if text not in relaxed)
    if not wishes:
        return objective.words, objective.words
    return f"{objective.words} where {wishes}", f"{objective.words}; does not meet {wishes}"


def _assume(objective: Objective, row: QuoteRow) -> QuoteRow:
    """``row`` with what the objective takes unknown numbers for."""
    return tuple(
        objective.unknown.get(slot) if value is None else value for slot, value in enumerate(row)
    )


def _meet(
    policy: CompiledPolicy,
    objective: Objective,
    left: list[int],
    rows: Mapping[int, QuoteRow],
    request: Request,
) -> tuple[list[int], tuple[str, ...]]:
    """Who meets the wishes; when nobody does they are given up one by one, the first written first."""
    wishes = list(objective.subject_to)
    relaxed: list[str] = []
    while wishes:
        good = left
        for _text, sieve in wishes:
            failed = frozenset(sieve(request, policy.rows, rows, good))
            if failed:
                good = [at for at in good if at not in failed]
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
    words, sieve = policy.burst
    rows = numbers.rows()
    homes = [at for at in order if policy.self_hosted >> at & 1]
    free = frozenset(sieve(request, policy.rows, rows, homes))
    return {at: words for at in homes if at not in free}


def _drop_dominated(
    policy: CompiledPolicy, order: list[int], numbers: Numbers
) -> tuple[list[int], tuple[Struck, ...]]:
    """``order`` without those behind the attempts allowed that are nowhere better than any of the attempts:
    whatever a budget passes over, they are not reached. What is known of some alone cannot be compared."""
    reached = order[: policy.attempts_max]
    if len(order) <= policy.attempts_max:
        return order, ()
    quotes, words = numbers.quotes, policy.dominated
    first = [quotes[at] for at in reached]
    bars = (
        _bar([one.expected_cost_nanousd for one in first], max),
        _bar([one.worst_case_nanousd for one in first], max),
        _bar([one.expected_ttft_seconds for one in first], max),
        _bar([one.quality for one in first], min),
    )
    if MIXED in bars:
        return order, ()
    cost_bar, worst_bar, wait_bar, quality_bar = bars
    dropped: list[Struck] = []
    for at in order[policy.attempts_max :]:
        quote = quotes[at]
        cost, worst = quote.expected_cost_nanousd, quote.worst_case_nanousd
        wait, quality = quote.expected_ttft_seconds, quote.quality
        if (
            (cost is None if cost_bar is None else cost is not None and cost >= cost_bar)
            and (worst is None if worst_bar is None else worst is not None and worst >= worst_bar)
            and (wait is None if wait_bar is None else wait is not None and wait >= wait_bar)
            and (
                quality is None
                if quality_bar is None
                else quality is not None and quality <= quality_bar
            )
        ):
            dropped.append(words[at])
        else:
            reached.append(at)
    return reached, tuple(dropped)


def _bar(values: Sequence[float | None], worst: Callable[[Iterable[float]], float]) -> float | None:
    """What none of ``values`` is worse than. None where nobody's is known, ``MIXED`` where some are."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return MIXED if known else None
    return worst(known)


def _holds(part: Part, request: Request) -> bool:
    try:
        return bool(part.closure(request, (), ()))
    except Unevaluable:
        return False
