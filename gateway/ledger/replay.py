"""What dead workers left in their journals: every attempt once, in doubt where nobody saw its end.

Promises: a living worker's folder is never touched (it holds a lock that dies with it); two that start at
once do not read the same folder; nothing is deleted before SQL has its rows and the store of budgets was
told of what they held (:meth:`Orphan.remove`); a record that this version cannot read stops the start instead of being lost.
"""

import contextlib
import fcntl
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from gateway.ledger.flusher import JournalDown
from gateway.ledger.rows import AttemptRow, HoldRow, RequestRow, Row
from gateway.ledger.segment import read_records

LOCK = "lock"
SEGMENTS = "*.journal"


@dataclass(slots=True)
class Orphan:
    """A folder whose worker is dead, locked by us until it is removed or released.

    ``is_freed``: whoever adopted it has seen to what its calls, and ``holds``, hold in the store of budgets.
    """

    home: Path
    lock: IO[bytes]
    rows: list[Row] = field(default_factory=list)
    holds: list[HoldRow] = field(default_factory=list)
    is_freed: bool = False

    @property
    def attempts(self) -> list[AttemptRow]:
        """Its calls, in doubt where nobody saw their end."""
        return [row for row in self.rows if isinstance(row, AttemptRow)]

    def remove(self) -> None:
        """Delete the folder, segments first: who finds half of it finds rows that SQL has."""
        for path in self.home.glob(SEGMENTS):
            path.unlink(missing_ok=True)
        (self.home / LOCK).unlink(missing_ok=True)
        # Somebody may have looked in just now and locked it anew: it finds no rows and removes it.
        with contextlib.suppress(OSError):
            self.home.rmdir()
        self.lock.close()

    def release(self) -> None:
        """Leave the folder to the next one that starts."""
        self.lock.close()


def take_orphans(folder: Path) -> list[Orphan]:
    """Lock and read every folder of a dead worker. Raises ``OSError`` and :class:`JournalDown`."""
    found: list[Orphan] = []
    try:
        for home in sorted(folder.glob("[!.]*/")):
            try:
                lock = lock_folder(home)
            except (BlockingIOError, FileNotFoundError):
                continue  # its worker lives, or somebody has just booked and removed it
            orphan = Orphan(home, lock)
            found.append(orphan)
            orphan.rows, orphan.holds = read_left(home)
    except BaseException:
        for orphan in found:
            orphan.release()
        raise
    return found


def read_left(home: Path) -> tuple[list[Row], list[HoldRow]]:
    """Every row that a dead worker's segments hold, attempts without an end put in doubt; and what was still
    held.

    Raises ``OSError`` and :class:`JournalDown`.
    """
    decoder: msgspec.msgpack.Decoder[Row | HoldRow] = msgspec.msgpack.Decoder(Row | HoldRow)
    attempts: dict[str, AttemptRow] = {}
    requests: dict[str, RequestRow] = {}
    holds: dict[str, HoldRow] = {}
    for path in sorted(home.glob(SEGMENTS)):
        for payload in read_records(path):
            try:
                row = decoder.decode(payload)
            except msgspec.DecodeError as error:
                raise JournalDown(
                    f"`{path}` was written by another version of moegate: start that one once, so "
                    f"that it books what is left ({error})"
                ) from error
            # An end stays one, whatever is read behind it: a segment that was long in the making may hold
            # older records than the one numbered before it.
            if isinstance(row, HoldRow):
                before = holds.get(row.label)
                if before is None or not before.is_free:
                    holds[row.label] = row
            elif isinstance(row, RequestRow):
                known = requests.get(row.request_id)
                if known is None or (known.state == "open" and row.attempts >= known.attempts):
                    requests[row.request_id] = row
            elif row.state != "open" or row.attempt_id not in attempts:
                attempts[row.attempt_id] = row
    for attempt in attempts.values():
        if attempt.state == "open":
            attempt.put_in_doubt()
    calls: dict[str, list[AttemptRow]] = {}
    for attempt in attempts.values():
        calls.setdefault(attempt.request_id, []).append(attempt)
    ended = [_end(row, calls.get(row.request_id, [])) for row in requests.values()]
    return [*attempts.values(), *ended], [hold for hold in holds.values() if not hold.is_free]


def _end(row: RequestRow, calls: list[AttemptRow]) -> RequestRow:
    """A request that was cut short, with what its last calls cost; any other as it is."""
    if row.state != "open":
        return row
    last = [call for call in calls if call.ordinal > row.attempts]
    return msgspec.structs.replace(
        row,
        state="interrupted",
        attempts=row.attempts + len(last),
        cost_nanousd=row.cost_nanousd + sum(call.cost_nanousd for call in last),
        target=last[-1].target if last else row.target,
    )


def lock_folder(home: Path) -> IO[bytes]:
    """Hold the folder for as long as the returned file is open. Raises ``BlockingIOError``."""
    file = (home / LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file
