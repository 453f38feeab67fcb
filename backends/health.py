"""Circuit breakers: which targets are set aside, until when, and why.

Promises: pure data, time comes in; one failure that is the client's own never counts; a pause is bounded, so
that no target is lost for good; after a pause one request may try (half-open), and its outcome decides.
"""

from dataclasses import dataclass

from backends.wire.failure import Failure

FAILURES_TO_OPEN = 3
"""Failures in a row before a target is set aside."""
PAUSE_SECONDS = 5.0
PAUSE_SECONDS_MAX = 120.0
RATE_PAUSE_SECONDS_MAX = 300.0
"""A host that asks for a longer wait than this is tried again anyway."""
CREDENTIAL_PAUSE_SECONDS = 60.0
TRIAL_SECONDS = 10.0
"""While one request tries a target after its pause, others stay away for this long."""

COUNTS = frozenset({"upstream_failed", "upstream_timeout", "overloaded", "rate_limited"})


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    pauses: int = 0
    closed_until: float = 0.0
    reason: str = ""


class Health:
    """Breakers by target."""

    def __init__(self) -> None:
        self._breakers: dict[str, _Breaker] = {}
        self.version = 0
        """Changes whenever a target is set aside or taken back."""

    def state(self, target: str, now: float) -> tuple[bool, str]:
        """Whether ``target`` takes requests at ``now``, and if not why."""
        breaker = self._breakers.get(target)
        if breaker is None or now >= breaker.closed_until:
            return True, ""
        return False, f"{breaker.reason}; tried again in {breaker.closed_until - now:.0f} s"

    def begin(self, target: str, now: float) -> None:
        """A request is about to try ``target``: after a pause it is the only one for a while."""
        breaker = self._breakers.get(target)
        if breaker is not None and breaker.pauses and now >= breaker.closed_until:
            breaker.closed_until = now + TRIAL_SECONDS
            breaker.reason = (
                f"being tried after: {breaker.reason.removeprefix('being tried after: ')}"
            )

    def record_success(self, target: str, now: float) -> None:
        """``target`` answered: it is whole again."""
        del now
        if self._breakers.pop(target, None) is not None:
            self.version += 1

    def record_failure(self, target: str, failure: Failure, now: float) -> None:
        """``target`` failed. Failures that are the client's own do not count."""
        if failure.kind not in COUNTS:
            self.record_success(target, now)
            return
        breaker = self._breakers.setdefault(target, _Breaker())
        breaker.failures += 1
        pause = self._pause(breaker, failure)
        if pause <= 0:
            return
        breaker.pauses += 1
        breaker.closed_until = now + pause
        breaker.reason = failure.message
        self.version += 1

    def _pause(self, breaker: _Breaker, failure: Failure) -> float:
        if failure.kind in ("rate_limited", "overloaded") and failure.retry_after_seconds:
            return min(failure.retry_after_seconds, RATE_PAUSE_SECONDS_MAX)
        if failure.upstream_status in (401, 403):
            return CREDENTIAL_PAUSE_SECONDS
        is_away = failure.upstream_status is None and not failure.may_have_spent
        if is_away or breaker.pauses or breaker.failures >= FAILURES_TO_OPEN:
            return min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2.0 ** min(breaker.pauses, 10))
        return 0.0
