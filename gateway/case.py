"""One request after everything about it was decided, and how it ended: what the later stages work on."""

from dataclasses import dataclass
from typing import Literal

from backends.wire.failure import Failure
from backends.wire.openai_responses.kept import wants_kept
from backends.wire.prompt import Prompt
from backends.wire.rates import Rate
from gateway.arrival import Arrival
from gateway.decision_record import DecisionRecord
from gateway.identity import Principal
from gateway.observed import Trail
from gateway.quotes import Sizes
from gateway.routing import Routing
from policies.facts import Decision

CacheState = Literal["hit", "miss", "off"]
State = Literal["answered", "cached", "refused", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Case:
    """A request that was understood and decided. ``received_at`` is seconds since the epoch, ``day``
    the UTC date that it is booked on."""

    request_id: str
    received_at: float
    day: str
    started: float
    arrival: Arrival
    principal: Principal
    prompt: Prompt
    sizes: Sizes
    trail: Trail
    routing: Routing
    record: DecisionRecord
    cache_key: bytes | None
    reads_cache: bool
    is_strict: bool

    @property
    def decision(self) -> Decision:
        """What was decided."""
        return self.record.decision

    @property
    def loses_state(self) -> bool:
        """Whether the client wants an answer to be kept that is not."""
        prompt = self.prompt
        return (
            prompt.format == "openai-responses"
            and prompt.kept is None
            and wants_kept(prompt.unknown) is True
        )


@dataclass(slots=True)
class Ending:
    """How a request ended; written by the stage that ends it, recorded once."""

    state: State = "failed"
    failure: Failure | None = None
    cache: CacheState = "off"
    target: str | None = None
    attempts: int = 0
    passed_over: int = 0
    """So many of the kept targets did not fit the budget."""
    decision_json: str | None = None
    """The decision as it is recorded, from the first call on: until then it may get ``passed_over``."""
    rate: Rate | None = None
    """What is left of the key's requests of this minute, if they are counted."""
    cost_nanousd: int = 0
    first_chunk_seconds: float | None = None
    dropped: tuple[str, ...] = ()
