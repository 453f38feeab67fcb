"""Documents that have to be refused: what is wrong with them, where, and in which words that is said.

The reader refuses all of them (``test_document``); what is wrong in the structure alone, the JSON Schema refuses
as well (``test_schema``).
"""

from typing import Any, NamedTuple

import yaml

GOOD = """policy: p
labels:
  personal: {detect: [pii.email]}
constraints:
  - name: home
    when: '"personal" in labels'
    require: 'target.boundary == "self_hosted"'
"""


class Bad(NamedTuple):
    """``words`` are part of the message. ``by_structure``: members, types, words and bounds are wrong, and no
    expression has to be read, nor two parts be held against each other, to see it."""

    kind: str
    text: str
    line: int
    words: str
    by_structure: bool = False

    def values(self) -> Any:
        """What a reader of YAML makes of it."""
        return yaml.safe_load(self.text)


def changed(old: str, new: str) -> str:
    """The good document with a mistake."""
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    return text


def behind(text: str) -> str:
    """``text`` behind a name, so on line 2."""
    return f"policy: p\n{text}\n"


def example(given: str, expect: str = "nothing_struck: true") -> str:
    """The good document with an example, on line 9."""
    return f"{GOOD}examples:\n  - given: {{text: a, {given}}}\n    expect: {{{expect}}}\n"


def expecting(expect: str) -> str:
    """The good document with what an example expects, on line 10."""
    return example("team: t", expect)


NO_DOCUMENT = (
    Bad("empty", "", 1, "a policy needs a member `policy`", by_structure=True),
    Bad("a list", "[]", 1, "a policy needs members with names, not a list", by_structure=True),
    Bad("nothing at all", "null", 1, "a policy needs a member `policy`", by_structure=True),
    Bad("a number", "3", 1, "a policy needs members with names, not a whole number", by_structure=True),
    Bad("no name", "description: a", 1, "a policy needs a member `policy`", by_structure=True),
    Bad("name is a number", "policy: 3", 1, "`policy` needs text, not a whole number", by_structure=True),
    Bad("name is empty", "policy: ''", 1, "a policy's name is lower-case", by_structure=True),
    Bad("name in capitals", "policy: Mine", 1, "a policy's name is lower-case", by_structure=True),
    Bad("name too long", f"policy: {'p' * 65}", 1, "a policy's name is lower-case", by_structure=True),
    Bad("not YAML", changed("policy: p", "policy: [p"), 2, "this is not YAML"),
    Bad("a null character", "\x00", 1, "this is not YAML"),
    Bad("a null character inside", behind("description: a\x00b"), 1, "this is not YAML"),
    Bad("two documents", "policy: p\n---\npolicy: q\n", 2, "this is not YAML"),
)  # fmt: skip

BOMBS = (
    Bad("10 MB", behind("description: " + "x" * 10_000_000), 1, "may have 262144 bytes"),
    Bad("300 kB of comments", GOOD + "# " + "x" * 300_000, 1, "may have 262144 bytes"),
    Bad("aliases", behind("a: &a [x]\nb: [*a, *a]"), 3, "aliases (`*name`) are not taken here"),
    Bad("alias bomb",
        behind("a0: &a0 [x, x]\n" + "\n".join(f"a{at}: &a{at} [*a{at - 1}, *a{at - 1}]" for at in range(1, 40))),
        3, "aliases (`*name`) are not taken here"),
    Bad("alias of itself", behind("a: &a [*a]"), 2, "aliases (`*name`) are not taken here"),
    Bad("merge", behind("<<: {description: x}"), 2, "merging (`<<`) is not taken here"),
    Bad("nested lists", behind("description: " + "[" * 50_000), 2, "nested deeper than 32 levels"),
    Bad("nested members", behind("".join(" " * at + "a:\n" for at in range(600))), 34, "nested deeper than 32 levels"),
    Bad("Python object", behind("description: !!python/object/apply:os.system [ls]"), 2,
        "could not determine a constructor"),
    Bad("regex bomb", changed('"personal" in labels', 'tenant.team.matches("((a{500}){500}){500}")'), 6,
        "RE2 does not take this pattern"),
    Bad("backreference", changed('"personal" in labels', r'tenant.team.matches("(a*)\\1")'), 6,
        "RE2 does not take this pattern"),
    Bad("long expression", changed('"personal" in labels', " || ".join(["true"] * 1000)), 6, "an expression may have 2000 characters"),
    Bad("deep expression", changed('"personal" in labels', "!" * 1500 + "true"), 6, "this is nested deeper than 100 levels"),
    Bad("300 labels", behind("labels:\n" + "".join(f"  a{at}: {{detect: [pii.email]}}\n" for at in range(300))), 3,
        "may have 200 labels", by_structure=True),
    Bad("huge number", behind("attempts: {max: " + "9" * 5000 + "}"), 2, "a value is none that can be"),
)  # fmt: skip

