"""Server-sent events, read incrementally: any chunk borders, any line ends, comments, bounded.

Follows the HTML standard, section "Interpreting an event stream", except that an event cut by the end of
the stream is not dispatched, which the standard says too. Promises: the same events wherever the bytes
are cut.
"""

import msgspec

from backends.wire.failure import Failure, WireError

BOM = b"\xef\xbb\xbf"


class SseEvent(msgspec.Struct):
    """One event: its name (empty if none was given) and its data."""

    event: str
    data: bytes


class SseReader:
    """Collects bytes until events are whole."""

    __slots__ = ("_buffer", "_data", "_event_bytes_max", "_is_first", "_name", "_size", "_skip_lf")

    def __init__(self, event_bytes_max: int) -> None:
        self._buffer = b""
        self._data: list[bytes] = []
        self._name = ""
        self._size = 0
        self._is_first = True
        self._skip_lf = False
        self._event_bytes_max = event_bytes_max

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that ``chunk`` completes. Raises ``WireError`` for one that is too long."""
        buffer = self._buffer + chunk if self._buffer else chunk
        if self._is_first and buffer:
            if len(buffer) < len(BOM) and BOM.startswith(buffer):
                self._buffer = buffer
                return []
            buffer = buffer.removeprefix(BOM)
            self._is_first = False
        if self._skip_lf and buffer:
            buffer = buffer.removeprefix(b"\n")
            self._skip_lf = False
        if b"\r" in buffer:
            # A CR at the very end may be half of a CRLF: it ends the line now, an LF that follows is
            # skipped.
            self._skip_lf = buffer.endswith(b"\r")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = buffer.split(b"\n")
        self._buffer = lines.pop()
        events: list[SseEvent] = []
        for line in lines:
            if line:
                self._take(line)
            elif self._data or self._name:
                if self._data:
                    events.append(SseEvent(self._name, b"\n".join(self._data)))
                self._data, self._name, self._size = [], "", 0
        if len(self._buffer) + self._size > self._event_bytes_max:
            message = f"the provider sent an event of more than {self._event_bytes_max} bytes"
            raise WireError(Failure("upstream_failed", message, may_have_spent=True))
        return events

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
