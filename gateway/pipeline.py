"""The way of one request, top to bottom: read :meth:`Pipeline.run`, then the stages in its order.

identify → accept → parse → take up → classify → decide → admit → journal → call → relay → settle. Each stage
is one call; the calls themselves, and what they book, are in :mod:`gateway.attempts`.
Promises: one request row for everything that got as far as a decision; errors in the client's own format;
a prompt that was not decided goes nowhere.
"""

import asyncio
from collections.abc import Callable

import msgspec

from backends.wire.failure import Failure, WireError
from backends.wire.rates import Rate
from gateway.admission import AdmissionDown, Ask, rate_window
from gateway.arrival import Arrival, ClientGone, Reply, failure_headers, read_token
from gateway.attempts import KEEPING, Attempts, answer_headers, route_headers
from gateway.cache import CacheEntry, open_entry, seal_entry
from gateway.case import Case, Ending
from gateway.counting import count_tokens
from gateway.deciding import decide_case, refuse_if_nobody
from gateway.errors import Refused, refuse
from gateway.facts import raise_class
from gateway.identity import Principal, authenticate
from gateway.ledger import JournalDown
from gateway.records import request_row
from gateway.reservations import Hold, first_amounts
from gateway.services import Services
from gateway.telemetry.bugs import log_bug
from policies.facts import DataClass

OVERLOADED_RETRY_SECONDS = 5.0
SLOW_BODY_SECONDS = 5.0
"""A key may be revoked while a body is on its way: after so long it is looked at again."""
JSON_TYPES = (b"application/json",)


