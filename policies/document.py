"""The policy document: YAML, typed, with the place of every mistake.

Promises: nothing is ignored in silence, an unknown member is an error that names the nearest known one;
every expression is parsed and type-checked here, so that a document that parses can be compiled.
"""

import difflib
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import msgspec
import yaml

from policies.cel import (
    DOMAINS,
    QUOTE_FACTS,
    SCHEMA,
    CelError,
    Place,
    Scope,
    Tree,
    check_types,
    check_words,
    labels_in,
    parse,
    scopes_of,
)
from policies.facts import BOUNDARIES, DATA_CLASSES, FAILURE_WORDS, Need
from policies.members import (
    LABELS_MAX,
    AttemptsData,
    BurstData,
    CacheData,
    ConstraintData,
    DocumentData,
    ExampleData,
    ExpectData,
    FirstData,
    GivenData,
    InvariantData,
    LabelData,
    Media,
    ObjectiveData,
    OnlyData,
    Unscannable,
)
from policies.places import find_within

TEXT_BYTES_MAX = 256 * 1024
DEPTH_MAX = 32
POLICY_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
UNSCANNABLE = "unscannable"
"""What strikes media, where constraints have names."""
MERGE = "tag:yaml.org,2002:merge"
TEXT = "tag:yaml.org,2002:str"
IMPOSSIBLE = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError)
"""What the reader of YAML raises for a value that is not as its tag says (`!!bool perhaps`)."""


class PolicyError(ValueError):
    """A document that cannot be used. ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, *, source: str, line: int = 1, column: int = 1) -> None:
        message = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in message)
        super().__init__(f"{source}:{line}:{column}: {message}")
        self.message = message
        self.source = source
        self.line = line
        self.column = column


class PolicyDocument(msgspec.Struct, frozen=True):
    """A document with its expressions parsed. ``trees`` is by place (``constraints[0].when``);
    ``digest`` is the SHA-256 of its text; ``label_order`` has each label behind those that it names; ``written`` are
    those of ``INHERITED`` that stand in it."""

    name: str
    digest: str
    source: str
    data: DocumentData
    trees: Mapping[str, Tree]
    label_order: tuple[str, ...]
    written: frozenset[str] = frozenset()


INHERITED = ("attempts.max", "cache.sampled", "unscannable")
"""Members that an overlay has from above where it does not write them, and not their defaults."""

UNKNOWN_NUMBERS = tuple(
    path for path in QUOTE_FACTS if SCHEMA[path][0] == "double" and SCHEMA[path][2]
)
"""Numbers of a target that may be unknown, so that an objective may say what they count as."""


class _Places:
    """Where each member of a YAML text stands."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self._text = text
        self._marks: dict[str, tuple[int, int]] = {}
        self._names: dict[str, tuple[int, int]] = {}
        self._scalars: dict[str, yaml.ScalarNode] = {}
        try:
            self._look_through(text)
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            if root is not None:
                self._walk(root, "")
            made: object = None if root is None else yaml.SafeLoader("").construct_document(root)
            self.values: object = {} if made is None else made
        except yaml.MarkedYAMLError as error:
            message = f"this is not YAML: {error.problem or error.context}"
            raise self._error_at(message, error.problem_mark) from error
        except yaml.YAMLError as error:
            raise PolicyError("this is not YAML", source=source) from error
        except PolicyError:
            raise
        except IMPOSSIBLE as error:
            raise self._error_at(*self._find_impossible(error)) from error

    def _find_impossible(self, error: Exception) -> tuple[str, Any]:
        """What is said of a value that cannot be (a date in month 99), and where it stands."""
        loader = yaml.SafeLoader("")
        for scalar in self._scalars.values():
            try:
                loader.construct_document(scalar)
            except ValueError as found:
                return f"a value is none that can be: {found}".partition("; ")[0], scalar.start_mark
            except IMPOSSIBLE:  # their words speak of the reader's code
                tag = str(scalar.tag).rpartition(":")[2]
                shown = f"`{scalar.value[:40]}` is no {tag}"
                return f"a value is none that can be: {shown}", scalar.start_mark
        return f"a value is none that can be: {error}"[:200], None

    def _look_through(self, text: str) -> None:
        """A policy is read by people: each part stands where it counts, and none grows out of another. Depth is
        counted before anything is built, for the reader takes a time that grows with its square."""
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                message = "aliases (`*name`) are not taken here: write the part out"
                raise self._error_at(message, event.start_mark)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEPTH_MAX:
                    raise self._error_at(
                        f"this is nested deeper than {DEPTH_MAX} levels", event.start_mark
                    )
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    def _error_at(self, message: str, mark: Any) -> PolicyError:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return PolicyError(message, source=self.source, line=line, column=column)

    def _walk(self, node: yaml.Node, path: str) -> None:
        self._marks[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.ScalarNode):
            self._scalars[path] = node
            self._check_text(node)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise self._error_at("the names of members are text", key.start_mark)
                self._check_text(key)
                word = str(key.value)
                if key.tag == MERGE:
                    message = "merging (`<<`) is not taken here: write the members out"
                    raise self._error_at(message, key.start_mark)
                if key.tag != TEXT:
                    message = f"the names of members are text: put `{word[:40]}` into quotes"
                    raise self._error_at(message, key.start_mark)
                if word in seen:
                    raise self._error_at(f"`{word}` stands twice", key.start_mark)
                seen.add(word)
                inner = f"{path}.{word}" if path else word
                self._names[inner] = (key.start_mark.line + 1, key.start_mark.column + 1)
                self._walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for at, value in enumerate(node.value):
                self._walk(value, f"{path}[{at}]")

    def _check_text(self, node: yaml.ScalarNode) -> None:
        """Names and reasons stand in records, headers and terminals: nothing in them may be a control."""
        for one in str(node.value):
            if not one.isprintable() and one not in "\n\t":
                message = f"the character `{ascii(one)[1:-1]}` is none of a policy's"
                raise self._error_at(message, node.start_mark)

    def has(self, path: str) -> bool:
        """Whether a member stands there."""
        return path in self._names

    def error(
        self, message: str, path: str, within: Place | None = None, *, is_name: bool = False
    ) -> PolicyError:
        """The error at ``path``, or at the nearest thing around it; ``within`` the text that stands there;
        ``is_name``: what is wrong is the member's name, and not what stands behind it."""
        scalar = self._scalars.get(path)
        if scalar is not None and within is not None:
            line, column = find_within(self._text, scalar, within)
            return PolicyError(message, source=self.source, line=line, column=column)
        if is_name and path in self._names:
            line, column = self._names[path]
            return PolicyError(message, source=self.source, line=line, column=column)
        while path and path not in self._marks:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        line, start = self._marks.get(path, (1, 1))
        return PolicyError(message, source=self.source, line=line, column=start)


