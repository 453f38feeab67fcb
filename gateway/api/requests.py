"""Past requests over HTTP: the record of one, and why it went where it went.

Promises: who may not see a request is told exactly what is told of one that never was. What would have let one pass
takes a policy's parsing and a decision: one is found at a time, for every key may ask.
"""

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.api.serving import JSON, Guard, guarded
from gateway.decision_record import parse_decision
from gateway.errors import refuse
from gateway.explaining import explain_booked
from gateway.identity import Principal
from gateway.identity.keys import ADMIN
from gateway.ledger.lookup import BookedRequest, find_request
from gateway.runtime import Runtime
from policies.explain import explain

TEXT = "text/plain"
FITS = {TEXT: (TEXT, "text/*"), JSON: (JSON, "application/*", "*/*")}
"""What a client may say that wants one of the two, the most exact first; who does not care gets JSON."""


class RequestApi:
    """The endpoints, over one gateway. ``guard`` finds the key's principal and answers errors."""

    def __init__(self, runtime: Runtime, guard: Guard) -> None:
        self._engine = runtime.engine
        self._services = runtime.services
        self._guard = guard
        self._explaining = asyncio.Lock()

    def routes(self) -> list[Route]:
        """What is served, by path."""
        record, decision = (guarded(self._guard, serve) for serve in (self._record, self._decision))
        return [
            Route("/admin/api/v1/requests/{request_id}", record, methods=["GET"]),
            Route("/admin/api/v1/requests/{request_id}/decision", decision, methods=["GET"]),
        ]

    async def _record(self, request: Request, principal: Principal) -> Response:
        """A key's own request, or for administrators one of their organisation: its decision in words, its
        attempts."""
        is_admin = ADMIN in principal.roles
        found = await self._find(request, principal, key_id=None if is_admin else principal.key_id)
        record = parse_decision(found.decision)
        shown = {
            **found.fields,
            "attempts": found.attempts,
            "explanation": explain(
                record.decision, record.facts, record.quotes, record.passed_over
            ),
        }
        return Response(orjson.dumps(shown, default=str), media_type=JSON)

    async def _decision(self, request: Request, principal: Principal) -> Response:
        """Why it went where it went, for every key of its team: like kept responses, it is the team's own."""
        is_admin = ADMIN in principal.roles
        found = await self._find(
            request, principal, team_id=None if is_admin else principal.team_id
        )
        catalogue = self._services.routing.current.catalogue
        async with self._explaining:
            said = await explain_booked(self._engine, found, catalogue)
        headers = {"vary": "accept"}
        if wants_text(request.headers.get("accept", "")):
            return PlainTextResponse(f"{said.to_text()}\n", headers=headers)
        body = orjson.dumps(said.to_json(), default=str)
        return Response(body, headers=headers, media_type=JSON)

    async def _find(
        self,
        request: Request,
        principal: Principal,
        *,
        team_id: str | None = None,
        key_id: str | None = None,
    ) -> BookedRequest:
        asked = str(request.path_params["request_id"])
        # PostgreSQL takes no NUL in a text: what no id can be is not asked for.
        is_id = asked.isascii() and asked.isprintable()
        found = is_id and await find_request(
            self._engine,
            asked,
            organisation_id=principal.organisation_id,
            team_id=team_id,
            key_id=key_id,
        )
        if not found:
            raise refuse(
                "invalid_request", "no such request, or not yet recorded", code="not_found"
            )
        return found


def wants_text(accept: str) -> bool:
    """Whether a client that sends ``accept`` would rather have text than JSON (RFC 9110, section 12.5.1)."""
    weights: dict[str, float] = {}
    for one in accept.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            weights[name] = float(weight)
        except ValueError:
            weights[name] = 0.0
    text, json = (
        next((weights[name] for name in FITS[kind] if name in weights), 0.0)
        for kind in (TEXT, JSON)
    )
    return text > json