MEMBERS = (
    Bad("unknown member", changed("constraints:", "constraint:"), 4, "did you mean `constraints`?", by_structure=True),
    Bad("unknown inner member", changed("require:", "requires:"), 7, "did you mean `require`?", by_structure=True),
    Bad("member of another", behind("labels: {a: {detect: [pii.email], given: 1}}"), 2,
        "there is no member `given` here", by_structure=True),
    Bad("missing member", behind("constraints: [{name: a}]"), 2, "`constraints[0]` needs a member `require`",
        by_structure=True),
    Bad("member twice", changed("policy: p", "policy: p\npolicy: q"), 2, "`policy` stands twice"),
    Bad("names that are numbers", behind("3: 4"), 2, "the names of members are text: put `3` into quotes"),
    Bad("names that are lists", behind("? [a, b]\n: 1"), 2, "the names of members are text"),
    Bad("names that are members", behind("labels: {? {a: b} : {detect: [a]}}"), 2, "the names of members are text"),
    Bad("a label of nothing", behind("labels: {a: {}}"), 2, "the label `a` needs `detect` or `when`",
        by_structure=True),
    Bad("two directions", behind("objective: [{minimize: quality, maximize: quality}]"), 2,
        "an objective needs either `minimize` or `maximize`", by_structure=True),
    Bad("no direction", behind("objective: [{subject_to: ['true']}]"), 2,
        "an objective needs either `minimize` or `maximize`", by_structure=True),
    Bad("two claims in one", behind("invariants: [{never: 'true', always_some_target: 'true'}]"), 2,
        "an invariant is either `never` or `always_some_target`", by_structure=True),
    Bad("two of a name", changed("  - name: home", "  - {name: home, require: 'true'}\n  - name: home"), 6,
        "two constraints are called `home`"),
)  # fmt: skip

TYPES = (
    Bad("text for truth", behind("cache: {sampled: 'yes'}"), 2,
        "`cache.sampled` needs `true` or `false`, not text", by_structure=True),
    Bad("fraction for whole", behind("attempts: {max: 3.5}"), 2,
        "`attempts.max` needs a whole number, not a number with a fraction", by_structure=True),
    Bad("truth for list", behind("constraints: true"), 2,
        "`constraints` needs a list, not `true` or `false`", by_structure=True),
    Bad("nothing for text", behind("description: null"), 2, "`description` needs text, not nothing",
        by_structure=True),
    Bad("date for text", behind("description: 2026-07-01"), 2, "`description` needs text, not date",
        by_structure=True),
    Bad("impossible date", behind("description: 2026-99-99"), 2, "a value is none that can be"),
    Bad("tag of a truth", behind("description: !!bool perhaps"), 2, "none that can be: `perhaps` is no bool"),
    Bad("tag of a time", behind("description: !!timestamp soon"), 2, "none that can be: `soon` is no timestamp"),
    Bad("tag of a number", behind("description: !!int ''"), 2, "none that can be: `` is no int"),
    Bad("endless number", behind("description: 1" + ":59" * 400 + ".5"), 2, "a value is none that can be"),
    Bad("number in a list of texts", behind("labels: {a: {detect: [1]}}"), 2,
        "`labels[...].detect[0]` needs text, not a whole number", by_structure=True),
    Bad("whole number for members", expecting("only: 3"), 10,
        "`examples[0].expect.only` needs members with names, not a whole number", by_structure=True),
    Bad("truth for a number", example("quality: true"), 9,
        "`examples[0].given.quality` needs a number or `unknown`, or these by target, not `true` or `false`",
        by_structure=True),
    Bad("nothing for a target's number", example("quality: {external: null}"), 9,
        "`examples[0].given.quality[...]` needs a number or `unknown`, not nothing", by_structure=True),
)  # fmt: skip

