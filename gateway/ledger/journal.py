"""The journal of one worker: intents before calls, settlements after, on disk before SQL knows.

Promises: :meth:`Journal.intend` returns only when the intent would survive ``kill -9``, and raises
:class:`JournalDown` when it cannot; room to settle what is open is kept back, so that settling never
fails for want of it; a dead worker's journal is replayed by whoever starts next, each attempt once.
Power loss is another matter: pages are brought to the disk every 10 ms by a thread
(:mod:`gateway.ledger.flusher`), and :meth:`Journal.flushed` waits for that. Does not talk to SQL: that
is the shipper.
"""

import contextlib
import itertools
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway.errors import Bug
from gateway.ledger.flusher import Flusher, JournalDown
from gateway.ledger.replay import Orphan, lock_folder, take_orphans
from gateway.ledger.rows import AttemptRow, HoldRow, RequestRow, Row
from gateway.ledger.segment import HEADER, Segment, sync_folder

SETTLE_BYTES_MAX = 4096
"""Room kept back for each open attempt, header included. A settlement is about 500 bytes."""
SEGMENTS_MAX = 64
"""Beyond this many segments that SQL does not have, requests are refused: the disk is not ours alone."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row that has still to be shipped stands; ``intended`` holds its intent, if it has one.

    Rows are read back when they are shipped: a long outage of SQL costs disk, hardly memory.
    """

    segment: Segment
    start: int
    length: int
    intended: Segment | None


def _let_go(segment: Segment | None) -> None:
    """One record less in ``segment`` that a replay would need."""
    if segment is not None:
        segment.unshipped -= 1


