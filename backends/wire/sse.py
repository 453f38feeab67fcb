"""Server-sent events, read incrementally: any chunk borders, any line ends, comments, bounded.

Follows the HTML standard, section "Interpreting an event stream", except that an event cut by the end of
the stream is not dispatched, which the standard says too. Promises: the same events wherever the bytes
are cut.
"""

import re

import msgspec

from backends.wire.failure import Failure, WireError

BOM = b"\xef\xbb\xbf"

_CR = b"\r"[0]
_BORDER = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
"""An empty line in any of the three line ends; a CR at the very end waits for its LF."""
_BORDER_BYTES_MAX = 4
STRAY_BYTES_MAX = 16 * 1024
_OTHER_FIELDS = frozenset({b"", b"id", b"retry"})
"""Fields that say nothing here; the first is a comment."""
_ENDED = re.compile(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)\Z")


class SseEvent(msgspec.Struct):
    """One event: its name (empty if none was given) and its data."""

    event: str
    data: bytes


class SseReader:
    """Collects bytes until events are whole."""

    __slots__ = (
        "_buffer", "_data", "_event_bytes_max", "_is_between", "_is_first", "_more", "_name", "_size",
        "_skip_lf", "_stray",
    )  # fmt: skip

    def __init__(self, event_bytes_max: int) -> None:
        self._buffer = b""
        self._more = bytearray()
        """What came behind :attr:`_buffer` without a line end: looked at once, however many pieces it came in."""
        self._data: list[bytes] = []
        self._name = ""
        self._size = 0
        self._is_first = True
        self._skip_lf = False
        self._is_between = False
        """Nothing is kept of what came: the next byte begins an event."""
        self._stray = b""
        self._event_bytes_max = event_bytes_max

    @property
    def stray(self) -> bytes:
        """What came beside events: lines that are no field, the last one maybe in part. The standard ignores them;
        some hosts say there what went wrong. Of both no more than :data:`STRAY_BYTES_MAX` and a line."""
        if not self._stray and self._buffer[:1] != b"{":
            return b""
        if len(self._buffer) + len(self._more) > STRAY_BYTES_MAX:
            return self._stray
        return self._stray + self._buffer + self._more

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that ``chunk`` completes. Raises ``WireError`` for one that is too long."""
        if self._is_between and (event := _read_one(chunk)) is not None:
            return [event]
        if self._buffer and not self._is_first and b"\n" not in chunk and b"\r" not in chunk:
            self._more += chunk
            self._check_size()
            return []
        buffer = b"".join((self._buffer, self._more, chunk)) if self._buffer else chunk
        self._more.clear()
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
        self._check_size()
        self._is_between = not (
            self._buffer or self._data or self._name or self._skip_lf or self._is_first
        )
        return events

    def _check_size(self) -> None:
        if len(self._buffer) + len(self._more) + self._size > self._event_bytes_max:
            message = f"the provider sent an event of more than {self._event_bytes_max} bytes"
            raise WireError(Failure("upstream_failed", message, may_have_spent=True))

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name not in _OTHER_FIELDS and len(self._stray) < STRAY_BYTES_MAX:
            self._stray += line + b"\n"


def _read_one(chunk: bytes) -> SseEvent | None:
    """The event, if ``chunk`` is one and no more: a line of data, with or without a name before it.

    So come nearly all of them while a model writes; reading line by line takes twice as long.
    """
    if chunk[-4:] == b"\r\n\r\n":
        chunk = chunk[:-4] + b"\n\n"
    name = ""
    line, _, rest = chunk.partition(b"\n")
    if line[:7] == b"event: ":
        name = line[7:].decode("utf-8", "replace")
        line, _, rest = rest.partition(b"\n")
    if rest != b"\n" or line[:6] != b"data: " or _CR in chunk:
        return None
    return SseEvent(name, line[6:])


def _find_line_end(chunk: bytes) -> int:
    """Where the first CR or LF stands in a chunk that holds both."""
    return min(chunk.find(b"\r"), chunk.find(b"\n"))


class SseSplitter:
    """Cuts a stream into its events, each with the empty line that ends it and otherwise as it came."""

    __slots__ = ("_event_bytes_max", "rest")

    def __init__(self, event_bytes_max: int) -> None:
        self.rest = b""
        """Of an event that has not ended yet."""
        self._event_bytes_max = event_bytes_max

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that ``chunk`` completes. One that is too long is given as an event that cannot be read,
        which is the failure that it has to be."""
        rest = self.rest
        if not rest and chunk[-2:] == b"\n\n" and chunk[-3:] != b"\n\n\n" and _CR not in chunk:
            if chunk.find(b"\n\n") == len(chunk) - 2:
                return [chunk]
            return [event + b"\n\n" for event in chunk[:-2].split(b"\n\n")]
        if not rest and chunk[-4:] == b"\r\n\r\n" and _find_line_end(chunk) == len(chunk) - 4:
            return [chunk]
        data = rest + chunk if rest else chunk
        events: list[bytes] = []
        at = 0
        for border in _BORDER.finditer(data, max(0, len(rest) - _BORDER_BYTES_MAX)):
            events.append(data[at : border.end()])
            at = border.end()
        self.rest = data[at:]
        if len(self.rest) > self._event_bytes_max:
            events.append(b"data: an event of more than %d bytes\n\n" % self._event_bytes_max)
        return events

    def finish(self) -> list[bytes]:
        """The stream has ended: the last event, if only its empty line is missing."""
        rest, self.rest = self.rest, b""
        if not rest.strip():
            return []
        return [rest if _ENDED.search(rest) else rest + b"\n\n"]
