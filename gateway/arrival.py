"""The client's side of one request, as the pipeline sees it: what arrived, how to answer.

The HTTP server stands behind two small protocols, so that another server, or a test, can stand there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes

from backends.wire.codec import RequestCodec
from backends.wire.failure import RETRYABLE_BY_CLIENT, Failure
from backends.wire.prompt import Asked, WireFormat
from gateway.errors import refuse

Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Arrival:
    """One request before its body was read. ``headers`` are lower-case names in order; ``asked`` is what the
    address and the head say of the prompt."""

    format: RequestCodec
    headers: Sequence[Header]
    body: "Body"
    asked: Asked = Asked()
    query: bytes = b""

    def find_header(self, name: bytes) -> bytes | None:
        """The value of header ``name`` (lower case). Raises ``Refused`` if it stands twice: whoever wrote
        the second may have meant what the first one does not say."""
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            header = name.decode()
            raise refuse(
                "invalid_request",
                f"the header `{header}` stands {len(values)} times; send it once",
                code="invalid_value",
                param=header,
            )
        return values[0].strip() if values else None

    def find_word(self, name: bytes, words: tuple[bytes, ...]) -> bytes | None:
        """The value of header ``name``, one of ``words`` in any case. Raises ``Refused`` for another."""
        value = self.find_header(name)
        if value is None or value.lower() in words:
            return value and value.lower()
        header, said = name.decode(), value[:40].decode("latin-1")
        raise refuse(
            "invalid_request",
            f"`{said}` is no value for the header `{header}`; it is one of "
            + ", ".join(f"`{known.decode()}`" for known in words),
            code="invalid_value",
            param=header,
        )


QUERY_FIELDS_MAX = 64
KEY_HEADERS = (b"x-api-key", b"x-goog-api-key")
"""Where the SDKs of Anthropic and Google put the key."""


def read_token(arrival: Arrival) -> bytes | None:
    """The API key, from wherever an SDK puts it: ``Authorization: Bearer``, ``x-api-key``, ``x-goog-api-key``,
    ``?key=``; the first of them counts."""
    value = arrival.find_header(b"authorization")
    if value is not None and value[:7].lower() == b"bearer ":
        return value[7:].strip()
    for name in KEY_HEADERS:
        value = arrival.find_header(name)
        if value is not None:
            return value
    for field in arrival.query.split(b"&", QUERY_FIELDS_MAX)[:QUERY_FIELDS_MAX]:
        name, _, value = field.partition(b"=")
        if name == b"key" and value:
            return unquote_to_bytes(value)
    return None


def id_headers(request_id: str, format: WireFormat) -> list[Header]:
    """A request's id, under our name and where the SDKs of OpenAI and of Anthropic look."""
    shown = request_id.encode()
    headers = [(b"x-moegate-request-id", shown), (b"x-request-id", shown)]
    if format == "anthropic-messages":
        headers.append((b"request-id", shown))
    return headers


def failure_headers(failure: Failure, request_id: str, format: WireFormat) -> list[Header]:
    """The head of an error: which one, under which id, and whether to come back."""
    may_retry = failure.kind in RETRYABLE_BY_CLIENT and not failure.may_have_spent
    headers = [
        (b"content-type", b"application/json"),
        *id_headers(request_id, format),
        (b"x-moegate-error", failure.kind.encode()),
        (b"x-should-retry", b"true" if may_retry else b"false"),
    ]
    if failure.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(failure.retry_after_seconds))))
    return headers


class Body(Protocol):
    """The request's body, read once."""

    async def read(self, limit: int, seconds: float) -> bytes:
        """All of it. Raises ``Refused`` beyond ``limit`` bytes (``too_large``) or ``seconds``
        (``request_timeout``), ``ClientGone``."""
        ...


class Reply(Protocol):
    """Where the answer goes."""

    has_started: bool

    async def whole(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send a complete answer."""
        ...

    async def begin(self, status: int, headers: Sequence[Header]) -> None:
        """Send the head of a streamed answer."""
        ...

    async def chunk(self, body: bytes) -> None:
        """Send a piece of a streamed answer."""
        ...

    async def end(self, body: bytes = b"") -> None:
        """Send the last piece."""
        ...


class ClientGone(Exception):
    """The client closed its connection before its body was read; nothing is owed to anybody."""
