"""Facts × policy → decision: constraints strike, an objective ranks what is left.

Promises: the same facts under the same policy decide the same; constraints only remove, in any order;
a label that nobody knows never widens: a target stays only if every way of filling in the unknown labels
keeps it; what cannot be evaluated strikes. The reason for every target kept or struck is in the result.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from policies.cel import Unevaluable
from policies.cel.python import Value
from policies.compile import CompiledPolicy, Constraint, Objective, Part
from policies.facts import EMBED, Decision, Facts, Kept, Quote, Struck, TargetFacts

UNKNOWN_LABELS_MAX = 10
"""2^10 completions are tried for one constraint; with more unknown labels it strikes."""
CONTEXT_SLACK = 2
"""The estimate of 4 bytes a token can be high by this much (code, tables, repeated text): a prompt is
struck for its length only when it is hopeless; the host decides what lies between."""
NANO = 1e9
EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday is 0."""
NEED_WORDS = {
    "choices": "`n` above 1",
    EMBED: "texts to give vectors for",
    "json_schema": "a JSON schema",
    "media_urls": "media by address (image URLs)",
}
"""Needs in the words of who asks, where the catalogue's are others."""

Values = dict[str, Value]
_Key = Callable[[int], float]


def decide(
    policy: CompiledPolicy,
    facts: Facts,
    candidates: Sequence[int] | None,
    quotes: Mapping[str, Quote],
) -> Decision:
    """Rank ``candidates`` (positions in ``policy.targets``; None: all), strike what may not be used.

    ``quotes`` holds one entry for each candidate, by name.
    """
    asked = range(len(policy.targets)) if candidates is None else candidates
    values = _request_values(facts)
    labels, unknown = _label(policy, facts, values)
    values["labels"] = labels
    struck: list[Struck] = []
    alive = _constrain(policy, facts, asked, quotes, values, unknown, struck)
    left = [at for at in alive if _is_fit(policy.targets[at], facts, quotes, struck)]
    kept, relaxed = _rank(policy, facts, left, quotes, values)
    return Decision(
        policy=policy.label,
        labels=labels,
        unknown_labels=frozenset(unknown),
        kept=kept,
        struck=tuple(struck),
        attempts_max=policy.attempts_max,
        relaxed=relaxed,
        caches_sampled=policy.caches_sampled,
    )


