"""What an answer turned out to be, and the relay that finds out while it passes the bytes on."""

from typing import Protocol

import msgspec

from backends.wire.events import FinishReason
from backends.wire.failure import Failure
from backends.wire.usage import Usage


class Outcome(msgspec.Struct):
    """What an answer turned out to be; filled while it is read.

    ``is_complete`` only after the provider's own end. ``output_bytes`` counts the UTF-8 bytes of
    visible output seen so far: the bound for an answer that was cut short. ``early_input`` is what
    the provider said of the input before the end (Anthropic's ``message_start``).
    """

    is_complete: bool = False
    usage: Usage | None = None
    early_input: Usage | None = None
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    failure: Failure | None = None
    output_bytes: int = 0
    dropped: tuple[str, ...] = ()


class StreamRelay(Protocol):
    """Turns upstream bytes into the client's bytes, at any chunk borders, and reads the outcome."""

    outcome: Outcome

    def feed(self, chunk: bytes) -> bytes:
        """Bytes for the client, maybe empty. Sets ``outcome.failure`` on an error event or broken
        data; what is returned then already ends in the client format's own error event."""
        ...

    def finish(self) -> bytes:
        """The upstream closed in an orderly way: the rest for the client. If the provider's own end
        never came, sets ``outcome.failure`` and returns the client format's error event."""
        ...

    def fail(self, failure: Failure) -> bytes:
        """The client format's error event for a failure outside the data (reset, time-out)."""
        ...


class Answer(msgspec.Struct):
    """A plain answer in the client's format and what it was."""

    body: bytes
    outcome: Outcome
