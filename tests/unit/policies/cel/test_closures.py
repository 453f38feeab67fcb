"""Our compiler against cel-python's interpreter, and what an unknown fact does."""

import sys
from typing import Any

import celpy
import celpy.celtypes as ct
import pytest
from celpy.adapter import json_to_cel
from hypothesis import given
from hypothesis import strategies as st

from policies.cel import CelError, Unevaluable, check_types, compile_tree, parse
from policies.cel.python import pack

FACTS: dict[str, Any] = {
    "request.model": "gpt-5.5",
    "request.is_stream": True,
    "request.input_tokens": 1200,
    "request.data_class": "internal",
    "tenant.residency": "eu",
    "target.trains_on_inputs": False,
    "quality": 0.8,
    "labels": frozenset({"personal"}),
}
# Made once, and the limit it sets for all of Python taken back.
LIMIT = sys.getrecursionlimit()
ENVIRONMENT = celpy.Environment()
sys.setrecursionlimit(LIMIT)

texts = st.sampled_from(["request.model", "tenant.residency", '"gpt-5.5"', '"eu"', '""'])
numbers = st.sampled_from(["request.input_tokens", "1200", "-3", "0"])
reals = st.sampled_from(["quality", "0.8", "-0.5"])
atoms = st.one_of(
    st.sampled_from(
        ["true", "false", "request.is_stream", "target.trains_on_inputs", '"personal" in labels']
    ),
    st.builds("{} {} {}".format, texts, st.sampled_from(["==", "!=", "<"]), texts),
    st.builds("{} {} {}".format, numbers, st.sampled_from(["==", "<=", ">"]), numbers),
    st.builds("{} {} {}".format, reals, st.sampled_from([">=", "!=", "<"]), reals),
    st.builds('{}.{}("{}")'.format, texts, st.sampled_from(["startsWith", "endsWith", "contains"]),
              st.sampled_from(["gpt", "u", ""])),
    st.builds('{} in ["eu", "gpt-5.5"]'.format, texts),
)  # fmt: skip
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("!({})".format, inner),
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=8,
)


def oracle(text: str) -> bool:
    """What cel-python makes of it."""
    nested: dict[str, Any] = {}
    for path, value in FACTS.items():
        *owners, name = path.split(".")
        at = nested
        for owner in owners:
            at = at.setdefault(owner, {})
        at[name] = sorted(value) if isinstance(value, frozenset) else value
    program = ENVIRONMENT.program(ENVIRONMENT.compile(text))
    activation = {name: json_to_cel(value) for name, value in nested.items()}
    return bool(program.evaluate(activation) == ct.BoolType(True))


def ours(text: str, facts: dict[str, Any]) -> bool:
    tree = parse(text)
    check_types(tree)
    return bool(compile_tree(tree)(*pack(facts)))


@given(expressions)
def test_closures_agree_with_the_interpreter(text: str) -> None:
    """Over random expressions without unknown facts."""
    assert ours(text, FACTS) == oracle(text)


@given(expressions, st.sampled_from(["quality", "target.trains_on_inputs"]))
def test_an_unknown_fact_decides_nothing(text: str, lost: str) -> None:
    """With a fact unknown, an expression gives what every value of it would give, or nothing."""
    try:
        found = ours(text, FACTS | {lost: None})
    except Unevaluable:
        return
    values = [True, False] if lost == "target.trains_on_inputs" else [-1.0, -0.5, 0.0, 0.8, 2.0]
    assert {ours(text, FACTS | {lost: value}) for value in values} == {found}


@pytest.mark.parametrize(
    "text",
    [
        "", "(", "[1, 2].map(x, x)", "has(target.region)", "{'a': 1}", 'labels["a"]',
        "request.nothing", "request", "quality == 'x'", "labels == 3", "1", '"a"', "timestamp('x')",
        "request.model < 3", "true < false", "b'bytes' == b'x'", "size(3) > 1", "3 in labels",
    ],
)  # fmt: skip
def test_what_policies_do_not_know_is_refused(text: str) -> None:
    """Macros, maps, times, unknown facts and types that do not fit: an error, never a guess."""
    with pytest.raises(CelError):
        check_types(parse(text))