class Pipeline:
    """Serves requests with one set of services."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, arrival: Arrival, reply: Reply, watch: Callable[[], None]) -> None:
        """Answer one request. ``watch`` is called once the body is read: from then on a client that
        hangs up cancels this coroutine, which books what was used and lets the cancellation go on."""
        services = self._services
        started, now = services.clock.monotonic(), services.clock.now()
        request_id = services.ids.make(now)
        try:
            token = read_token(arrival)
            principal = await authenticate(services.identity, token, now)
            accept(arrival)
            settings = services.settings
            raw = await arrival.body.read(settings.body_bytes_max, settings.request_timeout_seconds)
            if services.clock.monotonic() - started > SLOW_BODY_SECONDS:
                principal = await authenticate(services.identity, token, services.clock.now())
            prompt = arrival.format.parse_request(raw, arrival.asked)
            if prompt.format == "openai-responses":
                prompt, floor = await services.kept.take_up(prompt, arrival.format, principal, now)
                principal = raise_floor(principal, floor)
            case = decide_case(services, arrival, principal, prompt, request_id, now, started)
        except (Refused, WireError) as error:
            await self._refuse(arrival, reply, request_id, error.failure, started)
            return
        except ClientGone:
            return
        except (
            Exception
        ) as error:  # the last guard: a bug must not leave the client without an answer
            await self._refuse(
                arrival, reply, request_id, log_bug(services.log, request_id, error), started
            )
            return
        watch()
        ending = Ending()
        try:
            await self._answer(case, reply, ending)
        except asyncio.CancelledError:
            ending.state = "interrupted"
            raise
        finally:
            self._record(case, ending)
        if ending.failure is not None and not reply.has_started:
            await self._send_failure(arrival, reply, request_id, ending.failure, case, ending)

    async def _answer(self, case: Case, reply: Reply, ending: Ending) -> None:
        """Admit, then call: fills ``ending``; what could not be answered is its ``failure``."""
        services = self._services
        services.metrics.in_flight += 1
        hold = Hold(services.settler)
        try:
            refuse_if_nobody(case, ending)
            if await self._admit(case, reply, ending, hold):
                return
            attempts = Attempts(services, case, reply, hold, ending)
            if case.prompt.is_count:
                await count_tokens(case, attempts, reply, ending)
                return
            if case.cache_key is not None:
                attempts.kept_chunks = []
            failure = await attempts.run()
            ending.failure = failure
            ending.state = "answered" if failure is None else "failed"
            if failure is None and attempts.kept_chunks is not None:
                self._fill_cache(case, ending, attempts.kept_chunks)
        except Refused as refusal:
            ending.state, ending.failure = "refused", refusal.failure
        except (AdmissionDown, JournalDown) as down:
            ending.state, ending.failure = "refused", _unavailable(down)
        except Exception as error:  # as in run(): the client gets an answer, the log gets the bug
            ending.state, ending.failure = "failed", log_bug(services.log, case.request_id, error)
        finally:
            services.metrics.in_flight -= 1
            await hold.give_back()

    async def _admit(self, case: Case, reply: Reply, ending: Ending, hold: Hold) -> bool:
        """One round trip for limits, budgets and cache; True if the cache answered the request."""
        ending.cache = "miss" if case.cache_key is not None else "off"
        principal = case.principal
        ask = Ask(
            request_id=case.request_id,
            organisation_id=principal.organisation_id,
            now=case.received_at,
            limits=principal.budgets,
            asked_at=self._services.clock.now(),
            amounts_nanousd=first_amounts(case),
            rate_scope=f"key:{principal.key_id}",
            requests_per_minute=principal.requests_per_minute,
            cache_key=case.cache_key if case.reads_cache else None,
        )
        if not (ask.limits or ask.cache_key or ask.requests_per_minute is not None):
            return False
        try:
            cached = await hold.admit(ask)
            ending.rate = _rate(hold, ask)
        except Refused:
            ending.rate = _rate(hold, ask)
            raise
        except AdmissionDown:
            if ask.limits or ask.requests_per_minute is not None:
                raise
            # Nothing had to be admitted, and a lost cache is no reason to refuse.
            ending.cache = "off"
            return False
        if cached is None or case.cache_key is None:
            return False
        entry = open_entry(self._services.sealer, principal.organisation_id, case.cache_key, cached)
        if entry is None or not _is_for(case, entry):
            if ask.limits:
                await hold.admit(
                    msgspec.structs.replace(ask, cache_key=None, requests_per_minute=None)
                )
            return False
        ending.state, ending.cache, ending.target = "cached", "hit", entry.target
        await self._replay(case, reply, ending, entry)
        return True

    async def _replay(self, case: Case, reply: Reply, ending: Ending, entry: CacheEntry) -> None:
        """Give a kept answer again: a stream as the stream it was."""
        ending.dropped = entry.dropped
        if (
            case.prompt.kept is not None
            and entry.chunks
            and not await self._services.kept.keep_answer(
                case.prompt,
                entry.chunks[-1],
                case.principal,
                case.request_id,
                case.received_at,
                data_class=case.record.facts.data_class,
                is_cached=True,
            )
        ):
            ending.dropped = (*entry.dropped, KEEPING)
        headers = answer_headers(case, ending, entry.target, entry.content_type.encode())
        if ending.dropped:
            names = ", ".join(ending.dropped).encode("latin-1", "replace")
            headers.append((b"x-moegate-dropped", names))
        if not case.prompt.is_stream:
            headers.append((b"x-moegate-cost-usd", b"0.000000000"))
            await reply.whole(200, headers, b"".join(entry.chunks))
            return
        await reply.begin(200, headers)
        for chunk in entry.chunks[:-1]:
            await reply.chunk(chunk)
        await reply.end(entry.chunks[-1] if entry.chunks else b"")

    def _fill_cache(self, case: Case, ending: Ending, chunks: list[bytes]) -> None:
        settings = self._services.settings
        if case.cache_key is None or sum(map(len, chunks)) > settings.cache_entry_bytes_max:
            return
        if KEEPING in ending.dropped:
            return  # True of this answer, and not of the next that comes of it.
        prompt = case.prompt
        content_type = (
            case.arrival.format.stream_type(prompt).decode()
            if prompt.is_stream
            else "application/json"
        )
        target = ending.target or ""
        model = case.routing.get_target(target).model
        entry = CacheEntry(target, model, content_type, tuple(chunks), ending.dropped)
        organisation = case.principal.organisation_id
        sealed = seal_entry(self._services.sealer, organisation, case.cache_key, entry)
        self._services.background.start(
            self._services.cache.store(
                case.cache_key, sealed, settings.cache_ttl_seconds, self._services.clock.now()
            ),
            "cache",
        )

    def _record(self, case: Case, ending: Ending) -> None:
        services = self._services
        seconds = services.clock.monotonic() - case.started
        outcome = ending.failure.kind if ending.failure is not None else ending.state
        try:
            services.journal.record(request_row(case, ending, seconds))
        except JournalDown:
            # No attempt is lost by this: every attempt that left was journalled before.
            services.log.error("request row not journalled", request_id=case.request_id)
        services.metrics.count_request(outcome, seconds)
        if ending.first_chunk_seconds is not None:
            services.metrics.first_chunk_seconds.observe(ending.first_chunk_seconds)
        services.log.info(
            "request",
            request_id=case.request_id,
            key_id=case.principal.key_id,
            request_model=case.prompt.request_model[:100],
            outcome=outcome,
            target=ending.target,
            attempts=ending.attempts,
            cache=ending.cache,
            cost_nanousd=ending.cost_nanousd,
            seconds=round(seconds, 6),
            detail=ending.failure.detail if ending.failure is not None else None,
        )

    async def _refuse(
        self, arrival: Arrival, reply: Reply, request_id: str, failure: Failure, started: float
    ) -> None:
        """The end of a request that nothing was decided about: an answer and a log line, no row."""
        seconds = self._services.clock.monotonic() - started
        self._services.metrics.count_request(failure.kind, seconds)
        self._services.log.info(
            "request", request_id=request_id, outcome=failure.kind, seconds=round(seconds, 6)
        )
        await self._send_failure(arrival, reply, request_id, failure, None, None)

    async def _send_failure(
        self,
        arrival: Arrival,
        reply: Reply,
        request_id: str,
        failure: Failure,
        case: Case | None,
        ending: Ending | None,
    ) -> None:
        status, body = arrival.format.render_failure(failure, request_id)
        headers = failure_headers(failure, request_id, arrival.format.name)
        if case is not None and ending is not None:
            headers += route_headers(case, ending, ending.target or "")
        await reply.whole(status, headers, body)


def accept(arrival: Arrival) -> None:
    """Only plain JSON is taken. Raises ``Refused`` for another content type or encoding."""
    content_type = arrival.find_header(b"content-type")
    if content_type is not None:
        kind, _, parameters = content_type.partition(b";")
        charset = parameters.strip().lower()
        if kind.strip().lower() not in JSON_TYPES or (
            charset.startswith(b"charset=") and charset[8:].strip(b'"') not in (b"utf-8", b"utf8")
        ):
            shown = content_type[:80].decode("latin-1")
            raise refuse(
                "invalid_request",
                f"content type `{shown}` is not taken; send `application/json`",
                code="unsupported_media_type",
            )
    encoding = arrival.find_header(b"content-encoding")
    if encoding is not None and encoding.strip().lower() != b"identity":
        raise refuse(
            "invalid_request",
            f"content encoding `{encoding[:40].decode('latin-1')}` is not taken; send the body plain",
            code="unsupported_media_type",
        )


def raise_floor(principal: Principal, data_class: DataClass) -> Principal:
    """The principal, whose prompts are at least of this class: what a conversation was said to be, it stays."""
    raised = raise_class(principal.data_class, data_class)
    return msgspec.structs.replace(principal, data_class=raised)


def _is_for(case: Case, entry: CacheEntry) -> bool:
    """Whether this request could have got the answer: another of the organisation may have been allowed
    a target that this one is not, and a strict one takes nothing that came of a loss."""
    if case.is_strict and entry.dropped:
        return False
    return any(kept.target == entry.target for kept in case.decision.kept)


def _rate(hold: Hold, ask: Ask) -> Rate | None:
    left, limit = hold.requests_left, ask.requests_per_minute
    if left is None or limit is None:
        return None
    _window, seconds = rate_window(ask.rate_scope, ask.asked_at)
    return Rate(limit, left, ask.asked_at + seconds)


def _unavailable(down: AdmissionDown | JournalDown) -> Failure:
    what = (
        "budgets and limits cannot be checked"
        if isinstance(down, AdmissionDown)
        else "the request cannot be journalled"
    )
    return Failure(
        "overloaded",
        f"{what} at the moment; try again later",
        detail=str(down),
        retry_after_seconds=OVERLOADED_RETRY_SECONDS,
    )
