"""One JSON object of a Gemini request, read member by member.

Promises: a member is found by its camelCase or its snake_case name, as protobuf's JSON mapping has it, and may
not stand under both; null is "not said"; what is wrong is said with its path in the client's spelling; what
nobody read is kept, see :meth:`Members.keep_rest`. The text is JSON without a key twice already
(:mod:`backends.wire.json_scan`).
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from backends.wire.failure import WireError, invalid_request
from backends.wire.reading import explain_invalid

_T = TypeVar("_T")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_NUMBER = msgspec.json.Decoder(float)
_FLAG = msgspec.json.Decoder(bool)
_TEXTS = msgspec.json.Decoder(list[str])
_EMPTY = frozenset({b"null", b"{}", b"[]", b'""', b"false"})
"""Values that say nothing: protobuf's defaults."""


def to_camel(name: str) -> str:
    """``name`` as protobuf's JSON writes it; a leading underscore stays."""
    if "_" not in name[1:]:
        return name
    head, *words = name[1:].split("_")
    return name[0] + head + "".join(word[:1].upper() + word[1:] for word in words)


def read_list(raw: bytes | memoryview, path: str) -> list[msgspec.Raw]:
    """The elements of a list; an object alone is read as a list of one, as Google does."""
    if bytes(raw[:1]) == b"{":
        return [msgspec.Raw(bytes(raw))]
    return _decode(_LIST, raw, path)


class Members:
    """The members of the object ``raw``, which stands at ``path`` (empty: the body)."""

    __slots__ = ("_found", "path")

    def __init__(self, raw: bytes | memoryview, path: str) -> None:
        self.path = path
        self._found: dict[str, tuple[str, memoryview]] = {}
        for said, value in _decode(_OBJECT, raw, path).items():
            name = to_camel(said)
            if name in self._found:
                where = self.path_of(said)
                message = f"`{where}` stands twice, in two spellings"
                raise invalid_request(message, param=where, code="duplicate_key")
            self._found[name] = (said, memoryview(value))

    def path_of(self, said: str) -> str:
        """Where the member ``said`` stands."""
        return f"{self.path}.{said}" if self.path else said

    def take(self, name: str) -> tuple[bytes, str] | None:
        """JSON text and path of a member, which then counts as read; None if it is not said."""
        found = self._found.pop(name, None)
        if found is None or found[1] == b"null":
            return None
        return bytes(found[1]), self.path_of(found[0])

    def text(self, name: str) -> str | None:
        """A text."""
        found = self.take(name)
        return None if found is None else _decode(_TEXT, *found)

    def number(self, name: str) -> float | None:
        """A number."""
        found = self.take(name)
        return None if found is None else _decode(_NUMBER, *found)

    def whole(self, name: str) -> int | None:
        """A whole number; ``40.0`` is one."""
        found = self.take(name)
        if found is None:
            return None
        value = _decode(_NUMBER, *found)
        if value != value // 1 or abs(value) > 2**53:
            raise invalid_request(
                f"`{found[1]}` must be a whole number", param=found[1], code="invalid_type"
            )
        return int(value)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        found = self.take(name)
        return None if found is None else _decode(_FLAG, *found)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self.take(name)
        return () if found is None else tuple(_decode(_TEXTS, *found))

    def child(self, name: str) -> "Members | None":
        """An object."""
        found = self.take(name)
        return None if found is None else Members(*found)

    def children(self, name: str, count_max: int) -> list["Members"]:
        """A list of objects, at most ``count_max``."""
        found = self.take(name)
        if found is None:
            return []
        raw, path = found
        elements = read_list(raw, path)
        if len(elements) > count_max:
            message = f"`{path}` may hold at most {count_max} entries"
            raise invalid_request(message, param=path, code="array_above_max_length")
        return [Members(memoryview(one), f"{path}[{at}]") for at, one in enumerate(elements)]

    def is_said(self, name: str) -> bool:
        """Whether a member that was not taken yet is there."""
        found = self._found.get(name)
        return found is not None and found[1] != b"null"

    def names(self) -> Iterator[str]:
        """The members that nobody read yet."""
        return iter(tuple(self._found))

    def keep_rest(self, unknown: dict[str, bytes]) -> None:
        """What nobody read goes to ``unknown`` by its path, unless it says nothing."""
        for name, (_, value) in self._found.items():
            raw = bytes(value)
            if raw not in _EMPTY:
                unknown[self.path_of(name)] = raw


def check_object(raw: bytes, path: str) -> bytes:
    """``raw`` if it is an object, whatever its members are called. Raises ``WireError``."""
    _decode(_OBJECT, raw, path)
    return raw


def missing(path: str) -> WireError:
    """The error for what has to be there."""
    return invalid_request(f"`{path}` is missing", param=path, code="missing_required_parameter")


def _decode(decoder: msgspec.json.Decoder[_T], raw: bytes | memoryview, path: str) -> _T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        where = f"{path}{inner.rstrip('`')}".lstrip(".")
        placed = f"{message} - at `${'.' if where else ''}{where}`"
        raise explain_invalid(msgspec.ValidationError(placed), ()) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise invalid_request(f"`{path}` cannot be read: {error}", param=path) from error