class Journal:
    """Writes this worker's segments, and hands out the rows that SQL does not have yet."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        open_segment: Callable[[Path, int], Segment] = Segment,
    ) -> None:
        """Open a journal of its own under ``folder``, after reading what dead workers left there.

        Raises :class:`JournalDown`.
        """
        self._segment_bytes = segment_bytes
        self._has_disk = True
        """False from a segment that could not be made to the next one that could."""
        self._open_segment = open_segment
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Row] = msgspec.msgpack.Decoder(
            AttemptRow | RequestRow
        )
        self._folder = folder
        self._open: dict[str, Segment] = {}
        self._begun: dict[str, Segment] = {}
        self._held: dict[str, Segment] = {}
        self._places: deque[_Place] = deque()
        self._numbers = itertools.count()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._orphans: list[Orphan] = take_orphans(folder)
            self._home = folder / uuid.uuid4().hex
            # Locked before it has a name that others look at: nobody takes it for a dead one's.
            unnamed = folder / f".{self._home.name}"
            unnamed.mkdir(mode=0o700)
            self._lock = lock_folder(unnamed)
            unnamed.rename(self._home)
            sync_folder(folder)
            try:
                self._flusher = Flusher(self._make_segment)
            except OSError:
                self._lock.close()
                raise
        except OSError as error:
            raise JournalDown(
                f"the journal `{folder}` cannot be written: {error.strerror}"
            ) from error
        self._segments = [self._flusher.current]
        self._inherited: deque[Row] = deque(row for left in self._orphans for row in left.rows)

    def intend(self, row: AttemptRow) -> None:
        """Journal that a call is about to leave. Raises :class:`JournalDown`."""
        if self._flusher.fault is not None:
            raise JournalDown(f"the journal does not reach the disk: {self._flusher.fault}")
        payload = self._encoder.encode(row)
        kept_back = (len(self._open) + 1) * SETTLE_BYTES_MAX
        segment, _start = self._write(payload, kept_back=kept_back)
        segment.unshipped += 1
        self._open[row.attempt_id] = segment

    def settle(self, row: AttemptRow) -> None:
        """Journal how a call ended; what :meth:`intend` kept back is used for it.

        An end that cannot be booked (counts beyond what SQL holds) is put in doubt.
        """
        if row.attempt_id not in self._open:
            raise Bug(f"attempt `{row.attempt_id}` is settled without being open")
        payload = self._encode_end(row)
        intended = self._open.pop(row.attempt_id)
        segment, start = self._write(payload, kept_back=0)
        segment.unshipped += 1
        self._places.append(_Place(segment, start, len(payload), intended))

    def begin(self, row: RequestRow) -> None:
        """Journal a request that is about to call, in state ``open``: if we die, the next start books
        it with what its calls cost. Again before each further call. Raises :class:`JournalDown`."""
        payload = self._encoder.encode(row)
        # Room for the intent that follows as well: what is begun and cannot go on would hold its segment.
        kept_back = (len(self._open) + 2) * SETTLE_BYTES_MAX
        segment, _start = self._write(payload, kept_back=kept_back)
        segment.unshipped += 1
        _let_go(self._begun.get(row.request_id))
        self._begun[row.request_id] = segment

    def record(self, row: RequestRow) -> None:
        """Journal a request that has ended. Raises :class:`JournalDown`: then its row is lost, and holds nothing."""
        begun = self._begun.pop(row.request_id, None)
        try:
            segment, place = self._write_beside(row)
        except JournalDown:
            _let_go(begun)
            raise
        self._places.append(_Place(segment, *place, begun))

    def hold(self, row: HoldRow) -> None:
        """Journal that the store of budgets holds money for nobody. Raises :class:`JournalDown`."""
        _let_go(self._held.pop(row.label, None))
        segment, _start = self._write_beside(row)
        self._held[row.label] = segment

    def free(self, row: HoldRow) -> None:
        """Journal that the store was told, if :meth:`hold` said that it was not."""
        segment = self._held.pop(row.label, None)
        if segment is None:
            return
        _let_go(segment)
        # Without room for these words a replay tells the store again, which changes nothing there.
        with contextlib.suppress(JournalDown):
            _let_go(self._write_beside(msgspec.structs.replace(row, is_free=True))[0])

    def _write_beside(self, row: RequestRow | HoldRow) -> tuple[Segment, tuple[int, int]]:
        """Where ``row`` stands; it takes no room that an open attempt needs for its end."""
        payload = self._encoder.encode(row)
        segment, start = self._write(payload, kept_back=len(self._open) * SETTLE_BYTES_MAX)
        segment.unshipped += 1
        return segment, (start, len(payload))

    @property
    def unshipped(self) -> int:
        """Rows that SQL does not have yet."""
        return len(self._inherited) + len(self._places)

    @property
    def is_writable(self) -> bool:
        """Whether an intent would find room now."""
        if self._flusher.fault is not None:
            return False
        room = (len(self._open) + 2) * SETTLE_BYTES_MAX
        if self._flusher.current.fits(room):
            return True
        return self._has_disk and len(self._segments) < SEGMENTS_MAX

    async def flushed(self) -> None:
        """Wait until everything written so far is on the disk. Raises :class:`JournalDown`."""
        await self._flusher.flushed()

    def take(self, rows_max: int) -> list[Row]:
        """The oldest rows that have still to be shipped; they stay until :meth:`shipped`."""
        rows = list(itertools.islice(self._inherited, rows_max))
        places = itertools.islice(self._places, rows_max - len(rows))
        rows.extend(self._decoder.decode(one.segment.read(one.start, one.length)) for one in places)
        return rows

    def shipped(self, count: int) -> None:
        """The ``count`` oldest rows are in SQL: forget them, delete segments that nobody needs."""
        for _ in range(count):
            if self._inherited:
                self._inherited.popleft()
                continue
            place = self._places.popleft()
            _let_go(place.segment)
            _let_go(place.intended)
        for segment in [one for one in self._segments if one.unshipped == 0]:
            if segment is not self._flusher.current:
                self._segments.remove(segment)
                self._flusher.finish(segment)

    def find_left(self) -> list[Orphan]:
        """What workers left that have died meanwhile; reads files, so not for the loop.

        Raises ``OSError`` and :class:`JournalDown`.
        """
        return take_orphans(self._folder)

    def adopt(self, orphans: list[Orphan]) -> None:
        """Ship what they left like our own. Not between a take and its shipped."""
        self._orphans.extend(orphans)
        self._inherited.extend(row for left in orphans for row in left.rows)

    @property
    def unfreed(self) -> list[Orphan]:
        """What dead workers left and nobody has freed yet; whoever has sets ``is_freed``."""
        return [orphan for orphan in self._orphans if not orphan.is_freed]

    def forget_replayed(self) -> None:
        """If what dead workers left is in SQL, the folders of those that hold nothing more may go."""
        if self._inherited:
            return
        unfreed = self.unfreed
        for orphan in self._orphans:
            if orphan.is_freed:
                orphan.remove()
        self._orphans = unfreed

    def close(self) -> None:
        """Bring everything to the disk; the folder goes if nothing in it is needed any more."""
        self._flusher.close()
        is_done = not (self._places or self._open or self._begun or self._held)
        for segment in self._segments:
            segment.close(remove=is_done)
        for orphan in self._orphans:
            orphan.release()
        if is_done:
            Orphan(self._home, self._lock).remove()
        else:
            self._lock.close()

    def _encode_end(self, row: AttemptRow) -> bytes:
        if not row.is_bookable:
            row.put_in_doubt()
        payload = self._encoder.encode(row)
        if len(payload) + HEADER.size > SETTLE_BYTES_MAX:
            row.drop_words()
            payload = self._encoder.encode(row)
        return payload

    def _write(self, payload: bytes, *, kept_back: int) -> tuple[Segment, int]:
        segment = self._flusher.current
        if not segment.fits(len(payload) + kept_back):
            segment = self._rotate(len(payload) + kept_back)
        start = segment.append(payload)
        self._flusher.note_write()
        return segment, start

    def _rotate(self, room: int) -> Segment:
        if len(self._segments) >= SEGMENTS_MAX:
            raise JournalDown("the journal is full: SQL has not taken its rows for too long")
        if room + HEADER.size > self._segment_bytes:
            raise JournalDown("more calls are open than one journal segment has room to settle")
        try:
            segment = self._flusher.rotate()
        except OSError as error:
            self._has_disk = False
            raise JournalDown(f"no new journal segment: {error.strerror}") from error
        self._has_disk = True
        self._segments.append(segment)
        return segment

    def _make_segment(self) -> Segment:
        path = self._home / f"{next(self._numbers):08d}.journal"
        return self._open_segment(path, self._segment_bytes)
