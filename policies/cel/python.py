"""Tree → Python closure: what runs for every request.

The generated text is made of our own operators, names from the schema and ``repr`` of constants, so
nothing of a document is ever executed. ``cel-python`` is the oracle in the tests.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never, cast

from policies.cel import tree as t
from policies.cel.schema import (
    QUOTE_FACTS,
    REQUEST_FACTS,
    SCHEMA,
    SLOTS,
    TARGET_FACTS,
    kind_of,
    may_fail,
    patterns_of,
)

Value = str | int | float | bool | None | frozenset[str]
Facts = Mapping[str, Value]
Row = tuple[Value, ...]
Closure = Callable[[Row, Row, Row], bool]
Sieve = Callable[[Row, Sequence[Row], Mapping[int, Row], Sequence[int]], list[int]]
"""From the request, the rows of all targets, the numbers of some, and the positions of these."""
Scale = Callable[[Row, Sequence[Row], Mapping[int, Row], Sequence[int]], dict[int, float]]


class Unevaluable(Exception):
    """A fact that the expression needs is unknown, or arithmetic has no result."""


def compile_tree(node: t.Tree) -> Closure:
    """A function from facts to the value; raises :class:`Unevaluable`. It takes three rows of facts: of the
    request, a target and its numbers, in the order of ``REQUEST_FACTS``, ``TARGET_FACTS``, ``QUOTE_FACTS``.

    ``node`` has passed ``check_types``.
    """
    source = f"lambda r, t, q: {_source(node)}"
    return cast("Closure", eval(source, _space(node)))  # noqa: S307  # text of our own making, see above


def compile_sieve(node: t.Tree) -> Sieve:
    """The same in a loop over targets: those of whom ``node`` does not hold, or cannot be evaluated, in order.

    A call for each target would cost as much as what it does.
    """
    return cast("Sieve", _compile_loop(_SIEVE, node))


def compile_scale(node: t.Tree) -> Scale:
    """A number in a loop over targets, by position: what cannot be evaluated, is no number or endless is left out."""
    return cast("Scale", _compile_loop(_SCALE, node))


def _compile_loop(loop: str, node: t.Tree) -> object:
    space = _space(node)
    exec(loop.format(_source(node)), space)  # noqa: S102  # text of our own making, see above
    return space["loop"]


_SIEVE = """
def loop(r, rows, numbers, asked):
    failed = []
    for at in asked:
        t, q = rows[at], numbers[at]
        try:
            if {}:
                continue
        except Unevaluable:
            pass
        failed.append(at)
    return failed
"""
_SCALE = """
def loop(r, rows, numbers, asked):
    found = {{}}
    for at in asked:
        t, q = rows[at], numbers[at]
        try:
            number = {}
        except Unevaluable:
            continue
        if -INFINITY < number < INFINITY:
            found[at] = number
    return found
"""


def _space(node: t.Tree) -> dict[str, object]:
    """All that generated code may see."""
    space: dict[str, object] = {"__builtins__": {}, **_FUNCTIONS}
    for pattern in patterns_of(node):
        space[_pattern_name(pattern)] = t.compile_pattern(pattern)
    return space


def pack(facts: Facts) -> tuple[Row, Row, Row]:
    """What closures take, from facts by path; who is not there is unknown."""
    return (
        tuple(facts.get(path) for path in REQUEST_FACTS),
        tuple(facts.get(path) for path in TARGET_FACTS),
        tuple(facts.get(path) for path in QUOTE_FACTS),
    )


def _source(node: t.Tree) -> str:  # noqa: C901, PLR0912  # one case a node: a table, not a tangle
    match node:
        case t.Constant(value):
            return repr(value)
        case t.Items(items):
            return "{" + ", ".join(repr(item.value) for item in items) + "}" if items else "()"
        case t.Name(path):
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
        case t.Arithmetic(operator, left, right):
            return _arithmetic(operator, node, _source(left), _source(right))
        case t.Negate(operand):
            source = f"-{_source(operand)}"
            return f"_checked({source})" if kind_of(node) == "int" else f"({source})"
        case t.Matches(subject, pattern):
            return f"_matches({_pattern_name(pattern)}, {_source(subject)})"
        case _:
            assert_never(node)


def _arithmetic(operator: t.Operator, node: t.Tree, left: str, right: str) -> str:
    if operator == "%":
        return f"_remainder({left}, {right})"
    if operator == "/":
        return f"{'_quotient' if kind_of(node) == 'int' else '_divided'}({left}, {right})"
    if kind_of(node) == "int":
        return f"_checked({left} {operator} {right})"
    return f"({left} {operator} {right})"


def _pattern_name(pattern: str) -> str:
    return f"_p{pattern.encode().hex()}"


def _logical(left: t.Tree, right: t.Tree, word: str, guarded: str) -> str:
    """The side that cannot fail goes first: then Python's own operators absorb as CEL's do."""
    if may_fail(left) and may_fail(right):
        return f"{guarded}(lambda: {_source(left)}, lambda: {_source(right)})"
    if may_fail(left):
        left, right = right, left
    return f"({_source(left)} {word} {_source(right)})"


def _test(kind: t.TextTest, subject: str, text: str) -> str:
    if kind == "startsWith":
        return f"{subject}.startswith({text})"
    if kind == "endsWith":
        return f"{subject}.endswith({text})"
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


def _checked(number: int) -> int:
    """CEL's whole numbers have 64 bits, and more is an error."""
    if t.INT_MIN <= number <= t.INT_MAX:
        return number
    raise Unevaluable


def _quotient(left: int, right: int) -> int:
    """Towards zero, as CEL divides; Python divides towards the smaller."""
    if right == 0:
        raise Unevaluable
    found = abs(left) // abs(right)
    return _checked(found if (left < 0) == (right < 0) else -found)


def _remainder(left: int, right: int) -> int:
    """What :func:`_quotient` leaves: it has the sign of ``left``."""
    if right == 0:
        raise Unevaluable
    found = abs(left) % abs(right)
    return -found if left < 0 else found


def _divided(left: float, right: float) -> float:
    """As IEEE 754 divides: by zero gives an infinity, or no number."""
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _matches(search: Callable[[str], object], text: str) -> bool:
    try:
        return search(text) is not None
    except UnicodeEncodeError as error:  # half a surrogate pair, which is no text to RE2
        raise Unevaluable from error


_FUNCTIONS: Mapping[str, object] = {
    "INFINITY": math.inf,
    "Unevaluable": Unevaluable,
    "len": len,
    "_fail": _fail,
    "_either": _either,
    "_both": _both,
    "_checked": _checked,
    "_quotient": _quotient,
    "_remainder": _remainder,
    "_divided": _divided,
    "_matches": _matches,
}
"""All that generated code may call, beside patterns."""
