"""Everything that is not hot: models, health, metrics, the welcome page; what stands around the other APIs."""

import base64
import hashlib
from importlib.resources import files

import orjson
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from backends.wire.failure import Failure
from backends.wire.gemini.paths import parse_path
from gateway.api.asgi import AsgiBody
from gateway.api.formats import ANTHROPIC_VERSION, GOOGLE_KEY, find_codec
from gateway.api.hot import POST_PATHS
from gateway.api.kept import KeptApi
from gateway.api.models import Json, list_anthropic, list_gemini, list_openai
from gateway.api.policies import PolicyApi
from gateway.api.policy_trials import TrialApi
from gateway.api.requests import RequestApi
from gateway.api.serving import JSON, Served
from gateway.arrival import Arrival, failure_headers, read_token
from gateway.errors import Refused, refuse
from gateway.identity import Principal, authenticate
from gateway.routing import Routing
from gateway.runtime import Runtime
from gateway.telemetry.bugs import log_bug

RETRY_SECONDS = 5.0
UPGRADE_REQUIRED = 426
OTHER_METHODS = ("GET", "PUT", "PATCH", "DELETE", "OPTIONS")


def build_rest(runtime: Runtime) -> Starlette:
    """The application behind the hot endpoints."""
    rest = Rest(runtime)
    kept = KeptApi(runtime.services, rest.guarded)
    return Starlette(
        routes=[
            Route("/", rest.welcome),
            # A POST goes to the hot endpoint and never comes here.
            *(
                Route(path, rest.post_only, methods=list(OTHER_METHODS))
                for path in sorted(POST_PATHS)
            ),
            *kept.routes(),
            Route("/v1/models", rest.models),
            Route("/v1/models/{model:path}", rest.model),
            Route("/v1beta/models", rest.gemini_models),
            Route("/v1beta/models/{model:path}", rest.gemini_model),
            Route("/healthz", rest.healthz),
            Route("/readyz", rest.readyz),
            Route("/metrics", rest.metrics),
            *RequestApi(runtime, rest.guarded).routes(),
            *TrialApi(runtime, rest.guarded).routes(),
            *PolicyApi(runtime, rest.guarded).routes(),
        ],
        exception_handlers={HTTPException: rest.http_error, Exception: rest.bug},
    )


