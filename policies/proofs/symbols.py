"""Any request, any target, any numbers: the facts of a decision as free terms.

Promises: every value of :mod:`policies.facts` that a decision can look at is one value of these terms, and the
other way round (:mod:`policies.proofs.witness` reads them back). Detection types are taken together where no label
tells them apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.cel import SCHEMA, Scope, Tree
from policies.cel import tree as t
from policies.cel.schema import children_of, names_of
from policies.cel.solver import NANOUSD_MAX, Formulas, Number, Symbol, Text, Truth, Words
from policies.cel.terms import (
    Term,
    any_of,
    boolean,
    both,
    either,
    integer,
    negate,
    real,
    string,
)
from policies.document import PolicyDocument
from policies.facts import BOUNDARIES, CAPABILITIES, DATA_CLASSES, EMBED, NEEDS, TargetFacts
from policies.numbers import CONTEXT_SLACK

TOKENS_MAX = 2**53
HOURS, DAYS = 24, 7
ATTEMPTS_WORDS = "worst_case_request_cost_usd"


class Vocabulary:
    """What a document, and the claims about it, can tell apart: types of findings, and texts."""

    def __init__(
        self, document: PolicyDocument, trees: Iterable[Tree], types: Iterable[str]
    ) -> None:
        self.document = document
        self._trees = (*document.trees.values(), *trees)
        self.classes = _classes(document, types)
        self._words: dict[str, tuple[str, ...]] = {}
        self._stringy: set[str] = set()
        self.target_facts = sorted(
            {
                name.path
                for tree in self._trees
                for name in names_of(tree)
                if SCHEMA[name.path][1] is Scope.TARGET
            }
        )
        """The facts of targets that something is said of."""
        words: dict[str, set[str]] = {}
        for tree in self._trees:
            _collect(tree, words, self._stringy)
        self._words = {path: tuple(sorted(found)) for path, found in words.items()}

    def text(self, path: str, name: str, *, fails: Term = False) -> Text:
        """A text that is free: an index into the constants it is held against, where that is all there is to it."""
        if path in self._stringy:
            return Text(string(name), fails)
        return Text(integer(name), fails, self._words.get(path, ()))

    def bounds(self, text: Text) -> Term:
        """What makes an index one of its words, or another text."""
        if text.words is None:
            return True
        return both(text.value >= 0, text.value <= len(text.words))


def _classes(document: PolicyDocument, types: Iterable[str]) -> Mapping[frozenset[str], str]:
    """Which labels findings set → a type that sets just these. Others set nothing."""
    labels = document.data.labels
    known = set(types)
    for label in labels.values():
        known |= {kind for kind in label.detect if not kind.endswith("*")}
        known |= {
            f"{kind[:-1]}other"
            for kind in label.detect
            if kind.endswith("*") and not any(one.startswith(kind[:-1]) for one in known)
        }
    classes: dict[frozenset[str], str] = {}
    for kind in sorted(known):
        names = frozenset(
            name
            for name, label in labels.items()
            if any(
                kind == one or (one.endswith("*") and kind.startswith(one[:-1]))
                for one in label.detect
            )
        )
        if names:
            classes.setdefault(names, kind)
    return classes


def _collect(tree: Tree, words: dict[str, set[str]], stringy: set[str]) -> None:
    """The constants each text is held against; ``stringy`` are the texts of which more is asked."""
    match tree:
        case t.Compare("==" | "!=", t.Name(path), t.Constant(str() as value)) | t.Compare(
            "==" | "!=", t.Constant(str() as value), t.Name(path)
        ):
            words.setdefault(path, set()).add(value)
        case t.In(t.Name(path), t.Items(items)):
            words.setdefault(path, set()).update(str(item.value) for item in items)
        case t.Name(path) if SCHEMA[path][0] == "text":
            stringy.add(path)
        case _:
            for child in children_of(tree):
                _collect(child, words, stringy)


@dataclass(frozen=True, slots=True)
class Request:
    """A request. ``lost`` and ``found`` by the labels that such findings set."""

    symbols: Mapping[str, Symbol]
    found: Mapping[frozenset[str], Term]
    lost: Mapping[frozenset[str], Term]
    data_class: Term
    context_tokens: Term
    is_private: Term
    is_blind: Term
    needs_bound: Term
    rules: Term
    """What makes the terms a request."""


def make_request(vocabulary: Vocabulary, tag: str = "") -> Request:
    """Any request; ``tag`` tells its terms from those of another."""
    texts = {
        path: vocabulary.text(path, f"{tag}{path}")
        for path in ("request.model", "tenant.organisation", "tenant.team", "tenant.key", "tenant.residency")
    }  # fmt: skip
    task_unknown = boolean(f"{tag}task unknown")
    texts["task"] = vocabulary.text("task", f"{tag}task", fails=task_unknown)
    data_class = integer(f"{tag}data class")
    tokens, context = integer(f"{tag}input tokens"), integer(f"{tag}context tokens")
    hour, day = integer(f"{tag}hour"), integer(f"{tag}weekday")
    needs = {word: boolean(f"{tag}needs {word}") for word in sorted(NEEDS)}
    rules = both(
        *(vocabulary.bounds(text) for text in texts.values()),
        data_class >= 0,
        data_class < len(DATA_CLASSES),
        *(both(one >= 0, one <= TOKENS_MAX) for one in (tokens, context)),
        context >= 1,
        both(hour >= 0, hour < HOURS),
        both(day >= 0, day < DAYS),
    )
    return Request(
        symbols={
            **texts,
            "request.data_class": Text(data_class, words=DATA_CLASSES),
            "request.is_stream": Truth(boolean(f"{tag}is stream")),
            "request.input_tokens": Number(tokens),
            "request.needs": Words(needs),
            "difficulty": Number(0.0, fails=True),
            "clock.hour": Number(hour),
            "clock.weekday": Number(day),
        },
        found={one: boolean(f"{tag}found {kind}") for one, kind in vocabulary.classes.items()},
        lost={one: boolean(f"{tag}lost {kind}") for one, kind in vocabulary.classes.items()},
        data_class=data_class,
        context_tokens=context,
        is_private=boolean(f"{tag}private"),
        is_blind=boolean(f"{tag}blind"),
        needs_bound=boolean(f"{tag}needs bound"),
        rules=rules,
    )


@dataclass(frozen=True, slots=True)
class World:
    """One filling of what is unknown about a request: which labels are set, and which are open."""

    request: Request
    labels: Mapping[str, Term]
    open: Mapping[str, Term]


def make_world(
    vocabulary: Vocabulary,
    request: Request,
    fill: Mapping[str, Term],
    inexact: list[str],
) -> World:
    """``fill`` says of each label whether it is set where it is open."""
    document = vocabulary.document
    labels: dict[str, Term] = {}
    opened: dict[str, Term] = {}
    for name in document.label_order:
        is_set: Term = any_of(term for one, term in request.found.items() if name in one)
        is_lost: Term = any_of(term for one, term in request.lost.items() if name in one)
        tree = document.trees.get(f"labels.{name}.when")
        if tree is not None:
            members = dict(labels)

            def find(path: str, members: Mapping[str, Term] = members) -> Symbol:
                return Words(members) if path == "labels" else request.symbols[path]

            said = Formulas(find, inexact).truth(tree, f"labels.{name}.when")
            is_set, is_lost = either(is_set, said.holds), either(is_lost, said.fails)
        opened[name] = both(negate(is_set), is_lost)
        labels[name] = either(is_set, both(opened[name], fill[name]))
    return World(request, labels, opened)


@dataclass(frozen=True, slots=True)
class Target:
    """A target with its numbers: one of a catalogue (``facts``), or any at all (None)."""

    facts: TargetFacts | None
    symbols: Mapping[str, Symbol]
    capabilities: Mapping[str, Term]
    context_tokens_max: Term
    is_at_home: Term
    is_healthy: Term
    has_no_bound: Term
    rules: Term


def make_target(vocabulary: Vocabulary, facts: TargetFacts | None, tag: str = "") -> Target:
    """``facts``, or any target, with any numbers."""
    symbols, rules = _any_target(vocabulary, tag) if facts is None else (_symbols_of(facts), True)
    numbers, bounds = _any_numbers(vocabulary, tag)
    capabilities = symbols["target.capabilities"]
    context = symbols["target.context_tokens_max"]
    boundary = symbols["target.boundary"]
    assert isinstance(capabilities, Words)
    assert isinstance(context, Number)
    assert isinstance(boundary, Text)
    home = (
        boundary.value == "self_hosted"
        if isinstance(boundary.value, str)
        else boundary.value == BOUNDARIES.index("self_hosted")
    )
    healthy, worst = numbers["target.healthy"], numbers["worst_case_cost_usd"]
    assert isinstance(healthy, Truth)
    assert isinstance(worst, Number)
    return Target(
        facts=facts,
        symbols={**symbols, **numbers},
        capabilities=capabilities.members,
        context_tokens_max=context.value,
        is_at_home=home,
        is_healthy=healthy.holds,
        has_no_bound=worst.fails,
        rules=both(rules, bounds),
    )


def _symbols_of(facts: TargetFacts) -> Mapping[str, Symbol]:
    """A concrete target: constants all through."""
    days, trains = facts.retention_days, facts.trains_on_inputs
    return {
        "target.name": Text(facts.name),
        "target.provider": Text(facts.provider),
        "target.model": Text(facts.model),
        "target.boundary": Text(facts.boundary),
        "target.region": Text(facts.region),
        "target.capabilities": Words(dict.fromkeys(sorted(facts.capabilities), True)),
        "target.context_tokens_max": Number(facts.context_tokens_max),
        "target.output_tokens_max": Number(facts.output_tokens_max),
        "target.retention_days": Number(days or 0, fails=days is None),
        "target.trains_on_inputs": Truth(trains is True, fails=trains is None),
    }


def _any_target(vocabulary: Vocabulary, tag: str) -> tuple[Mapping[str, Symbol], Term]:
    texts = {
        path: vocabulary.text(path, f"{tag}{path}")
        for path in ("target.name", "target.provider", "target.model", "target.region")
    }
    boundary = integer(f"{tag}boundary")
    context, output = integer(f"{tag}context"), integer(f"{tag}output")
    days, days_unknown = integer(f"{tag}retention"), boolean(f"{tag}retention unknown")
    trains, trains_unknown = boolean(f"{tag}trains"), boolean(f"{tag}trains unknown")
    symbols: dict[str, Symbol] = {
        **texts,
        "target.boundary": Text(boundary, words=BOUNDARIES),
        "target.capabilities": Words(
            {word: boolean(f"{tag}can {word}") for word in sorted(CAPABILITIES)}
        ),
        "target.context_tokens_max": Number(context),
        "target.output_tokens_max": Number(output),
        "target.retention_days": Number(days, days_unknown),
        "target.trains_on_inputs": Truth(both(trains, negate(trains_unknown)), trains_unknown),
    }
    rules = both(
        *(vocabulary.bounds(text) for text in texts.values()),
        boundary >= 0,
        boundary < len(BOUNDARIES),
        *(both(one >= 0, one <= TOKENS_MAX) for one in (context, output, days)),
    )
    return symbols, rules


def _any_numbers(vocabulary: Vocabulary, tag: str) -> tuple[Mapping[str, Symbol], Term]:
    expected, worst = integer(f"{tag}expected"), integer(f"{tag}worst")
    no_expected, no_worst = boolean(f"{tag}no expected"), boolean(f"{tag}no worst")
    wait, no_wait = real(f"{tag}wait"), boolean(f"{tag}no wait")
    quality, no_quality = real(f"{tag}quality"), boolean(f"{tag}no quality")
    cached = integer(f"{tag}cached")
    attempts = vocabulary.document.data.attempts.max
    symbols: dict[str, Symbol] = {
        "quality": Number(quality, no_quality),
        "cached_tokens": Number(cached),
        "target.healthy": Truth(boolean(f"{tag}healthy")),
        "expected_cost_usd": Number(expected, no_expected, nano=True),
        "worst_case_cost_usd": Number(worst, no_worst, nano=True),
        ATTEMPTS_WORDS: Number(worst * attempts, no_worst, nano=True),
        "expected_ttft_s": Number(wait, no_wait),
    }
    rules = both(
        *(both(one >= 0, one <= NANOUSD_MAX) for one in (expected, worst)),
        both(cached >= 0, cached <= TOKENS_MAX),
        wait >= 0,
        both(quality >= 0, quality <= 1),
    )
    return symbols, rules


def can_take(request: Request, target: Target) -> Term:
    """Whether ``target`` can do what ``request`` needs, and its context may hold it."""
    needs = request.symbols["request.needs"]
    assert isinstance(needs, Words)
    embeds = target.capabilities.get(EMBED, False)
    return both(
        *(
            either(negate(is_needed), target.capabilities.get(word, False))
            for word, is_needed in needs.members.items()
        ),
        either(negate(embeds), needs.members[EMBED]),
        request.context_tokens <= target.context_tokens_max * CONTEXT_SLACK,
    )


def formulas(world: World, target: Target | None, inexact: list[str]) -> Formulas:
    """Expressions about ``world`` and ``target``."""

    def find(path: str) -> Symbol:
        if path == "labels":
            return Words(world.labels)
        if path in world.request.symbols:
            return world.request.symbols[path]
        if target is None:
            raise TypeError(f"`{path}` is about a target")
        if path == "target.capable":
            return Truth(can_take(world.request, target))
        return target.symbols[path]

    return Formulas(find, inexact)
