"""A stream as one JSON array, as Google sends it to whoever does not ask for server-sent events."""

from backends.wire.failure import Failure
from backends.wire.gemini.answer import EVENT_BYTES_MAX
from backends.wire.gemini.refusals import render_stream_error
from backends.wire.sse import SseReader


class ArrayFraming:
    """Makes elements of an array of whole server-sent events."""

    def __init__(self) -> None:
        self._reader = SseReader(2 * EVENT_BYTES_MAX)
        self._is_first = True

    def add(self, events: bytes) -> bytes:
        """``events`` as elements."""
        if not events:
            return b""
        return b"".join([self._element(event.data) for event in self._reader.feed(events)])

    def fail(self, failure: Failure) -> bytes:
        """The error as the last element, and the end."""
        return self._element(render_stream_error(failure).rstrip()) + self.close()

    def close(self) -> bytes:
        """The end of the array; nothing comes after it."""
        return b"[]" if self._is_first else b"]"

    def _element(self, json: bytes) -> bytes:
        begin = b"[" if self._is_first else b",\r\n"
        self._is_first = False
        return b"%b%b\n" % (begin, json)
