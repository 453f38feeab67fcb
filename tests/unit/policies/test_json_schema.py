"""Editors get a JSON Schema that takes every good document, and refuses what is bad in its structure."""

import copy
import json
import random
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from policies.check import check
from policies.classify import Classifier
from policies.document import PolicyError, parse_policy
from policies.facts import DATA_CLASSES, FAILURE_WORDS
from policies.json_schema import render_schema
from policies.members import DocumentData
from tests.unit.policies import small
from tests.unit.policies.bad_documents import BAD, GOOD, Bad
from tests.unit.policies.test_examples import DOCUMENT, PAGE

SCHEMA: dict[str, Any] = json.loads(render_schema())
VALIDATOR = Draft202012Validator(SCHEMA)
DEFAULTS = sorted(
    entry.name for entry in (files("policies") / "defaults").iterdir()
    if entry.name.endswith(".yaml")
)  # fmt: skip


def errors(document: Any) -> list[str]:
    """What the schema has against it."""
    return [one.message for one in VALIDATOR.iter_errors(document)]


def test_it_is_a_schema() -> None:
    """Of the dialect that it names."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$schema"]


@pytest.mark.parametrize("name", DEFAULTS)
def test_shipped_policies_are_taken(name: str) -> None:
    """Each of them, as it stands."""
    text = (files("policies") / "defaults" / name).read_text(encoding="utf-8")
    assert errors(yaml.safe_load(text)) == []
    assert "$schema" not in text


def test_other_good_documents_are_taken() -> None:
    """Those of the tests and of the page, members left empty, and random ones."""
    page = PAGE.partition("```yaml\npolicy: ")[2].partition("```")[0]
    for text in (GOOD, json.dumps(DOCUMENT), f"policy: {page}", "policy: p"):
        assert errors(yaml.safe_load(text)) == [], text
    empty = {"minimize": "quality", "maximize": None, "when": None}
    assert errors({"policy": "p", "objective": [empty]}) == []
    assert errors({"policy": "p", "labels": {"a": {"detect": ["secret.git*"], "when": None}}}) == []
    for number in range(50):
        text = small.policy_text(random.Random(number))
        assert [one for one in errors(yaml.safe_load(text)) if "'x." not in one] == [], text


@pytest.mark.parametrize("bad", [one for one in BAD if one.by_structure], ids=lambda bad: bad.kind)
def test_what_is_bad_by_structure_is_refused(bad: Bad) -> None:
    """Members, types, words and bounds: an editor underlines what the reader refuses."""
    assert errors(bad.values())


NAMES = ("when", "never", "detect", "lost", "hour", "needs", "refused", "unknown", "quality", "zzz")
VALUES: tuple[Any, ...] = (
    None, True, 3, 0, -1, 0.5, 1e9, "", "x", "unknown", "auto", [], ["x"], ["pii.*"], {}, {"x": 1}, {"when": "true"},
)  # fmt: skip


def places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Every list and mapping within, with each of its places."""
    for at in part if isinstance(part, dict) else range(len(part)):
        yield part, at
        if isinstance(part[at], dict | list):
            yield from places(part[at])


def distort(document: dict[str, Any], dice: random.Random) -> None:
    """Take something away, put something else there, or add a member."""
    part, at = dice.choice(list(places(document)))
    how = dice.random()
    if how < 0.2:
        del part[at]
    elif how < 0.4 and isinstance(part, dict):
        part[dice.choice(NAMES)] = dice.choice(VALUES)
    else:
        part[at] = dice.choice(VALUES)


def test_schema_and_reader_refuse_the_same() -> None:
    """Shipped documents with a random change: the schema sees all that is wrong with members, types, words and
    bounds, and refuses nothing that a check takes."""
    documents = [
        yaml.safe_load((files("policies") / "defaults" / name).read_text(encoding="utf-8"))
        for name in DEFAULTS
    ]
    refused = 0
    for seed in range(400):
        dice = random.Random(seed)
        document = copy.deepcopy(dice.choice(documents))
        distort(document, dice)
        if VALIDATOR.is_valid(document):
            msgspec.convert(document, DocumentData)
        else:
            refused += 1
            assert not is_taken(document), (seed, errors(document))
    assert 200 < refused < 400


def is_taken(document: object) -> bool:
    """Whether a check takes it; what has the wrong type never comes to one."""
    try:
        msgspec.convert(document, DocumentData)
        return check(parse_policy(json.dumps(document), source="p"), ()).is_ok
    except (msgspec.ValidationError, PolicyError):
        return False


def test_types_that_no_detector_finds_are_refused() -> None:
    """As a check does; a prefix is taken."""
    for kind, is_type in (*((one, True) for one in Classifier().types), ("pii.emial", False)):
        assert (errors({"policy": "p", "labels": {"a": {"detect": [kind]}}}) == []) is is_type


def nodes(part: object) -> Iterator[dict[str, Any]]:
    """Every object of the schema."""
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from nodes(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from nodes(inner)


def test_editors_have_something_to_say_and_to_offer() -> None:
    """Each struct and member is described, no other member is taken, closed sets are listed, and nothing is
    fetched."""
    for name, part in SCHEMA["$defs"].items():
        assert part["description"], name
        assert part["additionalProperties"] is False, name
        assert all(member.get("description") for member in part["properties"].values()), name
    listed = [set(node["enum"]) for node in nodes(SCHEMA) if "enum" in node]
    for words in (DATA_CLASSES, FAILURE_WORDS, ("any", "self_hosted", "refuse"), ("unknown",)):
        assert set(words) in listed
    detected = {*Classifier().types, "pii.*", "secret.*"}
    assert detected in listed
    refs = {node["$ref"] for node in nodes(SCHEMA) if "$ref" in node}
    assert all(ref.startswith("#/$defs/") for ref in refs)
