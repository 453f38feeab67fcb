"""What an attempt consumed, in one algebra for every provider.

Promises: ``input_tokens`` includes cache reads and writes, ``output_tokens`` includes reasoning.
Codecs bring each provider's counting to this form; nobody else adds or subtracts.
Does not price anything: see :mod:`backends.pricing`.
"""

from typing import Literal

import msgspec

UsageSource = Literal["provider", "bound", "none"]
"""``provider``: the provider's own count. ``bound``: an upper bound of what an attempt that was cut
short can have used. ``none``: nothing was spent."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Tokens of one attempt.

    Shapes: all counts are tokens, >= 0. ``cache_read_tokens``, ``cache_write_tokens`` and
    ``cache_write_1h_tokens`` are disjoint parts of ``input_tokens``; ``reasoning_tokens`` is a part
    of ``output_tokens``.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    source: UsageSource = "provider"

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def believed(self) -> "Usage | None":
        """Itself; None where it counts what cannot be (a prompt of no tokens, or of more than there are), which
        is then bounded like what is not counted."""
        return self if self.input_tokens and self.total_tokens <= COUNT_MAX else None


COUNT_MAX = 2**53
"""More tokens than any JSON reader holds exactly: no count, whoever says so."""

NOTHING_USED = Usage(source="none")
