"""Everything that is not hot: models, health, metrics, the welcome page, one request's record."""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

import orjson
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from backends.wire import openai_chat
from backends.wire.clients import CLIENTS
from backends.wire.failure import Failure
from gateway.api.asgi import AsgiBody
from gateway.arrival import Arrival, failure_headers, read_token
from gateway.decision_record import parse_decision
from gateway.errors import Refused, refuse
from gateway.identity import Principal, authenticate
from gateway.ledger.lookup import find_request
from gateway.routing import AUTO
from gateway.runtime import Runtime
from gateway.telemetry.bugs import log_bug
from policies.explain import explain

Endpoint = Callable[[Request], Awaitable[Response]]

JSON = "application/json"
RETRY_SECONDS = 5.0
OTHER_METHODS = ("GET", "PUT", "PATCH", "DELETE", "OPTIONS")


def build_rest(runtime: Runtime) -> Starlette:
    """The application behind the hot endpoints."""
    rest = Rest(runtime)
    return Starlette(
        routes=[
            Route("/", rest.welcome),
            # A POST goes to the hot endpoint and never comes here.
            Route("/v1/chat/completions", rest.post_only, methods=list(OTHER_METHODS)),
            Route("/v1/models", rest.models),
            Route("/v1/models/{model:path}", rest.model),
            Route("/healthz", rest.healthz),
            Route("/readyz", rest.readyz),
            Route("/metrics", rest.metrics),
            Route("/admin/api/v1/requests/{request_id}", rest.request_record),
        ],
        exception_handlers={HTTPException: rest.http_error, Exception: rest.bug},
    )


