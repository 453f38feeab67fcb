"""Our compiler beside cel-python, the Rust engine and the tests' own evaluator; and mutants that they notice."""

import sys
from collections.abc import Callable, Iterable

import celpy
import pytest

from policies.cel import Tree, Unevaluable, python
from tests.unit.policies import naive
from tests.unit.policies.cel.engines import (
    FAILS,
    Outcome,
    ask_celpy,
    ask_ours,
    ask_rust,
    checked,
    may_ask_celpy,
    may_ask_rust,
)
from tests.unit.policies.cel.expressions import Writer

# Made once, and the limit it sets for all of Python taken back.
LIMIT = sys.getrecursionlimit()
ENVIRONMENT = celpy.Environment()
sys.setrecursionlimit(LIMIT)


def find_differences(seeds: Iterable[int]) -> list[str]:
    """Where ours and another differ; ours is asked first, so that a mutant shows."""
    found: list[str] = []
    for seed in seeds:
        writer = Writer(seed)
        text, facts = writer.truth(3), writer.facts()
        tree = checked(text)
        ours = ask_ours(tree, facts)
        others: dict[str, Outcome] = {}
        if may_ask_celpy(tree, text):
            others["celpy"] = ask_celpy(ENVIRONMENT, text, facts)
        if may_ask_rust(tree):
            others["rust"] = ask_rust(text, facts)
        found += [
            f"{text}: ours {ours}, {name} {its}" for name, its in others.items() if its != ours
        ]
    return found


def find_differences_from_naive(seeds: Iterable[int]) -> list[str]:
    """As above, beside the evaluator of the tests, which knows everything and is quick."""
    found: list[str] = []
    for seed in seeds:
        writer = Writer(seed)
        text, facts = writer.truth(3), writer.facts()
        tree = checked(text)
        labels = facts["labels"]
        assert isinstance(labels, frozenset)
        plain = naive.evaluate(tree, naive.World(facts, labels))
        ours = ask_ours(tree, facts)
        if (FAILS if plain is None else plain) != ours:
            found.append(text)
    return found


def test_closures_agree_with_other_engines() -> None:
    """Over 150 expressions and facts, errors included, wherever the others keep to the specification."""
    assert find_differences(range(150)) == []


def test_closures_agree_with_the_plain_evaluator() -> None:
    """Over 3,000 expressions and facts, errors included."""
    assert find_differences_from_naive(range(3000)) == []


@pytest.mark.full
def test_closures_agree_with_other_engines_at_length() -> None:
    """Over 3,000 more."""
    assert find_differences(range(1000, 4000)) == []


Source = Callable[[Tree], str]


def _lazy(word: str) -> Callable[..., bool]:
    """A guard that does not absorb: the left side's failure is the whole's."""

    def run(left: Callable[[], bool], right: Callable[[], bool]) -> bool:
        return (left() or right()) if word == "or" else (left() and right())

    return run


def _wrong(_left: Callable[[], bool], right: Callable[[], bool]) -> bool:
    return right()


def _never_fails() -> bool:
    return False


SOURCES: dict[str, tuple[str, str]] = {
    "< is <=": (" < ", " <= "),
    ">= is >": (" >= ", " > "),
    "== is !=": (" == ", " != "),
    "and is or": (" and ", " or "),
    "or is and": (" or ", " and "),
    "not is dropped": ("(not ", "("),
    "startsWith is endsWith": (".startswith(", ".endswith("),
    "in is ==": (" in ", " == "),
    "+ is -": (" + ", " - "),
    "int division is the double's": ("_quotient(", "_divided("),
}
FUNCTIONS: dict[str, tuple[str, object]] = {
    "an unknown fact is false": ("_fail", _never_fails),
    "|| does not absorb": ("_either", _lazy("or")),
    "&& does not absorb": ("_both", _lazy("and")),
    "|| forgets its left": ("_either", _wrong),
    "int overflow passes": ("_checked", lambda number: number),
    "% has Python's sign": ("_remainder", lambda left, right: left % (right or 1)),
    "/ rounds down": ("_quotient", lambda left, right: left // (right or 1)),
    "patterns match all": ("_matches", lambda search, text: True),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_generator_that_writes_something_else_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slip in the text that the generator makes shows as a difference."""
    good: Source = python.__dict__["_source"]
    old, new = SOURCES[name]
    monkeypatch.setattr(python, "_source", lambda node: good(node).replace(old, new))
    assert notices()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_does_something_else_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slip in what generated code calls shows as a difference."""
    called, wrong = FUNCTIONS[name]
    monkeypatch.setattr(python, "_FUNCTIONS", {**python.__dict__["_FUNCTIONS"], called: wrong})
    assert notices()


def notices() -> bool:
    """Whether one of the first 3,000 expressions differs from the plain evaluator."""
    for start in range(0, 3000, 20):
        try:
            if find_differences_from_naive(range(start, start + 20)):
                return True
        except (Unevaluable, TypeError, ZeroDivisionError):
            return True
    return False
