"""A policy document is understood as a whole, or refused with its line and column."""

import re
import time
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from policies.check import check
from policies.compile import compile_policy
from policies.document import PolicyError, parse_policy
from tests.unit.policies.bad_documents import BAD, GOOD, Bad

DEFAULTS = sorted(
    str(entry.name) for entry in (files("policies") / "defaults").iterdir()
    if entry.name.endswith(".yaml")
)  # fmt: skip


def refuse(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, source="p.yaml")
    return caught.value


@pytest.mark.parametrize("name", DEFAULTS)
def test_shipped_policies_keep_their_own_examples(name: str) -> None:
    """What is shipped parses, compiles, and decides as it says."""
    text = (files("policies") / "defaults" / name).read_text()
    document = parse_policy(text, source=name)
    report = check(document, ())
    assert report.is_ok, report.lines()
    assert report.examples >= 3
    assert compile_policy(document, ()).document is document


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.kind)
def test_bad_documents_end_in_one_line(bad: Bad) -> None:
    """What is wrong, what was meant where that can be guessed, and the place; no word of the reader's libraries."""
    error = refuse(bad.text)
    assert bad.words in error.message
    assert error.line == bad.line
    assert str(error).startswith(f"p.yaml:{bad.line}:{error.column}: ")
    assert str(error).isprintable()


def test_bad_documents_cost_no_time() -> None:
    """Bombs of every kind are refused before they go off."""
    began = time.process_time()
    for bad in BAD:
        refuse(bad.text)
    assert time.process_time() - began < 10.0


def test_the_documented_policy_works() -> None:
    """The example of the documentation keeps its own examples."""
    page = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
    (text,) = re.findall(r"^```yaml\n(policy: .*?)^```", page, re.MULTILINE | re.DOTALL)
    report = check(parse_policy(text, source="policies.md"), ())
    assert report.is_ok, report.lines()
    assert report.examples == 2


def test_detectors_that_do_not_exist_are_named() -> None:
    """A label whose detector is misspelled would never be set: a check refuses it."""
    report = check(parse_policy(GOOD.replace("pii.email", "pii.emial"), source="p"), ())
    assert not report.is_ok
    assert "pii.emial" in "\n".join(report.lines())


def test_a_document_that_parses_is_valid_yaml(tmp_path: Path) -> None:
    """The good one above is one; so the refusals above are for what was changed."""
    document = parse_policy(GOOD, source=str(tmp_path))
    assert document.data.constraints[0].name == yaml.safe_load(GOOD)["constraints"][0]["name"]