def parse_policy(text: str, *, source: str) -> PolicyDocument:
    """The document in ``text``. Raises :class:`PolicyError`."""
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise PolicyError(f"a policy may have {TEXT_BYTES_MAX} bytes", source=source)
    places = _Places(text, source)
    try:
        data = msgspec.convert(places.values, DocumentData)
    except msgspec.ValidationError as error:
        raise _explain(error, places) from error
    _check_parts(data, places)
    trees = _trees(data, places)
    _check_whole(data, trees, places)
    order = _order_labels(data, trees, places)
    digest = hashlib.sha256(text.encode()).hexdigest()
    written = frozenset(path for path in INHERITED if places.has(path))
    return PolicyDocument(data.policy, digest, source, data, trees, order, written)


def _explain(error: msgspec.ValidationError, places: _Places) -> PolicyError:
    message, _, where = str(error).partition(" - at `$")
    is_name = False
    path = re.sub(r"^\.", "", where.rstrip("`"))
    shown = f"`{path}`" if path else "a policy"
    path = re.sub(r"\[\.\.\.\]$", "", path)
    if found := re.search(r"unknown field `([^`]+)`", message):
        known = sorted({name for struct in _STRUCTS for name in struct.__struct_fields__})
        close = [] if found[1] in known else difflib.get_close_matches(found[1], known, n=1)
        message = f"there is no member `{found[1]}` here" + (
            f": did you mean `{close[0]}`?" if close else ""
        )
        path, is_name = f"{path}.{found[1]}" if path else found[1], True
    elif found := re.search(r"missing required field `([^`]+)`", message):
        message = f"{shown} needs a member `{found[1]}`"
    elif found := re.fullmatch(r"Expected `(\w+)([^`]*)`, got `(\w+)`", message):
        needed = "a number or `unknown`" if found[2].startswith(" | str") else _KINDS[found[1]]
        if "object" in found[2]:
            needed += ", or these by target"
        message = f"{shown} needs {needed}, not {_KINDS.get(found[3], found[3])}"
    elif found := re.fullmatch(r"Expected `\w+` ([<>])= ([\d.]+)", message):
        most = "at most" if found[1] == "<" else "at least"
        message = f"{shown} is {most} {float(found[2]):.15g}"
    elif message == "Number out of range":
        message = f"{shown} is no number that can be"
    elif found := re.fullmatch(r"Invalid enum value '(.*)'", message, re.DOTALL):
        words = _CHOICES[re.split(r"[.\[]", path.rpartition(".")[2])[0]]
        message = f"`{found[1]}` is nothing that {shown} can be; there are {', '.join(words)}"
    return places.error(message[:1].lower() + message[1:], path, is_name=is_name)


