"""A policy document is understood as a whole, or refused with its line and column."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from policies.check import check
from policies.compile import compile_policy
from policies.document import PolicyError, parse_policy

DEFAULTS = sorted(
    str(entry.name) for entry in (files("policies") / "defaults").iterdir()
    if entry.name.endswith(".yaml")
)  # fmt: skip
GOOD = """policy: p
labels:
  personal: {detect: [pii.email]}
constraints:
  - name: home
    when: '"personal" in labels'
    require: 'target.boundary == "self_hosted"'
"""


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


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("constraints:", "constraint:", 4, "constraints"),
        ("require:", "requires:", 5, "require"),
        ('"personal" in labels', '"personl" in labels', 6, "personl"),
        ('"personal" in labels', '"personal" in', 6, "not a CEL expression"),
        ("target.boundary ==", "target.boundry ==", 7, "target.boundary"),
        ('== "self_hosted"', "== 3", 7, "cannot compare"),
        ('== "self_hosted"', '== "selfhosted"', 7, "self_hosted"),
        ('"personal" in labels', '"imges" in request.needs', 6, "did you mean `images`"),
        ('target.boundary == "self_hosted"', '"tols" in target.capabilities', 7, "`tools`"),
        ('target.boundary == "self_hosted"', '"7" in target.capabilities', 7, "json_schema"),
        ("target.boundary ==", "1 + 1 ==", 7, "cannot compare a whole number with text"),
        ("target.boundary ==", "target.boundary =", 7, "expression: did you mean `==`"),
        ("target.boundary ==", "!(target.boundary ==", 7, "not a CEL expression"),
        ("policy: p", "policy: [p", 1, "YAML"),
        ("policy: p", "policy: p\\npolicy: q", 1, "twice"),
        ("name: home", "name: home\\n    require: 'true'\\n  - name: home", 7, "two constraints"),
    ],
)
def test_mistakes_have_a_place(old: str, new: str, line: int, words: str) -> None:
    """Each with the line it stands in, and what was meant where that can be guessed."""
    text = GOOD.replace(old, new.replace("\\n", "\n"))
    assert text != GOOD
    error = refuse(text)
    assert words in error.message, error.message
    assert str(error).startswith(f"p.yaml:{error.line}:{error.column}: ")
    assert not line or abs(error.line - line) <= 2, error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unscannable: maybe", "`maybe` is nothing that `unscannable` can be; there are any, self_hosted, refuse"),
        ("cache: {sampled: 'yes'}", "`cache.sampled` needs `true` or `false`, not text"),
        ("attempts: {max: 3.5}", "`attempts.max` needs a whole number, not a number with a fraction"),
        ("constraints: [{name: a}]", "`constraints[0]` needs a member `require`"),
        ("constraints: true", "`constraints` needs a list, not `true` or `false`"),
        ("description: null", "`description` needs text, not nothing"),
        ("description: 2026-07-01", "`description` needs text, not date"),
        ("labels: {a: {detect: [1]}}", "`labels[...].detect[0]` needs text, not a whole number"),
        ("examples: [{given: {text: a, data_class: x}, expect: {}}]",
         "`x` is nothing that `examples[0].given.data_class` can be; there are public, internal, confidential, "
         "restricted"),
        ("examples: [{given: {text: a, media: [x]}, expect: {}}]",
         "`x` is nothing that `examples[0].given.media[0]` can be; there are image, audio, document"),
        ("examples: [{given: {text: a}, expect: {only: {boundary: x}}}]",
         "`x` is nothing that `examples[0].expect.only.boundary` can be; there are self_hosted, external"),
        ("examples: [{given: {text: a}, expect: {only: 3}}]",
         "`examples[0].expect.only` needs members with names, not a whole number"),
        ("3: 4", "the names of members in a policy are text"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_plain_words(text: str, message: str) -> None:
    """What was found, where, and what may stand there; no word of the decoder's."""
    assert refuse(f"policy: p\n{text}").message == message