WORDS = (
    Bad("unknown word", behind("unscannable: maybe"), 2,
        "`maybe` is nothing that `unscannable` can be; there are any, self_hosted, refuse", by_structure=True),
    Bad("unknown failure", behind("attempts: {fallback: [down]}"), 2,
        "`down` is nothing that `attempts.fallback[0]` can be; there are upstream_failed", by_structure=True),
    Bad("unknown data class", example("data_class: x"), 9,
        "`x` is nothing that `examples[0].given.data_class` can be; there are public, internal, confidential, "
        "restricted", by_structure=True),
    Bad("unknown medium", example("media: [x]"), 9,
        "`x` is nothing that `examples[0].given.media[0]` can be; there are image, audio, document",
        by_structure=True),
    Bad("unknown need", example("needs: [tols]"), 9,
        "`tols` is nothing that `examples[0].given.needs[0]` can be; there are tools, images", by_structure=True),
    Bad("unknown boundary", expecting("only: {boundary: x}"), 10,
        "`x` is nothing that `examples[0].expect.only.boundary` can be; there are self_hosted, external",
        by_structure=True),
    Bad("word for a number", example("quality: good"), 9,
        "`good` is nothing that `examples[0].given.quality` can be; there are numbers, unknown", by_structure=True),
    Bad("a control character", behind('description: "a\\x07b"'), 2, "the character `\\x07` is none of a policy's"),
    Bad("a control character in a name", behind('"\\x1b[2Jfoo": 1'), 2, "the character `\\x1b` is none of a policy's"),
    Bad("half a character", behind('description: "\\ud800"'), 2, "the character `\\ud800` is none of a policy's"),
    Bad("a name of two lines", behind('constraints: [{name: "a\\nb", require: "true"}]'), 2, "a name is one line",
        by_structure=True),
)  # fmt: skip

BOUNDS = (
    Bad("no attempts", behind("attempts: {max: 0}"), 2, "`attempts.max` is at least 1", by_structure=True),
    Bad("eleven attempts", behind("attempts: {max: 11}"), 2, "`attempts.max` is at most 10", by_structure=True),
    Bad("no number", behind("objective: [{maximize: quality, unknown: {quality: .nan}}]"), 2, "finite numbers"),
    Bad("a number of nothing", behind("objective: [{maximize: quality, unknown: {qality: 0.5}}]"), 2,
        "`qality: 0.5` is none", by_structure=True),
    Bad("hour 24", example("hour: 24"), 9, "`examples[0].given.hour` is at most 23", by_structure=True),
    Bad("no length", example("input_tokens: 0"), 9, "`examples[0].given.input_tokens` is at least 1",
        by_structure=True),
    Bad("quality 2", example("quality: 2"), 9, "`examples[0].given.quality` is at most 1", by_structure=True),
    Bad("quality 2 of a target", example("quality: {external: 2}"), 9,
        "`examples[0].given.quality[...]` is at most 1", by_structure=True),
    Bad("a negative cost", example("expected_usd: -0.1"), 9, "`examples[0].given.expected_usd` is at least 0",
        by_structure=True),
    Bad("no cost", example("worst_case_usd: .nan"), 9, "`examples[0].given.worst_case_usd` is at least 0"),
    Bad("an infinite wait", example("ttft_seconds: .inf"), 9, "`examples[0].given.ttft_seconds` is at most 1000000",
        by_structure=True),
    Bad("a number beyond all", example("ttft_seconds: " + "9" * 400), 9,
        "`examples[0].given.ttft_seconds` is no number that can be", by_structure=True),
)  # fmt: skip

