"""The journal: nothing is lost, whatever kills the writer; nothing is doubled."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Bug
from gateway.ledger import Journal, JournalDown
from gateway.ledger.flusher import Flusher
from gateway.ledger.journal import SETTLE_BYTES_MAX
from gateway.ledger.rows import AttemptRow, HoldRow, RequestRow
from gateway.ledger.segment import Segment, read_records
from tests.rows import attempt, request

SEGMENT = 256 * 1024


def wait_for_files(folder: Path, count_max: int) -> list[str]:
    """Names of the segments, once the thread has brought their number down."""
    deadline = time.monotonic() + 10
    while len(names := sorted(path.name for path in folder.glob("*/*.journal"))) > count_max:
        assert time.monotonic() < deadline, names
        time.sleep(0.002)
    return names


def left(journal: Journal) -> list[AttemptRow]:
    """The attempts of dead workers that it found."""
    return [row for orphan in journal.unfreed for row in orphan.attempts]


def free_all(journal: Journal) -> None:
    """Say that nothing of what it found is held any more."""
    for orphan in journal.unfreed:
        orphan.is_freed = True


def open_many(journal: Journal, opened: list[str]) -> None:
    """Open attempts, named in ``opened``, until the journal takes no more."""
    for number in range(10_000):
        journal.intend(attempt(f"a{number}"))
        opened.append(f"a{number}")


def test_settled_rows_wait_until_they_are_shipped(tmp_path: Path) -> None:
    """Only ended attempts and requests are handed out, in order, until they are acknowledged."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    journal.intend(attempt("a"))
    journal.intend(attempt("b"))
    journal.settle(attempt("a", "settled", 7))
    journal.record(request("r1"))
    rows = journal.take(10)
    assert [getattr(row, "attempt_id", None) for row in rows] == ["a", None]
    journal.shipped(2)
    assert journal.take(10) == []
    journal.settle(attempt("b", "failed"))
    journal.shipped(1)
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_shipped_is_replayed_once(tmp_path: Path) -> None:
    """The next journal finds settled rows as they were, and open ones in doubt at their bound."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    journal.intend(attempt("a"))
    journal.intend(attempt("b"))
    journal.settle(attempt("a", "settled", 7))
    journal.record(request("r1"))
    journal.close()
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    assert {row.attempt_id: (row.state, row.cost_nanousd) for row in left(second)} == {
        "a": ("settled", 7),
        "b": ("in_doubt", 1000),
    }
    assert second.unshipped == 3
    second.shipped(3)
    second.forget_replayed()  # what they hold was not freed yet
    assert len(list(tmp_path.iterdir())) == 2
    free_all(second)
    second.forget_replayed()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_living_worker_is_left_alone(tmp_path: Path) -> None:
    """A journal whose owner lives is not replayed by another."""
    first = Journal(tmp_path, segment_bytes=SEGMENT)
    first.intend(attempt("a"))
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    assert left(second) == []
    second.close()
    first.close()


def test_segments_go_when_everything_in_them_is_shipped(tmp_path: Path) -> None:
    """Rotation does not pile up files, and an open attempt keeps its segment."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    journal.intend(attempt("open"))
    for number in range(4000):
        journal.intend(attempt(f"a{number}"))
        journal.settle(attempt(f"a{number}", "settled"))
        journal.shipped(1)
    # The one with the open attempt, the one that is written, perhaps the one made ahead.
    names = wait_for_files(tmp_path, 3)
    assert names[0] == "00000000.journal"
    journal.settle(attempt("open", "settled"))
    journal.shipped(1)
    assert "00000000.journal" not in wait_for_files(tmp_path, 2)
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_room_to_settle_is_kept_back(tmp_path: Path) -> None:
    """However many calls are open, each can be settled, even if no new segment can be made."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    opened: list[str] = []
    folder = next(tmp_path.iterdir())
    folder.chmod(0o500)
    try:
        with pytest.raises(JournalDown):
            open_many(journal, opened)
    except Exception:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        raise
    finally:
        folder.chmod(0o700)
    for name in opened:
        journal.settle(attempt(name, "settled"))
    journal.close()


def test_full_disk_is_said_before_the_call(tmp_path: Path) -> None:
    """A file size limit stands for a full disk: start or intent fails, with nothing half done."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SEGMENT // 2, hard))
    try:
        with pytest.raises(JournalDown):
            Journal(tmp_path, segment_bytes=SEGMENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.glob("*/*.journal")) == []


