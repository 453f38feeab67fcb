"""Other engines of CEL as oracles, and where they leave the specification.

An unknown fact is a variable that is not there: each engine makes an error of it, and absorbs errors in ``&&`` and
``||`` as the specification says. Where an engine differs from the specification (language definition of cel-spec),
it is not asked: :func:`may_ask_celpy` and :func:`may_ask_rust` say where, and the other one still is.
"""

from collections.abc import Mapping
from typing import Any

import cel
import celpy
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError

from policies.cel import Tree, Unevaluable, check_types, compile_tree, parse
from policies.cel import tree as t
from policies.cel.python import Value, pack
from policies.cel.schema import children_of, kind_of

FAILS = "fails"
"""What every engine answers where there is no answer."""
Outcome = bool | str


def ask_ours(tree: Tree, facts: Mapping[str, Value]) -> Outcome:
    """Our closure."""
    try:
        return compile_tree(tree)(*pack(facts))
    except Unevaluable:
        return FAILS


def ask_celpy(environment: celpy.Environment, text: str, facts: Mapping[str, Value]) -> Outcome:
    """cel-python's interpreter."""
    program = environment.program(environment.compile(text))
    activation = {name: json_to_cel(value) for name, value in nest(facts).items()}
    try:
        found = program.evaluate(activation)
    except CELEvalError:
        return FAILS
    return FAILS if isinstance(found, CELEvalError) else bool(found)


def ask_rust(text: str, facts: Mapping[str, Value]) -> Outcome:
    """The Rust interpreter."""
    try:
        found = cel.evaluate(text, nest(facts))
    except (RuntimeError, ArithmeticError, TypeError, KeyError):
        return FAILS  # ValueError, which it has for what it cannot parse, is let through
    assert isinstance(found, bool)
    return found


def nest(facts: Mapping[str, Value]) -> dict[str, Any]:
    """Facts by path as variables with members; who is unknown is left out."""
    nested: dict[str, Any] = {}
    for path, value in facts.items():
        *owners, name = path.split(".")
        at = nested
        for owner in owners:
            at = at.setdefault(owner, {})
        if value is not None:
            at[name] = sorted(value) if isinstance(value, frozenset) else value
    return nested


def checked(text: str) -> Tree:
    """The tree of ``text``, which has to fit the schema."""
    tree = parse(text)
    check_types(tree)
    return tree


def may_ask_celpy(tree: Tree, text: str) -> bool:
    """cel-python 0.5 holds that a NaN equals a NaN and orders them (specification: IEEE 754), so it is not asked
    where doubles are calculated; it does not compare whole numbers with fractions; and it misreads texts in
    triple quotes that hold a line break."""
    if '"""' in text:
        return False
    match tree:
        case t.Compare(_, left, right) if kind_of(left) == "double" or kind_of(right) == "double":
            if kind_of(left) != kind_of(right):
                return False
            if _calculates(left) or _calculates(right):
                return False
        case _:
            pass
    return all(may_ask_celpy(child, text) for child in children_of(tree))


def may_ask_rust(tree: Tree) -> bool:
    """The Rust engine (common-expression-language 0.10) counts bytes in ``size`` of a text (specification: code
    points), wraps around at ``-`` in front of the least number (specification: an error), and makes an error of an
    order with a NaN (specification: false)."""
    match tree:
        case t.Size(container) if kind_of(container) == "text":
            return False
        case t.Negate(operand) if kind_of(operand) == "int":
            return False
        case t.Compare(_, left, right) if _may_be_nan(left) or _may_be_nan(right):
            return False
        case _:
            return all(may_ask_rust(child) for child in children_of(tree))


def _may_be_nan(tree: Tree) -> bool:
    """Facts are finite: it takes a division, or a second calculation with an infinity."""
    if kind_of(tree) != "double" or not isinstance(tree, t.Arithmetic | t.Negate):
        return False
    if isinstance(tree, t.Arithmetic) and tree.operator == "/":
        return True
    return any(isinstance(child, t.Arithmetic) for child in children_of(tree))


def _calculates(tree: Tree) -> bool:
    return isinstance(tree, t.Arithmetic | t.Negate)