class Rest:
    """The endpoints, over one running gateway."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._services = runtime.services
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
        """``GET /v1/models``: what may be asked for, in OpenAI's list form, Anthropic's or Google's."""
        is_google = GOOGLE_KEY in request.headers
        return await self.guarded(request, self._gemini_models if is_google else self._models)

    async def _models(self, request: Request, principal: Principal) -> Response:
        del principal
        routing, created_at = self._services.routing.current, int(self._runtime.started_at)
        if ANTHROPIC_VERSION in request.headers:
            listed = list_anthropic(routing, created_at)
            ends = {"first_id": listed[0]["id"], "last_id": listed[-1]["id"]}
            return _json({"data": listed, "has_more": False, **ends})
        return _json({"object": "list", "data": list_openai(routing, created_at)})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/{model}``: one entry of the list."""
        is_google = GOOGLE_KEY in request.headers
        return await self.guarded(request, self._gemini_model if is_google else self._model)

    async def _model(self, request: Request, principal: Principal) -> Response:
        del principal
        routing, created_at = self._services.routing.current, int(self._runtime.started_at)
        make = list_anthropic if ANTHROPIC_VERSION in request.headers else list_openai
        wanted = str(request.path_params["model"])
        return _json(_pick(make(routing, created_at), "id", wanted, routing))

    async def gemini_models(self, request: Request) -> Response:
        """``GET /v1beta/models``: what may be asked for, in Google's form."""
        return await self.guarded(request, self._gemini_models)

    async def _gemini_models(self, request: Request, principal: Principal) -> Response:
        del request, principal
        return _json({"models": list_gemini(self._services.routing.current)})

    async def gemini_model(self, request: Request) -> Response:
        """``GET /v1beta/models/{model}``: one entry of that list."""
        return await self.guarded(request, self._gemini_model)

    async def _gemini_model(self, request: Request, principal: Principal) -> Response:
        del principal
        routing, wanted = self._services.routing.current, str(request.path_params["model"])
        return _json(_pick(list_gemini(routing), "displayName", wanted, routing))

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
            is_healthy, _reason = services.signals.health.state(target.name, now)
            services.metrics.healthy.labels(target.name).set(1 if is_healthy else 0)
        services.metrics.unshipped.set(services.journal.unshipped)
        return Response(services.metrics.render(), media_type="text/plain; version=0.0.4")

    async def guarded(self, request: Request, serve: Served) -> Response:
        """What ``serve`` answers to the holder of the request's key, or why it does not."""
        try:
            body = AsgiBody(request.scope, request.receive)
            codec = find_codec(request.url.path, request.headers)
            arrival = Arrival(codec, request.headers.raw, body, query=request.scope["query_string"])
            token = read_token(arrival)
            now = self._services.clock.now()
            principal = await authenticate(self._services.identity, token, now)
            return await serve(request, principal)
        except Refused as refusal:
            return self._failure(request, refusal.failure)
        except (SQLAlchemyError, OSError):
            failure = Failure(
                "overloaded",
                "the accounts cannot be read at the moment; try again later",
                retry_after_seconds=RETRY_SECONDS,
            )
            return self._failure(request, failure)

    def _make_id(self) -> str:
        return self._services.ids.make(self._services.clock.now())

    def _failure(
        self,
        request: Request,
        failure: Failure,
        request_id: str = "",
        allow: str | None = None,
    ) -> Response:
        request_id = request_id or self._make_id()
        codec = find_codec(request.url.path, request.headers)
        status, body = codec.render_failure(failure, request_id)
        response = Response(body, status)
        response.raw_headers.extend(failure_headers(failure, request_id, codec.name))
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
            allow = "POST" if request.url.path in POST_PATHS else allowed.get("allow")
            response = self._failure(request, failure, allow=allow)
            if "sec-websocket-key" in request.headers:
                # Codex (0.171.0) asks OpenAI's own address for one; told so, it posts at once instead of trying
                # six times more.
                response.status_code = UPGRADE_REQUIRED
                response.headers["upgrade"] = "HTTP/1.1"
            return response
        message = f"there is nothing at `{shown}`{_near(request.url.path)}"
        failure = Failure("invalid_request", message, code="not_found")
        return self._failure(request, failure)

    async def bug(self, request: Request, error: Exception) -> Response:
        """The last guard of the pages: logged, and shown as nothing but an id."""
        request_id = self._make_id()
        failure = log_bug(self._services.log, request_id, error)
        return self._failure(request, failure, request_id)


def _near(path: str) -> str:
    """The address that was meant, where a base URL had ``/v1`` too few or too many; else an empty text."""
    known = sorted((*POST_PATHS, "/v1/models"), key=len) if len(path) > len("/v1") else []
    meant = next((one for one in known if one.endswith(path) or path.endswith(one)), "")
    behind = path[path.find("/", 1) :]
    if not meant and parse_path(behind, b"") is not None:
        meant = behind[:100]
    return meant and f"; did you mean `{meant}`? look at the client's base URL"


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type=JSON)


def _pick(listed: list[Json], member: str, wanted: str, routing: Routing) -> Json:
    """The entry that is called ``wanted``, or that of the target which serves a model of this name.

    Raises ``Refused`` (``model_not_found``) for what an answer could not be asked of either.
    """
    by_name = {entry[member]: entry for entry in listed}
    if wanted not in by_name:
        candidates, _prefer = routing.find_candidates(wanted)
        names = (routing.targets[at].name for at in candidates)
        wanted = next((name for name in names if name in by_name), wanted)
    if wanted not in by_name:  # One that gives vectors, in a list that has only what answers.
        raise refuse(
            "model_not_found", f"the model `{wanted[:100]}` does not exist", code="model_not_found"
        )
    return by_name[wanted]


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