@given(payloads=st.lists(st.binary(min_size=1, max_size=50), max_size=8), cut=st.integers(0, 1024))
def test_cut_segment_yields_a_prefix(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], cut: int
) -> None:
    """Whatever is missing at the end: every record that is whole is read, nothing else."""
    path = tmp_path_factory.mktemp("segment") / "one.journal"
    segment = Segment(path, 1024)
    ends = [segment.append(payload) + len(payload) for payload in payloads]
    segment.close(remove=False)
    path.write_bytes(path.read_bytes()[:cut])
    assert list(read_records(path)) == payloads[: sum(end <= cut for end in ends)]


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8),
    place=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
)
def test_damaged_segment_yields_what_stands_before_the_damage(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], place: float, flip: int
) -> None:
    """One changed byte anywhere in the records: those before it are read, none that was changed is."""
    path = tmp_path_factory.mktemp("segment") / "one.journal"
    segment = Segment(path, 1024)
    ends = [segment.append(payload) + len(payload) for payload in payloads]
    segment.close(remove=False)
    raw = bytearray(path.read_bytes())
    at = int(place * ends[-1])
    raw[at] ^= flip
    path.write_bytes(raw)
    assert list(read_records(path)) == payloads[: sum(end <= at for end in ends)]


def test_settlement_fits_its_room() -> None:
    """The largest row that can be built stays below the room that is kept back for it."""
    row = attempt("a" * 80, "interrupted")
    row.target = row.model = row.response_model = "m" * 200
    row.provider = row.raw_finish_reason = row.failure = "f" * 64
    row.dropped = ("d" * 64,) * 20
    assert len(msgspec.msgpack.encode(row)) + 8 < SETTLE_BYTES_MAX


def test_wordy_end_is_cut_to_its_room(tmp_path: Path) -> None:
    """What others have worded gives way before the accounts do."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    journal.intend(attempt("a"))
    row = attempt("a", "settled", 7)
    row.raw_finish_reason = "w" * SETTLE_BYTES_MAX
    journal.settle(row)
    (shipped,) = journal.take(1)
    assert isinstance(shipped, AttemptRow)
    assert (shipped.state, shipped.cost_nanousd) == ("settled", 7)
    assert shipped.raw_finish_reason is None
    journal.close()


@pytest.mark.parametrize("count", [2**63, 2**64, 10**40])
def test_count_that_cannot_be_is_put_in_doubt(tmp_path: Path, count: int) -> None:
    """A provider that counts beyond what SQL holds is booked at the bound, and nothing breaks."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    journal.intend(attempt("a"))
    row = attempt("a", "settled", 7)
    row.output_tokens = count
    journal.settle(row)
    (shipped,) = journal.take(1)
    assert isinstance(shipped, AttemptRow)
    assert (shipped.state, shipped.cost_nanousd, shipped.output_tokens) == ("in_doubt", 1000, 0)
    journal.close()


