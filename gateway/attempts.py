"""The calls of one request, target by target: send, relay, book.

Promises: no byte leaves without a journalled intent and a verdict over exactly these bytes; every
intent is settled, whatever happens; the next target is tried only while the client has seen nothing;
an answer is booked before its last byte goes out. What a call that was cut short may have cost is
booked at an upper bound, never at zero.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from backends.adapter import Outbound, ProviderAdapter, Terms
from backends.health import Health
from backends.pricing import date_bill, price_usage
from backends.target import Target
from backends.transport import PermitBreach, TransportError, Upstream
from backends.wire.failure import Failure, WireError
from backends.wire.outcome import Outcome
from backends.wire.rates import rate_headers
from backends.wire.rendering import name_losses
from backends.wire.usage import NOTHING_USED, Usage
from backends.wire.verdict import Verdict
from gateway.arrival import Header, Reply, id_headers
from gateway.case import Case, Ending
from gateway.errors import Bug, Refused
from gateway.ledger import JournalDown
from gateway.ledger.rows import AttemptRow, AttemptState
from gateway.leg import Leg
from gateway.records import request_row
from gateway.reservations import Hold
from gateway.services import Services
from gateway.telemetry.bugs import log_bug
from policies.facts import Kept

ERROR_BYTES_MAX = 256 * 1024
"""More of a provider's error body is not read."""
DRAIN_SECONDS = 1.0
"""How long a finished stream may take to close before its connection is dropped."""
OPEN_CLASSES = ("public", "internal")
"""Data classes whose prompts a provider's own tools may carry on."""
KEEPING = "store"
"""What the client calls it that its answer is kept."""
RETRY_PAUSE_SECONDS = 0.25
"""Before the only target that is left is asked a second time."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What to try next: a target, at which addresses it was tried before, seconds to wait first."""

    kept: Kept
    tried: tuple[str, ...] = ()
    pause: float = 0.0


