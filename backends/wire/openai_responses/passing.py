"""OpenAI's streams to clients of its own format: relayed as they came, read on the way.

Promises: as :class:`backends.wire.relay.PassRelay`; an error of ours goes on with the stream's own numbers, and
begins with the response that failed, if one began; the response of an answer that is kept says so.
"""

from backends.wire.events import Event, Start
from backends.wire.failure import Failure
from backends.wire.openai_responses.answer import EVENT_BYTES_MAX, EventParser
from backends.wire.openai_responses.echo import ResponseObject
from backends.wire.openai_responses.errors import render_error_event, render_failed_response
from backends.wire.openai_responses.kept import say_kept_in_event
from backends.wire.prompt import Prompt
from backends.wire.relay import PassRelay


class ResponsesPassRelay(PassRelay):
    """One streamed answer; see :class:`backends.wire.outcome.StreamRelay`."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__(EventParser(), prompt, EVENT_BYTES_MAX)
        self._start: Start | None = None
        self._shown = 0
        self._kept = prompt.kept

    def fail(self, failure: Failure) -> bytes:
        """See :class:`backends.wire.outcome.StreamRelay`."""
        super().fail(failure)
        start = self._start
        if start is None or not self._shown:
            return render_error_event(failure, self._shown)
        response_id = start.response_id if self._kept is None else self._kept.response_id
        response = ResponseObject(self._prompt, response_id, start.response_model, start.created_at)
        return render_failed_response(failure, response, [], self._shown)

    def show(self, event: bytes) -> bytes:
        """See :meth:`backends.wire.relay.PassRelay.show`."""
        if not event.startswith(b":"):
            self._shown += 1
        if self._kept is not None and b'"response"' in event:
            return say_kept_in_event(event, self._kept)
        return event

    def _read(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Start):
                self._start = event
        super()._read(events)
