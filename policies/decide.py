"""Facts × policy → decision: constraints strike, an objective ranks what is left.

Promises: the same facts under the same policy decide the same; constraints only remove, in any order;
a label that nobody knows never widens: a target stays only if every way of filling in the unknown labels
keeps it; what cannot be evaluated strikes. The reason for every target kept or struck is in the result.

A condition about the request runs once, a demand on targets is a bit mask since the policy was loaded; only
what mixes the two runs for each target. Labels: :mod:`policies.labels`; the order: :mod:`policies.rank`.
"""

from collections.abc import Mapping, Sequence

from policies.cel import Unevaluable
from policies.compile import CompiledPolicy, Constraint, Part
from policies.facts import EMBED, Decision, Facts, Quote, Struck
from policies.labels import Request, Worlds, find_labels
from policies.numbers import Numbers, able, roomy, tokens_of
from policies.rank import rank

EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday is 0."""
HELD_BACK = "the policy is not proved with this target beside the others"
NEED_WORDS = {
    "choices": "`n` above 1",
    EMBED: "texts to give vectors for",
    "json_schema": "a JSON schema",
    "media_urls": "media by address (image URLs)",
}
"""Needs in the words of who asks, where the catalogue's are others."""


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
    request = request_row(facts)
    worlds = None
    labels, unknown = find_labels(policy.labels, facts.detection, request), frozenset[str]()
    if labels is None:
        worlds = Worlds(policy.labels, facts.detection, request)
        labels, unknown = worlds.sort()
    request = (labels, *request[1:])
    numbers = Numbers(policy, facts, asked, quotes)
    struck: list[Struck] = []
    gone = 0
    for constraint in policy.constraints:
        if worlds is None and constraint.is_static:  # nearly all of them, nearly always
            when = constraint.when
            if when is None or _may_hold(when, request, (), ()):
                gone |= _strike_by_mask(policy, constraint, asked, struck)
            continue
        gone |= _strike(policy, constraint, asked, numbers, request, worlds, struck)
    gone |= _strike_beside(policy, facts, asked, struck)
    left = _fit(policy, facts, [at for at in asked if not gone >> at & 1], numbers, struck)
    ranking = rank(policy, facts, left, numbers, request)
    struck.extend(ranking.dropped)
    return Decision(
        policy=policy.label,
        labels=labels,
        unknown_labels=unknown,
        kept=ranking.kept,
        struck=tuple(struck),
        attempts_max=policy.attempts_max,
        relaxed=ranking.relaxed,
        caches_sampled=policy.caches_sampled,
        fallback=policy.fallback,
    )


def allowed_targets(
    policy: CompiledPolicy, facts: Facts, quotes: Mapping[str, Quote]
) -> frozenset[str]:
    """Everybody that a request may go to: who is kept, and who is only never reached."""
    decision = decide(policy, facts, None, quotes)
    dropped = (one.target for one in decision.struck if one.by == "dominated")
    return frozenset((*(one.target for one in decision.kept), *dropped))


def find_filling(
    policy: CompiledPolicy, facts: Facts, quotes: Mapping[str, Quote]
) -> frozenset[str] | None:
    """The labels of a filling of what is unknown in which some constraint strikes the first target; None if
    none does."""
    request = request_row(facts)
    worlds = Worlds(policy.labels, facts.detection, request)
    numbers = Numbers(policy, facts, (0,), quotes)
    for constraint in policy.constraints:
        for one in worlds.fill(constraint.labels) or ():
            if _violators(policy, constraint.when, constraint, (0,), numbers, (one,)):
                labels = one[0]
                return labels if isinstance(labels, frozenset) else None
    return None


