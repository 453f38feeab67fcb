"""A decision in words: for the command line, the pages and the log of who asked."""

from collections.abc import Mapping

from policies.facts import Decision, Facts, Quote
from policies.remedies import Remedy


def explain(
    decision: Decision,
    facts: Facts,
    quotes: Mapping[str, Quote],
    passed_over: int = 0,
    remedies: tuple[Remedy, ...] = (),
) -> str:
    """Several lines: what the request was found to be, who stays in which order, who is out and why.

    ``passed_over`` of those who stay did not fit the budget; ``remedies`` would let a refused one pass.
    """
    lines = [*_head(decision, facts), ""]
    for place, kept in enumerate(decision.kept, 1):
        tried = ""
        if place <= passed_over:
            tried = " (passed over: it may cost more than the budget had left)"
        elif place > passed_over + decision.attempts_max:
            tried = " (beyond the attempts allowed)"
        lines.append(
            f"{place:>3}. {kept.target}{_numbers(quotes.get(kept.target))}: {kept.reason}{tried}"
        )
    if not decision.kept:
        lines.append("  no target is left")
    by_reason: dict[str, list[str]] = {}
    for struck in decision.struck:
        rule = say_rule(struck.constraint, struck.reason)
        by_reason.setdefault(rule, []).append(struck.target)
    if by_reason:
        lines += ["", "struck out"]
        lines += [f"  {', '.join(names)}: {rule}" for rule, names in by_reason.items()]
    if remedies:
        lines += ["", "would pass", *(f"  {remedy}" for remedy in remedies)]
    return "\n".join(lines)


def _head(decision: Decision, facts: Facts) -> list[str]:
    """What the request was found to be."""
    lines = [f"policy     {decision.policy}", f"asked for  {facts.request_model}"]
    lines.append(f"class      {facts.data_class}")
    if facts.task is not None:
        lines.append(f"task       {facts.task}")
    lines.append(f"labels     {_names(decision.labels)}")
    found = facts.detection
    if found.found:
        lines.append(f"found      {_names(found.found)}")
    if decision.unknown_labels:
        lines.append(f"unknown    {_names(decision.unknown_labels)} (a detector failed)")
    if found.unscannable:
        lines.append(f"not seen   {_names(found.unscannable)}")
    if decision.relaxed:
        lines.append(f"given up   {'; '.join(decision.relaxed)} (nobody met it)")
    return lines


def say_rule(constraint: str, reason: str, quote: str = "") -> str:
    """Who struck a target, and why. A constraint without a reason of its own has its name for one: once is enough."""
    if not constraint:
        return reason
    named = f"{quote}{constraint}{quote}"
    return named if reason in (constraint, constraint.partition("/")[2]) else f"{named}: {reason}"


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _numbers(quote: Quote | None) -> str:
    if quote is None:
        return ""
    said: list[str] = []
    if quote.expected_cost_nanousd is not None:
        whole, rest = divmod(quote.expected_cost_nanousd, 10**9)
        said.append(f"expected {whole}.{rest:09d} USD")
    if quote.expected_ttft_seconds is not None:
        said.append(f"begins after {quote.expected_ttft_seconds:.1f} s")
    if quote.cached_tokens:
        said.append(f"holds {quote.cached_tokens} tokens of it")
    return f" ({', '.join(said)})" if said else ""
