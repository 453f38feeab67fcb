"""The journal: nothing is lost, whatever kills the writer; nothing is doubled."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger import Journal, JournalDown
from gateway.ledger.journal import SETTLE_BYTES_MAX
from gateway.ledger.segment import Segment, read_records
from tests.rows import attempt, request

SEGMENT = 256 * 1024


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
    assert {row.attempt_id: (row.state, row.cost_nanousd) for row in second.replayed} == {
        "a": ("settled", 7),
        "b": ("in_doubt", 1000),
    }
    assert second.unshipped == 3
    second.shipped(3)
    second.forget_replayed()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_living_worker_is_left_alone(tmp_path: Path) -> None:
    """A journal whose owner lives is not replayed by another."""
    first = Journal(tmp_path, segment_bytes=SEGMENT)
    first.intend(attempt("a"))
    second = Journal(tmp_path, segment_bytes=SEGMENT)
    assert second.replayed == []
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
    files = list(tmp_path.glob("*/*.journal"))
    assert len(files) == 2
    journal.settle(attempt("open", "settled"))
    journal.shipped(1)
    assert len(list(tmp_path.glob("*/*.journal"))) == 1
    journal.close()


def test_room_to_settle_is_kept_back(tmp_path: Path) -> None:
    """However many calls are open, each can be settled, even if no new segment can be made."""
    journal = Journal(tmp_path, segment_bytes=SEGMENT)
    opened: list[str] = []
    folder = next(tmp_path.iterdir())
    folder.chmod(0o500)
    try:
        with pytest.raises(JournalDown):
            for number in range(10_000):
                journal.intend(attempt(f"a{number}"))
                opened.append(f"a{number}")
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


@given(payloads=st.lists(st.binary(min_size=1, max_size=50), max_size=8), cut=st.integers(0, 600))
def test_cut_or_damaged_segment_yields_a_prefix(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], cut: int
) -> None:
    """Whatever is missing at the end, what is read is a prefix of what was written."""
    path = tmp_path_factory.mktemp("segment") / "one.journal"
    segment = Segment(path, 1024)
    for payload in payloads:
        segment.append(payload)
    segment.close(remove=False)
    assert list(read_records(path)) == payloads
    path.write_bytes(path.read_bytes()[:cut])
    read = list(read_records(path))
    assert read == payloads[: len(read)]
    raw = bytearray(b"".join([path.read_bytes(), bytes(64)]))
    if len(raw) > cut // 2:
        raw[cut // 2] ^= 0xFF
        path.write_bytes(raw)
        damaged = list(read_records(path))
        assert damaged[: len(read)] == read[: len(damaged)] or len(damaged) <= len(payloads)


def test_settlement_fits_its_room() -> None:
    """The largest row that can be built stays below the room that is kept back for it."""
    row = attempt("a" * 80, "interrupted")
    row.target = row.model = row.response_model = "m" * 200
    row.provider = row.raw_finish_reason = row.failure = "f" * 64
    row.dropped = ("d" * 64,) * 20
    assert len(msgspec.msgpack.encode(row)) + 8 < SETTLE_BYTES_MAX


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


@pytest.mark.parametrize("lines", [1, 2, 3, 50, 51, 777, 4000])
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
    found = {row.attempt_id: row for row in journal.replayed}
    assert len(found) == len(journal.replayed)
    for kind, number in said:
        row = found[f"a{number}"]
        if kind == "s":
            assert (row.state, row.cost_nanousd) == ("settled", int(number))
    assert sum(row.state == "in_doubt" for row in journal.replayed) <= 1
    journal.close()