def request_row(facts: Facts) -> Request:
    """What expressions may ask of a request, in the order of ``REQUEST_FACTS``, still without labels."""
    return (
        frozenset(),
        facts.request_model,
        facts.data_class,
        facts.is_stream,
        facts.input_tokens_estimate,
        facts.needs,
        facts.organisation,
        facts.team,
        facts.key,
        facts.residency,
        facts.task,
        None,
        int(facts.now // 3600 % 24),
        int(facts.now // 86400 + EPOCH_WEEKDAY) % 7,
    )


def _strike(
    policy: CompiledPolicy,
    constraint: Constraint,
    asked: Sequence[int],
    numbers: Numbers,
    request: Request,
    worlds: Worlds | None,
    struck: list[Struck],
) -> int:
    """The mask of those of ``asked`` that ``constraint`` strikes in some filling of the unknown labels."""
    when = constraint.when
    possible = (request,) if worlds is None else worlds.fill(constraint.labels)
    if possible is None:
        bad = list(asked)
    else:
        if when is not None and not when.is_per_target:
            possible = [one for one in possible if _may_hold(when, one, (), ())]
            if not possible:
                return 0
            when = None
        if constraint.is_static:
            return _strike_by_mask(policy, constraint, asked, struck)
        bad = _violators(policy, when, constraint, asked, numbers, possible)
    gone = 0
    for at in bad:
        gone |= 1 << at
        struck.append(constraint.strikes[at])
    return gone


def _strike_by_mask(
    policy: CompiledPolicy,
    constraint: Constraint,
    asked: Sequence[int],
    struck: list[Struck],
) -> int:
    """As :func:`_strike`, for a demand on targets alone: nothing is left to evaluate."""
    gone = policy.everyone & ~(constraint.require.mask or 0)
    if gone:
        if len(asked) == len(policy.targets):
            struck += constraint.outside
        else:
            strikes = constraint.strikes
            struck += [strikes[at] for at in asked if gone >> at & 1]
    return gone


def _violators(
    policy: CompiledPolicy,
    when: Part | None,
    constraint: Constraint,
    asked: Sequence[int],
    numbers: Numbers,
    possible: Sequence[Request],
) -> list[int]:
    """Those of ``asked`` for which, in some filling, ``when`` may hold and what ``constraint`` requires does not."""
    rows, quoted, demand = policy.rows, numbers.rows(), constraint.require.closure
    if when is None and len(possible) == 1 and constraint.sieve is not None:
        return constraint.sieve(possible[0], rows, quoted, asked)
    bad: list[int] = []
    for at in asked:
        row, own = rows[at], quoted[at]
        for one in possible:
            if when is not None and not _may_hold(when, one, row, own):
                continue
            try:
                if demand(one, row, own):
                    continue
            except Unevaluable:
                pass  # what cannot be evaluated strikes
            bad.append(at)
            break
    return bad


def _may_hold(part: Part, request: Request, row: Request, quoted: Request) -> bool:
    try:
        return bool(part.closure(request, row, quoted))
    except Unevaluable:
        return True


def _strike_beside(
    policy: CompiledPolicy, facts: Facts, asked: Sequence[int], struck: list[Struck]
) -> int:
    """What the request itself asks for, and what nobody could look into."""
    gone = 0
    away = [at for at in asked if not policy.self_hosted >> at & 1]
    if facts.prefer == "private":
        reason = "the request asked for a self-hosted target"
        for at in away:
            gone |= 1 << at
            struck.append(Struck(policy.targets[at].name, "constraint", "auto:private", reason))
    blind = facts.detection.unscannable
    if blind and policy.unscannable != "any":
        reason = f"nobody could look into its {', '.join(sorted(blind))}"
        for at in asked if policy.unscannable == "refuse" else away:
            gone |= 1 << at
            struck.append(Struck(policy.targets[at].name, "unscannable", "unscannable", reason))
    return gone


def _fit(
    policy: CompiledPolicy,
    facts: Facts,
    left: list[int],
    numbers: Numbers,
    struck: list[Struck],
) -> list[int]:
    """Those of ``left``, all allowed, that can take the request, and take requests at all."""
    can, has_room = able(policy, facts), roomy(policy, facts)
    quotes, needs_bound = numbers.quotes, facts.needs_bound
    sound = can & has_room & ~policy.held_back
    fit: list[int] = []
    for at in left:
        quote = quotes[at]
        is_priced = not needs_bound or quote.worst_case_nanousd is not None
        if sound >> at & 1 and quote.is_healthy and is_priced:
            fit.append(at)
            continue
        name = policy.targets[at].name
        if not can >> at & 1:
            struck.append(Struck(name, "capability", "", _say_unable(policy, facts, at)))
        elif not has_room >> at & 1:
            context = policy.targets[at].context_tokens_max
            reason = f"about {tokens_of(facts)} tokens are more than its context of {context}"
            struck.append(Struck(name, "context", "", reason))
        elif not is_priced:
            struck.append(Struck(name, "price", "", "its price is not known"))
        elif not quote.is_healthy:
            struck.append(Struck(name, "health", "", quote.unhealthy_reason))
        else:  # Last: it alone keeps the target out, and may be over in a moment.
            struck.append(Struck(name, "proof", "", HELD_BACK))
    return fit


def _say_unable(policy: CompiledPolicy, facts: Facts, at: int) -> str:
    lacking = sorted(facts.needs - policy.targets[at].capabilities)
    if not lacking:
        return "it gives vectors for texts, and no answers"
    return f"it does not take {', '.join(NEED_WORDS.get(need, need) for need in lacking)}"
