"""JSON log lines that never make a request wait.

Promises: a line is built once, appended to a bounded buffer, and written by a thread of its own, so
that a slow reader of standard output costs lines (counted, and said) but no requests. Lines hold
ids, names, numbers and kinds: never prompt text, answers or secrets.
"""

import os
import threading
from collections import deque
from datetime import UTC, datetime
from typing import cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

LINES_MAX = 100_000
"""Lines that may wait for a slow reader; beyond that they are dropped and counted."""
FLUSH_SECONDS = 0.1

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LineWriter:
    """Writes lines to a file descriptor from a thread of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque(maxlen=LINES_MAX)
        self._dropped = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def msg(self, line: bytes) -> None:
        """Take one line (without its newline)."""
        if len(self._lines) == LINES_MAX:
            self._dropped += 1
        self._lines.append(line)

    debug = info = warning = warn = error = critical = exception = log = msg

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        dropped, self._dropped = self._dropped, 0
        out: list[bytes] = []
        while self._lines:
            out.append(self._lines.popleft())
        if dropped:
            out.append(orjson.dumps({"event": "log lines dropped", "lines": dropped}))
        if not out:
            return
        rest = memoryview(b"\n".join(out) + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # Nobody reads any more (closed pipe, full disk): a log must not end the gateway.
            self._dropped += len(out)

    def close(self) -> None:
        """Write what waits and end the thread."""
        self._stop.set()
        self._thread.join(timeout=2.0)


def _render(_logger: WrappedLogger, level: str, event: EventDict) -> bytes:
    event["level"] = level
    event["timestamp"] = datetime.now(UTC)
    return orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z)


def make_logger(writer: LineWriter, level: str) -> FilteringBoundLogger:
    """A structlog logger over ``writer``; ``level`` is debug, info, warning or error."""
    logger = structlog.wrap_logger(
        writer,
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return cast("FilteringBoundLogger", logger)  # structlog types its wrapped loggers as Any
