"""The two rows of the accounts, as they are journalled and as they stand in SQL; and what is journalled alone.

Units: times are seconds since the epoch (UTC), amounts integers of nano-dollars, counts tokens.
"""

from typing import Literal

import msgspec

from backends.wire.usage import NOTHING_USED, Usage, UsageSource

BIGINT_MAX = 2**63 - 1
"""What both SQL dialects hold in an integer column."""

AttemptState = Literal["open", "settled", "failed", "interrupted", "in_doubt"]
"""``open``: left and not ended. ``in_doubt``: may have cost up to its bound, which is what is booked."""


class AttemptRow(msgspec.Struct, tag="attempt", omit_defaults=True):
    """One upstream call. ``reservation_id`` names the money held for it (not kept in SQL)."""

    attempt_id: str
    request_id: str
    organisation_id: str
    team_id: str
    key_id: str
    day: str
    ordinal: int
    target: str
    provider: str
    model: str
    started_at: float
    reserved_nanousd: int
    reservation_id: str = ""
    state: AttemptState = "open"
    ended_at: float | None = None
    usage_source: UsageSource = "none"
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanousd: int = 0
    finish_reason: str | None = None
    raw_finish_reason: str | None = None
    response_model: str | None = None
    failure: str | None = None
    upstream_status: int | None = None
    dropped: tuple[str, ...] = ()

    def take_usage(self, usage: Usage) -> None:
        """Write down what was used and who says so."""
        self.usage_source = usage.source
        self.input_tokens = usage.input_tokens
        self.output_tokens = usage.output_tokens
        self.cache_read_tokens = usage.cache_read_tokens
        self.cache_write_tokens = usage.cache_write_tokens
        self.cache_write_1h_tokens = usage.cache_write_1h_tokens
        self.reasoning_tokens = usage.reasoning_tokens

    @property
    def is_bookable(self) -> bool:
        """Whether SQL can hold every number: providers have sent counts that cannot be."""
        largest = max(
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.cache_write_1h_tokens,
            self.reasoning_tokens,
            self.cost_nanousd,
        )
        return largest <= BIGINT_MAX

    def put_in_doubt(self) -> None:
        """Nobody knows what this call used: book its bound, and no counts."""
        self.state = "in_doubt"
        self.take_usage(NOTHING_USED)
        self.usage_source = "bound"
        self.cost_nanousd = self.reserved_nanousd

    def drop_words(self) -> None:
        """Forget what others have worded, for which a journal record may be too short."""
        self.raw_finish_reason = self.response_model = None
        self.dropped = ()


class RequestRow(msgspec.Struct, tag="request", frozen=True, omit_defaults=True):
    """One request of a client. ``decision`` is JSON: facts and reasons, no content.

    ``state`` is ``open`` in the journal while the request runs; ``attempts`` and ``cost_nanousd`` are
    those that had ended when the row was written.
    """

    request_id: str
    organisation_id: str
    team_id: str
    key_id: str
    day: str
    received_at: float
    format: str
    request_model: str
    data_class: str
    labels: tuple[str, ...]
    policy: str
    decision: str
    state: str
    cache: str
    is_stream: bool
    duration_seconds: float
    attempts: int = 0
    cost_nanousd: int = 0
    error: str | None = None
    target: str | None = None
    first_chunk_seconds: float | None = None
    dropped: tuple[str, ...] = ()


class HoldRow(msgspec.Struct, tag="hold", frozen=True, omit_defaults=True):
    """Money that the store of budgets may hold for nobody: it could not be told of the end of a call.

    Stands in the journal alone, until the store was told: ``is_free``. ``label`` names the reservation.
    """

    label: str
    organisation_id: str
    windows: tuple[str, ...]
    spent_nanousd: int
    is_free: bool = False


Row = AttemptRow | RequestRow