def _request_values(facts: Facts) -> Values:
    return {
        "request.model": facts.request_model,
        "request.data_class": facts.data_class,
        "request.is_stream": facts.is_stream,
        "request.input_tokens": facts.input_tokens_estimate,
        "request.needs": facts.needs,
        "tenant.organisation": facts.organisation,
        "tenant.team": facts.team,
        "tenant.key": facts.key,
        "tenant.residency": facts.residency,
        "task": facts.task,
        "difficulty": None,
        "clock.hour": int(facts.now // 3600 % 24),
        "clock.weekday": int(facts.now // 86400 + EPOCH_WEEKDAY) % 7,
    }


def _label(
    policy: CompiledPolicy, facts: Facts, values: Values
) -> tuple[frozenset[str], list[str]]:
    """The labels that are set, and those that may be."""
    found, lost = facts.detection.found, facts.detection.unknown
    labels: set[str] = set()
    unknown: list[str] = []
    for label in policy.labels:
        is_set = is_open = False
        if found and (label.types & found or _has_prefix(found, label.prefixes)):
            is_set = True
        elif lost and (label.types & lost or _has_prefix(lost, label.prefixes)):
            is_open = True
        if label.when is not None and not is_set:
            try:
                is_set = label.when(values)
            except Unevaluable:
                is_open = True
        if is_set:
            labels.add(label.name)
        elif is_open:
            unknown.append(label.name)
    return frozenset(labels), unknown


def _has_prefix(types: frozenset[str], prefixes: tuple[str, ...]) -> bool:
    return bool(prefixes) and any(kind.startswith(prefixes) for kind in types)


def _constrain(
    policy: CompiledPolicy,
    facts: Facts,
    asked: Sequence[int],
    quotes: Mapping[str, Quote],
    values: Values,
    unknown: list[str],
    struck: list[Struck],
) -> list[int]:
    """Positions that every constraint keeps, for every completion of the unknown labels."""
    gone: set[int] = set()
    for constraint in policy.constraints:
        for at in _violators(policy, constraint, asked, quotes, values, unknown):
            gone.add(at)
            name = policy.targets[at].name
            struck.append(Struck(name, "constraint", constraint.name, constraint.reason))
    if facts.prefer == "private":
        for at in asked:
            if not policy.self_hosted >> at & 1:
                gone.add(at)
                reason = "the request asked for a self-hosted target"
                struck.append(Struck(policy.targets[at].name, "constraint", "auto:private", reason))
    for at in _unscannable(policy, facts, asked, struck):
        gone.add(at)
    return [at for at in asked if at not in gone]


def _unscannable(
    policy: CompiledPolicy, facts: Facts, asked: Sequence[int], struck: list[Struck]
) -> list[int]:
    blind = facts.detection.unscannable
    if not blind or policy.unscannable == "any":
        return []
    found: list[int] = []
    for at in asked:
        if policy.unscannable == "refuse" or not policy.self_hosted >> at & 1:
            found.append(at)
            reason = f"nobody could look into its {', '.join(sorted(blind))}"
            struck.append(Struck(policy.targets[at].name, "unscannable", "unscannable", reason))
    return found


def _violators(
    policy: CompiledPolicy,
    constraint: Constraint,
    asked: Sequence[int],
    quotes: Mapping[str, Quote],
    values: Values,
    unknown: list[str],
) -> list[int]:
    when, require = constraint.when, constraint.require
    worlds = _completions(values, unknown, when, require)
    if worlds is None:
        return list(asked)
    if when is None or not when.is_per_target:
        active = [world for world in worlds if when is None or _holds_or_fails(when, world)]
        if not active:
            return []
        mask = require.mask
        if mask is not None:
            return [at for at in asked if not mask >> at & 1]
        return [at for at in asked if not _satisfies(policy, require, at, quotes, active)]
    return [
        at
        for at in asked
        if any(
            _holds_or_fails(when, mixed) and not _holds(require, mixed)
            for mixed in (_mix(policy, at, quotes, world) for world in worlds)
        )
    ]


def _completions(
    values: Values, unknown: list[str], when: Part | None, require: Part
) -> list[Values] | None:
    """The request's facts once for each way of filling in the unknown labels that the constraint can
    tell apart; None if there are too many."""
    if not unknown:
        return [values]
    named: set[str] = set()
    for part in (when, require):
        if part is not None:
            named |= set(unknown) if part.labels is None else part.labels
    open_ones = [label for label in unknown if label in named]
    if len(open_ones) > UNKNOWN_LABELS_MAX:
        return None
    known = values["labels"]
    base = known if isinstance(known, frozenset) else frozenset[str]()
    return [
        values
        | {
            "labels": base
            | {label for label, is_set in zip(open_ones, filled, strict=True) if is_set}
        }
        for filled in product((False, True), repeat=len(open_ones))
    ]


def _satisfies(
    policy: CompiledPolicy,
    require: Part,
    at: int,
    quotes: Mapping[str, Quote],
    worlds: list[Values],
) -> bool:
    return all(_holds(require, _mix(policy, at, quotes, world)) for world in worlds)


def _mix(policy: CompiledPolicy, at: int, quotes: Mapping[str, Quote], values: Values) -> Values:
    quote = quotes[policy.targets[at].name]
    expected, worst = quote.expected_cost_nanousd, quote.worst_case_nanousd
    return {
        **values,
        **policy.target_values[at],
        "target.healthy": quote.is_healthy,
        "quality": quote.quality,
        "cached_tokens": quote.cached_tokens,
        "expected_cost_usd": None if expected is None else expected / NANO,
        "worst_case_cost_usd": None if worst is None else worst / NANO,
        "worst_case_request_cost_usd": None
        if worst is None
        else worst * policy.attempts_max / NANO,
        "expected_ttft_s": quote.expected_ttft_seconds,
    }


def _holds(part: Part, values: Values) -> bool:
    try:
        return bool(part.closure(values))
    except Unevaluable:
        return False


def _holds_or_fails(part: Part, values: Values) -> bool:
    try:
        return bool(part.closure(values))
    except Unevaluable:
        return True


def _is_fit(
    target: TargetFacts, facts: Facts, quotes: Mapping[str, Quote], struck: list[Struck]
) -> bool:
    """Whether a target that policy allows can take the request, and takes requests at all."""
    if facts.needs and not facts.needs <= target.capabilities:
        lacking = sorted(facts.needs - target.capabilities)
        missing = ", ".join(NEED_WORDS.get(need, need) for need in lacking)
        struck.append(Struck(target.name, "capability", "", f"it does not take {missing}"))
        return False
    if EMBED in target.capabilities and EMBED not in facts.needs:
        reason = "it gives vectors for texts, and no answers"
        struck.append(Struck(target.name, "capability", "", reason))
        return False
    tokens = facts.context_tokens_estimate or facts.input_tokens_estimate
    if tokens > target.context_tokens_max * CONTEXT_SLACK:
        reason = f"about {tokens} tokens are more than its context of {target.context_tokens_max}"
        struck.append(Struck(target.name, "context", "", reason))
        return False
    quote = quotes[target.name]
    if facts.needs_bound and quote.worst_case_nanousd is None:
        struck.append(Struck(target.name, "price", "", "its price is not known"))
        return False
    if not quote.is_healthy:
        struck.append(Struck(target.name, "health", "", quote.unhealthy_reason))
        return False
    return True


def _rank(
    policy: CompiledPolicy,
    facts: Facts,
    left: Sequence[int],
    quotes: Mapping[str, Quote],
    values: Values,
) -> tuple[tuple[Kept, ...], tuple[str, ...]]:
    if facts.prefer == "cheap":
        return _kept(policy, left, quotes, "auto:cheap", _by_cost(policy, quotes)), ()
    if facts.prefer == "best":
        return _kept(policy, left, quotes, "auto:best", _by_quality(policy, quotes)), ()
    objective = _objective(policy, values)
    if objective is None:
        return _kept(policy, left, quotes, "least expected cost", _by_cost(policy, quotes)), ()
    if len(left) < 2:
        return _kept(policy, left, quotes, "the only one left", _by_cost(policy, quotes)), ()
    mixed = {at: _mix(policy, at, quotes, values) for at in left}
    good, relaxed = _subject_to(objective, left, mixed)
    number = {at: _number(objective, mixed[at]) for at in left}
    first = set(good)
    words = objective.words
    ordered = sorted(left, key=lambda at: (at not in first, number[at], policy.targets[at].name))
    conditions = ", ".join(text for text, _part in objective.subject_to if text not in relaxed)
    kept: list[Kept] = []
    for at in ordered:
        quote = quotes[policy.targets[at].name]
        reason = words
        if conditions:
            reason += f" where {conditions}" if at in first else f"; does not meet {conditions}"
        kept.append(
            Kept(
                policy.targets[at].name,
                reason,
                quote.expected_cost_nanousd,
                quote.worst_case_nanousd,
            )
        )
    return tuple(kept), relaxed


def _objective(policy: CompiledPolicy, values: Values) -> Objective | None:
    for objective in policy.objectives:
        if objective.when is None or _holds(objective.when, values):
            return objective
    return None


def _subject_to(
    objective: Objective, left: Sequence[int], mixed: Mapping[int, Values]
) -> tuple[list[int], tuple[str, ...]]:
    """Who meets the conditions; when nobody does they are given up one by one, the first written first."""
    conditions = list(objective.subject_to)
    relaxed: list[str] = []
    while True:
        good = [at for at in left if all(_holds(part, mixed[at]) for _text, part in conditions)]
        if good or not conditions:
            return good, tuple(relaxed)
        relaxed.append(conditions.pop(0)[0])


def _number(objective: Objective, values: Values) -> float:
    """What is minimised; a number that is not known comes last."""
    try:
        return objective.sign * float(objective.number(values))
    except Unevaluable:
        return float("inf")


def _by_cost(policy: CompiledPolicy, quotes: Mapping[str, Quote]) -> _Key:
    def key(at: int) -> float:
        cost = quotes[policy.targets[at].name].expected_cost_nanousd
        return float("inf") if cost is None else float(cost)

    return key


def _by_quality(policy: CompiledPolicy, quotes: Mapping[str, Quote]) -> _Key:
    def key(at: int) -> float:
        quality = quotes[policy.targets[at].name].quality
        return float("inf") if quality is None else -quality

    return key


def _kept(
    policy: CompiledPolicy,
    left: Sequence[int],
    quotes: Mapping[str, Quote],
    reason: str,
    key: _Key,
) -> tuple[Kept, ...]:
    ordered = sorted(left, key=lambda at: (key(at), policy.targets[at].name))
    return tuple(
        Kept(
            policy.targets[at].name,
            reason,
            quotes[policy.targets[at].name].expected_cost_nanousd,
            quotes[policy.targets[at].name].worst_case_nanousd,
        )
        for at in ordered
    )
