"""The obviously right evaluator: slow, straight from the documentation, sharing nothing with the real one.

It walks the tree of each expression for each target and each way of filling in what is unknown, and knows three
outcomes: true, false, and None for what cannot be evaluated.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, assert_never

import re2

from policies.cel import tree as t
from policies.document import PolicyDocument
from policies.facts import Facts, Quote, TargetFacts

OPEN_MAX = 10


@dataclass(frozen=True)
class World:
    """Facts by path, and the labels of one filling."""

    facts: Mapping[str, Any]
    labels: frozenset[str]


def kept_names(
    document: PolicyDocument,
    targets: Iterable[TargetFacts],
    facts: Facts,
    quotes: Mapping[str, Quote],
) -> set[str]:
    """The targets that may be used, in no order."""
    return {
        target.name
        for target in targets
        if _is_fit(target, facts, quotes[target.name])
        and _is_seen(document, target, facts)
        and all(
            not _is_violated(document, at, target, facts, quotes[target.name])
            for at in range(len(document.data.constraints))
        )
    }


def _is_fit(target: TargetFacts, facts: Facts, quote: Quote) -> bool:
    return (
        _is_capable(target, facts)
        and quote.is_healthy
        and (quote.worst_case_nanousd is not None or not facts.needs_bound)
        and (facts.prefer != "private" or target.boundary == "self_hosted")
    )


def _is_capable(target: TargetFacts, facts: Facts) -> bool:
    tokens = facts.context_tokens_estimate or facts.input_tokens_estimate
    return (
        all(need in target.capabilities for need in facts.needs)
        and ("embed" in facts.needs) == ("embed" in target.capabilities)
        and tokens <= 2 * target.context_tokens_max
    )


def _is_seen(document: PolicyDocument, target: TargetFacts, facts: Facts) -> bool:
    if not facts.detection.unscannable:
        return True
    return {
        "any": True,
        "self_hosted": target.boundary == "self_hosted",
        "refuse": False,
    }[document.data.unscannable]


def _is_violated(
    document: PolicyDocument, at: int, target: TargetFacts, facts: Facts, quote: Quote
) -> bool:
    when = document.trees.get(f"constraints[{at}].when")
    require = document.trees[f"constraints[{at}].require"]
    values = _values(document, target, facts, quote)
    concerned = _depends_on(document, require) | (
        _depends_on(document, when) if when is not None else set()
    )
    worlds = _worlds(document, facts, values, concerned)
    if worlds is None:
        return True
    return any(
        (when is None or _truth(when, world) is not False) and _truth(require, world) is not True
        for world in worlds
    )


def _values(
    document: PolicyDocument, target: TargetFacts, facts: Facts, quote: Quote
) -> dict[str, Any]:
    expected, worst = quote.expected_cost_nanousd, quote.worst_case_nanousd
    attempts = document.data.attempts.max
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
        "clock.hour": int(facts.now) % 86400 // 3600,
        "clock.weekday": (int(facts.now) // 86400 + 3) % 7,
        "target.name": target.name,
        "target.provider": target.provider,
        "target.model": target.model,
        "target.boundary": target.boundary,
        "target.region": target.region,
        "target.capabilities": target.capabilities,
        "target.context_tokens_max": target.context_tokens_max,
        "target.output_tokens_max": target.output_tokens_max,
        "target.retention_days": target.retention_days,
        "target.trains_on_inputs": target.trains_on_inputs,
        "target.healthy": quote.is_healthy,
        "target.capable": _is_capable(target, facts),
        "quality": quote.quality,
        "cached_tokens": quote.cached_tokens,
        "expected_cost_usd": None if expected is None else expected / 1e9,
        "worst_case_cost_usd": None if worst is None else worst / 1e9,
        "worst_case_request_cost_usd": None if worst is None else worst * attempts / 1e9,
        "expected_ttft_s": quote.expected_ttft_seconds,
    }


def _depends_on(document: PolicyDocument, tree: t.Tree) -> set[str]:
    """Labels that ``tree`` depends on, also through others."""
    found: set[str] = set()
    for label in _labels_in(document, tree):
        found.add(label)
        condition = document.trees.get(f"labels.{label}.when")
        if condition is not None:
            found |= _depends_on(document, condition)
    return found


def _labels_in(document: PolicyDocument, tree: t.Tree) -> set[str]:
    if isinstance(tree, t.In) and _is_labels(tree.container) and isinstance(tree.item, t.Constant):
        return {str(tree.item.value)}
    if isinstance(tree, t.Name):
        return set(document.data.labels) if tree.path == "labels" else set()
    return set[str]().union(
        *(_labels_in(document, child) for child in _inner(tree)),
    )


def _is_labels(tree: t.Tree) -> bool:
    return isinstance(tree, t.Name) and tree.path == "labels"


def _inner(tree: t.Tree) -> list[t.Tree]:
    values = [getattr(tree, name) for name in tree.__dataclass_fields__]
    return [one for one in values if isinstance(one, t.Tree)]


def _worlds(
    document: PolicyDocument, facts: Facts, values: dict[str, Any], concerned: set[str]
) -> list[World] | None:
    """Every way of filling in the labels ``concerned``; None if more than ten are open."""
    worlds = [World(values, frozenset())]
    done: set[str] = set()
    open_ones: set[str] = set()
    while done != concerned:
        name = next(one for one in sorted(concerned - done) if _own_labels(document, one) <= done)
        done.add(name)
        following: list[World] = []
        for world in worlds:
            answers = _label(document, name, facts, world)
            following += [
                World(values, world.labels | {name}) if answer else world for answer in answers
            ]
            if len(answers) == 2:
                open_ones.add(name)
        worlds = following
        if len(open_ones) > OPEN_MAX:
            return None
    return worlds


def _own_labels(document: PolicyDocument, name: str) -> set[str]:
    condition = document.trees.get(f"labels.{name}.when")
    return set() if condition is None else _labels_in(document, condition)


def _label(document: PolicyDocument, name: str, facts: Facts, world: World) -> tuple[bool, ...]:
    """What the label may be in this world: one answer, or both."""
    detect = document.data.labels[name].detect
    condition = document.trees.get(f"labels.{name}.when")
    said = False if condition is None else _truth(condition, world)
    if said is True or any(_matches(one, kind) for one in facts.detection.found for kind in detect):
        return (True,)
    if said is None or any(
        _matches(one, kind) for one in facts.detection.unknown for kind in detect
    ):
        return (True, False)
    return (False,)


def _matches(kind: str, pattern: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern


def _truth(tree: t.Tree, world: World) -> bool | None:
    value = evaluate(tree, world)
    assert value is None or isinstance(value, bool)
    return value


def evaluate(tree: t.Tree, world: World) -> Any:  # noqa: C901, PLR0912  # one case a node
    """The value of ``tree``, None where it cannot be evaluated."""
    match tree:
        case t.Constant(value):
            return value
        case t.Items(items):
            return [item.value for item in items]
        case t.Name(path):
            return world.labels if path == "labels" else world.facts[path]
        case t.Not(operand):
            inner = _truth(operand, world)
            return None if inner is None else not inner
        case t.Both(left, right):
            sides = (_truth(left, world), _truth(right, world))
            return False if False in sides else None if None in sides else True
        case t.Either(left, right):
            sides = (_truth(left, world), _truth(right, world))
            return True if True in sides else None if None in sides else False
        case t.Choice(condition, yes, no):
            chosen = _truth(condition, world)
            return None if chosen is None else evaluate(yes if chosen else no, world)
        case t.Compare(operator, left, right):
            return _compare(operator, evaluate(left, world), evaluate(right, world))
        case t.In(item, container):
            one, many = evaluate(item, world), evaluate(container, world)
            return None if one is None or many is None else one in many
        case t.Test(kind, subject, text):
            return _test(kind, evaluate(subject, world), evaluate(text, world))
        case t.Size(container):
            many = evaluate(container, world)
            return None if many is None else len(many)
        case t.Negate(operand):
            inner = evaluate(operand, world)
            return -inner if isinstance(inner, float) else _calculate("-", 0, inner)
        case t.Arithmetic(operator, left, right):
            return _calculate(operator, evaluate(left, world), evaluate(right, world))
        case t.Matches(subject, pattern):
            whole = evaluate(subject, world)
            return None if whole is None else re2.search(pattern, whole) is not None
        case _:
            assert_never(tree)


def _calculate(operator: str, left: Any, right: Any) -> Any:
    """Whole numbers of 64 bits exactly, None for what they cannot hold; fractions as doubles."""
    if left is None or right is None:
        return None
    if isinstance(right, float):
        if operator == "/" and right == 0:
            return (
                math.nan
                if left == 0 or math.isnan(left)
                else math.copysign(math.inf, left * math.copysign(1, right))
            )
        plain = {"+": float.__add__, "-": float.__sub__, "*": float.__mul__, "/": float.__truediv__}
        return plain[operator](float(left), right)
    if operator in ("/", "%") and right == 0:
        return None
    quotient = math.trunc(Fraction(left, right or 1))
    found = {
        "+": left + right,
        "-": left - right,
        "*": left * right,
        "/": quotient,
        "%": left - right * quotient,
    }[operator]
    return found if -(2**63) <= found < 2**63 else None


def _compare(operator: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    return {
        "==": left == right,
        "!=": left != right,
        **({} if isinstance(left, bool) else {
            "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,
        }),
    }[operator]  # fmt: skip


def _test(kind: str, subject: str | None, text: str | None) -> bool | None:
    if subject is None or text is None:
        return None
    return {
        "startsWith": subject.startswith(text),
        "endsWith": subject.endswith(text),
        "contains": text in subject,
    }[kind]
