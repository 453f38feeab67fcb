"""A stream as one JSON array, as Google sends it to whoever does not ask for server-sent events."""

from backends.wire.gemini.answer import EVENT_BYTES_MAX
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
        pieces: list[bytes] = []
        for event in self._reader.feed(events):
            pieces += (b"[" if self._is_first else b",\r\n", event.data, b"\n")
            self._is_first = False
        return b"".join(pieces)

    def close(self) -> bytes:
        """The end of the array; nothing comes after it."""
        return b"[]" if self._is_first else b"]"