_KINDS = {
    "bool": "`true` or `false`", "str": "text", "int": "a whole number", "float": "a number with a fraction",
    "array": "a list", "object": "members with names", "null": "nothing",
}  # fmt: skip
"""What the decoder calls things, in plain words."""

_NUMBERS = ("worst_case_usd", "expected_usd", "ttft_seconds", "quality")
_CHOICES: dict[str, tuple[str, ...]] = {
    "boundary": BOUNDARIES,
    "fallback": FAILURE_WORDS,
    "data_class": DATA_CLASSES,
    "media": get_args(Media),
    "needs": get_args(Need),
    **dict.fromkeys(_NUMBERS, ("numbers", "unknown")),
    "unscannable": get_args(Unscannable),
}
"""The words that a member can be, by its name."""

_STRUCTS = (
    DocumentData, LabelData, ConstraintData, ObjectiveData, BurstData, AttemptsData, CacheData, InvariantData,
    ExampleData, GivenData, ExpectData, OnlyData, FirstData,
)  # fmt: skip


def _trees(data: DocumentData, places: _Places) -> dict[str, Tree]:
    trees: dict[str, Tree] = {}
    domains = DOMAINS | {"labels": frozenset(data.labels)}

    def add(text: str | None, path: str, kind: Literal["truth", "number"] = "truth") -> None:
        if text is None:
            return
        try:
            tree = parse(text)
            check_types(tree, kind)
            check_words(tree, domains)
        except CelError as error:
            raise places.error(str(error), path, error.at) from error
        trees[path] = tree

    for name, label in data.labels.items():
        add(label.when, f"labels.{name}.when")
    for at, constraint in enumerate(data.constraints):
        add(constraint.when, f"constraints[{at}].when")
        add(constraint.require, f"constraints[{at}].require")
    for at, objective in enumerate(data.objective):
        add(objective.when, f"objective[{at}].when")
        add(objective.minimize, f"objective[{at}].minimize", "number")
        add(objective.maximize, f"objective[{at}].maximize", "number")
        for number, condition in enumerate(objective.subject_to):
            add(condition, f"objective[{at}].subject_to[{number}]")
    if data.attempts.burst is not None:
        add(data.attempts.burst.when, "attempts.burst.when")
    for at, invariant in enumerate(data.invariants):
        add(invariant.never, f"invariants[{at}].never")
        add(invariant.always_some_target, f"invariants[{at}].always_some_target")
        add(invariant.assuming, f"invariants[{at}].assuming")
    return trees


def _check_parts(data: DocumentData, places: _Places) -> None:
    """What is looked at before expressions are read."""
    if len(data.labels) > LABELS_MAX:
        raise places.error(f"a policy may have {LABELS_MAX} labels", "labels")
    for at, constraint in enumerate(data.constraints):
        if "\n" in constraint.name:
            raise places.error("a name is one line", f"constraints[{at}].name")
    for at, example in enumerate(data.examples):
        _check_given(example.given, f"examples[{at}].given", places)
        _check_expect(example.expect, data, f"examples[{at}].expect", places)


def _check_given(given: GivenData, path: str, places: _Places) -> None:
    """An example may not be about a request that there cannot be."""
    if given.residency != given.residency.lower():
        message = f"a residency is lower case: `{given.residency.lower()}`"
        raise places.error(message, f"{path}.residency")
    most, costs = given.worst_case_usd, given.expected_usd
    named = (one for one in (costs, most) if isinstance(one, dict))
    for name in sorted({"", *(name for one in named for name in one)}):
        cost = costs.get(name) if isinstance(costs, dict) else costs
        limit = most.get(name) if isinstance(most, dict) else most
        if isinstance(cost, float) and isinstance(limit, float) and cost > limit:
            message = f"a call cannot cost {cost:.15g} where `worst_case_usd` is {limit:.15g}"
            raise places.error(message, f"{path}.expected_usd")


