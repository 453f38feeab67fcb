"""Glue between a target's format and a client's: bytes → events → bytes, and what the answer was.

Promises: the client's format ends only when the provider did; a failure anywhere becomes the client
format's error event, once, and nothing comes after it.
"""

from typing import Protocol

from backends.wire.clients import CLIENTS
from backends.wire.events import (
    CallDelta,
    CallStart,
    Citation,
    End,
    Event,
    Finish,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
)
from backends.wire.failure import Failure, WireError
from backends.wire.outcome import Answer, Outcome
from backends.wire.prompt import Prompt
from backends.wire.rendering import name_losses
from backends.wire.sse import SseSplitter
from backends.wire.usage import Usage

CUT = Failure("upstream_failed", "the answer was cut off before its end", may_have_spent=True)


class EventParser(Protocol):
    """A target format's parser of streams."""

    failure: Failure | None
    early_input: Usage | None
    dropped: dict[str, None]

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that ``chunk`` completes; sets ``failure`` when the answer breaks."""
        ...

    def finish(self) -> list[Event]:
        """The upstream closed. Raises ``WireError`` if the provider's own end never came."""
        ...


class TranslatingRelay:
    """One streamed answer; see :class:`backends.wire.outcome.StreamRelay`."""

    def __init__(self, parser: EventParser, prompt: Prompt) -> None:
        self.outcome = Outcome()
        self._parser = parser
        self._renderer = CLIENTS[prompt.format].open_renderer(prompt)
        self._is_over = False

    def feed(self, chunk: bytes) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        if self._is_over:
            return b""
        out = self._take(self._parser.feed(chunk))
        if self._parser.failure is not None and not self._is_over:
            out += self.fail(self._parser.failure)
        return out

    def finish(self) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        if self._is_over:
            return b""
        try:
            out = self._take(self._parser.finish())
        except WireError as error:
            return self.fail(error.failure)
        if not self._is_over:
            out += self.fail(CUT)
        return out

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        self._is_over = True
        self.outcome.is_complete = False
        self.outcome.failure = failure
        self._note_dropped()
        return self._renderer.fail(failure)

    def _take(self, events: list[Event]) -> bytes:
        outcome, render = self.outcome, self._renderer.render
        if outcome.early_input is None:
            outcome.early_input = self._parser.early_input
        pieces: list[bytes] = []
        try:
            for event in events:
                read_event(outcome, event)
                pieces.append(render(event))
                if isinstance(event, End):
                    self._is_over = True
                    outcome.is_complete = True
                    self._note_dropped()
                    break
        except WireError as error:
            pieces.append(self.fail(error.failure))
            # What the answer used comes after its finish, and is owed although there is no answer.
            for event in events:
                if isinstance(event, End):
                    outcome.usage = event.usage
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _note_dropped(self) -> None:
        self.outcome.dropped = name_losses((*self._parser.dropped, *self._renderer.dropped))


class PassRelay:
    """One streamed answer in the client's own format: its events pass as they came and are read on the way.

    See :class:`backends.wire.outcome.StreamRelay`. A broken event never passes, nor does a provider's error: the
    client gets ours.
    """

    def __init__(self, parser: EventParser, prompt: Prompt, event_bytes_max: int) -> None:
        self.outcome = Outcome()
        self._parser = parser
        self._prompt = prompt
        self._splitter = SseSplitter(event_bytes_max)
        self._is_over = False

    def feed(self, chunk: bytes) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        if self._is_over:
            return b""
        return self._pass(self._splitter.feed(chunk))

    def finish(self) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        if self._is_over:
            return b""
        out = self._pass(self._splitter.finish())
        if self._is_over:
            return out
        try:
            self._read(self._parser.finish())
        except WireError as error:
            return out + self.fail(error.failure)
        if not self._is_over:
            out += self.fail(CUT)
        return out

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        self._is_over = True
        self.outcome.is_complete = False
        self.outcome.failure = failure
        return CLIENTS[self._prompt.format].open_renderer(self._prompt).fail(failure)

    def show(self, event: bytes) -> bytes:
        """What the client gets of an event that was read."""
        return event

    def _pass(self, events: list[bytes]) -> bytes:
        passed: list[bytes] = []
        for event in events:
            self._read(self._parser.feed(event))
            if self._parser.failure is not None:
                passed.append(self.fail(self._parser.failure))
            else:
                passed.append(self.show(event))
            if self._is_over:
                break
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def _read(self, events: list[Event]) -> None:
        outcome = self.outcome
        if outcome.early_input is None:
            outcome.early_input = self._parser.early_input
        for event in events:
            read_event(outcome, event)
            if isinstance(event, End):
                self._is_over = True
                outcome.is_complete = True


def read_event(outcome: Outcome, event: Event) -> None:
    """Write down what ``event`` says of the answer as a whole."""
    match event:
        case TextDelta() | ReasoningDelta() | RefusalDelta():
            outcome.output_bytes += _count_bytes(event.text)
        case CallDelta():
            outcome.output_bytes += _count_bytes(event.arguments)
        case CallStart():
            outcome.output_bytes += len(event.name)
        case Start(response_id, response_model, _):
            outcome.response_id, outcome.response_model = response_id, response_model
        case Finish(reason, raw):
            outcome.finish_reason, outcome.raw_finish_reason = reason, raw
        case End(usage):
            outcome.usage = usage
        case LogprobsDelta() | Citation():
            pass  # Of text that was counted.


def _count_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def fold_answer(prompt: Prompt, events: list[Event], dropped: tuple[str, ...] = ()) -> Answer:
    """A plain answer to ``prompt`` from the events of one. Raises ``WireError``."""
    outcome = Outcome(is_complete=True)
    for event in events:
        read_event(outcome, event)
    body, lost = CLIENTS[prompt.format].render_answer(prompt, events)
    outcome.dropped = name_losses((*dropped, *lost))
    return Answer(body, outcome)


def pass_answer(body: bytes, events: list[Event]) -> Answer:
    """A plain answer that passes as it came, and what ``events`` say of it."""
    outcome = Outcome(is_complete=True)
    for event in events:
        read_event(outcome, event)
    return Answer(body, outcome)
