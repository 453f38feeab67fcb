"""The client's side of one request, as the pipeline sees it: what arrived, how to answer.

The HTTP server stands behind two small protocols, so that another server, or a test, can stand there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from backends.wire.failure import Failure
from backends.wire.prompt import Prompt, WireFormat

Header = tuple[bytes, bytes]


class ClientFormat(Protocol):
    """What the pipeline needs of the wire format that a client speaks."""

    name: WireFormat

    def parse_request(self, raw: bytes) -> Prompt:
        """The client's body as a prompt; raises ``WireError``."""
        ...

    def render_failure(self, failure: Failure, request_id: str) -> tuple[int, bytes]:
        """HTTP status and body of a failure in this format."""
        ...

    def read_token(self, arrival: "Arrival") -> bytes | None:
        """The API key as clients of this format send it."""
        ...


@dataclass(slots=True)
class Arrival:
    """One request before its body was read. ``headers`` are lower-case names in order."""

    format: ClientFormat
    headers: Sequence[Header]
    body: "Body"

    def find_header(self, name: bytes) -> bytes | None:
        """The first value of header ``name`` (lower case)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Body(Protocol):
    """The request's body, read once."""

    async def read(self, limit: int) -> bytes:
        """All of it. Raises ``Refused`` (``too_large``) beyond ``limit`` bytes, ``ClientGone``."""
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
