"""A model of Z3 → facts that can be decided about, and in words.

Promises: nothing is reported that was not decided: a counterexample is a request, targets and numbers for which
:func:`policies.decide.decide` really does what the claim excludes.
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import msgspec
import z3

from policies.cel.solver import Number, Symbol, Text, Truth, Words
from policies.cel.terms import Term, lift
from policies.facts import BOUNDARIES, DATA_CLASSES, Detection, Facts, Quote, TargetFacts
from policies.proofs.symbols import Request, Target, Vocabulary

EPOCH_WEEKDAY = 3


class Witness(msgspec.Struct, frozen=True):
    """A request and what it was decided about: ``targets`` with their numbers by name. Feeding them to ``decide``
    shows what ``lines`` say."""

    facts: Facts
    targets: tuple[TargetFacts, ...]
    quotes: dict[str, Quote]


class Reader:
    """Reads values out of one model."""

    def __init__(self, model: Any, vocabulary: Vocabulary) -> None:
        self._model = model
        self._vocabulary = vocabulary

    def _value(self, term: Term) -> Any:
        return self._model.eval(lift(term), model_completion=True)

    def truth(self, term: Term) -> bool:
        return term if isinstance(term, bool) else z3.is_true(self._value(term))

    def whole(self, term: Term) -> int:
        return term if isinstance(term, int) else int(self._value(term).as_long())

    def decimal(self, term: Term) -> float:
        if isinstance(term, int | float):
            return float(term)
        value = self._value(term)
        return float(Fraction(value.numerator_as_long(), value.denominator_as_long()))

    def text(self, text: Text) -> str:
        if isinstance(text.value, str):
            return text.value
        if text.words is None:
            return _unescape(self._value(text.value))
        at = self.whole(text.value)
        return text.words[at] if at < len(text.words) else _other(text.words)

    def words(self, words: Words) -> frozenset[str]:
        return frozenset(word for word, is_in in words.members.items() if self.truth(is_in))

    def facts(self, request: Request) -> Facts:
        """The request as a decision takes it."""
        symbols, classes = request.symbols, self._vocabulary.classes
        task = _as(Text, symbols["task"])
        hour, weekday = (
            self.whole(_as(Number, symbols[f"clock.{word}"]).value) for word in ("hour", "weekday")
        )
        return Facts(
            organisation=self.text(_as(Text, symbols["tenant.organisation"])),
            team=self.text(_as(Text, symbols["tenant.team"])),
            key=self.text(_as(Text, symbols["tenant.key"])),
            residency=self.text(_as(Text, symbols["tenant.residency"])),
            data_class=DATA_CLASSES[self.whole(request.data_class)],
            detection=Detection(
                found=frozenset(classes[one] for one, is_in in request.found.items() if self.truth(is_in)),
                unknown=frozenset(classes[one] for one, is_in in request.lost.items() if self.truth(is_in)),
                unscannable=frozenset({"image"}) if self.truth(request.is_blind) else frozenset(),
            ),
            request_model=self.text(_as(Text, symbols["request.model"])),
            prefer="private" if self.truth(request.is_private) else "policy",
            needs=self.words(_as(Words, symbols["request.needs"])),
            is_stream=self.truth(_as(Truth, symbols["request.is_stream"]).holds),
            input_tokens_estimate=self.whole(_as(Number, symbols["request.input_tokens"]).value),
            output_tokens_max=None,
            now=float((((weekday - EPOCH_WEEKDAY) % 7) * 24 + hour) * 3600),
            needs_bound=self.truth(request.needs_bound),
            context_tokens_estimate=self.whole(request.context_tokens),
            task=None if self.truth(task.fails) else self.text(task),
        )  # fmt: skip

    def target(self, target: Target) -> TargetFacts:
        """The target, as it stands in its catalogue, or made up."""
        if target.facts is not None:
            return target.facts
        symbols = target.symbols
        days = _as(Number, symbols["target.retention_days"])
        trains = _as(Truth, symbols["target.trains_on_inputs"])
        boundary = self.text(_as(Text, symbols["target.boundary"]))
        return TargetFacts(
            name=self.text(_as(Text, symbols["target.name"])),
            provider=self.text(_as(Text, symbols["target.provider"])),
            model=self.text(_as(Text, symbols["target.model"])),
            boundary=next(one for one in BOUNDARIES if one == boundary),
            region=self.text(_as(Text, symbols["target.region"])),
            capabilities=self.words(_as(Words, symbols["target.capabilities"])),
            context_tokens_max=self.whole(target.context_tokens_max),
            output_tokens_max=self.whole(_as(Number, symbols["target.output_tokens_max"]).value),
            retention_days=None if self.truth(days.fails) else self.whole(days.value),
            trains_on_inputs=None if self.truth(trains.fails) else self.truth(trains.holds),
        )

    def quote(self, target: Target) -> Quote:
        """Its numbers."""

        def number(path: str) -> Number:
            return _as(Number, target.symbols[path])

        def whole(path: str) -> int | None:
            one = number(path)
            return None if self.truth(one.fails) else self.whole(one.value)

        def decimal(path: str) -> float | None:
            one = number(path)
            return None if self.truth(one.fails) else self.decimal(one.value)

        healthy = self.truth(target.is_healthy)
        return Quote(
            expected_cost_nanousd=whole("expected_cost_usd"),
            worst_case_nanousd=whole("worst_case_cost_usd"),
            expected_ttft_seconds=decimal("expected_ttft_s"),
            is_healthy=healthy,
            unhealthy_reason="" if healthy else "it does not answer",
            quality=decimal("quality"),
            cached_tokens=whole("cached_tokens") or 0,
        )

    def witness(self, request: Request, targets: Sequence[Target]) -> Witness:
        """All of it; targets that are alike by name are told apart."""
        found = tuple(self.target(one) for one in targets)
        quotes = {facts.name: self.quote(one) for facts, one in zip(found, targets, strict=True)}
        return Witness(self.facts(request), found, quotes)


_S = TypeVar("_S", Truth, Number, Text, Words)


def _as(kind: type[_S], symbol: Symbol) -> _S:
    if not isinstance(symbol, kind):
        raise TypeError(f"expected {kind.__name__}")
    return symbol


def _other(words: tuple[str, ...]) -> str:
    """A text that is none of ``words``."""
    other = "other"
    while other in words:
        other += "-other"
    return other


def _unescape(value: Any) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), str(value.as_string()))


_ESCAPED = re.compile(r"\\u\{([0-9a-fA-F]+)\}")
"""How Z3 writes what is not printable ASCII."""


def describe(facts: Facts) -> list[str]:
    """The request in words, leaving out what is as in most requests."""
    found = facts.detection
    said: Mapping[str, str] = {
        "data class": facts.data_class,
        "residency": "" if facts.residency == "other" else facts.residency,
        "found in it": ", ".join(sorted(found.found)),
        "detectors lost": ", ".join(sorted(found.unknown)),
        "not looked into": ", ".join(sorted(found.unscannable)),
        "team": "" if facts.team == "other" else facts.team,
        "organisation": "" if facts.organisation == "other" else facts.organisation,
        "key": "" if facts.key == "other" else facts.key,
        "model": "" if facts.request_model == "other" else facts.request_model,
        "task": "" if facts.task in (None, "other") else facts.task,
        "needs": ", ".join(sorted(facts.needs)),
        "stream": "yes" if facts.is_stream else "",
        "asked for": "a target at home" if facts.prefer == "private" else "",
    }
    lines = [f"{name}: {value}" for name, value in said.items() if value]
    if facts.input_tokens_estimate:
        lines.append(f"input tokens: {facts.input_tokens_estimate}")
    return lines
