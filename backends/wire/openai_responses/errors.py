"""Failures in the words of a Responses stream. Bodies of errors are those of the chat format."""

from collections.abc import Mapping

import orjson

from backends.wire.failure import Failure, FailureKind
from backends.wire.openai_chat.errors import describe_failure
from backends.wire.openai_responses.echo import ResponseObject

RESPONSE_CODES: Mapping[FailureKind, str] = {
    "rate_limited": "rate_limit_exceeded",
    "budget_exhausted": "rate_limit_exceeded",
    "invalid_request": "invalid_prompt",
    "too_large": "invalid_prompt",
    "context_too_long": "context_length_exceeded",
}
"""What the ``error`` of a response that failed may say (OpenAPI document, ``ResponseErrorCode``); the rest is
``server_error``. The context's code is not in the document, but OpenAI's own Codex goes by it
(openai/codex:codex-rs/codex-api/src/sse/responses.rs)."""


def render_failed_response(
    failure: Failure, response: ResponseObject, items: list[bytes], sequence_number: int
) -> bytes:
    """The two events that end a stream that broke after its beginning: the response failed, with these ``items``
    whole, which is what OpenAI's Codex (0.171.0) looks at; then the error, which its SDK raises."""
    _, error = describe_failure(failure)
    said = {
        "code": RESPONSE_CODES.get(failure.kind, "server_error"),
        "message": error["message"],
    }
    failed = (
        b'event: response.failed\ndata: {"type":"response.failed","response":%b,"sequence_number":%d}\n\n'
        % (response.render("failed", items, error=said), sequence_number)
    )
    return failed + render_error_event(failure, sequence_number + 1)


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
