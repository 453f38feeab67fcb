"""Bodies that a host compressed although nobody asked for it: gzip and deflate, in bounded pieces.

Promises: no piece is larger than a quarter of a megabyte, however small what it came from; a stream
that is cut, or is none, raises :class:`AnswerBroken`. RFC 1952 for gzip; deflate is RFC 1950,
or RFC 1951, which some hosts send under its name.
"""

import zlib
from typing import Final

from backends.http1.connection import AnswerBroken

_PIECE_BYTES: Final = 256 * 1024
_GZIP, _ZLIB, _RAW = 31, 15, -15


class Inflater:
    """Feed it what arrived, then take pieces until there is none."""

    __slots__ = ("_has_begun", "_has_more", "_is_gzip", "_left", "_stream")

    def __init__(self, encoding: bytes) -> None:
        """``encoding`` in lower case. Raises ``AnswerBroken`` for what is neither gzip nor deflate."""
        if encoding not in {b"gzip", b"x-gzip", b"deflate"}:
            raise AnswerBroken("compressed in a way that was not asked for")
        self._is_gzip = encoding != b"deflate"
        # zlib's streams have no name that can be imported.
        self._stream = zlib.decompressobj(_GZIP) if self._is_gzip else None
        self._left = b""
        self._has_begun = False
        self._has_more = False  # zlib may hold back output though it has all of the input.

    def feed(self, data: bytes) -> None:
        """Bytes as they came, once nothing more can be taken."""
        self._left += data
        self._has_begun = True

    def take(self) -> bytes:
        """The next piece; ``b""`` when more is needed first."""
        piece = b""
        try:
            while (self._left or self._has_more) and not piece:
                piece = self._inflate()
        except zlib.error:
            raise AnswerBroken("not compressed as it says") from None
        return piece

    def finish(self) -> None:
        """Nothing more comes."""
        if self._has_begun and (self._stream is None or not self._stream.eof):
            raise AnswerBroken("cut within its compression")

    def _inflate(self) -> bytes:
        if self._stream is None:
            # The low half of RFC 1950's first byte is always 8.
            self._stream = zlib.decompressobj(_ZLIB if self._left[0] & 15 == 8 else _RAW)
        elif self._stream.eof:
            if not self._is_gzip:
                raise AnswerBroken("bytes after the end of its compression")
            self._stream = zlib.decompressobj(_GZIP)  # Members follow one another.
        piece = self._stream.decompress(self._left, _PIECE_BYTES)
        self._has_more = len(piece) == _PIECE_BYTES and not self._stream.eof
        self._left = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        return piece