@pytest.mark.parametrize("text", ["", "[]", "3", "policy: 3", "policy: ''", "\x00", "a: &a [*a]"])
def test_what_is_no_document_is_refused(text: str) -> None:
    """Nothing but a mapping with a name."""
    refuse(text)


def test_the_documented_policy_works() -> None:
    """The example of the documentation keeps its own examples."""
    page = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
    (text,) = re.findall(r"^```yaml\n(policy: .*?)^```", page, re.MULTILINE | re.DOTALL)
    report = check(parse_policy(text, source="policies.md"), ())
    assert report.is_ok, report.lines()
    assert report.examples == 2


def test_size_and_depth_are_bounded() -> None:
    """A document that is too big, or an expression that is, costs an error and no time."""
    refuse(GOOD + "# " + "x" * 300_000)
    refuse(GOOD.replace('"personal" in labels', " || ".join(["true"] * 1000)))
    refuse(GOOD.replace('"personal" in labels', "!" * 1500 + "true"))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("description: " + "[" * 50_000, 2, "nested deeper than 32"),
        ("".join(" " * at + "a:\n" for at in range(600)), 34, "nested deeper than 32"),
        ("description: " + "x" * 10_000_000, 1, "may have 262144 bytes"),
        ("a: &a [x]\nb: [*a, *a]", 3, "aliases"),
        ("<<: {description: x}", 2, "merging (`<<`)"),
        ("attempts: {max: " + "9" * 5000 + "}", 1, "a value is none that can be"),
        ("description: 2026-99-99", 1, "a value is none that can be"),
        ("description: !!python/object/apply:os.system [ls]", 2, "could not determine a constructor"),
        ("? [a, b]\n: 1", 2, "names of members are text"),
        ("labels: {? {a: b} : {detect: [a]}}", 2, "names of members are text"),
        ('description: "a\\x07b"', 2, "the character `\\x07`"),
        ('"\\x1b[2Jfoo": 1', 2, "the character `\\x1b`"),
        ('description: "\\ud800"', 2, "the character `\\ud800`"),
        ('constraints: [{name: "a\\nb", require: "true"}]', 2, "a name is one line"),
        ("labels: {a: {detect: [x], given: 1}}", 2, "there is no member `given` here"),
        ("examples: [{given: {text: a}, expect: {}}]", 2, "expects nothing"),
        ("labels:\n" + "".join(f"  a{at}: {{detect: [x]}}\n" for at in range(300)), 3, "200 labels"),
        ("labels: {a: {when: '\"b\" in labels'}, b: {when: '\"a\" in labels'}}", 2, "a → b → a"),
        ("constraints: [{name: a, require: target.region}]", 2, "this is text"),
        ("constraints: [{name: a, require: 'target.name.matches(\"(\")'}]", 2, "RE2 does not take"),
        ("objective: [{maximize: quality, unknown: {quality: .nan}}]", 2, "finite numbers"),
        ("description: a\x00b", 1, "not YAML"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_hostile_documents_end_in_one_line(text: str, line: int, words: str) -> None:
    """Bombs, nesting, values that are none, controls: one precise line each, and no other exception."""
    error = refuse(f"policy: p\n{text}\n")
    assert words in error.message
    assert error.line == line
    assert str(error).isprintable()


def test_detectors_that_do_not_exist_are_named() -> None:
    """A label whose detector is misspelled would never be set: a check refuses it."""
    report = check(parse_policy(GOOD.replace("pii.email", "pii.emial"), source="p"), ())
    assert not report.is_ok
    assert "pii.emial" in "\n".join(report.lines())


def test_a_document_that_parses_is_valid_yaml(tmp_path: Path) -> None:
    """The good one above is one; so the refusals above are for what was changed."""
    document = parse_policy(GOOD, source=str(tmp_path))
    assert document.data.constraints[0].name == yaml.safe_load(GOOD)["constraints"][0]["name"]
