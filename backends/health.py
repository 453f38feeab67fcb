"""Circuit breakers: which targets are set aside, until when, and why.

Promises: pure data, time comes in; a failure that is the client's own never counts; a pause is bounded,
so that no target is lost for good; failures that were under way together count as one pause; after a
pause one request may try (half-open), and its outcome decides. A reason is made of our own words, for it
is shown to whoever asks next: what a host said to one client stays between the two.
"""

from dataclasses import dataclass

from backends.wire.failure import Failure, FailureKind

FAILURES_TO_OPEN = 3
"""Failures in a row before a target is set aside."""
PAUSE_SECONDS = 5.0
PAUSE_SECONDS_MAX = 120.0
RATE_PAUSE_SECONDS_MIN = 0.1
RATE_PAUSE_SECONDS_MAX = 300.0
"""A host that asks for a longer wait than this is tried again anyway."""
CREDENTIAL_PAUSE_SECONDS = 60.0
TRIAL_SECONDS = 10.0
"""While one request tries a target after its pause, others stay away for this long."""
CLOCK_SLACK_SECONDS = 60.0
"""Requests look with the time of their arrival; one from longer ago is taken for a clock set back."""

REASONS: dict[FailureKind, str] = {
    "upstream_failed": "it failed",
    "upstream_timeout": "it did not answer in time",
    "overloaded": "it is overloaded",
    "rate_limited": "it asks to slow down",
}
"""The failures that count, and what is said of them."""


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    pauses: int = 0
    away_since: float = 0.0
    away_until: float = 0.0
    is_on_trial: bool = False
    reason: str = ""

    def is_away(self, now: float) -> bool:
        """Whether the pause lasts. One that began in the future was taken by a clock that has been set
        back since: it would last as long as the clock was wrong."""
        return self.away_since - CLOCK_SLACK_SECONDS <= now < self.away_until


class Health:
    """Breakers by target. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._breakers: dict[str, _Breaker] = {}
        self.version = 0
        """Changes whenever a call here sets a target aside or takes it back; a pause that ends by
        itself is seen by asking."""

    def state(self, target: str, now: float) -> tuple[bool, str]:
        """Whether ``target`` takes requests at ``now``, and if not why."""
        breaker = self._breakers.get(target)
        if breaker is None or not breaker.is_away(now):
            return True, ""
        if breaker.is_on_trial:
            return False, f"{breaker.reason}; being tried again"
        return False, f"{breaker.reason}; tried again in {breaker.away_until - now:.0f} s"

    def begin(self, target: str, now: float) -> bool:
        """A request is about to try ``target``; False if it has to leave it alone.

        After a pause the first to come is the only one for a while.
        """
        breaker = self._breakers.get(target)
        if breaker is None:
            return True
        if breaker.is_away(now):
            return False
        if breaker.pauses:
            breaker.is_on_trial = True
            breaker.away_until = now + TRIAL_SECONDS
            self.version += 1
        return True

    def record_success(self, target: str, now: float, began: float | None = None) -> None:
        """``target`` answered: it is whole again.

        Not if the request ``began`` before the target was set aside: what it proves is out of date.
        """
        breaker = self._breakers.get(target)
        if breaker is None or (began is not None and began < breaker.away_since):
            return
        del self._breakers[target]
        if breaker.is_away(now):
            self.version += 1

    def record_failure(
        self, target: str, failure: Failure, now: float, began: float | None = None
    ) -> None:
        """``target`` failed. Failures that are the client's own show that it works."""
        if failure.kind not in REASONS:
            self.record_success(target, now, began)
            return
        breaker = self._breakers.setdefault(target, _Breaker())
        is_away = breaker.is_away(now)
        # Others that were under way when the target was set aside: one outage, not one each.
        is_late = is_away and not breaker.is_on_trial
        breaker.failures += 1
        pause = _pause(breaker, failure, breaker.pauses - is_late)
        if pause <= 0:
            return
        until = now + pause
        breaker.away_until = max(until, breaker.away_until) if is_late else until
        breaker.pauses += not is_late
        breaker.away_since = now
        breaker.is_on_trial = False
        breaker.reason = _reason(failure)
        self.version += not is_away


def _pause(breaker: _Breaker, failure: Failure, earlier: int) -> float:
    """Seconds to stay away after ``earlier`` pauses; 0 for a first failure that may be chance."""
    if failure.kind in ("rate_limited", "overloaded") and failure.retry_after_seconds:
        asked = max(failure.retry_after_seconds, RATE_PAUSE_SECONDS_MIN)
        return min(asked, RATE_PAUSE_SECONDS_MAX)
    # Not 403: aggregators say it of one client's prompt, too ("flagged by moderation").
    if failure.upstream_status == 401:
        return CREDENTIAL_PAUSE_SECONDS
    is_gone = failure.upstream_status is None and not failure.may_have_spent
    if is_gone or breaker.pauses or breaker.failures >= FAILURES_TO_OPEN:
        return min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2.0 ** min(earlier, 10))
    return 0.0


def _reason(failure: Failure) -> str:
    status = failure.upstream_status
    if failure.kind != "upstream_failed":
        return REASONS[failure.kind]
    if status == 401:
        return "it refuses the gateway's credential"
    if status is not None and status >= 300:
        return f"it failed with status {status}"
    has_begun = status is not None or failure.may_have_spent
    return "its answers break off" if has_begun else "it could not be reached"