class Attempts:
    """The legs of one request."""

    def __init__(
        self, services: Services, case: Case, reply: Reply, hold: Hold, ending: Ending
    ) -> None:
        self._services = services
        self._case = case
        self._reply = reply
        self._hold = hold
        self._ending = ending
        passed = services.clock.monotonic() - case.started
        left = services.settings.request_timeout_seconds - passed
        self._deadline = asyncio.get_running_loop().time() + left
        self._urls: list[str] = []
        self.kept_chunks: list[bytes] | None = None
        self._kept_bytes = 0

    async def run(self) -> Failure | None:
        """Try the decided targets in order; None when the client has its answer (or its error event).

        Raises ``AdmissionDown`` when nobody can say whether a further leg would fit.
        """
        failures: list[Failure] = []
        for turn in self._turns(failures):
            leg = await self._prepare(turn, failures)
            if leg is None:
                continue
            self._urls.append(leg.outbound.url)
            failure = await self._run_leg(leg)
            if failure is None:
                return None
            failures.append(failure)
            if self._reply.has_started:
                return failure
            if failure.kind not in self._case.decision.fallback:
                return failure
        return _worst_of(failures)

    def _turns(self, failures: list[Failure]) -> Iterator[Turn]:
        """Each kept target once, its other replicas if one cannot be reached; the only target a second
        time if nothing can have been spent on it."""
        decision = self._case.decision
        self._ending.passed_over = first = self._first_affordable()
        attempts_max = 1 if self._case.prompt.is_count else decision.attempts_max
        for kept in decision.kept[first : first + attempts_max]:
            self._urls = []
            yield Turn(kept)
            for _spare in range(self._replicas(kept) - 1):
                if not (self._urls and _is_unreached(failures[-1])):
                    break
                yield Turn(kept, tuple(self._urls))
        alone = len(decision.kept) == 1 and attempts_max > 1
        if (
            alone
            and self._ending.attempts == 1
            and _is_worth_repeating(failures[0], decision.kept[0])
        ):
            yield Turn(decision.kept[0], tuple(self._urls), RETRY_PAUSE_SECONDS)

    def _first_affordable(self) -> int:
        """Which of the kept is called first: those before it did not fit the budget."""
        kept = self._case.decision.kept
        return next(
            (at for at, one in enumerate(kept) if self._hold.affords(self._case, one)), len(kept)
        )

    def _replicas(self, kept: Kept) -> int:
        routing = self._case.routing
        return len(routing.catalogue.endpoints[routing.get_target(kept.target).endpoint].base_urls)

    async def _prepare(self, turn: Turn, failures: list[Failure]) -> Leg | None:
        case, kept = self._case, turn.kept
        target = case.routing.get_target(kept.target)
        adapter = self._find_adapter(target)
        if turn.pause:
            await asyncio.sleep(turn.pause)
        try:
            if adapter.load is not None:
                await adapter.load()
            outbound = self._render(adapter, target, turn)
        except WireError as error:
            failures.append(error.failure)
            return None
        if case.is_strict and outbound.dropped:
            failures.append(_strict_failure(target, outbound.dropped))
            return None
        try:
            await self._hold.ensure(case, kept)
        except Refused as refusal:
            failures.append(refusal.failure)
            return None
        # Last, for who begins a trial has to bring it to its end. A further turn belongs to the one begun.
        # A count says nothing of the answers: it neither waits for their health nor changes it.
        if (
            not turn.tried
            and not case.prompt.is_count
            and not self._services.signals.health.begin(target.name, self._services.clock.now())
        ):
            failures.append(_SET_ASIDE)
            return None
        row = AttemptRow(
            attempt_id=f"{case.request_id}-{self._ending.attempts + 1}",
            request_id=case.request_id,
            organisation_id=case.principal.organisation_id,
            team_id=case.principal.team_id,
            key_id=case.principal.key_id,
            day=case.day,
            ordinal=self._ending.attempts + 1,
            target=target.name,
            provider=target.provider,
            model=target.model,
            started_at=self._services.clock.now(),
            reserved_nanousd=kept.worst_case_nanousd or 0,
        )
        replicas = self._replicas(kept)
        leg = Leg(
            target, adapter, outbound, case.sizes, row, Outcome(dropped=outbound.dropped), replicas
        )
        leg.spares = replicas - 1 - len(turn.tried)
        return leg

    def _find_adapter(self, target: Target) -> ProviderAdapter:
        adapter = self._case.routing.adapters[target.adapter]
        if not self._case.prompt.is_count:
            return adapter
        counter = adapter.find_counter(target)
        if counter is None:
            raise Bug("a target is to count that cannot")
        return counter

    def _render(self, adapter: ProviderAdapter, target: Target, turn: Turn) -> Outbound:
        """The bytes for ``target``: at a replica that was not tried and is not set aside, if there is one."""
        case, health = self._case, self._services.signals.health
        terms = Terms(allows_provider_tools=case.record.facts.data_class in OPEN_CLASSES)
        if case.principal.budgets:
            # What a provider's own tools cost has no bound.
            terms = Terms(case.sizes.output_tokens_max(target) // case.sizes.choices)
        outbound = adapter.prepare(case.prompt, target, terms)
        replicas = self._replicas(turn.kept)
        if replicas > 1:
            now = self._services.clock.now()
            for _other in range(replicas - 1):
                if outbound.url not in turn.tried and health.begin(outbound.url, now):
                    break
                outbound = adapter.prepare(case.prompt, target, terms)
        if case.loses_state:
            outbound = msgspec.structs.replace(outbound, dropped=(*outbound.dropped, KEEPING))
        return outbound

    async def _run_leg(self, leg: Leg) -> Failure | None:
        case, services = self._case, self._services
        verdict = Verdict(
            leg.outbound.body,
            leg.target.name,
            case.decision.labels,
            case.decision.policy,
        )
        endpoint = case.routing.catalogue.endpoints[leg.target.endpoint]
        leg.row.reservation_id = self._hold.reservation_label
        services.journal.begin(request_row(case, self._ending, 0.0, is_open=True))
        services.journal.intend(leg.row)
        self._hold.begin_call()
        self._ending.attempts += 1
        self._ending.target = leg.target.name
        try:
            if services.settings.journal_strict:
                await services.journal.flushed()
            leg.sent_at = services.clock.monotonic()
            leg.upstream = upstream = await services.transport.send(
                leg.outbound, verdict, endpoint, self._deadline
            )
            if not 200 <= upstream.status < 300:
                failure = await _read_failure(leg, upstream)
            elif leg.outbound.is_stream:
                failure = await self._relay_stream(leg, upstream)
            else:
                failure = await self._relay_plain(leg, upstream)
        except TransportError as error:
            failure = await self._break_off(leg, error.failure)
        except WireError as error:
            failure = await self._break_off(leg, error.failure)
        except (PermitBreach, JournalDown):  # Nothing left.
            await self._settle(leg, "failed", NOTHING_USED, None)
            raise
        except BaseException as error:
            # Cancelled (the client is gone) or a bug.
            told = await self._leave(leg, error)
            if told is None:
                raise
            return told
        if failure is not None and leg.upstream is not None:
            leg.upstream.abort()
        elif leg.upstream is not None:
            await leg.upstream.release()
        if not leg.is_settled:
            await self._settle_failed(leg, failure)
        self._note(leg, failure)
        return failure

    async def _leave(self, leg: Leg, error: BaseException) -> Failure | None:
        """Book what a call may have used that is not gone on with. A client that has seen a part of the answer is
        told of a bug, by its failure; None where the error itself has to go on."""
        if leg.upstream is not None:
            leg.upstream.abort()
        await self._settle(leg, "interrupted", leg.used_when_left(), None)
        if not isinstance(error, Exception) or leg.relay is None or not self._reply.has_started:
            return None
        failure = log_bug(self._services.log, self._case.request_id, error)
        await self._reply.end(leg.relay.fail(failure))
        return failure

    async def _relay_plain(self, leg: Leg, upstream: Upstream) -> Failure | None:
        body = await upstream.read(self._services.settings.answer_bytes_max)
        answer = leg.adapter.read_answer(self._case.prompt, leg.target, body)
        leg.outcome = answer.outcome
        if answer.outcome.failure is not None:
            return answer.outcome.failure
        await self._settle(leg, "settled", leg.usage(), None)
        await self._keep_state(leg, answer.body)
        self._keep(answer.body)
        headers = self._headers(leg, b"application/json")
        headers.append((b"x-moegate-cost-usd", render_usd(self._ending.cost_nanousd)))
        await self._reply.whole(200, headers, answer.body)
        return None

    async def _relay_stream(self, leg: Leg, upstream: Upstream) -> Failure | None:
        relay = leg.adapter.open_stream(self._case.prompt, leg.target)
        leg.relay = relay
        leg.outcome = outcome = relay.outcome
        while chunk := await upstream.next_chunk():
            if leg.first_chunk_seconds is None:
                leg.first_chunk_seconds = self._services.clock.monotonic() - leg.sent_at
            out = relay.feed(chunk)
            if outcome.failure is not None:
                return await self._end_broken(leg, out)
            if outcome.is_complete:
                await self._settle(leg, "settled", leg.usage(), None)
                await self._keep_state(leg, out)
            if out:
                await self._send_chunk(leg, out)
            if outcome.is_complete:
                await _drain(upstream)
                break
        tail = relay.finish()
        if outcome.failure is not None:
            return await self._end_broken(leg, tail)
        if not leg.is_settled:
            await self._settle(leg, "settled", leg.usage(), None)
            await self._keep_state(leg, tail)
        if not self._reply.has_started:
            await self._reply.begin(200, self._headers(leg, self._stream_type()))
        self._keep(tail)
        await self._reply.end(tail)
        return None

    def _stream_type(self) -> bytes:
        return self._case.arrival.format.stream_type(self._case.prompt)

    async def _send_chunk(self, leg: Leg, out: bytes) -> None:
        if not self._reply.has_started:
            clock = self._services.clock
            self._ending.first_chunk_seconds = clock.monotonic() - self._case.started
            await self._reply.begin(200, self._headers(leg, self._stream_type()))
        self._keep(out)
        await self._reply.chunk(out)

    async def _end_broken(self, leg: Leg, error_event: bytes) -> Failure | None:
        """The answer broke: before the first byte the next target may try, after it the client gets
        its format's error event, which ``error_event`` ends in."""
        failure = leg.outcome.failure
        if leg.upstream is not None:
            leg.upstream.abort()  # First: only then is known what had come and was not read.
        await self._settle_failed(leg, failure)
        if self._reply.has_started:
            await self._reply.end(error_event)
        return failure

    async def _break_off(self, leg: Leg, failure: Failure) -> Failure:
        """The connection broke. Settles; tells a client that has already seen bytes."""
        if leg.is_settled:
            return failure
        if self._reply.has_started:
            event = leg.relay.fail(failure) if leg.relay is not None else b""
            await self._settle_failed(leg, failure)
            await self._reply.end(event)
        return failure

    async def _settle_failed(self, leg: Leg, failure: Failure | None) -> None:
        if leg.is_settled:
            return
        usage = leg.final_usage()
        if usage is not None:
            await self._settle(leg, "failed", usage, failure)
        elif self._reply.has_started:
            await self._settle(leg, "failed", leg.used_until_now(), failure)
        elif failure is not None and failure.may_have_spent:
            await self._settle(leg, "in_doubt", leg.worst_usage(), failure)
        else:
            await self._settle(leg, "failed", NOTHING_USED, failure)

    async def _settle(
        self, leg: Leg, state: AttemptState, usage: Usage, failure: Failure | None
    ) -> None:
        """Price, journal, free the reservation: once a leg, in this order."""
        if leg.is_settled:
            return
        if self._case.prompt.is_count:
            usage = NOTHING_USED
        services, row, outcome = self._services, leg.row, leg.outcome
        row.ended_at = ended = services.clock.now()
        cost = self._cost(leg, usage, state, ended)
        row.state = state
        row.take_usage(usage)
        row.cost_nanousd = cost
        row.finish_reason = outcome.finish_reason
        row.raw_finish_reason = _clip(outcome.raw_finish_reason, 64)
        row.response_model = _clip(outcome.response_model, 200)
        row.dropped = dropped_names(leg)
        if failure is not None:
            row.failure = failure.kind
            row.upstream_status = failure.upstream_status
        services.journal.settle(row)
        leg.is_settled = True
        self._ending.cost_nanousd += cost
        self._ending.dropped = row.dropped
        services.metrics.count_attempt(
            leg.target.name, state, usage.input_tokens, usage.output_tokens, cost
        )
        await self._hold.settle(cost)

    def _cost(self, leg: Leg, usage: Usage, state: AttemptState, ended: float) -> int:
        if state == "in_doubt":
            return leg.row.reserved_nanousd
        if usage.source == "none":
            return 0
        quoted = datetime.fromtimestamp(self._case.received_at, UTC)
        at = date_bill(datetime.fromtimestamp(ended, UTC), quoted)
        return price_usage(leg.target, usage, at).nanousd

    def _note(self, leg: Leg, failure: Failure | None) -> None:
        """What the call has shown of its target, for the requests that come."""
        if self._case.prompt.is_count:
            return
        signals, now = self._services.signals, self._services.clock.now()
        self._note_health(leg, failure, signals.health, now)
        observed, usage = signals.observed, leg.outcome.usage
        if leg.first_chunk_seconds is not None:
            observed.note_wait(leg.target.name, leg.first_chunk_seconds, now)
        if failure is None and usage is not None:
            case, is_cut = self._case, leg.outcome.finish_reason == "length"
            observed.note_answer(
                leg.target.name,
                case.record.facts.task,
                case.trail,
                usage,
                None if is_cut else case.sizes.choices,
                leg.row.started_at,
                now,
            )

    def _note_health(self, leg: Leg, failure: Failure | None, health: Health, now: float) -> None:
        began = leg.row.started_at
        if failure is None or not _is_unreached(failure):
            if leg.replicas > 1:
                health.record_success(leg.outbound.url, now, began)
        elif leg.replicas > 1:
            # One replica's absence is its own as long as there are others to ask.
            health.record_failure(leg.outbound.url, failure, now, began)
            if leg.spares:
                return
        if failure is None:
            health.record_success(leg.target.name, now, began)
        else:
            health.record_failure(leg.target.name, failure, now, began)

    async def _keep_state(self, leg: Leg, shown: bytes) -> None:
        """Keep the answer that ends in ``shown`` for requests that go on from it; what fails is told: in the head
        of an answer that has none yet, and in the request's record."""
        case, services = self._case, self._services
        if case.prompt.kept is None:
            return
        now = services.clock.now()
        if await services.kept.keep_answer(
            case.prompt,
            shown,
            case.principal,
            case.request_id,
            now,
            data_class=case.record.facts.data_class,
        ):
            return
        services.log.error("answer not kept", request_id=case.request_id)
        leg.outcome.dropped = (*leg.outcome.dropped, KEEPING)
        self._ending.dropped = dropped_names(leg)

    def _keep(self, out: bytes) -> None:
        if self.kept_chunks is None or not out:
            return
        self._kept_bytes += len(out)
        self.kept_chunks.append(out)
        if self._kept_bytes > self._services.settings.cache_entry_bytes_max:
            self.kept_chunks = None  # Too long to be kept, so nothing of it is.

    def _headers(self, leg: Leg, content_type: bytes) -> list[Header]:
        case = self._case
        dropped = dropped_names(leg)
        headers = answer_headers(case, self._ending, leg.target.name, content_type)
        if dropped:
            headers.append((b"x-moegate-dropped", ", ".join(dropped).encode("latin-1", "replace")))
        if case.prompt.is_count:
            headers.append((b"x-moegate-tokens", b"counted"))
        return headers


def dropped_names(leg: Leg) -> tuple[str, ...]:
    """What the target did not get, each once, bounded."""
    return name_losses((*leg.outbound.dropped, *leg.outcome.dropped))


def _clip(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]


def answer_headers(case: Case, ending: Ending, target: str, content_type: bytes) -> list[Header]:
    """The head of an answer: what it is and where it came from."""
    return [
        (b"content-type", content_type),
        *id_headers(case.request_id, case.prompt.format),
        *route_headers(case, ending, target),
    ]


def route_headers(case: Case, ending: Ending, target: str) -> list[Header]:
    """Where a request went and by which policy, also where nothing came of it, and what is left of the rate."""
    rates: list[Header] = []
    if ending.rate is not None:
        rates = rate_headers(case.prompt.format, ending.rate, case.received_at)
    return [
        (b"x-moegate-target", target.encode("latin-1", "replace")),
        (b"x-moegate-policy", case.decision.policy.encode("latin-1", "replace")),
        (b"x-moegate-cache", ending.cache.encode()),
        (b"x-moegate-attempts", b"%d" % ending.attempts),
        *rates,
    ]


def render_usd(nanousd: int) -> bytes:
    """Nano-dollars as exact decimal dollars: 1_234 → ``0.000001234``."""
    return b"%d.%09d" % divmod(nanousd, 10**9)


async def _drain(upstream: Upstream) -> None:
    """Let a finished answer's connection come to its end, so that it can be used again."""
    if upstream.is_drained:
        return
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while await upstream.next_chunk():
                pass
    except (TimeoutError, TransportError):
        upstream.abort()


async def _read_failure(leg: Leg, upstream: Upstream) -> Failure:
    """What a status other than 2xx means; one whose body is broken or endless still means it."""
    try:
        body = await upstream.read(ERROR_BYTES_MAX)
    except TransportError:
        body = b""
    return leg.adapter.read_failure(upstream.status, upstream.headers, body)


def _is_unreached(failure: Failure) -> bool:
    """Nobody was there: another replica may be."""
    return (
        failure.kind in ("upstream_failed", "upstream_timeout")
        and failure.upstream_status is None
        and not failure.may_have_spent
    )


def _is_worth_repeating(failure: Failure, kept: Kept) -> bool:
    """Not what may be billed twice. A free target's connection may break as it was about to be reused."""
    is_free = kept.worst_case_nanousd == 0 and failure.upstream_status is None
    return (
        failure.kind in ("upstream_failed", "overloaded")
        and (is_free or not failure.may_have_spent)
        and failure.upstream_status not in (401, 403, 404)
        and (failure.retry_after_seconds or 0) <= RETRY_PAUSE_SECONDS
    )


_SET_ASIDE = Failure(
    "overloaded",
    "no allowed target is healthy at the moment; try again later",
    retry_after_seconds=5.0,
)
"""For a request that was decided just before its target was set aside, or is being tried by another."""


def _strict_failure(target: Target, dropped: tuple[str, ...]) -> Failure:
    return Failure(
        "invalid_request",
        f"`{target.name}` cannot carry {', '.join(f'`{name}`' for name in dropped)} and the request "
        "asks for nothing to be dropped (x-moegate-strict)",
        code="unsupported_parameter",
        param=dropped[0],
    )


def _worst_of(failures: list[Failure]) -> Failure:
    """What the client is told when every leg failed: the last failure, or "try again later" if no
    target could even be reached."""
    last = failures[-1]
    reached = [failure for failure in failures if failure.may_have_spent or failure.upstream_status]
    if not reached and all(failure.kind == "upstream_failed" for failure in failures):
        return Failure(
            "overloaded",
            "no allowed target can be reached at the moment; try again later",
            detail=last.detail,
            retry_after_seconds=5.0,
        )
    return last
