"""What an expression may speak of: every fact with its type and where it comes from.

The scopes decide how often an expression has to be looked at: about targets alone, once per catalogue;
about the request alone, once per request; about both, once for each target.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Flag, auto
from typing import Literal, assert_never

from policies.cel import tree as t
from policies.facts import BOUNDARIES, CAPABILITIES, DATA_CLASSES, NEEDS, TASK_PATTERN

Kind = Literal["text", "int", "double", "truth", "texts", "numbers", "null"]
Wanted = Kind | Literal["number"]
"""What a place may need: a ``number`` is of either kind."""

WORDS: dict[Wanted, str] = {
    "text": "text",
    "int": "a whole number",
    "double": "a number with a fraction",
    "number": "a number",
    "truth": "true or false",
    "texts": "a list of texts",
    "numbers": "a list of numbers",
    "null": "null",
}


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
    "request.input_tokens": ("int", Scope.REQUEST, False),
    "request.needs": ("texts", Scope.REQUEST, False),
    "tenant.organisation": ("text", Scope.REQUEST, False),
    "tenant.team": ("text", Scope.REQUEST, False),
    "tenant.key": ("text", Scope.REQUEST, False),
    "tenant.residency": ("text", Scope.REQUEST, False),
    "task": ("text", Scope.REQUEST, True),
    "difficulty": ("double", Scope.REQUEST, True),
    "clock.hour": ("int", Scope.REQUEST, False),
    "clock.weekday": ("int", Scope.REQUEST, False),
    "target.name": ("text", Scope.TARGET, False),
    "target.provider": ("text", Scope.TARGET, False),
    "target.model": ("text", Scope.TARGET, False),
    "target.boundary": ("text", Scope.TARGET, False),
    "target.region": ("text", Scope.TARGET, False),
    "target.capabilities": ("texts", Scope.TARGET, False),
    "target.context_tokens_max": ("int", Scope.TARGET, False),
    "target.output_tokens_max": ("int", Scope.TARGET, False),
    "target.retention_days": ("int", Scope.TARGET, True),
    "target.trains_on_inputs": ("truth", Scope.TARGET, True),
    "quality": ("double", Scope.QUOTE, True),
    "cached_tokens": ("int", Scope.QUOTE, False),
    "target.healthy": ("truth", Scope.QUOTE, False),
    "target.capable": ("truth", Scope.QUOTE, False),
    "expected_cost_usd": ("double", Scope.QUOTE, True),
    "worst_case_cost_usd": ("double", Scope.QUOTE, True),
    "worst_case_request_cost_usd": ("double", Scope.QUOTE, True),
    "expected_ttft_s": ("double", Scope.QUOTE, True),
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

WRITTEN: dict[str, tuple[re.Pattern[str], str]] = {
    "task": (
        re.compile(TASK_PATTERN),
        "tasks are words of lower-case letters, digits, `.`, `_` and `-`",
    ),
}
"""How the words of a fact are written, where they are no closed set."""


def check_words(node: t.Tree, domains: Mapping[str, frozenset[str]]) -> None:
    """Raises :class:`CelError` where a fact of ``domains`` is held against what it can never be."""
    for name, value in words_of(node):
        if isinstance(value, str) and (form := WRITTEN.get(name.path)):
            _check_form(value, name, *form)
        known = domains.get(name.path)
        if known is None or value in known:
            continue
        close = difflib.get_close_matches(str(value), sorted(known), n=1)
        hint = f": did you mean `{close[0]}`?" if close else f"; there are {_listed(known)}"
        raise t.CelError(f"`{value}` is nothing that `{name.path}` can be{hint}", name.at)


def _check_form(value: str, name: t.Name, pattern: re.Pattern[str], words: str) -> None:
    if pattern.fullmatch(value) is None:
        raise t.CelError(f"`{value}` is nothing that `{name.path}` can be; {words}", name.at)


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


def check_types(node: t.Tree, wanted: Wanted = "truth") -> None:
    """Raises :class:`CelError` where facts are unknown by name or types do not fit."""
    found = kind_of(node)
    if found != wanted and not (wanted == "number" and found in NUMBERS):
        raise t.CelError(f"this is {WORDS[found]}, where {WORDS[wanted]} is needed", node.at)


def scopes_of(node: t.Tree) -> Scope:
    """The scopes of all facts in ``node``."""
    scopes = Scope(0)
    for name in names_of(node):
        scopes |= SCHEMA[name.path][1]
    return scopes


def may_fail(node: t.Tree) -> bool:
    """Whether an unknown fact, arithmetic or a text can make ``node`` impossible to evaluate."""
    if isinstance(node, t.Name):
        return SCHEMA[node.path][2]
    return isinstance(node, t.Arithmetic | t.Negate | t.Matches) or any(
        may_fail(child) for child in children_of(node)
    )


def patterns_of(node: t.Tree) -> frozenset[str]:
    """Every pattern in ``node``."""
    own = {node.pattern} if isinstance(node, t.Matches) else set[str]()
    return frozenset(own).union(*(patterns_of(child) for child in children_of(node)))


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
        case t.Not(operand) | t.Negate(operand):
            return (operand,)
        case t.Both(left, right) | t.Either(left, right):
            return (left, right)
        case t.Compare(_, left, right) | t.Arithmetic(_, left, right):
            return (left, right)
        case t.Matches(subject):
            return (subject,)
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


def kind_of(node: t.Tree) -> Kind:  # noqa: C901  # one case a node: a table, not a tangle
    """What ``node`` gives. Raises :class:`CelError` as :func:`check_types` does."""
    match node:
        case t.Constant(value):
            return _kind_of_constant(value)
        case t.Items(items):
            kinds = {kind_of(item) for item in items}
            if kinds <= {"text"}:
                return "texts"
            if kinds <= NUMBERS:
                return "numbers"
            raise t.CelError("the constants of a list must be all text or all numbers", node.at)
        case t.Name(path):
            if path not in SCHEMA:
                raise t.CelError(f"there is no fact `{path}`{_nearest(path)}", node.at)
            return SCHEMA[path][0]
        case t.Size(container):
            if kind_of(container) not in ("texts", "numbers", "text"):
                raise t.CelError("`size` needs a list or text", container.at)
            return "int"
        case t.Choice(condition, yes, no):
            check_types(condition)
            kind = kind_of(yes)  # once: twice at each level would be 2 ** depth times
            check_types(no, kind)
            return kind
        case t.Negate(operand):
            kind = kind_of(operand)
            if kind not in NUMBERS:
                raise t.CelError(f"`-` is for numbers, not {WORDS[kind]}", operand.at)
            return kind
        case t.Arithmetic():
            return _kind_of_arithmetic(node)
        case _:
            _check_truth(node)
            return "truth"


NUMBERS: frozenset[Kind] = frozenset({"int", "double"})


def _check_truth(
    node: t.Compare | t.In | t.Test | t.Matches | t.Not | t.Both | t.Either,
) -> None:
    match node:
        case t.Compare(operator, left, right):
            _check_compare(operator, left, right)
        case t.In(item, container):
            pair = (kind_of(item), kind_of(container))
            if pair not in (("text", "texts"), ("int", "numbers"), ("double", "numbers")):
                said = "`in` needs text in a list of texts, or a number in one of numbers"
                raise t.CelError(said, item.at)
        case t.Test(kind, subject, text):
            for part in (subject, text):
                if kind_of(part) != "text":
                    raise t.CelError(f"`{kind}` is about text, not {WORDS[kind_of(part)]}", part.at)
        case t.Matches(subject):
            if kind_of(subject) != "text":
                said = f"`matches` is about text, not {WORDS[kind_of(subject)]}"
                raise t.CelError(said, subject.at)
        case t.Not(operand):
            check_types(operand)
        case t.Both(left, right) | t.Either(left, right):
            check_types(left)
            check_types(right)
        case _:
            assert_never(node)


def _kind_of_constant(value: object) -> Kind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, str):
        return "text"
    return "int" if isinstance(value, int) else "double"


def _kind_of_arithmetic(node: t.Arithmetic) -> Kind:
    operator = node.operator
    left, right = kind_of(node.left), kind_of(node.right)
    sides: tuple[tuple[t.Tree, Kind], ...] = ((node.left, left), (node.right, right))
    for part, kind in sides:
        if kind not in NUMBERS:
            raise t.CelError(f"`{operator}` is for numbers, not {WORDS[kind]}", part.at)
    if left != right:
        whole = node.left if left == "int" else node.right
        hint = (
            f": write `{whole.value}.0`"
            if isinstance(whole, t.Constant)
            else ", and there are no conversions: take facts of one kind"
        )
        said = f"`{operator}` does not mix whole numbers with fractions{hint}"
        raise t.CelError(said, whole.at)
    if operator == "%" and left == "double":
        raise t.CelError("`%` is for whole numbers", node.at)
    return left


def _check_compare(operator: t.Comparison, left: t.Tree, right: t.Tree) -> None:
    one, other = kind_of(left), kind_of(right)
    if one in NUMBERS and other in NUMBERS:
        return
    if one != other or one not in ("text", "truth"):
        said = f"`{operator}` cannot compare {WORDS[one]} with {WORDS[other]}"
        raise t.CelError(said, right.at)
    if one == "truth" and operator not in ("==", "!="):
        raise t.CelError(f"`{operator}` does not order truth values", left.at)


def _nearest(path: str) -> str:
    """The fact that was meant: the same word of another owner, or letters that are nearly the same."""
    tail = path.rpartition(".")[2]
    for known in SCHEMA:
        if known.rpartition(".")[2] == tail or known.startswith(f"{path}."):
            return f": did you mean `{known}`?"
    if close := difflib.get_close_matches(path, SCHEMA, n=1, cutoff=0.7):
        return f": did you mean `{close[0]}`?"
    tails = {known.rpartition(".")[2]: known for known in SCHEMA}
    if close := difflib.get_close_matches(tail, tails, n=1, cutoff=0.75):
        return f": did you mean `{tails[close[0]]}`?"
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
