"""A decision in words: for the command line, the pages and the log of who asked."""

from policies.facts import Decision, Facts
from policies.remedies import Remedy


def explain(
    decision: Decision, facts: Facts, passed_over: int = 0, remedies: tuple[Remedy, ...] = ()
) -> str:
    """Several lines: what the request was found to be, who stays in which order, who is out and why.

    ``passed_over`` of those who stay did not fit the budget; ``remedies`` would let a refused one pass.
    """
    lines = [f"policy     {decision.policy}", f"asked for  {facts.request_model}"]
    lines.append(f"class      {facts.data_class}")
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
    lines.append("")
    for place, kept in enumerate(decision.kept, 1):
        tried = ""
        if place <= passed_over:
            tried = " (passed over: it may cost more than the budget had left)"
        elif place > passed_over + decision.attempts_max:
            tried = " (beyond the attempts allowed)"
        lines.append(
            f"{place:>3}. {kept.target}{_cost(kept.expected_cost_nanousd)}: {kept.reason}{tried}"
        )
    if not decision.kept:
        lines.append("  no target is left")
    by_reason: dict[str, list[str]] = {}
    for struck in decision.struck:
        rule = f"{struck.constraint}: {struck.reason}" if struck.constraint else struck.reason
        by_reason.setdefault(rule, []).append(struck.target)
    if by_reason:
        lines += ["", "struck out"]
        lines += [f"  {', '.join(names)}: {rule}" for rule, names in by_reason.items()]
    if remedies:
        lines += ["", "would pass", *(f"  {remedy}" for remedy in remedies)]
    return "\n".join(lines)


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _cost(nanousd: int | None) -> str:
    if nanousd is None:
        return ""
    whole, rest = divmod(nanousd, 10**9)
    return f" (expected {whole}.{rest:09d} USD)"
