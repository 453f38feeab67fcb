"""What an expression may speak of: every fact with its type and where it comes from.

The scopes decide how often an expression has to be looked at: about targets alone, once per catalogue;
about the request alone, once per request; about both, once for each target.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from enum import Flag, auto
from typing import Literal, assert_never

from policies.cel import tree as t
from policies.facts import BOUNDARIES, CAPABILITIES, DATA_CLASSES, NEEDS

Kind = Literal["text", "number", "truth", "texts", "numbers", "null"]


class Scope(Flag):
    """Where facts come from."""

    TARGET = auto()
    REQUEST = auto()
    QUOTE = auto()
    LABELS = auto()


SCHEMA: dict[str, tuple[Kind, Scope, bool]] = {
    "labels": ("texts", Scope.LABELS, False),
    "request.model": ("text", Scope.REQUEST, False),
    "request.data_class": ("text", Scope.REQUEST, False),
    "request.is_stream": ("truth", Scope.REQUEST, False),
    "request.input_tokens": ("number", Scope.REQUEST, False),
    "request.needs": ("texts", Scope.REQUEST, False),
    "tenant.organisation": ("text", Scope.REQUEST, False),
    "tenant.team": ("text", Scope.REQUEST, False),
    "tenant.key": ("text", Scope.REQUEST, False),
    "tenant.residency": ("text", Scope.REQUEST, False),
    "task": ("text", Scope.REQUEST, True),
    "difficulty": ("number", Scope.REQUEST, True),
    "clock.hour": ("number", Scope.REQUEST, False),
    "clock.weekday": ("number", Scope.REQUEST, False),
    "target.name": ("text", Scope.TARGET, False),
    "target.provider": ("text", Scope.TARGET, False),
    "target.model": ("text", Scope.TARGET, False),
    "target.boundary": ("text", Scope.TARGET, False),
    "target.region": ("text", Scope.TARGET, False),
    "target.capabilities": ("texts", Scope.TARGET, False),
    "target.context_tokens_max": ("number", Scope.TARGET, False),
    "target.output_tokens_max": ("number", Scope.TARGET, False),
    "target.retention_days": ("number", Scope.TARGET, True),
    "target.trains_on_inputs": ("truth", Scope.TARGET, True),
    "quality": ("number", Scope.QUOTE, True),
    "cached_tokens": ("number", Scope.QUOTE, False),
    "target.healthy": ("truth", Scope.QUOTE, False),
    "target.capable": ("truth", Scope.QUOTE, False),
    "expected_cost_usd": ("number", Scope.QUOTE, True),
    "worst_case_cost_usd": ("number", Scope.QUOTE, True),
    "worst_case_request_cost_usd": ("number", Scope.QUOTE, True),
    "expected_ttft_s": ("number", Scope.QUOTE, True),
}
"""Fact → (type, scope, may be unknown). An unknown fact makes a comparison impossible to evaluate."""


def _from(scope: Scope) -> tuple[str, ...]:
    return tuple(path for path, (_, where, _) in SCHEMA.items() if where & scope)


REQUEST_FACTS = _from(Scope.LABELS | Scope.REQUEST)
"""What a row of a request holds; the labels stand first."""
TARGET_FACTS = _from(Scope.TARGET)
QUOTE_FACTS = _from(Scope.QUOTE)
SLOTS = {
    path: f"{letter}[{at}]"
    for letter, paths in (("r", REQUEST_FACTS), ("t", TARGET_FACTS), ("q", QUOTE_FACTS))
    for at, path in enumerate(paths)
}
"""Fact → its place in a closure's rows."""


DOMAINS: dict[str, frozenset[str]] = {
    "target.boundary": frozenset(BOUNDARIES),
    "target.capabilities": CAPABILITIES,
    "request.data_class": frozenset(DATA_CLASSES),
    "request.needs": NEEDS,
}
"""The words that a fact can be, or hold: another is a slip that would make a rule never hold."""


def check_words(node: t.Tree, domains: Mapping[str, frozenset[str]]) -> None:
    """Raises :class:`CelError` where a fact of ``domains`` is held against what it can never be."""
    for name, value in words_of(node):
        known = domains.get(name.path)
        if known is None or value in known:
            continue
        close = difflib.get_close_matches(str(value), sorted(known), n=1)
        hint = f": did you mean `{close[0]}`?" if close else f"; there are {_listed(known)}"
        raise t.CelError(f"`{value}` is nothing that `{name.path}` can be{hint}", name.column)


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words)) or "none"


def words_of(node: t.Tree) -> Iterator[tuple[t.Name, object]]:
    """Every fact in ``node`` that is held against a constant, with that constant."""
    match node:
        case t.Compare(_, t.Name() as name, t.Constant(value)) | t.Compare(
            _, t.Constant(value), t.Name() as name
        ):
            yield name, value
        case t.In(t.Constant(value), t.Name() as name):
            yield name, value
        case t.In(t.Name() as name, t.Items(items)):
            for item in items:
                yield name, item.value
        case _:
            pass
    for child in children_of(node):
        yield from words_of(child)


