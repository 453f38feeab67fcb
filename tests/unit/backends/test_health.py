"""Circuit breakers: when a target is set aside, for how long, and who may try it afterwards."""

from typing import get_args

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backends.health import (
    CREDENTIAL_PAUSE_SECONDS,
    FAILURES_TO_OPEN,
    PAUSE_SECONDS,
    PAUSE_SECONDS_MAX,
    RATE_PAUSE_SECONDS_MAX,
    REASONS,
    TRIAL_SECONDS,
    Health,
)
from backends.wire.failure import Failure, FailureKind

GONE = Failure("upstream_failed", "the provider could not be reached")
BROKEN = Failure("upstream_failed", "quotes a prompt", may_have_spent=True)


def failed_with(status: int) -> Failure:
    return Failure("upstream_failed", "it broke", upstream_status=status)


def told_to_wait(seconds: float) -> Failure:
    return Failure("rate_limited", "slow", retry_after_seconds=seconds, upstream_status=429)


def test_unknown_target_is_healthy() -> None:
    """Nothing is held against a target that was never asked."""
    health = Health()
    assert health.state("t", 0) == (True, "")
    assert health.begin("t", 0)
    assert health.version == 0


def test_target_that_is_not_there_is_set_aside_at_once() -> None:
    """Nobody listens: the first failure is enough."""
    health = Health()
    health.record_failure("t", GONE, 100)
    assert health.state("t", 100) == (False, "it could not be reached; tried again in 5 s")
    assert health.state("other", 100) == (True, "")
    assert not health.begin("t", 100)
    assert health.state("t", 100 + PAUSE_SECONDS) == (True, "")


def test_chance_failures_are_forgiven_until_there_are_too_many_in_a_row() -> None:
    """A 500 now and then is no reason; three in a row are, and a success begins the count anew."""
    health = Health()
    for _ in range(FAILURES_TO_OPEN - 1):
        health.record_failure("t", failed_with(500), 0)
    health.record_success("t", 0)
    for _ in range(FAILURES_TO_OPEN - 1):
        health.record_failure("t", failed_with(500), 0)
    assert health.state("t", 0)[0]
    assert health.version == 0
    health.record_failure("t", failed_with(500), 0)
    assert health.state("t", 0) == (False, "it failed with status 500; tried again in 5 s")
    assert health.version == 1


def test_answers_that_break_off_are_told_as_that() -> None:
    """A stream that is cut has begun with 200: nobody is told that a target failed with it."""
    health = Health()
    for _ in range(FAILURES_TO_OPEN):
        health.record_failure("t", failed_with(200), 0)
    assert health.state("t", 0) == (False, "its answers break off; tried again in 5 s")


def test_waits_that_a_host_asks_for_are_kept_and_bounded() -> None:
    """429 with retry-after: that long, but no host sends a target away for hours."""
    health = Health()
    health.record_failure("t", told_to_wait(7), 0)
    assert not health.state("t", 6.9)[0]
    assert health.state("t", 7)[0]
    health.record_failure("far", told_to_wait(86_400), 0)
    assert not health.state("far", RATE_PAUSE_SECONDS_MAX - 1)[0]
    assert health.state("far", RATE_PAUSE_SECONDS_MAX)[0]


def test_refused_credential_pauses_for_longer() -> None:
    """A key that is refused is not tried at every request."""
    health = Health()
    health.record_failure("t", failed_with(401), 0)
    assert not health.state("t", CREDENTIAL_PAUSE_SECONDS - 1)[0]
    assert health.state("t", CREDENTIAL_PAUSE_SECONDS)[0]


def test_403_may_be_about_one_prompt() -> None:
    """A host says it of a prompt that it does not like: one is no reason, a row of them is."""
    health = Health()
    for _ in range(FAILURES_TO_OPEN):
        assert health.state("t", 0) == (True, "")
        health.record_failure("t", failed_with(403), 0)
    reason = f"it failed with status 403; tried again in {PAUSE_SECONDS:.0f} s"
    assert health.state("t", 0) == (False, reason)


def test_failures_of_the_client_count_as_life() -> None:
    """A host that says what is wrong with a request works."""
    health = Health()
    health.record_failure("t", GONE, 0)
    health.begin("t", 6)
    health.record_failure("t", Failure("invalid_request", "no such tool"), 7)
    assert health.state("t", 7) == (True, "")


def test_after_a_pause_one_request_tries() -> None:
    """Half-open: the first goes, the rest stay away until it has come back or taken too long."""
    health = Health()
    health.record_failure("t", GONE, 0)
    assert health.begin("t", 5)
    assert [health.begin("t", 5), health.begin("t", 14)] == [False, False]
    assert health.state("t", 14) == (False, "it could not be reached; being tried again")
    assert health.begin("t", 5 + TRIAL_SECONDS)
    health.record_success("t", 16, began=15)
    assert all(health.begin("t", 16) for _ in range(5))


