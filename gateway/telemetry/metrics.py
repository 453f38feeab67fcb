"""Prometheus metrics of one process.

Promises: label values come from closed sets (targets, kinds, states), never from a client. Every
name stands in ``docs/metrics.md``. A process shows its own numbers only; where several workers share a
port each says which it is, so that their counters are not taken for one.
"""

from collections import Counter as Tally
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
FOLD_AT = 256
"""Requests, or calls, that are noted before the instruments are told."""

LABELS: Mapping[str, str] = {
    "outcome": "`answered`, `cached`, `interrupted` (the client hung up), or the kind of an error",
    "target": "a target's name in the catalogue",
    "state": "`settled`, `failed`, `interrupted` or `in_doubt`, as in the table `attempts`",
    "direction": "`input` (with cache reads and writes) or `output` (with reasoning)",
    "worker": "the process, where a gateway runs several; absent where it runs one",
}
"""What each label says; ``docs/metrics.md`` is made of it."""


class Metrics:
    """The instruments, and what they have still to be told."""

    def __init__(self, worker: str = "") -> None:
        """``worker``: the label that tells this process from its siblings; empty: there are none."""
        self.registry = CollectorRegistry()
        self._shown = self.registry
        if worker:
            self._shown = CollectorRegistry()
            self._shown.register(_Labelled(self.registry, worker))
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
        self.detector_faults = Counter(
            "moegate_detector_faults",
            "Requests in which a detector broke, so that what it looks for was unknown",
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
        self.in_flight = 0
        self._in_flight = Gauge(
            "moegate_requests_in_flight", "Requests being worked on", registry=self.registry
        )
        self._in_flight.set_function(lambda: self.in_flight)
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
        self._ended: list[tuple[str, float]] = []
        self._called: list[tuple[str, str, int, int, int]] = []

    def count_request(self, outcome: str, seconds: float) -> None:
        """One request ended as ``answered``, ``cached``, ``interrupted`` or with an error's kind."""
        self._ended.append((outcome, seconds))
        if len(self._ended) >= FOLD_AT:
            self._fold()

    def count_attempt(
        self, target: str, state: str, input_tokens: int, output_tokens: int, cost_nanousd: int
    ) -> None:
        """One upstream call was settled."""
        self._called.append((target, state, input_tokens, output_tokens, cost_nanousd))
        if len(self._called) >= FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        """Bring what was noted to the instruments: each of their calls takes a lock, and a label set a look-up."""
        ended, self._ended = self._ended, []
        called, self._called = self._called, []
        for outcome, count in Tally(outcome for outcome, _seconds in ended).items():
            self.requests.labels(outcome).inc(count)
        for _outcome, seconds in ended:
            self.request_seconds.observe(seconds)
        for (target, state), count in Tally(one[:2] for one in called).items():
            self.attempts.labels(target, state).inc(count)
        for target in {one[0] for one in called}:
            _targets, _states, inputs, outputs, costs = zip(
                *(one for one in called if one[0] == target), strict=True
            )
            self.tokens.labels(target, "input").inc(sum(inputs))
            self.tokens.labels(target, "output").inc(sum(outputs))
            self.cost.labels(target).inc(sum(costs))

    def render(self) -> bytes:
        """The exposition text of Prometheus, version 0.0.4."""
        self._fold()
        return generate_latest(self._shown)


class _Labelled(Collector):
    """What a registry collects, with the worker's label on every sample."""

    def __init__(self, registry: CollectorRegistry, worker: str) -> None:
        self._registry = registry
        self._label = {"worker": worker}

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels=self._label | sample.labels) for sample in metric.samples
            ]
            yield metric