def _check_expect(expect: ExpectData, data: DocumentData, path: str, places: _Places) -> None:
    """An example expects something, which can be, of constraints and labels that there are."""
    if expect == ExpectData():
        raise places.error("this example expects nothing", path)
    if expect.first == FirstData():
        message = "`first` expects nothing: there are boundary, region, provider and name"
        raise places.error(message, f"{path}.first")
    for member in ("only", "first"):
        if expect.refused and getattr(expect, member) is not None:
            message = (
                f"`refused` leaves nobody, so that `{member}` can say nothing: keep one of them"
            )
            raise places.error(message, f"{path}.{member}")
    names = [constraint.name for constraint in data.constraints]
    if expect.struck_by is not None and expect.struck_by not in (*names, UNSCANNABLE):
        message = f"there is no constraint `{expect.struck_by}`{_nearest(expect.struck_by, names)}"
        raise places.error(message, f"{path}.struck_by")
    if expect.nothing_struck and expect.struck_by in names:
        message = f"`nothing_struck` and `{expect.struck_by}` exclude each other"
        raise places.error(message, f"{path}.struck_by")
    for member in ("labels", "unknown_labels"):
        for at, name in enumerate(getattr(expect, member)):
            if name not in data.labels:
                message = f"there is no label `{name}`{_nearest(name, data.labels)}"
                raise places.error(message, f"{path}.{member}[{at}]")
    for at, name in enumerate(expect.unknown_labels):
        if name in expect.labels:
            message = f"the label `{name}` cannot be set and unknown"
            raise places.error(message, f"{path}.unknown_labels[{at}]")


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean `{close[0]}`?" if close else ""


def _check_whole(data: DocumentData, trees: Mapping[str, Tree], places: _Places) -> None:
    """What types alone do not say."""
    if not re.fullmatch(POLICY_NAME, data.policy):
        raise places.error("a policy's name is lower-case letters, digits, `.`, `_`, `-`", "policy")
    for name, label in data.labels.items():
        if not label.detect and label.when is None:
            raise places.error(f"the label `{name}` needs `detect` or `when`", f"labels.{name}")
        tree = trees.get(f"labels.{name}.when")
        if tree is not None and scopes_of(tree) & ~(Scope.REQUEST | Scope.LABELS):
            raise places.error("a label is about the request alone", f"labels.{name}.when")
    names = [constraint.name for constraint in data.constraints]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise places.error(f"two constraints are called `{name}`", f"constraints[{at}].name")
    _check_objectives(data, trees, places)
    for at, invariant in enumerate(data.invariants):
        if (invariant.never is None) == (invariant.always_some_target is None):
            raise places.error(
                "an invariant is either `never` or `always_some_target`", f"invariants[{at}]"
            )


def _order_labels(
    data: DocumentData, trees: Mapping[str, Tree], places: _Places
) -> tuple[str, ...]:
    """The labels, each behind those that its condition names."""
    ordered: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            around = " → ".join((*path[path.index(name) :], name))
            raise places.error(f"labels may not depend on themselves: {around}", f"labels.{name}")
        if name not in ordered:
            for other in labels_in(trees.get(f"labels.{name}.when"), data.labels):
                visit(other, (*path, name))
            ordered[name] = None

    for name in data.labels:
        visit(name, ())
    return tuple(ordered)


def _check_objectives(data: DocumentData, trees: Mapping[str, Tree], places: _Places) -> None:
    for at, objective in enumerate(data.objective):
        if (objective.minimize is None) == (objective.maximize is None):
            raise places.error(
                "an objective needs either `minimize` or `maximize`", f"objective[{at}]"
            )
        for name, value in objective.unknown.items():
            if name not in UNKNOWN_NUMBERS or not math.isfinite(value):
                known = ", ".join(UNKNOWN_NUMBERS)
                raise places.error(
                    f"`unknown` gives finite numbers for {known}; `{name}: {value}` is none",
                    f"objective[{at}].unknown",
                )
        tree = trees.get(f"objective[{at}].when")
        if tree is not None and scopes_of(tree) & ~(Scope.REQUEST | Scope.LABELS):
            raise places.error("`when` is about the request alone", f"objective[{at}].when")
