"""One upstream call, and what it has used.

Promises: where nobody counted, an upper bound of what the provider may bill; never zero for want of a count.
"""

from dataclasses import dataclass

from backends.adapter import Outbound, ProviderAdapter
from backends.target import Target
from backends.transport import Upstream
from backends.wire.outcome import Outcome, StreamRelay
from backends.wire.usage import Usage
from gateway.ledger.rows import AttemptRow
from gateway.quotes import Sizes

IN_FLIGHT_TOKENS = 64
"""Tokens that a provider may still have made, of each choice, while our hang-up was on its way to it."""


@dataclass(slots=True)
class Leg:
    """One upstream call. ``outcome`` grows while the answer is read."""

    target: Target
    adapter: ProviderAdapter
    outbound: Outbound
    sizes: Sizes
    row: AttemptRow
    outcome: Outcome
    replicas: int = 1
    spares: int = 0
    """Replicas of the target that this request has not tried yet."""
    upstream: Upstream | None = None
    relay: StreamRelay | None = None
    is_settled: bool = False
    sent_at: float = 0.0
    """Of the clock that only goes on."""
    first_chunk_seconds: float | None = None
    """From then to the first bytes of a stream."""

    def usage(self) -> Usage:
        """What the provider counted; a complete answer without a count is booked at its bound."""
        return self.outcome.usage or self.used_until_now()

    def final_usage(self) -> Usage | None:
        """What the provider counted, if it counted the whole. Some hosts count as they go, each choice for
        itself."""
        is_ended = self.outcome.finish_reason is not None and self.sizes.choices == 1
        return self.outcome.usage if is_ended or not self.outbound.is_stream else None

    def used_until_now(self) -> Usage:
        """An upper bound of what a call has used when it was cut short.

        Input: the provider's early count if it gave one, else the bound of the text. Output: a token is at
        least one byte of what came, seen or not, plus what was under way. The cap where that says nothing:
        with hidden reasoning, and of a host that had more to say than we took.
        """
        output_max = self.sizes.output_tokens_max(self.target)
        unread = 0 if self.upstream is None else self.upstream.unread_bytes
        if unread is None or "reasoning" in self.target.capabilities:
            output = output_max
        else:
            under_way = unread + IN_FLIGHT_TOKENS * self.sizes.choices
            output = min(output_max, self.outcome.output_bytes + under_way)
        early = self.outcome.usage or self.outcome.early_input
        if early is None:
            return Usage(self._input_max(), output, source="bound")
        return Usage(
            early.input_tokens,
            max(output, early.output_tokens),
            early.cache_read_tokens,
            early.cache_write_tokens,
            early.cache_write_1h_tokens,
            source="bound",
        )

    def used_when_left(self) -> Usage:
        """Of a plain answer nothing is seen before its end: it may have been as long as it was allowed to be."""
        return self.used_until_now() if self.outbound.is_stream else self.worst_usage()

    def worst_usage(self) -> Usage:
        """The most that it can have used."""
        output_max = self.sizes.output_tokens_max(self.target)
        return Usage(self._input_max(), output_max, source="bound")

    def _input_max(self) -> int:
        sizes, target = self.sizes, self.target
        bound = sizes.input_tokens_max + sizes.images * target.image_tokens_max
        return max(bound, target.context_tokens_max) if sizes.other_media else bound
