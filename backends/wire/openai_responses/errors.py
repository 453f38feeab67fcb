"""Failures in the words of a Responses stream. Bodies of errors are those of the chat format."""

from collections.abc import Mapping

import orjson

from backends.wire.failure import Failure, FailureKind
from backends.wire.openai_chat.errors import describe_failure

RESPONSE_CODES: Mapping[FailureKind, str] = {
    "rate_limited": "rate_limit_exceeded",
    "budget_exhausted": "rate_limit_exceeded",
    "invalid_request": "invalid_prompt",
    "too_large": "invalid_prompt",
    "context_too_long": "invalid_prompt",
}
"""What the ``error`` of a response that failed may say (OpenAPI document, ``ResponseErrorCode``); the rest is
``server_error``."""


def render_error_event(failure: Failure, sequence_number: int) -> bytes:
    """The event that ends a stream that broke.

    The members that the reference names, and the same again under ``error``: only then does the SDK (2.54.0) raise
    instead of handing the event on.
    """
    _, error = describe_failure(failure)
    body = {
        "type": "error",
        "code": error["code"],
        "message": error["message"],
        "param": error["param"],
        "sequence_number": sequence_number,
        "error": error,
    }
    return b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"


def response_error(failure: Failure) -> dict[str, str | None]:
    """The ``error`` of a response that failed."""
    _, error = describe_failure(failure)
    return {
        "code": RESPONSE_CODES.get(failure.kind, "server_error"),
        "message": error["message"],
    }
