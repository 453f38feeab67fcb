"""The seam between the gateway's pipeline and everything on the far side.

An :class:`Adapter` is address + authentication + quirks over a codec. It does no I/O itself: it says
what to send (:class:`Outbound`) and reads what came back; :mod:`backends.transport` moves the bytes.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from backends.target import Target
from backends.wire.events import FinishReason
from backends.wire.failure import Failure
from backends.wire.prompt import Prompt
from backends.wire.usage import Usage


class Outbound(msgspec.Struct, frozen=True):
    """One rendered request. ``dropped`` lists what the target's format could not carry."""

    target: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_stream: bool
    dropped: tuple[str, ...] = ()


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


class ProviderAdapter(Protocol):
    """One way to speak to hosts."""

    def prepare(self, prompt: Prompt, target: Target, output_cap: int | None) -> Outbound:
        """Render ``prompt`` for ``target``; ``output_cap`` is enforced upstream when given.

        Raises :class:`backends.wire.failure.WireError` if the target cannot take the prompt.
        """
        ...

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """A fresh relay for one streamed attempt."""
        ...

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """A whole answer (status 2xx). Raises ``WireError`` (kind ``upstream_failed``) if broken."""
        ...

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """What a status other than 2xx means, in our kinds."""
        ...