def test_settling_twice_is_a_bug(tmp_path: Path) -> None:
    """An attempt that is not open cannot be settled: it would be booked twice."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    journal.intend(attempt("a"))
    journal.settle(attempt("a", "settled"))
    with pytest.raises(Bug, match="without being open"):
        journal.settle(attempt("a", "settled"))
    assert journal.unshipped == 1
    journal.close()


def test_full_journal_refuses_intents_and_still_settles(tmp_path: Path) -> None:
    """While SQL takes nothing, intents end when the segments do; everything open can be settled."""
    journal = Journal(tmp_path, segment_bytes=SETTLE_BYTES_MAX * 4)
    said = ""
    while not said:
        name = f"a{journal.unshipped}"
        try:
            journal.intend(attempt(name))
        except JournalDown as error:
            said = str(error)
        else:
            journal.settle(attempt(name, "settled"))
            if journal.unshipped == 100:
                journal.intend(attempt("open"))
    assert "SQL has not taken" in said
    assert not journal.is_writable
    journal.settle(attempt("open", "settled"))
    journal.shipped(journal.unshipped)
    assert journal.is_writable
    journal.intend(attempt("again"))
    journal.settle(attempt("again", "settled"))
    journal.close()


def test_what_is_still_held_outlives_the_writer(tmp_path: Path) -> None:
    """Money that nobody could free is remembered after a clean end, until somebody has freed it."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    for label in ("r1 e", "r2 e", "r3 e"):
        journal.hold(HoldRow(label, "o", ("key:k|total|",), 7))
    journal.free(HoldRow("r2 e", "o", ("key:k|total|",), 7))
    journal.hold(HoldRow("r3 e", "o", ("key:k|total|",), 8))
    journal.free(HoldRow("never held", "o", (), 0))
    journal.close()
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    [orphan] = second.unfreed
    assert [(row.label, row.spent_nanousd) for row in orphan.holds] == [("r1 e", 7), ("r3 e", 8)]
    second.close()
    third = Journal(tmp_path, segment_bytes=SEGMENT)
    free_all(third)
    third.forget_replayed()
    third.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_freed_keeps_no_file(tmp_path: Path) -> None:
    """Holding and freeing leave nothing behind, however often."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    for number in range(10_000):
        row = HoldRow(f"r{number} e", "o", ("key:k|total|",), number)
        journal.hold(row)
        journal.free(row)
        journal.shipped(0)
    assert len(wait_for_files(tmp_path, 2)) <= 2
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_ends_that_are_read_too_early_are_ends(tmp_path: Path) -> None:
    """A segment that was long in the making holds what was written before the one numbered before it."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    row = HoldRow("r1 e", "o", ("key:k|total|",), 7)
    for one in (msgspec.structs.replace(row, is_free=True), row):
        journal.hold(one)
    journal.record(request("r1"))
    journal.begin(msgspec.structs.replace(request("r1"), state="open"))
    journal.close()
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    [orphan] = second.unfreed
    assert orphan.holds == []
    assert [row.state for row in orphan.rows if isinstance(row, RequestRow)] == ["answered"]
    second.close()


def test_two_that_start_at_once_do_not_replay_the_same(tmp_path: Path) -> None:
    """Who replays a folder holds it until it is booked; who ends without booking leaves it to others."""
    dead = Journal(tmp_path, segment_bytes=SEGMENT)
    dead.intend(attempt("a"))
    dead.close()
    first = Journal(tmp_path, segment_bytes=SEGMENT)
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    assert (len(left(first)), len(left(second))) == (1, 0)
    first.close()
    third = Journal(tmp_path, segment_bytes=SEGMENT)
    assert [row.state for row in left(third)] == ["in_doubt"]
    third.forget_replayed()  # not booked yet: nothing may go
    assert third.unshipped == 1
    free_all(third)
    third.shipped(1)
    third.forget_replayed()
    third.close()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_record_of_another_version_stops_the_start(tmp_path: Path) -> None:
    """A whole record that cannot be read is an account that nobody may delete."""
    dead = Journal(tmp_path, segment_bytes=SEGMENT)
    dead.intend(attempt("a"))
    dead.close()
    home = next(tmp_path.iterdir())
    strange = Segment(home / "99999999.journal", 4096)
    strange.append(msgspec.msgpack.encode({"type": "refund", "attempt_id": "a"}))
    strange.close(remove=False)
    for _ in range(2):
        with pytest.raises(JournalDown, match="another version"):
            Journal(tmp_path, segment_bytes=SEGMENT)
    assert len(list(home.glob("*.journal"))) == 2


