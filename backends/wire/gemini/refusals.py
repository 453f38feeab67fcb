"""Failures in Google's words: ``google.rpc.Status`` with an ``ErrorInfo`` that names our kind.

The table from kind to status is the only place that knows them for this format.
"""

import orjson

from backends.wire.failure import Failure, FailureKind

STATUS: dict[FailureKind, tuple[int, str]] = {
    "invalid_request": (400, "INVALID_ARGUMENT"),
    "unauthenticated": (401, "UNAUTHENTICATED"),
    "policy_refused": (403, "PERMISSION_DENIED"),
    "model_not_found": (404, "NOT_FOUND"),
    "too_large": (413, "INVALID_ARGUMENT"),
    "budget_exhausted": (429, "RESOURCE_EXHAUSTED"),
    "rate_limited": (429, "RESOURCE_EXHAUSTED"),
    "no_target": (403, "PERMISSION_DENIED"),
    "context_too_long": (400, "INVALID_ARGUMENT"),
    "detector_down": (503, "UNAVAILABLE"),
    "overloaded": (503, "UNAVAILABLE"),
    "upstream_failed": (502, "UNAVAILABLE"),
    "upstream_timeout": (504, "DEADLINE_EXCEEDED"),
    "internal": (500, "INTERNAL"),
}
"""Kind → HTTP status and Google's word."""

_STATUS_BY_CODE: dict[str, tuple[int, str]] = {
    "unsupported_media_type": (415, "INVALID_ARGUMENT"),
    "not_found": (404, "NOT_FOUND"),
    "method_not_allowed": (405, "UNIMPLEMENTED"),
    "request_timeout": (408, "DEADLINE_EXCEEDED"),
}
"""Codes of ``invalid_request`` with a status of their own."""


def render_failure(failure: Failure, request_id: str) -> tuple[int, bytes]:
    """HTTP status and body. The message of an internal error shows nothing but the request's id."""
    status, error = _describe(failure, request_id)
    return status, orjson.dumps({"error": error})


def render_stream_error(failure: Failure) -> bytes:
    """The end of a stream of server-sent events that broke: JSON on a line of its own, without ``data:``.

    So Google's SDKs expect it (google-genai for Python 3.4.0 reads lines without a prefix as an error's; the one
    for JavaScript 1.30.0 looks for an error in such JSON only, and overlooks one in an event: Gemini CLI then takes
    half an answer for a whole one).
    """
    return orjson.dumps({"error": describe_failure(failure)}) + b"\r\n\r\n"


def describe_failure(failure: Failure, request_id: str = "") -> dict[str, object]:
    """The error object."""
    return _describe(failure, request_id)[1]


def _describe(failure: Failure, request_id: str) -> tuple[int, dict[str, object]]:
    status, word = STATUS[failure.kind]
    if failure.kind == "invalid_request" and failure.code is not None:
        status, word = _STATUS_BY_CODE.get(failure.code, (status, word))
    message = failure.message
    if failure.kind == "internal":
        message = f"internal error; the logs tell more under `{request_id}`"
        message = message if request_id else "internal error"
    info: dict[str, object] = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": failure.kind.upper(),
        "domain": "moegate",
    }
    metadata = {
        name: value
        for name, value in (("param", failure.param), ("requestId", request_id))
        if value
    }
    if metadata:
        info["metadata"] = metadata
    details: list[dict[str, object]] = [info]
    if failure.retry_after_seconds is not None:
        delay = f"{failure.retry_after_seconds:.3f}".rstrip("0").rstrip(".")
        details.append(
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{delay}s"}
        )
    return status, {"code": status, "message": message, "status": word, "details": details}
