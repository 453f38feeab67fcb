"""Escapes of JSON hide nothing, however deep the JSON stands."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.classify import Classifier
from policies.classify.escapes import LEVELS_MAX, unescape, unescaped
from policies.facts import Segment

SHARED = Classifier()
VALUES = [
    "4111 1111 1111 1111", "DE89370400440532013000", "AKIAIOSFODNN7EXAMPLA", "(415) 555-2671", "078-05-1120",
    "anna.schmidt@firma-beispiel.de", "ghp_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5",
]  # fmt: skip


def unescape_plainly(text: str) -> str:
    """The same, one escape after the other. A NUL becomes the next control."""
    simple = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}

    def replace(found: re.Match[str]) -> str:
        code, mark = found.groups()
        return chr(int(code, 16) or 1) if code else simple.get(mark, mark)

    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|(.)|\Z)", replace, text, flags=re.DOTALL)


@pytest.mark.parametrize("control", ["\\u0000", "\\u0001", "\\u200b"])
def test_escaped_control_hides_nothing(control: str) -> None:
    """It shows as nothing, and glues no letter to a backslash."""
    text = f'{{"to": "jo@exam{control}nple.com", "card": "4111 1111{control} 1111 1111"}}'
    found = SHARED.scan([Segment("tool", "tool_result", text)]).found
    assert {"pii.email", "pii.card"} <= found


@pytest.mark.parametrize("depth", range(LEVELS_MAX + 1))
@pytest.mark.parametrize("value", VALUES)
def test_value_in_json_is_found(value: str, depth: int) -> None:
    """A result, an argument or a pasted text that is JSON, or JSON in JSON: as plain as without."""
    text = f"Payment data:\n{value}\n\u2013 thanks"
    plain = SHARED.scan([Segment("user", "text", text)]).found
    for _ in range(depth):
        text = json.dumps({"note": text})
    found = SHARED.scan([Segment("tool", "tool_result", f"see {text}")]).found
    assert plain
    assert found >= plain


@given(st.text(max_size=40), st.integers(min_value=1, max_value=LEVELS_MAX))
def test_json_is_undone_to_what_was_written(text: str, depth: int) -> None:
    """Level by level, as a JSON reader would, up to the last one."""
    said = text.replace("\0", "")
    for _ in range(depth):
        said = json.dumps(said)[1:-1]
    levels = [said, *unescaped(said)]
    assert text.replace("\0", "").encode("utf-16", "surrogatepass") in [
        level.encode("utf-16", "surrogatepass") for level in levels
    ]


@given(st.text(alphabet='\\"nux04d/\n é', max_size=30))
@example(r"\u0000n")
@example(r"\u\u00000000")
def test_any_text_is_read(text: str) -> None:
    """Also where it is no JSON: half an escape, one that does not exist, a lone backslash."""
    assert unescape(text) == unescape_plainly(text)
    assert all(len(level) <= len(text) for level in unescaped(text))
