"""Completions to clients of the same format: relayed as they came, read on the way.

Promises: as :class:`backends.wire.relay.PassRelay`; usage that the client did not ask for is held back.
"""

from backends.wire.openai_chat.passing import EVENT_BYTES_MAX
from backends.wire.openai_completions.answer import EventParser
from backends.wire.prompt import Prompt
from backends.wire.relay import PassRelay

_NULL_USAGE = b',"usage":null'


class CompletionsPassRelay(PassRelay):
    """One streamed answer; see :class:`backends.wire.outcome.StreamRelay`."""

    def __init__(self, prompt: Prompt) -> None:
        self._said = EventParser(choices=prompt.choices)
        super().__init__(self._said, prompt, EVENT_BYTES_MAX)
        self._hides_usage = not prompt.wants_usage

    def show(self, event: bytes) -> bytes:
        """See :meth:`backends.wire.relay.PassRelay.show`."""
        if not self._hides_usage:
            return event
        # In a JSON text these bytes stand outside of strings only: inside, quotes are escaped.
        return b"" if self._said.is_usage_only else event.replace(_NULL_USAGE, b"")
