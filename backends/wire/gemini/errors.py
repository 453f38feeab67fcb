"""Gemini's failures in our kinds. Ours in Google's words: :mod:`backends.wire.gemini.refusals`.

Promises: what concerns the gateway's own account (keys, billing, projects) stays in ``detail``; the
client sees the provider's words only where its own request was at fault. Sources: google.rpc.Code,
Google's troubleshooting page; recorded 400, 404 and 429 answers.
"""

from collections.abc import Mapping

import msgspec

from backends.wire.failure import Failure, FailureKind
from backends.wire.upstream_errors import (
    CREDENTIAL_REFUSED,
    WORDS_BY_STATUS,
    clean_text,
    find_retry_after,
    name_error,
    parse_seconds,
)


class _Detail(msgspec.Struct):
    reason: str | None = None
    retry_delay: str | None = msgspec.field(default=None, name="retryDelay")


class ErrorStatus(msgspec.Struct):
    """google.rpc.Status as JSON."""

    code: int = 0
    message: str = ""
    status: str = ""
    details: list[_Detail] = []


class _ErrorBody(msgspec.Struct):
    error: ErrorStatus


_BODY = msgspec.json.Decoder(_ErrorBody)
_LIST = msgspec.json.Decoder(list[_ErrorBody])

_KIND_BY_STATUS: dict[str, FailureKind] = {
    "INVALID_ARGUMENT": "invalid_request",
    "OUT_OF_RANGE": "invalid_request",
    "FAILED_PRECONDITION": "upstream_failed",
    "UNAUTHENTICATED": "upstream_failed",
    "PERMISSION_DENIED": "upstream_failed",
    "NOT_FOUND": "upstream_failed",
    "RESOURCE_EXHAUSTED": "rate_limited",
    "CANCELLED": "upstream_failed",
    "INTERNAL": "upstream_failed",
    "UNAVAILABLE": "overloaded",
    "DEADLINE_EXCEEDED": "upstream_timeout",
}
_KIND_BY_CODE: dict[int, FailureKind] = {
    400: "invalid_request",
    408: "upstream_timeout",
    413: "too_large",
    429: "rate_limited",
    503: "overloaded",
    504: "upstream_timeout",
}
_MESSAGE: dict[FailureKind, str] = {
    "upstream_failed": "the provider failed to answer",
    "upstream_timeout": "the provider did not answer in time",
    "overloaded": "the provider is overloaded; try again later",
    "rate_limited": "the provider's rate limit is reached; try again later",
    "too_large": "the request is larger than the provider takes",
}
_TOO_LONG = ("input token count", "exceeds the maximum number of tokens")
_ACCOUNT_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "BILLING_DISABLED"})


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """What a status other than 2xx means; never raises, whatever ``body`` holds."""
    try:
        if body.lstrip()[:1] == b"[":  # A stream that was not asked for as SSE.
            errors = _LIST.decode(body)
            error = errors[0].error if errors else ErrorStatus()
        else:
            error = _BODY.decode(body).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        error = ErrorStatus()
    failure = describe_error(error, status=status)
    return msgspec.structs.replace(
        failure,
        retry_after_seconds=failure.retry_after_seconds or find_retry_after(headers),
        # A proxy in front of the model may give up while the model still works.
        may_have_spent=failure.kind == "upstream_timeout",
    )


def describe_error(error: ErrorStatus, *, status: int) -> Failure:
    """The failure behind an error object; ``status`` decides where its own is not known."""
    text = clean_text(error.message)
    kind = _KIND_BY_STATUS.get(error.status) or _KIND_BY_CODE.get(status, "upstream_failed")
    words = WORDS_BY_STATUS.get(status, _MESSAGE["upstream_failed"])
    if any(detail.reason in _ACCOUNT_REASONS for detail in error.details):
        kind, words = "upstream_failed", CREDENTIAL_REFUSED  # A bad key: 400 INVALID_ARGUMENT.
    elif _KIND_BY_CODE.get(status) == "too_large":
        kind = "too_large"  # Comes as INVALID_ARGUMENT or as a page of the front end.
    detail = name_error(status, error.status, *(found.reason for found in error.details[:3]))
    if kind == "invalid_request":
        if all(words in text for words in _TOO_LONG):
            return Failure(
                "context_too_long",
                text,
                code="context_length_exceeded",
                detail=detail,
                upstream_status=status,
            )
        shown = f"the provider refused the request: {text}" if text else "the request was refused"
        return Failure(kind, shown, detail=detail, upstream_status=status)
    waits = (parse_seconds(found.retry_delay) for found in error.details)
    return Failure(
        kind,
        words if kind == "upstream_failed" else _MESSAGE[kind],
        detail=detail,
        retry_after_seconds=next((wait for wait in waits if wait), None),
        upstream_status=status,
    )