async def test_flushed_covers_a_rotation(tmp_path: Path) -> None:
    """Waiting for the disk means every segment that was written, not only the last one."""
    synced: list[str] = []

    class Watched(Segment):
        __slots__ = ()

        def sync(self) -> None:
            synced.append(self.path.name)
            super().sync()

    numbers = iter(range(100))
    flusher = Flusher(lambda: Watched(tmp_path / f"{next(numbers)}.journal", 4096))
    segments = [flusher.current]
    for _ in range(3):
        segments.append(flusher.rotate())
        flusher.note_write()
    async with asyncio.timeout(10):
        await flusher.flushed()
    assert {one.path.name for one in segments} <= set(synced)
    flusher.close()
    for segment in segments:
        segment.close(remove=True)


async def test_every_waiter_is_woken(tmp_path: Path) -> None:
    """Calls that wait for the disk come and go by the hundred; none is forgotten."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)

    async def call(number: int) -> None:
        await asyncio.sleep(number / 20_000)
        journal.intend(attempt(f"a{number}"))
        await journal.flushed()
        journal.settle(attempt(f"a{number}", "settled"))

    async with asyncio.timeout(20):
        await asyncio.gather(*(call(number) for number in range(60)))
        await asyncio.gather(*(journal.flushed() for _ in range(2000)))
    journal.close()


class Broken(Segment):
    """A segment whose disk fails."""

    __slots__ = ()

    def sync(self) -> None:
        raise OSError(errno.EIO, "input/output error")


async def test_disk_that_refuses_once_takes_no_more_intents(tmp_path: Path) -> None:
    """After a failed sync nothing may leave, who waited is told, and what is open can be settled."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT, open_segment=Broken)
    journal.intend(attempt("a"))
    async with asyncio.timeout(10):
        with pytest.raises(JournalDown, match="input/output error"):
            await journal.flushed()
    assert not journal.is_writable
    with pytest.raises(JournalDown, match="input/output error"):
        journal.intend(attempt("b"))
    journal.settle(attempt("a", "settled"))
    assert journal.unshipped == 1
    journal.close()
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    assert [(row.attempt_id, row.state) for row in left(second)] == [("a", "settled")]
    second.close()


WRITER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
import msgspec
from gateway.ledger import Journal
from tests.rows import attempt
journal = Journal(Path({folder!r}), segment_bytes=262144)
number = 0
while True:
    row = attempt(f"a{{number}}")
    journal.intend(row)
    print("i", number, flush=True)
    journal.settle(msgspec.structs.replace(row, state="settled", cost_nanousd=number))
    print("s", number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("lines", [1, 2, 51, 4000])
def test_kill_9_loses_no_attempt_and_doubles_none(tmp_path: Path, lines: int) -> None:
    """Killed after any line of its report, a writer's journal holds every attempt that it reported."""
    root = str(Path(__file__).resolve().parents[4])
    script = WRITER.format(root=root, folder=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().split() for _ in range(lines)]
        writer.kill()
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    found = {row.attempt_id: row for row in left(journal)}
    assert len(found) == len(left(journal))
    for kind, number in said:
        row = found[f"a{number}"]
        if kind == "s":
            assert (row.state, row.cost_nanousd) == ("settled", int(number))
    assert sum(row.state == "in_doubt" for row in left(journal)) <= 1
    journal.close()


def test_full_disk_pins_no_segment(tmp_path: Path) -> None:
    """However often the disk is full and has room again, every file that nobody needs any more goes."""
    is_full = False

    def open_segment(path: Path, size: int) -> Segment:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return Segment(path, size)

    journal = Journal(tmp_path, segment_bytes=65536, open_segment=open_segment)

    def serve(name: str) -> bool:
        """One request from its beginning to its row; whether its call was made."""
        row = msgspec.structs.replace(request(name), decision="d" * 1000)
        try:
            journal.begin(row)
            journal.intend(attempt(name))
        except JournalDown:
            with contextlib.suppress(JournalDown):
                journal.record(row)
            return False
        journal.settle(attempt(name, "settled"))
        journal.record(row)
        return True

    for episode in range(20):
        is_full = True
        answered = [serve(f"full-{episode}-{number}") for number in range(200)]
        assert not answered[-1]
        is_full = False
        assert serve(f"room-{episode}")
        while journal.unshipped:
            journal.shipped(len(journal.take(500)))
    assert len(wait_for_files(tmp_path, 2)) <= 2
    journal.close()
