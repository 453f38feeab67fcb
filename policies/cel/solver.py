"""Tree → formula: what an expression means for every value of its facts at once, for proofs.

Each truth has two formulas, where it holds and where it cannot be evaluated; ``&&`` and ``||`` absorb as CEL's
do. Promises: what has an exact formula means what the closure of :mod:`policies.cel.python` gives, doubles
included: a cost is whole nano-dollars, and its comparison with a constant is turned into the one on nano-dollars
that decides alike. What has none (patterns, arithmetic, costs beside other numbers) is left free and listed:
then what is proved is proved whatever it says, and a counterexample has to show itself in a real decision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import assert_never

from policies.cel import tree as t
from policies.cel.terms import (
    STRING_TESTS,
    Term,
    all_of,
    any_of,
    both,
    choose,
    count,
    either,
    fresh_boolean,
    fresh_real,
    length,
    lift,
    negate,
    same,
)
from policies.facts import COST_NANOUSD_MAX

NANO = 1e9
NANOUSD_MAX = COST_NANOUSD_MAX


@dataclass(frozen=True, slots=True)
class Truth:
    """Where it holds, and where it cannot be evaluated: never both."""

    holds: Term
    fails: Term = False


@dataclass(frozen=True, slots=True)
class Number:
    """``nano``: the value is whole nano-dollars, seen in dollars."""

    value: Term
    fails: Term = False
    nano: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A text: a constant, a term of strings, or, with ``words``, an index into them; a larger one is another
    text than any of them."""

    value: Term
    fails: Term = False
    words: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """A set: each word that may be in it, with where it is."""

    members: Mapping[str, Term]


