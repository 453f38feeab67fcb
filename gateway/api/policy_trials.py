"""Policies tried over HTTP, for the same administrators as policies: checked, explained, replayed.

Promises: nothing is changed and nothing is sent; what takes long runs in threads, one check and one replay at a time,
and a replay ends after its seconds. A replay reads the requests of the asker's own organisation and of no other.
"""

import asyncio
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.serving import Guard, answer_json, for_operators, invalid, read_body
from gateway.dry_run import Trial, dry_run, find_format, trial_to_json
from gateway.errors import StartError, refuse
from gateway.identity import Principal
from gateway.ledger.usage import parse_since
from gateway.policy_reports import RECORDED, check_to_json, replay_to_json
from gateway.replay import (
    Span,
    count_records,
    read_pages,
    replay_page,
    sample_threshold,
    start_replay,
)
from gateway.runtime import Runtime
from policies.check import Report, check
from policies.compile import compile_policy
from policies.document import PolicyDocument, PolicyError, parse_policy
from policies.facts import TargetFacts
from policies.replay import Replay

REQUEST_BYTES_MAX = 8 * 1024 * 1024
"""Of a request to explain: long prompts, and some pictures."""
RECORDS_MAX = 50_000
"""Records that a replay decides: half a millisecond each with the reading, on a core that others use too. Of more it
takes a sample."""
REPLAY_SECONDS_MAX = 60.0
RETRY_SECONDS = 10.0


class Checking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a check: the document as text."""

    document: str


class Explaining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an explanation: a request, its format, and what a client says beside its body: the model of
    Google's addresses, ``x-data-class`` and ``x-moegate-task``."""

    request: msgspec.Raw
    format: str = "openai-chat"
    model: str = "auto"
    data_class: str | None = None
    task: str | None = None


class Replaying(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a replay: the document as text, and which records; days are UTC."""

    document: str
    since: str = "7d"
    until: str | None = None
    team: str = ""
    sample: Annotated[int, msgspec.Meta(ge=1, le=RECORDS_MAX)] = RECORDS_MAX


class TrialApi:
    """The endpoints, over one gateway. ``guard`` finds the key's principal and answers errors."""

    def __init__(self, runtime: Runtime, guard: Guard) -> None:
        self._engine = runtime.engine
        self._services = runtime.services
        self._certifier = runtime.certifier
        self._guard = guard
        self._replaying = asyncio.Lock()

    def routes(self) -> list[Route]:
        """What is served, by path."""
        served = (self._check, self._explain, self._replay)
        check_, explain, replay = (for_operators(self._guard, one) for one in served)
        return [
            Route("/admin/api/v1/policies/check", check_, methods=["POST"]),
            Route("/admin/api/v1/policies/explain", explain, methods=["POST"]),
            Route("/admin/api/v1/policies/replay", replay, methods=["POST"]),
        ]

    async def _check(self, request: Request, principal: Principal) -> Response:
        """What ``moegate policy check --json`` says, with the targets of this gateway."""
        del principal
        asked = await read_body(request, Checking)
        routing = self._services.routing.current
        document, report = await read_document(asked.document, routing.facts)
        proving = await self._certifier.analyse(document, routing.facts)
        return answer_json(check_to_json(report, proving, routing.catalogue))

    async def _explain(self, request: Request, principal: Principal) -> Response:
        """What ``moegate policy explain --request`` says, under the base policy of this gateway."""
        del principal
        asked = await read_body(request, Explaining, REQUEST_BYTES_MAX)
        routing = self._services.routing.current
        now = self._services.clock.now()
        try:
            trial = Trial(bytes(asked.request), find_format(asked.format), asked.model, asked.task)
        except StartError as error:
            raise invalid(str(error), "format") from error
        try:
            record, remedies = await asyncio.to_thread(
                dry_run, routing, trial, asked.data_class, now
            )
        except StartError as error:
            raise invalid(str(error), "request") from error
        return answer_json(trial_to_json(record, remedies, routing.catalogue))

    async def _replay(self, request: Request, principal: Principal) -> Response:
        """What ``moegate policy replay --json`` says of the organisation's requests."""
        asked = await read_body(request, Replaying)
        span = self._find_span(asked, principal)
        if self._replaying.locked():
            raise refuse(
                "overloaded",
                "another replay is under way, and one runs at a time; try again later",
                retry_after_seconds=RETRY_SECONDS,
            )
        async with self._replaying:
            replay = await self._prepare(asked.document)
            try:
                async with asyncio.timeout(REPLAY_SECONDS_MAX):
                    total = await self._replay_records(replay, span, asked.sample)
            except TimeoutError:
                raise invalid(
                    f"the replay had to end after {REPLAY_SECONDS_MAX:g} seconds, at {replay.seen} requests: ask for a "
                    "later `since` or a smaller `sample`, or use `moegate policy replay`",
                    "since",
                ) from None
        return answer_json(replay_to_json(replay, total, RECORDED))

    def _find_span(self, asked: Replaying, principal: Principal) -> Span:
        now = self._services.clock.utc()

        def find_day(name: str, said: str) -> str:
            try:
                return parse_since(said, now)
            except StartError as error:
                raise invalid(str(error), name) from error

        since = find_day("since", asked.since)
        until = "" if asked.until is None else find_day("until", asked.until)
        if not asked.team.isprintable():  # PostgreSQL takes no NUL in a text
            raise invalid("a team's name or id is printable", "team")
        return Span(since, until, asked.team, principal.organisation_id)

    async def _prepare(self, text: str) -> Replay:
        routing = self._services.routing.current
        try:
            document = await asyncio.to_thread(parse_policy, text, source="document")
            policy = await asyncio.to_thread(compile_policy, document, routing.facts)
        except PolicyError as error:
            raise invalid(str(error), "document") from error
        return start_replay(policy, self._services.classifier, routing.catalogue.version)

    async def _replay_records(self, replay: Replay, span: Span, wanted: int) -> int:
        """How many there are, once as many as are ``wanted`` are decided again."""
        total = await count_records(self._engine, span)
        if not total:
            raise invalid("there are no recorded requests in this span", "since")
        threshold = sample_threshold(wanted, total)
        async for page in read_pages(self._engine, span):
            await asyncio.to_thread(replay_page, replay, page, threshold)
        return total


async def read_document(text: str, facts: tuple[TargetFacts, ...]) -> tuple[PolicyDocument, Report]:
    """A document and what a check of it finds. In threads, for answers are under way. Raises ``Refused`` where it
    does not parse."""
    try:
        document = await asyncio.to_thread(parse_policy, text, source="document")
        return document, await asyncio.to_thread(check, document, facts)
    except PolicyError as error:
        raise invalid(str(error), "document") from error