EXAMPLES = (
    Bad("expects nothing", expecting(""), 10, "this example expects nothing", by_structure=True),
    Bad("expects nothing in words", expecting("refused: false"), 10, "this example expects nothing"),
    Bad("first of nothing", expecting("first: {}"), 10, "`first` expects nothing", by_structure=True),
    Bad("first of nobody", expecting("refused: true, first: {boundary: external}"), 10,
        "`refused` leaves nobody, so that `first` can say nothing: keep one of them"),
    Bad("only of nobody", expecting("refused: true, only: {boundary: external}"), 10,
        "`refused` leaves nobody, so that `only` can say nothing"),
    Bad("struck by nobody", expecting("struck_by: hom"), 10, "there is no constraint `hom`: did you mean `home`?"),
    Bad("nobody struck by", expecting("struck_by: home, nothing_struck: true"), 10,
        "`nothing_struck` and `home` exclude each other"),
    Bad("a label that is none", expecting("labels: [persnal]"), 10,
        "there is no label `persnal`: did you mean `personal`?"),
    Bad("unknown label that is none", expecting("unknown_labels: [zzz]"), 10, "there is no label `zzz`"),
    Bad("set and unknown", expecting("labels: [personal], unknown_labels: [personal]"), 10,
        "the label `personal` cannot be set and unknown"),
    Bad("a residency in capitals", example("residency: EU"), 9, "a residency is lower case: `eu`", by_structure=True),
    Bad("above the worst case", example("worst_case_usd: 1, expected_usd: 2"), 9,
        "a call cannot cost 2 where `worst_case_usd` is 1"),
    Bad("above the worst case somewhere", example("worst_case_usd: 1, expected_usd: {external: 1.5}"), 9,
        "a call cannot cost 1.5 where `worst_case_usd` is 1"),
)  # fmt: skip

EXPRESSIONS = (
    Bad("unknown label", changed('"personal" in labels', '"personl" in labels'), 6, "did you mean `personal`?"),
    Bad("unknown fact", changed("target.boundary ==", "target.boundry =="), 7, "did you mean `target.boundary`?"),
    Bad("no expression", changed('"personal" in labels', '"personal" in'), 6, "not a CEL expression"),
    Bad("open bracket", changed("target.boundary ==", "!(target.boundary =="), 7, "not a CEL expression"),
    Bad("one =", changed("target.boundary ==", "target.boundary ="), 7, "expression: did you mean `==`"),
    Bad("text against number", changed('== "self_hosted"', "== 3"), 7, "cannot compare text with a whole number"),
    Bad("sum against text", changed("target.boundary ==", "1 + 1 =="), 7, "cannot compare a whole number with text"),
    Bad("unknown boundary", changed('== "self_hosted"', '== "selfhosted"'), 7, "did you mean `self_hosted`?"),
    Bad("unknown need", changed('"personal" in labels', '"imges" in request.needs'), 6, "did you mean `images`?"),
    Bad("unknown capability", changed('target.boundary == "self_hosted"', '"tols" in target.capabilities'), 7,
        "did you mean `tools`?"),
    Bad("strange capability", changed('target.boundary == "self_hosted"', '"7" in target.capabilities'), 7,
        "there are audio"),
    Bad("text for a condition", behind("constraints: [{name: a, require: target.region}]"), 2,
        "this is text, where true or false is needed"),
    Bad("number for a condition", changed('"personal" in labels', "request.input_tokens"), 6,
        "this is a whole number, where true or false is needed"),
    Bad("truth for a number", behind("objective: [{minimize: 'quality > 0.5'}]"), 2,
        "this is true or false, where a number is needed"),
    Bad("no pattern", behind("constraints: [{name: a, require: 'target.name.matches(\"(\")'}]"), 2,
        "RE2 does not take this pattern"),
    Bad("circle", behind("labels: {a: {when: '\"b\" in labels'}, b: {when: '\"a\" in labels'}}"), 2,
        "labels may not depend on themselves: a → b → a"),
    Bad("circle of one", behind("labels: {a: {when: '\"a\" in labels'}}"), 2, "themselves: a → a"),
    Bad("label about a target", behind("labels: {a: {when: target.healthy}}"), 2, "a label is about the request alone"),
    Bad("ranking about a target", behind("objective: [{when: target.healthy, minimize: quality}]"), 2,
        "`when` is about the request alone"),
)  # fmt: skip

BAD = (
    *NO_DOCUMENT, *BOMBS, *MEMBERS, *TYPES, *WORDS, *BOUNDS, *EXAMPLES, *EXPRESSIONS,
)  # fmt: skip
