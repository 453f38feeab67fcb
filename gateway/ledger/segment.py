"""One preallocated journal file: records with length and checksum in shared memory pages.

Promises: what :meth:`Segment.append` wrote survives the death of the process at any moment (the pages
belong to the kernel), and a record that was cut is noticed and ends the reading. Layout: ``<length u32>
<crc32 u32> <payload>`` back to back; a length of 0 is the end.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

HEADER = struct.Struct("<II")
CLOSED = -1


class Segment:
    """A journal file that is being written."""

    __slots__ = ("_descriptor", "_is_folder_synced", "_map", "path", "size", "unshipped", "used")

    def __init__(self, path: Path, size: int) -> None:
        """Make the file with all its blocks, so that writing never finds the disk full.

        Raises ``OSError`` when there is no room.
        """
        self.path = path
        self.size = size
        self.used = 0
        self.unshipped = 0
        """Records in it that SQL does not have yet; at 0 a segment no longer written may go."""
        self._is_folder_synced = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._descriptor, 0, size)
            else:
                os.write(self._descriptor, b"\0" * size)
            self._map = mmap.mmap(self._descriptor, size)
        except OSError:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    def fits(self, length: int) -> bool:
        """Whether a payload of ``length`` bytes has room."""
        return self.used + HEADER.size + length <= self.size

    def append(self, payload: bytes) -> int:
        """Write one record, and say where its payload begins; the caller has asked :meth:`fits`.

        The payload stands before its header: a death between the two leaves a length of 0.
        """
        start = self.used + HEADER.size
        self._map[start : start + len(payload)] = payload
        self._map[self.used : start] = HEADER.pack(len(payload), zlib.crc32(payload))
        self.used = start + len(payload)
        return start

    def read(self, start: int, length: int) -> bytes:
        """The payload that :meth:`append` put at ``start``."""
        return self._map[start : start + length]

    def sync(self) -> None:
        """Bring the pages and the file's name to the disk; runs off the loop. Raises ``OSError``."""
        if self._descriptor == CLOSED:
            return  # everything in it is in SQL
        whole_pages = self.used // mmap.PAGESIZE * mmap.PAGESIZE
        os.fsync(self._descriptor)
        if not self._is_folder_synced:
            sync_folder(self.path.parent)
            self._is_folder_synced = True
        if whole_pages and hasattr(mmap, "MADV_DONTNEED"):
            # The file has them: they need not count as this process's memory until they are shipped.
            self._map.madvise(mmap.MADV_DONTNEED, 0, whole_pages)

    def close(self, *, remove: bool) -> None:
        """Let go of the file, and delete it if everything in it is in SQL."""
        if self._descriptor == CLOSED:
            return
        self._map.close()
        os.close(self._descriptor)
        self._descriptor = CLOSED
        if remove:
            self.path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to the disk. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_records(path: Path) -> Iterator[bytes]:
    """The whole records of a segment file, up to its end or to the first that is broken."""
    raw = path.read_bytes()
    at = 0
    while at + HEADER.size <= len(raw):
        length, checksum = HEADER.unpack_from(raw, at)
        start = at + HEADER.size
        payload = raw[start : start + length]
        if length == 0 or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload
        at = start + length
