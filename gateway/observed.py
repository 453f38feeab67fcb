"""What calls have shown of their targets: how long these let wait, how much they say, what they still hold of a
conversation.

Promises: numbers for ranking only, never for money; what nobody has measured, or a wait that nobody has lately, is
unknown and not guessed; looking changes nothing. Memory is bounded and holds no text: of a conversation it keeps keyed hashes, apart for
each organisation. Each process knows what went through itself.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backends.wire.usage import Usage
from policies.facts import Segment

WAIT_SECONDS_KEPT = 900.0
"""A wait that was measured longer ago says nothing of now."""
WEIGHT_LEAST = 0.1
"""Of the newest value in a mean: the last ten or so count."""
HELD_SECONDS = 300.0
"""How long a prefix is taken to be held: Anthropic's default, and the least that OpenAI and Google speak of (their
documentation of prompt caching, 2026-07)."""
HELD_SECONDS_1H = 3600.0
"""Where the client paid for an hour."""
PREFIX_TOKENS_LEAST = 1024
"""Shorter prefixes are not cached by OpenAI and Anthropic (the same documentation)."""
CONVERSATIONS_MAX = 20_000
TASK_LENGTHS_MAX = 4096
"""Lengths by target and task: callers choose the words of tasks, and could choose a new one with each request."""
BYTES_A_TOKEN = 4
OPENING_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Trail:
    """A conversation's places: after each piece of it a hash of all up to there, and about how many tokens that is.

    ``opening`` counts the places of the words that many conversations begin with (the system's). Of one that is too
    short to be held anywhere there are none.
    """

    marks: Sequence[int]
    tokens: Sequence[int]
    opening: int


NOWHERE = Trail((), (), 0)


def follow(organisation: str, beside: Sequence[Segment], said: Sequence[Segment]) -> Trail:
    """The trail of what was ``said``, under the tools that stand ``beside`` it: providers put them first.

    Hashes are Python's own of texts: keyed anew in each process.
    """
    tools = [one.text for one in beside if one.kind == "tool_definition"]
    count = sum([len(text) for text in tools])
    if count + sum([len(one.text) for one in said]) < PREFIX_TOKENS_LEAST * BYTES_A_TOKEN:
        return NOWHERE
    mark = hash((organisation, *tools))
    marks, tokens = list[int](), list[int]()
    for one in said:
        mark = hash((mark, one.role, one.kind, one.text))
        count += len(one.text)
        marks.append(mark)
        tokens.append(count // BYTES_A_TOKEN)
    opening = (at for at, one in enumerate(said) if one.role not in OPENING_ROLES)
    return Trail(marks, tokens, next(opening, 0))


@dataclass(slots=True)
class _Mean:
    """A mean in which older values fade: the plain mean of the first ones, then each new one weighs the least."""

    value: float = 0.0
    count: int = 0
    at: float = 0.0

    def add(self, value: float, now: float) -> None:
        self.count += 1
        self.value += (value - self.value) * max(1 / self.count, WEIGHT_LEAST)
        self.at = now


@dataclass(frozen=True, slots=True)
class _Held:
    """So many tokens of a beginning are taken to be held, from ``since`` until before ``until``."""

    since: float
    until: float
    tokens: int


class Observed:
    """What this process has seen. Times are seconds of one clock; targets go by name."""

    def __init__(self) -> None:
        self._waits: dict[str, _Mean] = {}
        self._answers: dict[str, _Mean] = {}
        self._task_answers: OrderedDict[tuple[str, str], _Mean] = OrderedDict()
        self._shares: dict[str, _Mean] = {}
        """By target, how much of what it should hold it has charged as read from its cache."""
        self._held: OrderedDict[int, dict[str, _Held]] = OrderedDict()
        """By place of a conversation, what each target holds."""

    def expected_wait(self, target: str, now: float) -> float | None:
        """Seconds until the first piece of a streamed answer; None: not measured lately."""
        seen = self._waits.get(target)
        return None if seen is None or now - seen.at > WAIT_SECONDS_KEPT else seen.value

    def expected_output(self, target: str, task: str | None) -> float | None:
        """Tokens of an answer, to requests of this task or else to all; None: none was counted."""
        seen = None if task is None else self._task_answers.get((target, task))
        seen = seen or self._answers.get(target)
        return None if seen is None else seen.value

    def find_held(self, trail: Trail, now: float) -> Mapping[str, int]:
        """About how many tokens of a conversation's beginning each target still holds, as it has held others."""
        if not self._shares:
            return {}
        return {
            target: int(tokens * share.value)
            for target, tokens in self._find_sent(trail, now).items()
            if (share := self._shares.get(target)) is not None
        }

    def note_wait(self, target: str, seconds: float, now: float) -> None:
        """A stream began ``seconds`` after it was asked for."""
        self._waits.setdefault(target, _Mean()).add(seconds, now)

    def note_answer(
        self,
        target: str,
        task: str | None,
        trail: Trail,
        usage: Usage,
        choices: int | None,
        began: float,
        now: float,
    ) -> None:
        """A call that ``began`` earlier ended as it should, and its host counted ``usage`` for so many ``choices``;
        None: its cap cut the answer, which says nothing of how long it would have been."""
        if choices is not None:
            length = usage.output_tokens / choices
            self._answers.setdefault(target, _Mean()).add(length, now)
            if task is not None:
                self._note_task((target, task), length, now)
        if not trail.marks:
            return
        # Of two that were under way together the second could not have been read from what the first left.
        sent = self._find_sent(trail, now, began).get(target, 0)
        if sent:
            share = min(1.0, usage.cache_read_tokens / sent)
            self._shares.setdefault(target, _Mean()).add(share, now)
        until = now + (HELD_SECONDS_1H if usage.cache_write_1h_tokens else HELD_SECONDS)
        for places in {trail.opening, len(trail.marks)}:
            if places and trail.tokens[places - 1] >= PREFIX_TOKENS_LEAST:
                self._hold(trail.marks[places - 1], target, now, until, trail.tokens[places - 1])

    def _note_task(self, key: tuple[str, str], length: float, now: float) -> None:
        answers = self._task_answers
        answers.setdefault(key, _Mean()).add(length, now)
        answers.move_to_end(key)
        if len(answers) > TASK_LENGTHS_MAX:
            answers.popitem(last=False)

    def _find_sent(self, trail: Trail, now: float, before: float = math.inf) -> dict[str, int]:
        """By target, the tokens of the longest beginning that it was sent ``before`` and may still hold."""
        found: dict[str, int] = {}
        held = self._held
        for mark in reversed(trail.marks):
            if mark in held:
                for target, one in held[mark].items():
                    if one.until > now and one.since <= before:
                        found.setdefault(target, one.tokens)
        return found

    def _hold(self, mark: int, target: str, now: float, until: float, tokens: int) -> None:
        held = self._held
        holders = held.setdefault(mark, {})
        before = holders.get(target)
        if before is None or before.until <= now:
            holders[target] = _Held(now, until, tokens)
        else:
            holders[target] = _Held(before.since, max(before.until, until), tokens)
        held.move_to_end(mark)
        if len(held) > CONVERSATIONS_MAX:
            held.popitem(last=False)
