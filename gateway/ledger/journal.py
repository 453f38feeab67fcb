"""The journal of one worker: intents before calls, settlements after, on disk before SQL knows.

Promises: :meth:`Journal.intend` returns only when the intent would survive ``kill -9``, and raises
:class:`JournalDown` when it cannot; room to settle what is open is kept back, so that settling never
fails for want of it; a dead worker's journal is replayed by whoever starts next, each attempt once.
Power loss is another matter: pages are brought to the disk every 10 ms by a thread, and
:meth:`Journal.flushed` waits for that. Does not talk to SQL: that is the shipper.
"""

import asyncio
import contextlib
import fcntl
import shutil
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from gateway.ledger.rows import AttemptRow, RequestRow, Row
from gateway.ledger.segment import Segment, read_records

SYNC_SECONDS = 0.01
SETTLE_BYTES_MAX = 4096
"""Room kept back for each open attempt. A settlement is about 500 bytes; names are bounded upstream."""
SEGMENTS_MAX = 64
"""Beyond this many segments that SQL does not have, requests are refused: the disk is not ours alone."""


class JournalDown(Exception):
    """Nothing can be journalled (disk full, read-only, SQL away too long); nothing may leave."""


class Journal:
    """Writes this worker's segments, and holds the rows that the shipper has still to take."""

    def __init__(self, folder: Path, *, segment_bytes: int) -> None:
        """Open a journal of its own under ``folder``, after reading what dead workers left there.

        Raises :class:`JournalDown`.
        """
        self._segment_bytes = segment_bytes
        self._encoder = msgspec.msgpack.Encoder()
        self._open: dict[str, Segment] = {}
        self._segments: list[Segment] = []
        self._pending: deque[tuple[Row, list[Segment]]] = deque()
        self._orphans: list[Path] = []
        self.replayed: list[AttemptRow] = []
        """Attempts of dead workers, in doubt where nobody saw their end; to be shipped like others."""
        self._waiters: list[asyncio.Future[None]] = []
        self._dirty = threading.Event()
        self._stop = threading.Event()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._replay(folder)
            self._home = folder / uuid.uuid4().hex
            # Locked before it has a name that others look at: nobody takes it for a dead one's.
            unnamed = folder / f".{self._home.name}"
            unnamed.mkdir(mode=0o700)
            self._lock = _lock(unnamed)
            unnamed.rename(self._home)
            try:
                self._current = self._add_segment()
            except OSError:
                self._lock.close()
                raise
        except OSError as error:
            raise JournalDown(
                f"the journal `{folder}` cannot be written: {error.strerror}"
            ) from error
        self._thread = threading.Thread(target=self._sync_forever, name="journal", daemon=True)
        self._thread.start()

    def intend(self, row: AttemptRow) -> None:
        """Journal that a call is about to leave. Raises :class:`JournalDown`."""
        payload = self._encoder.encode(row)
        segment = self._write(payload, kept_back=(len(self._open) + 1) * SETTLE_BYTES_MAX)
        self._open[row.attempt_id] = segment

    def settle(self, row: AttemptRow) -> None:
        """Journal how a call ended; what :meth:`intend` kept back is used for it."""
        intended = self._open.pop(row.attempt_id)
        segment = self._write(self._encoder.encode(row), kept_back=0)
        self._pending.append((row, [intended, segment]))

    def record(self, row: RequestRow) -> None:
        """Journal a request. Raises :class:`JournalDown`."""
        kept_back = len(self._open) * SETTLE_BYTES_MAX
        segment = self._write(self._encoder.encode(row), kept_back=kept_back)
        self._pending.append((row, [segment]))

    @property
    def unshipped(self) -> int:
        """Rows that SQL does not have yet."""
        return len(self._pending)

    @property
    def is_writable(self) -> bool:
        """Whether an intent would find room now."""
        return self._current.fits((len(self._open) + 2) * SETTLE_BYTES_MAX) or (
            len(self._segments) < SEGMENTS_MAX
        )

    async def flushed(self) -> None:
        """Wait until everything written so far is on the disk."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._dirty.set()
        await waiter

    def take(self, rows_max: int) -> list[Row]:
        """The oldest rows that have still to be shipped; they stay until :meth:`shipped`."""
        return [row for row, _segments in list(self._pending)[:rows_max]]

    def shipped(self, count: int) -> None:
        """The ``count`` oldest rows are in SQL: forget them, delete segments that nobody needs."""
        for _ in range(count):
            _row, segments = self._pending.popleft()
            for segment in segments:
                segment.unshipped -= 1
        for segment in [one for one in self._segments if one.unshipped == 0]:
            if segment is not self._current:
                self._segments.remove(segment)
                segment.close(remove=True)

    def forget_replayed(self) -> None:
        """What dead workers left is in SQL: their folders may go."""
        for folder in self._orphans:
            shutil.rmtree(folder, ignore_errors=True)
        self._orphans.clear()

    def close(self) -> None:
        """Bring everything to the disk; the folder goes if nothing in it is needed any more."""
        self._stop.set()
        self._dirty.set()
        self._thread.join(timeout=5.0)
        is_done = not self._pending and not self._open
        for segment in self._segments:
            segment.close(remove=is_done)
        self._lock.close()
        if is_done:
            shutil.rmtree(self._home, ignore_errors=True)

    def _write(self, payload: bytes, *, kept_back: int) -> Segment:
        segment = self._current
        if not segment.fits(len(payload) + kept_back):
            segment = self._rotate(len(payload) + kept_back)
        segment.append(payload)
        segment.unshipped += 1
        self._dirty.set()
        return segment

    def _rotate(self, room: int) -> Segment:
        if len(self._segments) >= SEGMENTS_MAX:
            raise JournalDown("the journal is full: SQL has not taken its rows for too long")
        if room + 64 > self._segment_bytes:
            raise JournalDown("more calls are open than one journal segment has room to settle")
        try:
            self._current = self._add_segment()
        except OSError as error:
            raise JournalDown(f"no new journal segment: {error.strerror}") from error
        return self._current

    def _add_segment(self) -> Segment:
        path = self._home / f"{len(self._segments):06d}-{uuid.uuid4().hex[:8]}.journal"
        segment = Segment(path, self._segment_bytes)
        self._segments.append(segment)
        return segment

    def _sync_forever(self) -> None:
        while not self._stop.is_set():
            self._dirty.wait()
            self._dirty.clear()
            waiters, self._waiters = self._waiters, []
            # A segment closed meanwhile has been shipped: SQL has what was in it.
            with contextlib.suppress(OSError, ValueError):
                self._current.sync()
            for waiter in waiters:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    waiter.get_loop().call_soon_threadsafe(_wake, waiter)
            self._stop.wait(SYNC_SECONDS)

    def _replay(self, folder: Path) -> None:
        for home in sorted(folder.glob("[!.]*/")):
            try:
                lock = _lock(home)
            except BlockingIOError:
                continue  # its worker lives
            lock.close()
            rows, attempts = read_left(home)
            self._pending.extend((row, list[Segment]()) for row in rows)
            self.replayed.extend(attempts)
            self._orphans.append(home)


def read_left(home: Path) -> tuple[list[Row], list[AttemptRow]]:
    """Every row that a dead worker's segments hold, attempts without an end put in doubt; and the
    attempts among them."""
    decoder: msgspec.msgpack.Decoder[Row] = msgspec.msgpack.Decoder(AttemptRow | RequestRow)
    attempts: dict[str, AttemptRow] = {}
    requests: list[RequestRow] = []
    for row in _decoded(sorted(home.glob("*.journal"), key=_age), decoder):
        if isinstance(row, RequestRow):
            requests.append(row)
        elif row.state != "open" or row.attempt_id not in attempts:
            attempts[row.attempt_id] = row
    for attempt in attempts.values():
        if attempt.state == "open":
            attempt.put_in_doubt()
    return [*attempts.values(), *requests], list(attempts.values())


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime, path.name


def _decoded(paths: list[Path], decoder: "msgspec.msgpack.Decoder[Row]") -> Iterator[Row]:
    for path in paths:
        for payload in read_records(path):
            try:
                yield decoder.decode(payload)
            except msgspec.DecodeError:
                break


def _lock(home: Path) -> IO[bytes]:
    """Hold the folder for as long as the returned file is open. Raises ``BlockingIOError``."""
    file = (home / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
