"""Gemini's answers to clients of Gemini's own format: relayed as they came, read on the way.

Promises: server-sent events and plain answers pass byte for byte; who wants an array gets the same chunks as its
elements; the array is closed after the provider's own end or after the error that ended it, and nothing follows.
"""

import msgspec

from backends.wire.failure import Failure
from backends.wire.gemini.answer import EVENT_BYTES_MAX, EventParser
from backends.wire.gemini.framing import ArrayFraming
from backends.wire.gemini.refusals import render_stream_error
from backends.wire.outcome import Answer, Outcome, StreamRelay
from backends.wire.prompt import Prompt
from backends.wire.relay import PassRelay, read_event


def open_pass_relay(prompt: Prompt, *, created_at: int = 0) -> StreamRelay:
    """The relay for one streamed answer to ``prompt``."""
    parser = EventParser(created_at=created_at, reads_sources=False)
    if not prompt.asked.is_array:
        return PassRelay(parser, prompt, EVENT_BYTES_MAX)
    asked = msgspec.structs.replace(prompt.asked, is_array=False)
    prompt = msgspec.structs.replace(prompt, asked=asked)
    return ArrayRelay(PassRelay(parser, prompt, EVENT_BYTES_MAX))


def pass_answer(body: bytes) -> Answer:
    """A plain answer as it came. Raises ``WireError`` if it is none."""
    outcome = Outcome(is_complete=True)
    for event in EventParser(reads_sources=False).read_answer(body):
        read_event(outcome, event)
    return Answer(body, outcome)


class ArrayRelay:
    """What ``inner`` gives as server-sent events, as a JSON array. See :class:`backends.wire.outcome.StreamRelay`."""

    def __init__(self, inner: PassRelay) -> None:
        self.outcome = inner.outcome
        self._inner = inner
        self._framing = ArrayFraming()
        self._is_closed = False

    def feed(self, chunk: bytes) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        return self._frame(self._inner.feed(chunk))

    def finish(self) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        return self._frame(self._inner.finish())

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        return self._frame(self._inner.fail(failure))

    def _frame(self, events: bytes) -> bytes:
        if self._is_closed:
            return b""
        failure = self.outcome.failure
        if failure is not None:
            self._is_closed = True
            whole = events.removesuffix(render_stream_error(failure))
            return self._framing.add(whole) + self._framing.fail(failure)
        out = self._framing.add(events)
        if self.outcome.is_complete:
            self._is_closed = True
            out += self._framing.close()
        return out
