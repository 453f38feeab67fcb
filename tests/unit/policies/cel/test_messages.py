"""What a mistake in an expression is called, and where it is said to stand."""

import pytest

from policies.document import PolicyError, parse_policy

HEAD = "policy: p\nconstraints:\n  - name: n\n    require: "


@pytest.mark.parametrize(
    ("written", "line", "column", "said"),
    [
        ("target.boundry == 'x'", 4, 14, "did you mean `target.boundary`?"),
        ("'target.boundry == ''x'''", 4, 15, "did you mean `target.boundary`?"),
        ("''''' == ''a'' && boundary == ''x'''", 4, 32, "did you mean `target.boundary`?"),
        ("'''a'' in labells'", 4, 24, "did you mean `labels`?"),
        ("\"\\\"a\\\" == 'a' && boundary == 'x'\"", 4, 31, "did you mean `target.boundary`?"),
        ("|\n      true ||\n        boundary == 'x'", 6, 9, "did you mean `target.boundary`?"),
        (">-\n      true ||\n      boundary == 'x'", 6, 7, "did you mean `target.boundary`?"),
        ("true &&\n      boundary == 'x'", 5, 7, "did you mean `target.boundary`?"),
        ("true && quality + 1 > 2", 4, 32, "write `1.0`"),
        ("quality = 2", 4, 22, "did you mean `==`?"),
        ("true and false", 4, 19, "write `&&`"),
        ("request.model.startswith('a')", 4, 14, "did you mean `startsWith`?"),
        ("request.model.matches('a(')", 4, 36, "RE2 does not take this pattern"),
        ("request.model.matches('(a{999}){999}')", 4, 36, "RE2 does not take this pattern"),
        ("request.model.matches(tenant.key)", 4, 36, "a constant text"),
        ("labels.exists(x, x == 'a')", 4, 14, "there are no macros"),
        ("timestamp('x') > 3", 4, 14, "`clock.hour`"),
        ("clock.hour > 1u", 4, 27, "write `1`"),
        ("clock.hour > 9223372036854775808", 4, 27, "64 bits"),
        ("quality > 1e999", 4, 24, "no finite number"),
        ("quality % 2.0 > 1.0", 4, 14, "`%` is for whole numbers"),
        ("'request.model == \"\\q\"'", 4, 32, "CEL has no escape"),
        ("'request.model == \"\\ud800\"'", 4, 32, "is no character"),
        ("-quality", 4, 15, "true or false is needed"),
        ("task == 'Code'", 4, 14, "tasks are words of lower-case letters"),
        ("task in ['code', 'write code']", 4, 14, "`write code` is nothing that `task` can be"),
        ("size(quality) > 1", 4, 19, "`size` needs a list or text"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_where_it_stands(
    written: str, line: int, column: int, said: str
) -> None:
    """In every way YAML has to write a text, with a hint where one is near."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(f"{HEAD}{written}\n", source="p")
    assert said in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize("word", ["code", "a", "x-1.b_c", "a" * 40])
def test_every_task_that_a_caller_can_name_may_be_spoken_of(word: str) -> None:
    """Also the shortest and the longest."""
    parse_policy(f"{HEAD}task == '{word}'\n", source="p")


@pytest.mark.parametrize(
    "inner",
    ["!({})", "({} && true)", "(true ? {} : false)", "({} || quality > 0.5)"],
)
def test_what_nests_as_deep_as_allowed_compiles(inner: str) -> None:
    """The Python that is generated is not deeper than Python reads."""
    text = "quality > 0.1"
    for _ in range(45):
        text = inner.format(text)
    parse_policy(f"{HEAD}'{text}'\n", source="p")