@dataclass(frozen=True, slots=True)
class Constants:
    """A written list."""

    values: tuple[t.Plain, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """A choice between what no single term stands for; what is asked of it is asked of both sides."""

    condition: Truth
    yes: "Symbol"
    no: "Symbol"


Symbol = Truth | Number | Text | Words | Constants | Fork


@dataclass
class Formulas:
    """Makes formulas from trees. ``find`` gives the symbol of a fact; ``inexact`` collects what has no exact
    formula, in words, with the place in the document."""

    find: Callable[[str], Symbol]
    inexact: list[str] = field(default_factory=list[str])
    _path: str = ""

    def truth(self, tree: t.Tree, path: str = "") -> Truth:
        """``tree``, which has passed ``check_types`` as a truth and stands at ``path``."""
        self._path = path or self._path
        found = self.symbol(tree)
        if not isinstance(found, Truth):
            raise TypeError("this is no truth")
        return found

    def symbol(self, tree: t.Tree) -> Symbol:  # noqa: C901  # one case a node: a table, not a tangle
        """``tree`` for every value of its facts."""
        match tree:
            case t.Constant(value):
                return _constant(value)
            case t.Items(items):
                return Constants(tuple(item.value for item in items))
            case t.Name(path):
                return self.find(path)
            case t.Not(operand):
                inner = self.truth(operand)
                return Truth(both(negate(inner.holds), negate(inner.fails)), inner.fails)
            case t.Both(left, right):
                return _both(self.truth(left), self.truth(right))
            case t.Either(left, right):
                return _either(self.truth(left), self.truth(right))
            case t.Choice(condition, yes, no):
                return self._choice(self.truth(condition), self.symbol(yes), self.symbol(no))
            case t.Compare(operator, left, right):
                work = partial(self._compare, operator)
                return self._ask(work, self.symbol(left), self.symbol(right))
            case t.In(item, container):
                return self._ask(self._in, self.symbol(item), self.symbol(container))
            case t.Test(kind, subject, text):
                return self._ask(partial(self._test, kind), self.symbol(subject), self.symbol(text))
            case t.Size(container):
                return self._ask(self._size, self.symbol(container))
            case t.Arithmetic() | t.Negate():
                return self._free_number()
            case t.Matches(subject, pattern):
                return self._ask(partial(self._matches, pattern), self.symbol(subject))
            case _:
                assert_never(tree)

    def _ask(self, work: Callable[..., Symbol], *operands: Symbol) -> Symbol:
        """``work`` on ``operands``. All of these fail where an operand does, so a choice may be made behind them
        as well as before."""
        for at, one in enumerate(operands):
            if isinstance(one, Fork):
                yes, no = (
                    self._ask(work, *operands[:at], side, *operands[at + 1 :])
                    for side in (one.yes, one.no)
                )
                return self._choice(one.condition, yes, no)
        return work(*operands)

    def _leave_free(self, what: str, fails: Term) -> Truth:
        """A truth that nobody knows: what it stands for has no exact formula."""
        self._note(what)
        return Truth(both(fresh_boolean(), negate(fails)), fails)

    def _note(self, what: str) -> None:
        self.inexact.append(f"{what} in `{self._path}`" if self._path else what)

    def _free_number(self) -> Number:
        """A number that nobody knows, and that may not be one at all (an overflow, a division by zero)."""
        self._note("arithmetic")
        return Number(fresh_real(), fresh_boolean())

    def _matches(self, pattern: str, subject: Symbol) -> Truth:
        if not isinstance(subject, Text):
            raise TypeError("this test is about texts")
        search = t.compile_pattern(pattern)
        if isinstance(subject.value, str):
            try:
                return Truth(search(subject.value) is not None)
            except UnicodeEncodeError:
                return Truth(holds=False, fails=True)
        if subject.words is None:
            # a text may be no text to RE2 (half a surrogate pair), so this can fail too
            found = self._leave_free(f"the pattern `{pattern}`", subject.fails)
            failed = fresh_boolean()
            return Truth(both(found.holds, negate(failed)), either(found.fails, failed))
        fitting = [subject.value == at for at, word in enumerate(subject.words) if search(word)]
        return Truth(both(negate(subject.fails), any_of(fitting)), subject.fails)

    def _choice(self, condition: Truth, yes: Symbol, no: Symbol) -> Symbol:
        holds, fails = condition.holds, condition.fails
        if isinstance(yes, Truth) and isinstance(no, Truth):
            failed = either(fails, choose(holds, yes.fails, no.fails))
            return Truth(both(negate(failed), choose(holds, yes.holds, no.holds)), failed)
        if isinstance(yes, Number) and isinstance(no, Number) and yes.nano == no.nano:
            failed = either(fails, choose(holds, yes.fails, no.fails))
            return Number(choose(holds, yes.value, no.value), failed, yes.nano)
        return Fork(condition, yes, no)

    def _compare(self, operator: t.Comparison, left: Symbol, right: Symbol) -> Truth:
        if isinstance(left, Truth) and isinstance(right, Truth):
            fails = either(left.fails, right.fails)
            equal = same(left.holds, right.holds)
            wanted = equal if operator == "==" else negate(equal)
            return Truth(both(negate(fails), wanted), fails)
        if isinstance(left, Number) and isinstance(right, Number):
            fails = either(left.fails, right.fails)
            found = _compare_numbers(operator, left, right)
            if found is None:
                return self._leave_free("a cost beside a number that is no cost", fails)
            return Truth(both(negate(fails), found), fails)
        if isinstance(left, Text) and isinstance(right, Text):
            fails = either(left.fails, right.fails)
            if operator not in ("==", "!="):
                return self._leave_free(f"texts in order (`{operator}`)", fails)
            found = _equal_texts(left, right)
            if found is None:
                return self._leave_free("two texts of the request side by side", fails)
            wanted = found if operator == "==" else negate(found)
            return Truth(both(negate(fails), wanted), fails)
        raise TypeError(f"`{operator}` does not compare these")

    def _in(self, item: Symbol, container: Symbol) -> Truth:
        if isinstance(container, Constants):
            tests = [self._compare("==", item, _constant(value)) for value in container.values]
            fails = item.fails if isinstance(item, Number | Text) else False
            holds = any_of(test.holds for test in tests)
            return Truth(both(negate(fails), holds), fails)
        if isinstance(container, Words) and isinstance(item, Text):
            if isinstance(item.value, str):
                return Truth(container.members.get(item.value, False))
            tests = [
                both(self._compare("==", item, Text(word)).holds, is_in)
                for word, is_in in container.members.items()
            ]
            return Truth(both(negate(item.fails), any_of(tests)), item.fails)
        raise TypeError("`in` does not look into this")

    def _test(self, kind: str, subject: Symbol, text: Symbol) -> Truth:
        if not isinstance(subject, Text) or not isinstance(text, Text):
            raise TypeError("this test is about texts")
        if isinstance(subject.value, str) and isinstance(text.value, str):
            return Truth(_TESTS[kind](subject.value, text.value))
        fails = either(subject.fails, text.fails)
        if subject.words is not None and isinstance(text.value, str):
            fitting = [
                subject.value == at
                for at, word in enumerate(subject.words)
                if _TESTS[kind](word, text.value)
            ]
            return Truth(both(negate(fails), any_of(fitting)), fails)
        if subject.words is not None or text.words is not None:
            return self._leave_free(f"`{kind}` on a fact that has no text here", fails)
        whole, part = lift(subject.value), lift(text.value)
        found = STRING_TESTS[kind](whole, part)
        return Truth(both(negate(fails), found), fails)

    def _size(self, container: Symbol) -> Number:
        match container:
            case Words(members):
                return Number(count(members.values()))
            case Constants(values):
                return Number(len(set(values)))
            case Text(value=str() as value):
                return Number(len(value))
            case Text(value, fails, tuple() as words):
                sizes: Term = len(words[-1])
                for at, word in enumerate(words[:-1]):
                    sizes = choose(value == at, len(word), sizes)
                return Number(sizes, fails)
            case Text(words=None):
                return Number(length(container.value), container.fails)
            case _:
                raise TypeError("this has no size")


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": lambda whole, part: part in whole,
}


