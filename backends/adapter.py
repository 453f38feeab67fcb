"""The seam between the gateway's pipeline and everything on the far side.

An :class:`Adapter` is address + authentication + quirks over a codec. It does no I/O itself: it says
what to send (:class:`Outbound`) and reads what came back; :mod:`backends.transport` moves the bytes.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from backends.target import Target
from backends.wire.failure import Failure
from backends.wire.outcome import Answer, StreamRelay
from backends.wire.prompt import Prompt


class Outbound(msgspec.Struct, frozen=True):
    """One rendered request. ``dropped`` lists what the target's format could not carry."""

    target: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_stream: bool
    dropped: tuple[str, ...] = ()


class Terms(msgspec.Struct, frozen=True):
    """What the gateway asks of a request on its way out. ``output_cap``, in tokens, is enforced upstream.

    ``allows_provider_tools``: tools that the provider runs itself, which are billed apart and may carry the
    prompt on, may travel.
    """

    output_cap: int | None = None
    allows_provider_tools: bool = False


class ProviderAdapter(Protocol):
    """One way to speak to hosts."""

    @property
    def load(self) -> Callable[[], Awaitable[None]] | None:
        """What has to be awaited before the first :meth:`prepare`; None if nothing (more) has to be.

        Raises :class:`backends.wire.failure.WireError` if it cannot be had.
        """
        ...

    def prepare(self, prompt: Prompt, target: Target, terms: Terms) -> Outbound:
        """Render ``prompt`` for ``target`` on these terms.

        Raises :class:`backends.wire.failure.WireError` if the target cannot take the prompt.
        """
        ...

    def open_stream(self, prompt: Prompt, target: Target) -> StreamRelay:
        """A fresh relay for one streamed attempt."""
        ...

    def read_answer(self, prompt: Prompt, target: Target, body: bytes) -> Answer:
        """A whole answer (status 2xx). Raises ``WireError`` (kind ``upstream_failed``) if broken."""
        ...

    def find_counter(self, target: Target) -> "ProviderAdapter | None":
        """Who asks ``target`` how many tokens a prompt has, in the manner of an adapter; None if it does not say."""
        ...

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """What a status other than 2xx means, in our kinds."""
        ...
