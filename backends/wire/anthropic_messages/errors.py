"""Failures in Anthropic's words, both ways: ours to the client, Claude's to us.

Promises: what concerns the gateway's own account stays in ``detail``; the client sees the
provider's words only where its own request was at fault. Sources: Anthropic's errors page; recorded
400, 401 and 404 answers.
"""

from collections.abc import Mapping

import msgspec
import orjson

from backends.wire.failure import Failure, FailureKind
from backends.wire.upstream_errors import (
    WORDS_BY_STATUS,
    clean_text,
    find_retry_after,
    name_error,
)

STATUS: dict[FailureKind, tuple[int, str]] = {
    "invalid_request": (400, "invalid_request_error"),
    "unauthenticated": (401, "authentication_error"),
    "policy_refused": (403, "permission_error"),
    "model_not_found": (404, "not_found_error"),
    "too_large": (413, "request_too_large"),
    "budget_exhausted": (402, "billing_error"),
    "rate_limited": (429, "rate_limit_error"),
    "no_target": (403, "permission_error"),
    "context_too_long": (400, "invalid_request_error"),
    "detector_down": (529, "overloaded_error"),
    "overloaded": (529, "overloaded_error"),
    "upstream_failed": (502, "api_error"),
    "upstream_timeout": (504, "timeout_error"),
    "internal": (500, "api_error"),
}
"""Kind → status and ``type``."""

CODE_STATUS = {
    "unsupported_media_type": (415, "invalid_request_error"),
    "not_found": (404, "not_found_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "request_timeout": (408, "timeout_error"),
}
"""Codes of ``invalid_request`` with a status of their own."""

THREAD_UNSUPPORTED = "thread_unsupported_request"
"""The code that tells Anthropic's SDK (2.14, whose tool runner asks for a thread) to go on without one."""

TOO_LONG = "prompt is too long"
"""Clients know such an error by these words (Claude Code 2.1: ``prompt is too long: N tokens > M maximum``)."""


def render_failure(failure: Failure, request_id: str) -> tuple[int, bytes]:
    """HTTP status and body. The message of an internal error shows nothing but the request's id."""
    status, error = _describe(failure, request_id)
    return status, orjson.dumps({"type": "error", "error": error, "request_id": request_id})


def render_error_event(failure: Failure) -> bytes:
    """The event that ends a stream that broke: the SDKs raise it, and no ``message_stop`` follows."""
    body = {"type": "error", "error": _describe(failure, "")[1], "request_id": None}
    return b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"


def _describe(failure: Failure, request_id: str) -> tuple[int, dict[str, object]]:
    status, kind = STATUS[failure.kind]
    more: dict[str, object] = {}
    message = failure.message
    if failure.kind == "invalid_request" and failure.code is not None:
        status, kind = CODE_STATUS.get(failure.code, (status, kind))
        if failure.code == THREAD_UNSUPPORTED:
            more["details"] = {"error_code": failure.code}
    elif failure.kind == "internal":
        message = "internal error"
        if request_id:
            message += f"; the logs tell more under `{request_id}`"
    elif failure.kind == "context_too_long":
        if not message.startswith(TOO_LONG):
            message = f"{TOO_LONG}: {message}"
    elif failure.param is not None and f"`{failure.param}" not in message:
        message = f"{failure.param}: {message}"
    return status, {"type": kind, "message": message, **more}


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class ErrorBody(msgspec.Struct):
    """``{"type": "error", "error": {"type", "message"}}``."""

    error: _Error = msgspec.field(default_factory=_Error)


_BODY = msgspec.json.Decoder(ErrorBody)

_KIND_BY_TYPE: dict[str, FailureKind] = {
    "invalid_request_error": "invalid_request",
    "authentication_error": "upstream_failed",
    "permission_error": "upstream_failed",
    "billing_error": "upstream_failed",
    "not_found_error": "upstream_failed",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limited",
    "api_error": "upstream_failed",
    "overloaded_error": "overloaded",
    "timeout_error": "upstream_timeout",
}
_KIND_BY_STATUS: dict[int, FailureKind] = {
    400: "invalid_request",
    408: "upstream_timeout",
    413: "too_large",
    422: "invalid_request",
    429: "rate_limited",
    503: "overloaded",
    504: "upstream_timeout",
    529: "overloaded",
}
_MESSAGE: dict[FailureKind, str] = {
    "upstream_failed": "the provider failed to answer",
    "upstream_timeout": "the provider did not answer in time",
    "overloaded": "the provider is overloaded; try again later",
    "rate_limited": "the provider's rate limit is reached; try again later",
    "too_large": "the request is larger than the provider takes",
}
_TOO_LONG = ("prompt is too long", "exceed context limit", "exceeds the context window")


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """What a status other than 2xx means; never raises, whatever ``body`` holds."""
    try:
        error = _BODY.decode(body).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        error = _Error()
    failure = describe_error(error.type, error.message, status=status)
    return msgspec.structs.replace(
        failure,
        retry_after_seconds=find_retry_after(headers),
        # A proxy in front of the model may give up while the model still works.
        may_have_spent=failure.kind == "upstream_timeout",
    )


def describe_error(kind_word: str, message: str, *, status: int) -> Failure:
    """The failure behind an error object; ``status`` decides where its type is not known."""
    text = clean_text(message)
    kind = _KIND_BY_TYPE.get(kind_word) or _KIND_BY_STATUS.get(status, "upstream_failed")
    detail = name_error(status, kind_word)
    if kind == "invalid_request":
        if any(words in text for words in _TOO_LONG):
            return Failure(
                "context_too_long",
                text,
                code="context_length_exceeded",
                detail=detail,
                upstream_status=status,
            )
        shown = f"the provider refused the request: {text}" if text else "the request was refused"
        return Failure(kind, shown, detail=detail, upstream_status=status)
    words = _MESSAGE[kind]
    if kind == "upstream_failed":
        words = WORDS_BY_STATUS.get(status, words)
    return Failure(kind, words, detail=detail, upstream_status=status)
