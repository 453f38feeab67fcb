"""Tree → Python closure: what runs for every request.

The generated text is made of our own operators, names from the schema and ``repr`` of constants, so
nothing of a document is ever executed. ``cel-python`` is the oracle in the tests.
"""

from collections.abc import Callable, Mapping
from typing import assert_never, cast

from policies.cel import tree as t
from policies.cel.schema import QUOTE_FACTS, REQUEST_FACTS, SCHEMA, SLOTS, TARGET_FACTS, may_fail

Value = str | int | float | bool | None | frozenset[str]
Facts = Mapping[str, Value]
Row = tuple[Value, ...]
Closure = Callable[[Row, Row, Row], bool]


class Unevaluable(Exception):
    """A fact that the expression needs is unknown."""


def compile_tree(node: t.Tree) -> Closure:
    """A function from facts to the value; raises :class:`Unevaluable`. It takes three rows of facts: of the
    request, a target and its numbers, in the order of ``REQUEST_FACTS``, ``TARGET_FACTS``, ``QUOTE_FACTS``.

    ``node`` has passed ``check_types``.
    """
    source = f"lambda r, t, q: {_source(node)}"
    space = {"__builtins__": {}, "len": len, "_fail": _fail, "_either": _either, "_both": _both}
    return cast("Closure", eval(source, space))  # noqa: S307  # text of our own making, see above


def pack(facts: Facts) -> tuple[Row, Row, Row]:
    """What closures take, from facts by path; who is not there is unknown."""
    return (
        tuple(facts.get(path) for path in REQUEST_FACTS),
        tuple(facts.get(path) for path in TARGET_FACTS),
        tuple(facts.get(path) for path in QUOTE_FACTS),
    )


def _source(node: t.Tree) -> str:  # noqa: C901  # one case a node: a table, not a tangle
    match node:
        case t.Constant(value):
            return repr(value)
        case t.Items(items):
            return "{" + ", ".join(repr(item.value) for item in items) + "}" if items else "()"
        case t.Name(path, _):
            place = SLOTS[path]
            if SCHEMA[path][2]:
                return f"(v if (v := {place}) is not None else _fail())"
            return place
        case t.Not(operand):
            return f"(not {_source(operand)})"
        case t.Both(left, right):
            return _logical(left, right, "and", "_both")
        case t.Either(left, right):
            return _logical(left, right, "or", "_either")
        case t.Compare(operator, left, right):
            return f"({_source(left)} {operator} {_source(right)})"
        case t.In(item, container):
            return f"({_source(item)} in {_source(container)})"
        case t.Test(kind, subject, text):
            return _test(kind, _source(subject), _source(text))
        case t.Choice(condition, yes, no):
            return f"({_source(yes)} if {_source(condition)} else {_source(no)})"
        case t.Size(container):
            return f"len({_source(container)})"
        case _:
            assert_never(node)


def _logical(left: t.Tree, right: t.Tree, word: str, guarded: str) -> str:
    """The side that cannot fail goes first: then Python's own operators absorb as CEL's do."""
    if may_fail(left) and may_fail(right):
        return f"{guarded}(lambda: {_source(left)}, lambda: {_source(right)})"
    if may_fail(left):
        left, right = right, left
    return f"({_source(left)} {word} {_source(right)})"


def _test(kind: t.TextTest, subject: str, text: str) -> str:
    if kind == "startsWith":
        return f"({subject}[:len({text})] == {text})"
    if kind == "endsWith":
        return f"({text} == '' or {subject}[-len({text}):] == {text})"
    return f"({text} in {subject})"


def _fail() -> Value:
    raise Unevaluable


def _either(left: Callable[[], bool], right: Callable[[], bool]) -> bool:
    try:
        if left():
            return True
    except Unevaluable:
        if right():
            return True
        raise
    return right()


def _both(left: Callable[[], bool], right: Callable[[], bool]) -> bool:
    try:
        if not left():
            return False
    except Unevaluable:
        if not right():
            return False
        raise
    return right()
