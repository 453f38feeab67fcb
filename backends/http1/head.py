"""Heads: where a request goes, what it begins with, and the headers of an answer."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name: RFC 9110, section 5.6.2 (token)."""
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""What the connection says of itself, and nobody else may."""
_USUAL = {
    # Compression would cost more than it saves: answers are small and parsed as they come.
    "accept-encoding": "identity",
    "user-agent": "moegate",
}


class Origin(NamedTuple):
    """Whom to connect to."""

    host: str
    port: int
    is_tls: bool


class Place(NamedTuple):
    """Where a request goes: ``authority`` and ``target`` are what it calls host and path."""

    origin: Origin
    authority: str
    target: str


def find_place(url: str) -> Place:
    """The parts of an absolute ``http`` or ``https`` URL. Raises ``ValueError``."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("not an address that can be called")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _TARGET.fullmatch(target):
        raise ValueError("not a path that can be asked for")
    is_tls = parts.scheme == "https"
    port = parts.port if parts.port is not None else (443 if is_tls else 80)
    return Place(Origin(parts.hostname, port, is_tls), parts.netloc, target)


def render_head(method: str, place: Place, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request's head up to where its framing follows: header lines, then an empty one.

    Raises ``ValueError`` for what cannot stand in a head.
    """
    said = {name.lower() for name, _value in headers}
    if said & _FRAMING:
        raise ValueError("headers of the connection are its own affair")
    lines = [f"{method} {place.target} HTTP/1.1", f"host: {place.authority}"]
    for name, value in (*_USUAL.items(), *headers):
        if name in _USUAL and name in said and _USUAL[name] is value:
            continue  # The caller's own comes later.
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("a header that cannot be sent")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, ""]).encode("latin-1")


class Headers(Mapping[str, str]):
    """An answer's headers by name in any case; of repeated ones the first."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            self._values.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
