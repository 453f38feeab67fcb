"""Prometheus metrics of one process.

Promises: label values come from closed sets (targets, kinds, states), never from a client. Every
name stands in ``docs/metrics.md``. A process shows its own numbers only; scrape each worker.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """The instruments, and the children of each label set looked up once."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "moegate_requests", "Requests by how they ended", ["outcome"], registry=self.registry
        )
        self.attempts = Counter(
            "moegate_attempts",
            "Upstream calls by target and end",
            ["target", "state"],
            registry=self.registry,
        )
        self.tokens = Counter(
            "moegate_tokens",
            "Tokens booked by target and direction",
            ["target", "direction"],
            registry=self.registry,
        )
        self.cost = Counter(
            "moegate_cost_nanousd",
            "Nano-dollars booked by target",
            ["target"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "moegate_request_seconds", "Whole requests", buckets=SECONDS, registry=self.registry
        )
        self.first_chunk_seconds = Histogram(
            "moegate_time_to_first_chunk_seconds",
            "From arrival to the first streamed chunk",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "moegate_requests_in_flight", "Requests being worked on", registry=self.registry
        )
        self.healthy = Gauge(
            "moegate_target_healthy",
            "1 if the target takes requests",
            ["target"],
            registry=self.registry,
        )
        self.unshipped = Gauge(
            "moegate_journal_rows_unshipped",
            "Journalled rows that SQL does not have yet",
            registry=self.registry,
        )
        self._outcomes: dict[str, Counter] = {}
        self._targets: dict[tuple[str, str], tuple[Counter, Counter, Counter, Counter]] = {}

    def count_request(self, outcome: str, seconds: float) -> None:
        """One request ended as ``answered``, ``cached``, ``interrupted`` or with an error's kind."""
        child = self._outcomes.get(outcome)
        if child is None:
            child = self._outcomes[outcome] = self.requests.labels(outcome)
        child.inc()
        self.request_seconds.observe(seconds)

    def count_attempt(
        self, target: str, state: str, input_tokens: int, output_tokens: int, cost_nanousd: int
    ) -> None:
        """One upstream call was settled."""
        children = self._targets.get((target, state))
        if children is None:
            children = (
                self.attempts.labels(target, state),
                self.tokens.labels(target, "input"),
                self.tokens.labels(target, "output"),
                self.cost.labels(target),
            )
            self._targets[target, state] = children
        calls, inputs, outputs, cost = children
        calls.inc()
        inputs.inc(input_tokens)
        outputs.inc(output_tokens)
        cost.inc(cost_nanousd)

    def render(self) -> bytes:
        """The exposition text of Prometheus, version 0.0.4."""
        return generate_latest(self.registry)
