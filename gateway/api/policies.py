"""Policies over HTTP, for administrators of the organisation that the first admin key belongs to.

Promises: what is refused changes nothing; a writer who names the digest that it saw never overwrites another's
change. Documents are YAML text, of a policy's greatest length at most.
"""

import math
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, replace

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.policy_trials import read_document
from gateway.api.serving import JSON, Guard, answer_json, for_operators, invalid, read_body
from gateway.errors import Refused, StartError, refuse
from gateway.identity import Principal
from gateway.identity.keys import OWNER
from gateway.policy_store import (
    Applied,
    Change,
    Proved,
    Stale,
    StoredPolicy,
    Unfit,
    Unproved,
    activate_version,
    apply_policy,
    find_proofs,
    find_status,
    find_version,
    list_history,
    parse_scope,
)
from gateway.runtime import Runtime
from policies.document import PolicyDocument, PolicyError

CREATED, STALE = 201, 412
VERSION_DIGITS_MAX = 9


class Activating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an activation. ``at``: seconds since the epoch; ``canary``: a share of the keys."""

    reason: str = ""
    at: float | None = None
    canary: float | None = None


class Writing(Activating, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a change: the document as text, and the scope that it is for. ``unproven``: why it may be in
    force though it is not proved."""

    document: str
    scope: str = ""
    unproven: str | None = None


class PolicyApi:
    """The endpoints, over one gateway. ``guard`` finds the key's principal and answers errors."""

    def __init__(self, runtime: Runtime, guard: Guard) -> None:
        self._engine = runtime.engine
        self._services = runtime.services
        self._guard = guard
        self._certifier = runtime.certifier

    def routes(self) -> list[Route]:
        """What is served, by path."""
        served = (self._list, self._apply, self._status, self._show, self._activate)
        everything, write, status, show, again = (for_operators(self._guard, one) for one in served)
        return [
            Route("/admin/api/v1/policies", everything, methods=["GET"]),
            Route("/admin/api/v1/policies", write, methods=["POST"]),
            Route("/admin/api/v1/policies/status", status, methods=["GET"]),
            Route("/admin/api/v1/policies/{version}", show, methods=["GET"]),
            Route("/admin/api/v1/policies/{version}/activate", again, methods=["POST"]),
        ]

    async def _list(self, request: Request, principal: Principal) -> Response:
        del principal
        scope = request.query_params.get("scope")
        if scope is not None:
            scope = await self._scope("" if scope == "base" else scope)
        shown = [_brief(one) for one in await list_history(self._engine, scope=scope)]
        return answer_json({"data": shown})

    async def _show(self, request: Request, principal: Principal) -> Response:
        del principal
        version = _version(request)
        stored = await find_version(self._engine, version)
        if stored is None:
            raise _missing(version)
        proofs = await find_proofs(self._engine, stored.digest)
        said = asdict(stored) | {"proofs": msgspec.to_builtins(proofs)}
        return answer_json(said, etag=stored.digest)

    async def _status(self, request: Request, principal: Principal) -> Response:
        del request, principal
        found = await find_status(self._engine, self._services.clock.now())
        return answer_json(found.to_json())

    async def _apply(self, request: Request, principal: Principal) -> Response:
        asked = await read_body(request, Writing)
        _check_override(principal, asked.unproven)
        document = await self._checked(asked.document)
        change = _change(request, principal, asked, await self._scope(asked.scope))
        change, now = replace(change, override=asked.unproven), self._services.clock.now()
        return await self._answer(
            apply_policy(self._engine, document, asked.document, change, self._certify, now=now)
        )

    async def _activate(self, request: Request, principal: Principal) -> Response:
        asked, version = await read_body(request, Activating), _version(request)
        stored = await find_version(self._engine, version)
        if stored is None:
            raise _missing(version)
        await self._checked(stored.text)
        change, now = _change(request, principal, asked, stored.scope), self._services.clock.now()
        return await self._answer(
            activate_version(self._engine, version, change, self._certify, now=now)
        )

    async def _scope(self, written: str) -> str:
        _check_text("scope", written)
        try:
            return await parse_scope(self._engine, written)
        except StartError as error:
            raise invalid(str(error), "scope") from error

    async def _checked(self, text: str) -> PolicyDocument:
        """The document, if it works with the targets that there are."""
        document, report = await read_document(text, self._services.routing.current.facts)
        if not report.is_ok:
            raise invalid("; ".join(report.lines()), "document")
        return document

    async def _certify(self, documents: Sequence[PolicyDocument]) -> Proved:
        facts = self._services.routing.current.facts
        return (await self._certifier.certify(documents, facts)).to_proved()

    async def _answer(self, work: Awaitable[Applied]) -> Response:
        try:
            applied = await work
        except Stale as error:
            body = {"message": str(error), "type": "invalid_request_error", "code": "stale"}
            headers = {"x-moegate-error": "invalid_request", "x-should-retry": "false"}
            return Response(orjson.dumps({"error": body}), STALE, headers, JSON)
        except Unfit as error:
            raise invalid(str(error), None) from error
        except Unproved as error:
            raise invalid(str(error), "document") from error
        except PolicyError as error:
            raise invalid(str(error), "document") from error
        activation = applied.activation
        if activation is not None and activation.override is not None:
            self._services.log.warning(
                "policy put in force without a proof",
                policy=applied.stored.label,
                scope=activation.scope,
                author=activation.activated_by,
                starts_at=activation.starts_at,
                override=activation.override,
            )
        body = _brief(applied.stored) | {
            "is_new": applied.is_new,
            "activation": activation and asdict(activation),
        }
        return answer_json(body, CREATED if applied.is_new else 200, etag=applied.stored.digest)


def _check_override(principal: Principal, reason: str | None) -> None:
    """Only an owner may do without a proof, and only with a reason. Raises ``Refused``."""
    if reason is None:
        return
    if OWNER not in principal.roles:
        raise refuse(
            "policy_refused",
            f"what is not proved is put in force only by a key with the role `{OWNER}` "
            "(`moegate keys create --owner`)",
            code="not_owner",
            param="unproven",
        )
    if not reason.strip():
        raise invalid("`unproven` needs a reason", "unproven")
    _check_text("unproven", reason)


def _check_text(name: str, said: str) -> None:
    """PostgreSQL takes no NUL in a text, and terminals no other controls. Raises ``Refused``."""
    if not all(one.isprintable() or one in "\n\t" for one in said):
        raise invalid(f"`{name}` is text that can be printed", name)


def _change(request: Request, principal: Principal, asked: Activating, scope: str) -> Change:
    for name, number in (("at", asked.at), ("canary", asked.canary)):
        if number is not None and not math.isfinite(number):
            raise invalid(f"`{name}` needs a finite number", name)
    _check_text("reason", asked.reason)
    digest = request.headers.get("if-match")
    return Change(
        author=f"{principal.key_name} ({principal.key_id})"[:200],
        scope=scope,
        reason=asked.reason,
        starts_at=asked.at,
        canary_share=asked.canary,
        if_match=None if digest is None else digest.strip().removeprefix("W/").strip('"'),
    )


def _version(request: Request) -> int:
    written = str(request.path_params["version"])
    if not (written.isascii() and written.isdigit() and len(written) <= VERSION_DIGITS_MAX):
        raise _missing(written[:80])
    return int(written)


def _brief(stored: StoredPolicy) -> dict[str, object]:
    shown: dict[str, object] = asdict(stored)
    del shown["text"]
    return shown


def _missing(version: object) -> Refused:
    return refuse("invalid_request", f"there is no policy version `{version}`", code="not_found")