class Rest:
    """The endpoints, over one running gateway."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._services = runtime.services
        self._format = CLIENTS["openai-chat"]
        page = (files("gateway.api") / "welcome.html").read_text(encoding="utf-8")
        self._page = page
        self._page_headers = page_headers(page)

    async def welcome(self, request: Request) -> Response:
        """The page of a first start: a playground that shows where a prompt went and why."""
        del request
        return HTMLResponse(self._page, headers=self._page_headers)

    async def post_only(self, request: Request) -> Response:
        """A hot endpoint asked in another way than it answers."""
        del request
        raise HTTPException(405, headers={"allow": "POST"})

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``: what may be asked for, in OpenAI's list form."""
        return await self._guarded(request, self._models)

    async def _models(self, request: Request, principal: Principal) -> Response:
        del request, principal
        return Response(orjson.dumps({"object": "list", "data": self._listed()}), media_type=JSON)

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/{model}``: one entry of the list."""
        return await self._guarded(request, self._model)

    async def _model(self, request: Request, principal: Principal) -> Response:
        del principal
        wanted = str(request.path_params["model"])
        for entry in self._listed():
            if entry["id"] == wanted:
                return Response(orjson.dumps(entry), media_type=JSON)
        raise refuse(
            "model_not_found", f"the model `{wanted[:100]}` does not exist", code="model_not_found"
        )

    def _listed(self) -> list[dict[str, object]]:
        routing = self._services.routing.current
        created = int(self._runtime.started_at)
        listed: list[dict[str, object]] = [
            {"id": name, "object": "model", "created": created, "owned_by": "moegate"}
            for name in AUTO
        ]
        for target in routing.targets:
            listed.append(
                {
                    "id": target.name,
                    "object": "model",
                    "created": created,
                    "owned_by": target.provider,
                    "context_length": target.context_tokens_max,
                    "boundary": target.boundary,
                    "region": target.region,
                }
            )
            listed.extend(
                {"id": alias, "object": "model", "created": created, "owned_by": target.provider}
                for alias in target.aliases
            )
        return listed

    async def healthz(self, request: Request) -> Response:
        """The process answers."""
        del request
        return Response(b'{"status":"ok"}', media_type=JSON)

    async def readyz(self, request: Request) -> Response:
        """Whether requests would be served: SQL, journal, admission, policy, one per line."""
        del request
        checks = await self._runtime.check()
        is_ready = all(check.is_ok or not check.is_needed for check in checks)
        body = {
            "status": "ready" if is_ready else "not ready",
            "checks": {
                check.name: {"ok": check.is_ok, "needed": check.is_needed, "detail": check.detail}
                for check in checks
            },
        }
        return Response(orjson.dumps(body), 200 if is_ready else 503, media_type=JSON)

    async def metrics(self, request: Request) -> Response:
        """Prometheus text."""
        del request
        services = self._services
        now = services.clock.now()
        services.metrics.healthy.clear()
        for target in services.routing.current.targets:
            is_healthy, _reason = services.health.state(target.name, now)
            services.metrics.healthy.labels(target.name).set(1 if is_healthy else 0)
        services.metrics.unshipped.set(services.journal.unshipped)
        return Response(services.metrics.render(), media_type="text/plain; version=0.0.4")

    async def request_record(self, request: Request) -> Response:
        """One request of the caller's own organisation: its decision in words, its attempts."""
        return await self._guarded(request, self._request_record)

    async def _request_record(self, request: Request, principal: Principal) -> Response:
        request_id = str(request.path_params["request_id"])
        found = await find_request(
            self._runtime.engine,
            request_id,
            organisation_id=principal.organisation_id,
            key_id=None if "admin" in principal.roles else principal.key_id,
        )
        if found is None:
            raise refuse(
                "invalid_request", "no such request, or not yet recorded", code="not_found"
            )
        record = parse_decision(found.decision)
        shown = {
            **found.fields,
            "attempts": found.attempts,
            "explanation": explain(record.decision, record.facts, record.passed_over),
        }
        return Response(orjson.dumps(shown, default=str), media_type=JSON)

    async def _guarded(
        self, request: Request, serve: Callable[[Request, Principal], Awaitable[Response]]
    ) -> Response:
        try:
            body = AsgiBody(request.scope, request.receive)
            arrival = Arrival(self._format, request.headers.raw, body)
            token = read_token(arrival)
            now = self._services.clock.now()
            principal = await authenticate(self._services.identity, token, now)
            return await serve(request, principal)
        except Refused as refusal:
            return self._failure(refusal.failure)
        except (SQLAlchemyError, OSError):
            failure = Failure(
                "overloaded",
                "the accounts cannot be read at the moment; try again later",
                retry_after_seconds=RETRY_SECONDS,
            )
            return self._failure(failure)

    def _make_id(self) -> str:
        return self._services.ids.make(self._services.clock.now())

    def _failure(
        self, failure: Failure, request_id: str = "", allow: str | None = None
    ) -> Response:
        request_id = request_id or self._make_id()
        status, body = openai_chat.render_failure(failure, request_id)
        response = Response(body, status)
        response.raw_headers.extend(failure_headers(failure, request_id))
        if allow is not None:
            response.headers["allow"] = allow
        return response

    async def http_error(self, request: Request, error: Exception) -> Response:
        """Unknown paths and methods, in the format that API clients read."""
        shown = request.url.path[:100]
        if isinstance(error, HTTPException) and error.status_code == 405:
            message = f"`{request.method}` is not allowed on `{shown}`"
            failure = Failure("invalid_request", message, code="method_not_allowed")
            allowed = {name.lower(): value for name, value in (error.headers or {}).items()}
            return self._failure(failure, allow=allowed.get("allow"))
        return self._failure(
            Failure("invalid_request", f"there is nothing at `{shown}`", code="not_found")
        )

    async def bug(self, request: Request, error: Exception) -> Response:
        """The last guard of the pages: logged, and shown as nothing but an id."""
        del request
        request_id = self._make_id()
        return self._failure(log_bug(self._services.log, request_id, error), request_id)


def page_headers(page: str) -> dict[str, str]:
    """Security headers of a page: its own inline script and style by hash, nothing from elsewhere."""
    hashes = {
        tag: base64.b64encode(
            hashlib.sha256(
                page.split(f"<{tag}>")[1].split(f"</{tag}>", maxsplit=1)[0].encode()
            ).digest()
        ).decode()
        for tag in ("script", "style")
    }
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; "
        f"style-src 'sha256-{hashes['style']}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