def test_failed_trial_doubles_the_pause_up_to_a_bound() -> None:
    """A target that stays away is asked ever more rarely, but is asked."""
    health, now = Health(), 0.0
    health.record_failure("t", GONE, now)
    pauses = [PAUSE_SECONDS]
    for _ in range(8):
        now += pauses[-1]
        assert health.begin("t", now)
        health.record_failure("t", GONE, now)
        pauses.append(next(s for s in range(1, 1000) if health.state("t", now + s)[0]))
    assert pauses == [5, 10, 20, 40, 80, 120, 120, 120, 120]
    assert max(pauses) == PAUSE_SECONDS_MAX


def test_outage_under_load_counts_once() -> None:
    """A hundred requests that break together do not send the target away for a hundred pauses."""
    health = Health()
    for _ in range(100):
        health.record_failure("t", GONE, 0)
    assert health.state("t", PAUSE_SECONDS)[0]
    assert health.version == 1
    health.record_failure("t", told_to_wait(60), 0)
    assert not health.state("t", 59)[0]


def test_success_from_before_does_not_take_a_target_back() -> None:
    """An answer to a request that began before the host asked to wait proves nothing."""
    health = Health()
    health.record_failure("t", told_to_wait(30), 10)
    health.record_success("t", 11, began=9)
    assert not health.state("t", 11)[0]
    health.record_success("t", 11, began=10.5)
    assert health.state("t", 11)[0]


def test_reason_never_quotes_what_a_host_said() -> None:
    """The reason is shown to other clients; a host's message may quote a prompt."""
    for kind in get_args(FailureKind):
        for status in (None, 401, 500):
            health = Health()
            failure = Failure(kind, "quotes a prompt", may_have_spent=True, upstream_status=status)
            for _ in range(3):
                health.record_failure("t", failure, 0)
            assert health.state("t", 0)[0] is (kind not in REASONS)
            assert "quotes" not in health.state("t", 0)[1]


FAILURES = st.builds(
    Failure,
    kind=st.sampled_from(get_args(FailureKind)),
    message=st.just("m"),
    retry_after_seconds=st.none() | st.floats(0, 1e6),
    may_have_spent=st.booleans(),
    upstream_status=st.sampled_from([None, 200, 400, 401, 429, 500, 503]),
)


class Breakers(RuleBasedStateMachine):
    """One target under any order of calls, time never running back."""

    @initialize()
    def start(self) -> None:
        self.health = Health()
        self.now = 1000.0
        self.trial_until = 0.0
        self.bound = self.now

    def _watched(self, call: object) -> object:
        before, version = self.health.state("t", self.now)[0], self.health.version
        result = call() if callable(call) else None
        after = self.health.state("t", self.now)[0]
        assert (self.health.version != version) == (before != after)
        return result

    @rule(seconds=st.floats(0.001, 400))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        was_healthy = self.health.state("t", self.now)[0]
        assert self._watched(lambda: self.health.begin("t", self.now)) == was_healthy
        if was_healthy and not self.health.state("t", self.now)[0]:
            assert self.now >= self.trial_until, "two trials at once"
            self.trial_until = self.now + TRIAL_SECONDS

    @rule(failure=FAILURES)
    def fail(self, failure: Failure) -> None:
        assume(failure.kind in REASONS)
        self._watched(lambda: self.health.record_failure("t", failure, self.now))
        self.trial_until = 0.0

    @rule(failure=FAILURES)
    def answer(self, failure: Failure) -> None:
        assume(failure.kind not in REASONS)
        self._watched(lambda: self.health.record_failure("t", failure, self.now))
        assert self.health.state("t", self.now) == (True, "")
        self.trial_until = 0.0

    @rule()
    def succeed(self) -> None:
        self._watched(lambda: self.health.record_success("t", self.now))
        assert all(self.health.begin("t", self.now) for _ in range(3))
        self.trial_until = 0.0

    @precondition(lambda self: not self.health.state("t", self.now)[0])
    @rule()
    def late_success(self) -> None:
        self._watched(lambda: self.health.record_success("t", self.now, began=0.0))
        assert not self.health.state("t", self.now)[0]

    @invariant()
    def comes_back(self) -> None:
        if hasattr(self, "health"):
            assert self.health.state("t", self.now + RATE_PAUSE_SECONDS_MAX)[0]


class TestBreakers(Breakers.TestCase):
    """Any history: bounded pauses, one trial at a time, a version that moves with the state."""

    settings = settings(max_examples=100, stateful_step_count=30)
