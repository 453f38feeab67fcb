"""What a wire format has to offer so that clients can speak it: one :class:`ClientCodec` each, or an
:class:`EmbeddingsCodec`.

The far side of a format (rendering requests, parsing answers) is called by the adapters directly. Which codec
a client's format has stands in :mod:`backends.wire.clients`.
"""

from typing import Protocol

from backends.wire.embeddings import Embeddings
from backends.wire.events import Event
from backends.wire.failure import Failure
from backends.wire.prompt import Asked, Prompt, WireFormat


class EventRenderer(Protocol):
    """Renders one streamed answer for the client, event by event."""

    dropped: dict[str, None]
    """What has no place in the format, by name."""

    def render(self, event: Event) -> bytes:
        """The bytes of one event, maybe none. Raises ``WireError`` for a finish that is an error."""
        ...

    def fail(self, failure: Failure) -> bytes:
        """The format's own error event; nothing comes after it."""
        ...


class RequestCodec(Protocol):
    """What the edge needs of a format: how a request is read, and how a failure is told."""

    name: WireFormat

    def parse_request(self, raw: bytes, asked: Asked) -> Prompt:
        """The client's body as a prompt; raises ``WireError``."""
        ...

    def render_failure(self, failure: Failure, request_id: str) -> tuple[int, bytes]:
        """HTTP status and body of a failure."""
        ...

    def stream_type(self, prompt: Prompt) -> bytes:
        """The content type of a streamed answer."""
        ...


class EmbeddingsCodec(RequestCodec, Protocol):
    """One format as clients speak it who want vectors: there are no events, and no streams."""

    def render_embeddings(self, prompt: Prompt, said: Embeddings) -> bytes:
        """The client's answer. Raises ``WireError`` for vectors that are none."""
        ...


class ClientCodec(RequestCodec, Protocol):
    """One format as clients speak it who want an answer in words."""

    def open_renderer(self, prompt: Prompt) -> EventRenderer:
        """A fresh renderer for one streamed answer."""
        ...

    def render_answer(self, prompt: Prompt, events: list[Event]) -> tuple[bytes, tuple[str, ...]]:
        """The plain answer that ``events`` fold into, and the names of what it does not carry.

        Raises ``WireError`` for a finish that is an error, or none at all.
        """
        ...
