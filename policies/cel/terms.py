"""What formulas are made of: terms of Z3, folded where a part is plainly true or false.

The only module beside :mod:`policies.proofs` that imports Z3, which takes 0.3 s and 60 MB: nothing that serves
requests imports it.
"""

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

import z3

Term = Any
"""A term of Z3, or a Python ``bool`` or number that is one already: the stubs of Z3 do not tell them apart."""


def boolean(name: str) -> Term:
    """A truth value that is free."""
    return z3.Bool(name)


def integer(name: str) -> Term:
    """A whole number that is free."""
    return z3.Int(name)


def real(name: str) -> Term:
    """A number that is free."""
    return z3.Real(name)


def string(name: str) -> Term:
    """A text that is free."""
    return z3.String(name)


def fresh_boolean() -> Term:
    """A truth value that is free, and no other's."""
    return z3.FreshBool("free")


def fresh_real() -> Term:
    """A number that is free, and no other's."""
    return z3.FreshReal("free")


def both(*parts: Term) -> Term:
    """All of ``parts``."""
    return all_of(parts)


def either(*parts: Term) -> Term:
    """One of ``parts``."""
    return any_of(parts)


def all_of(parts: Iterable[Term]) -> Term:
    """The conjunction, folded."""
    left: list[Term] = []
    for part in parts:
        if part is False:
            return False
        if part is not True:
            left.append(part)
    if not left:
        return True
    return left[0] if len(left) == 1 else z3.And(*left)


def any_of(parts: Iterable[Term]) -> Term:
    """The disjunction, folded."""
    left: list[Term] = []
    for part in parts:
        if part is True:
            return True
        if part is not False:
            left.append(part)
    if not left:
        return False
    return left[0] if len(left) == 1 else z3.Or(*left)


def negate(part: Term) -> Term:
    """The opposite."""
    return not part if isinstance(part, bool) else z3.Not(part)


def choose(condition: Term, yes: Term, no: Term) -> Term:
    """``yes`` where ``condition`` holds."""
    if isinstance(condition, bool):
        return yes if condition else no
    if isinstance(yes, bool) and isinstance(no, bool):
        if yes == no:
            return yes
        return condition if yes else z3.Not(condition)
    return z3.If(condition, lift(yes), lift(no))


def same(left: Term, right: Term) -> Term:
    """Whether two truth values are the same."""
    if isinstance(left, bool):
        return right if left else negate(right)
    if isinstance(right, bool):
        return left if right else negate(left)
    return left == right


def lift(value: Term) -> Term:
    """A constant of Python as a term."""
    if isinstance(value, bool):
        return z3.BoolVal(value)
    if isinstance(value, int):
        return z3.IntVal(value)
    if isinstance(value, float):
        fraction = Fraction(value)
        return z3.Q(fraction.numerator, fraction.denominator)
    if isinstance(value, str):
        return z3.StringVal(value)
    return value


def more_than(parts: Iterable[Term], most: int) -> Term:
    """Whether more than ``most`` of ``parts`` hold."""
    left, known = list[Term](), 0
    for part in parts:
        if part is True:
            known += 1
        elif part is not False:
            left.append(part)
    if known > most:
        return True
    return z3.AtLeast(*left, most + 1 - known) if known + len(left) > most else False


def count(parts: Iterable[Term]) -> Term:
    """How many of ``parts`` hold."""
    known, open_ones = 0, []
    for part in parts:
        if isinstance(part, bool):
            known += part
        else:
            open_ones.append(part)
    if not open_ones:
        return known
    return z3.Sum([*(z3.If(part, 1, 0) for part in open_ones), z3.IntVal(known)])


def length(text: Term) -> Term:
    """How many characters a text has."""
    return z3.Length(text)


STRING_TESTS: Mapping[str, Callable[[Term, Term], Term]] = {
    "startsWith": lambda whole, part: z3.PrefixOf(part, whole),
    "endsWith": lambda whole, part: z3.SuffixOf(part, whole),
    "contains": z3.Contains,
}
"""What may be asked of a text about another, by its name in CEL: first the whole, then the part."""