def check_types(node: t.Tree, wanted: Kind = "truth") -> None:
    """Raises :class:`CelError` where facts are unknown by name or types do not fit."""
    found = _kind(node)
    if found != wanted:
        raise t.CelError(f"this is {found}, where {wanted} is needed")


def scopes_of(node: t.Tree) -> Scope:
    """The scopes of all facts in ``node``."""
    scopes = Scope(0)
    for name in names_of(node):
        scopes |= SCHEMA[name.path][1]
    return scopes


def may_fail(node: t.Tree) -> bool:
    """Whether an unknown fact can make ``node`` impossible to evaluate."""
    return any(SCHEMA[name.path][2] for name in names_of(node))


def names_of(node: t.Tree) -> list[t.Name]:
    """Every fact in ``node``."""
    if isinstance(node, t.Name):
        return [node]
    return [name for child in children_of(node) for name in names_of(child)]


def children_of(node: t.Tree) -> tuple[t.Tree, ...]:
    """The operands of ``node``."""
    match node:
        case t.Constant() | t.Name() | t.Items():
            return ()
        case t.Not(operand):
            return (operand,)
        case t.Both(left, right) | t.Either(left, right) | t.Compare(_, left, right):
            return (left, right)
        case t.In(item, container):
            return (item, container)
        case t.Test(_, subject, text):
            return (subject, text)
        case t.Choice(condition, yes, no):
            return (condition, yes, no)
        case t.Size(container):
            return (container,)
        case _:
            assert_never(node)


def _kind(node: t.Tree) -> Kind:  # noqa: C901, PLR0912  # one case a node: a table, not a tangle
    match node:
        case t.Constant(value):
            return _kind_of_constant(value)
        case t.Items(items):
            kinds = {_kind(item) for item in items}
            if len(kinds) > 1 or not kinds <= {"text", "number"}:
                raise t.CelError("the constants of a list must be all text or all numbers")
            return "numbers" if kinds == {"number"} else "texts"
        case t.Name(path, column):
            if path not in SCHEMA:
                raise t.CelError(f"there is no fact `{path}`{_nearest(path)}", column)
            return SCHEMA[path][0]
        case t.Compare(operator, left, right):
            _check_compare(operator, _kind(left), _kind(right))
            return "truth"
        case t.In(item, container):
            if (_kind(item), _kind(container)) not in (("text", "texts"), ("number", "numbers")):
                raise t.CelError(
                    "`in` needs text in a list of texts, or a number in one of numbers"
                )
            return "truth"
        case t.Test(_, subject, text):
            if _kind(subject) != "text" or _kind(text) != "text":
                raise t.CelError("this test is about text")
            return "truth"
        case t.Size(container):
            if _kind(container) not in ("texts", "numbers", "text"):
                raise t.CelError("`size` needs a list or text")
            return "number"
        case t.Choice(condition, yes, no):
            check_types(condition)
            check_types(no, _kind(yes))
            return _kind(yes)
        case t.Not(operand):
            check_types(operand)
            return "truth"
        case t.Both(left, right) | t.Either(left, right):
            check_types(left)
            check_types(right)
            return "truth"
        case _:
            assert_never(node)


def _demand(is_fine: bool, message: str) -> None:  # noqa: FBT001  # an assertion about input
    if not is_fine:
        raise t.CelError(message)


def _kind_of_constant(value: object) -> Kind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "truth"
    return "text" if isinstance(value, str) else "number"


def _check_compare(operator: str, left: Kind, right: Kind) -> None:
    if left != right or left not in ("text", "number", "truth"):
        raise t.CelError(f"`{operator}` cannot compare {left} with {right}")
    if left == "truth" and operator not in ("==", "!="):
        raise t.CelError(f"`{operator}` does not order truth values")


def _nearest(path: str) -> str:
    tail = path.rpartition(".")[2]
    for known in SCHEMA:
        if known.rpartition(".")[2] == tail or known.startswith(f"{path}."):
            return f": did you mean `{known}`?"
    return f"; there are {', '.join(sorted(SCHEMA))}"


def labels_in(node: t.Tree | None, everything: Iterable[str]) -> frozenset[str]:
    """The labels that ``node`` asks for by name; ``everything`` if it looks at the set in another way."""
    match node:
        case None:
            return frozenset()
        case t.In(t.Constant(value), t.Name("labels")):
            return frozenset({str(value)})
        case t.Name("labels"):
            return frozenset(everything)
        case _:
            inner = (labels_in(child, everything) for child in children_of(node))
            return frozenset[str]().union(*inner)
