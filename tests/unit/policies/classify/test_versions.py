"""Versions of the rule set: what counts as another way of looking, and the list of those there were."""

import importlib.util
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.classify import RULES, Classifier, versions
from policies.classify.rules import Rule
from policies.classify.versions import (
    digest_rules,
    digest_types,
    known_versions,
    parse_rows,
    read_rows,
)

ROOT = Path(__file__).resolve().parents[4]
PATH = "policies/classify/versions.json"
CODE = """
import re
from itertools import chain

LIMIT = 3


def inner(text):
    return len(text) > LIMIT


def unrelated():
    return 1


def check(whole, value):
    return inner(value) and bool(re.search("a", whole))
"""


def test_present_rules_stand_in_the_list() -> None:
    """Whoever changes a detector, or a library that it uses, adds a row."""
    types = digest_types(RULES)
    rows = {row.rules: row.types for row in read_rows()}
    assert rows.get(digest_rules(types)) == dict(types), (
        "detectors have changed: run `python tools/record_detectors.py`"
    )
    assert known_versions()[Classifier().version] == dict(Classifier().digests)


def test_rows_are_whole_and_told_apart() -> None:
    """A row that was changed by hand does not fit its own digest, and none stands there twice."""
    rows = read_rows()
    assert [row.rules for row in rows] == [digest_rules(row.types) for row in rows]
    assert len({row.rules for row in rows}) == len(rows)


def test_rows_are_only_ever_added() -> None:
    """Every row that was ever committed stands in the list as it was."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return  # an unpacked release has no history, and the same list as its repository

    def ask(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout

    present = read_rows()
    for commit in ask("log", "--format=%H", "--diff-filter=AM", "--", PATH).decode().split():
        earlier = parse_rows(ask("show", f"{commit}:{PATH}"))
        assert present[: len(earlier)] == earlier, commit


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        ("LIMIT = 3", "LIMIT = 3  # why", True),
        ("    return inner(value)", '    """Says."""\n    return inner( value )', True),
        ("return 1", "return 2", True),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("len(text) > LIMIT", "len(text) >= LIMIT", False),
        ('"a"', '"b"', False),
        ("import re\n", "import json as re\n", False),
    ],
)
def test_digest_follows_what_a_check_does(
    tmp_path: Path, old: str, new: str, is_same: bool
) -> None:
    """The code of a check and all that it needs counts, its words, layout and neighbours do not."""
    assert old in CODE

    def digest(name: str, code: str) -> str:
        check = load(tmp_path, f"{tmp_path.name.replace('-', '_')}_{name}", code)
        return digest_types((Rule("a", "a", check),))["a"]

    assert (digest("old", CODE) == digest("new", CODE.replace(old, new))) is is_same


def load(folder: Path, name: str, code: str) -> Callable[[str, str], bool]:
    """The function ``check`` of a module made of ``code``."""
    path = folder / f"{name}.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.check


def test_other_pattern_changes_its_type_alone() -> None:
    """Whoever narrows one type leaves the records of the others decidable."""
    kinds = [rule.kind for rule in RULES]
    at = kinds.index("pii.iban")
    changed = (*RULES[:at], RULES[at]._replace(pattern="x"), *RULES[at + 1 :])
    before, after = digest_types(RULES), digest_types(changed)
    assert {kind for kind in before if before[kind] != after[kind]} == {"pii.iban"}


def test_other_library_changes_the_types_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """New plans of telephone numbers find others."""
    before, version = digest_types(RULES), versions.version
    monkeypatch.setattr(
        versions, "version", lambda name: "0" if name == "phonenumbers" else version(name)
    )
    digest_types.cache_clear()
    after = digest_types(RULES)
    digest_types.cache_clear()
    assert {kind for kind in before if before[kind] != after[kind]} == {"pii.phone"}


def test_version_names_unicode_too() -> None:
    """Texts are folded by the tables that Python brings along."""
    assert Classifier().version.endswith(f"/{unicodedata.unidata_version}")