def _constant(value: t.Plain) -> Symbol:
    if isinstance(value, bool):
        return Truth(value)
    if isinstance(value, str):
        return Text(value)
    if value is None:
        raise TypeError("null stands for nothing here")
    return Number(value)


def _both(left: Truth, right: Truth) -> Truth:
    false = either(_is_false(left), _is_false(right))
    holds = both(left.holds, right.holds)
    return Truth(holds, both(negate(false), either(left.fails, right.fails)))


def _either(left: Truth, right: Truth) -> Truth:
    holds = either(left.holds, right.holds)
    return Truth(holds, both(negate(holds), either(left.fails, right.fails)))


def _is_false(truth: Truth) -> Term:
    return both(negate(truth.holds), negate(truth.fails))


def _equal_texts(left: Text, right: Text) -> Term | None:
    """Whether two texts are the same; None where they have no formula together."""
    if isinstance(left.value, str) and isinstance(right.value, str):
        return left.value == right.value
    if isinstance(left.value, str):
        left, right = right, left
    if isinstance(right.value, str):
        if left.words is None:
            return left.value == lift(right.value)
        known = right.value in left.words
        return left.value == left.words.index(right.value) if known else False
    if left.words is None and right.words is None:
        return left.value == right.value
    return None


def _compare_numbers(operator: t.Comparison, left: Number, right: Number) -> Term | None:
    if left.nano and right.nano:
        return _order(operator, left.value, right.value)
    if left.nano and isinstance(right.value, int | float):
        return _compare_cost(operator, left.value, float(right.value))
    if right.nano and isinstance(left.value, int | float):
        return _compare_cost(_TURNED[operator], right.value, float(left.value))
    if left.nano or right.nano:
        return None
    return _order(operator, left.value, right.value)


_TURNED: Mapping[t.Comparison, t.Comparison] = {
    "==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<=",
}  # fmt: skip


def _order(operator: t.Comparison, left: Term, right: Term) -> Term:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        left, right = lift(left), lift(right)
    match operator:
        case "==":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case _:
            assert_never(operator)


def _compare_cost(operator: t.Comparison, nano: Term, dollars: float) -> Term:
    """``nano / 1e9 operator dollars`` as doubles compare it, on whole nano-dollars."""
    most = _last(lambda amount: amount / NANO <= dollars, dollars)
    below = _last(lambda amount: amount / NANO < dollars, dollars)
    match operator:
        case "<=":
            return nano <= most
        case "<":
            return nano <= below
        case ">":
            return nano > most
        case ">=":
            return nano > below
        case "==":
            return all_of((nano > below, nano <= most))
        case "!=":
            return any_of((nano <= below, nano > most))
        case _:
            assert_never(operator)


def _last(holds: Callable[[int], bool], dollars: float) -> int:
    """The last amount for which ``holds``, which is true up to somewhere around ``dollars`` and false behind."""
    if dollars < 0:
        return -1
    at = min(int(Fraction(min(dollars, 1e9)) * 10**9), 10 * NANOUSD_MAX) + 2
    while at >= 0 and not holds(at):
        at -= 1
    return at
