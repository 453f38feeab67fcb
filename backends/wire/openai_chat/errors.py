"""Failures in OpenAI's words, both ways: ours to the client, an OpenAI-compatible host's to us.

The table from kind to status and type is the only place that knows them for this format.
"""

import re
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

STATUS: dict[FailureKind, tuple[int, str, str]] = {
    "invalid_request": (400, "invalid_request_error", "invalid_value"),
    "unauthenticated": (401, "invalid_request_error", "invalid_api_key"),
    "policy_refused": (403, "permission_error", "policy_refused"),
    "model_not_found": (404, "invalid_request_error", "model_not_found"),
    "too_large": (413, "invalid_request_error", "request_too_large"),
    "budget_exhausted": (429, "insufficient_quota", "insufficient_quota"),
    "rate_limited": (429, "rate_limit_error", "rate_limit_exceeded"),
    "no_target": (403, "permission_error", "no_target"),
    "context_too_long": (400, "invalid_request_error", "context_length_exceeded"),
    "detector_down": (503, "server_error", "detector_down"),
    "overloaded": (503, "server_error", "overloaded"),
    "upstream_failed": (502, "server_error", "upstream_failed"),
    "upstream_timeout": (504, "server_error", "timeout"),
    "internal": (500, "server_error", "internal"),
}
"""Kind → status, ``type``, ``code`` where the failure has none of its own."""

CODE_STATUS = {
    "unsupported_media_type": 415,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
}
"""Codes of ``invalid_request`` with an HTTP status of their own."""


def render_failure(failure: Failure, request_id: str) -> tuple[int, bytes]:
    """HTTP status and body. The message of an internal error shows nothing but the request's id."""
    status, error = describe_failure(failure, request_id)
    error["request_id"] = request_id
    return status, orjson.dumps({"error": error})


def render_error_event(failure: Failure, request_id: str = "") -> bytes:
    """The event that ends a stream that broke: the SDKs raise it, and no ``[DONE]`` follows."""
    return b"data: " + orjson.dumps({"error": describe_failure(failure, request_id)[1]}) + b"\n\n"


def describe_failure(failure: Failure, request_id: str = "") -> tuple[int, dict[str, str | None]]:
    """HTTP status and error object of a failure."""
    status, kind, code = STATUS[failure.kind]
    message = failure.message
    if failure.kind == "invalid_request" and failure.code is not None:
        status = CODE_STATUS.get(failure.code, status)
    elif failure.kind == "internal":
        message = f"internal error; the logs tell more under `{request_id}`"
        message = message if request_id else "internal error"
    return status, {
        "message": message,
        "type": kind,
        "param": failure.param,
        "code": failure.code or code,
    }


class ErrorBody(msgspec.Struct):
    """An error object as hosts send it."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class _Body(msgspec.Struct):
    error: ErrorBody | str | None = None
    detail: msgspec.Raw = msgspec.Raw()
    message: str | None = None
    object: str | None = None
    code: str | int | None = None
    type: str | None = None


_BODY = msgspec.json.Decoder(_Body)

_BODIES = msgspec.json.Decoder(list[_Body])

_TOO_LONG = re.compile(
    r"(?i)context[ _](?:length|window|size)|maximum context|prompt is too long|too many tokens|"
    r"maximum prompt length|longer than the model|reduce the length|length of all messages|"
    r"(?:input|prompt|tokens?)\b[^.]{0,60}(?:too long|exceeds? the (?:model|maximum|limit))|"
    r"input length"
)
"""Context errors in the words of OpenAI, Groq, DeepSeek, xAI, Perplexity, SGLang, vLLM and llama.cpp, most of
which have no code for them."""

_TOO_LONG_CODES = frozenset(
    {"context_length_exceeded", "too_many_prompt_tokens", "exceed_context_size_error"}
)


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """What an OpenAI-compatible host's error means. Total: whatever it sent gives a failure.

    Our credentials are our affair: 401 and 403 tell the client nothing but that the host failed.
    """
    error = _parse(body)
    message = clean_text(error.message or "")
    code = error.code if isinstance(error.code, str) and not error.code.isdigit() else None
    detail = name_error(status, error.type, code)
    shown = message or f"the provider answered with status {status}"
    wait = find_retry_after(headers)
    if status in (400, 404, 413, 422) and _is_too_long(error, message):
        return Failure(
            "context_too_long", shown, code="context_length_exceeded", param=error.param or "messages",
            detail=detail, upstream_status=status,
        )  # fmt: skip
    if status == 413:
        return Failure("too_large", shown, detail=detail, upstream_status=status)
    if status in (400, 409, 415, 422):
        return Failure(
            "invalid_request",
            shown,
            code=code,
            param=error.param,
            detail=detail,
            upstream_status=status,
        )
    if status == 429:
        if code == "insufficient_quota" or error.type == "insufficient_quota":
            message = "the provider's own quota is used up"
            return Failure("upstream_failed", message, detail=detail, upstream_status=status)
        return Failure(
            "rate_limited",
            "the provider asks to slow down",
            detail=detail,
            retry_after_seconds=wait,
            upstream_status=status,
        )
    return _read_rest(status, detail, wait)


def _is_too_long(error: ErrorBody, message: str) -> bool:
    said = {error.code, error.type}
    return not _TOO_LONG_CODES.isdisjoint(said) or _TOO_LONG.search(message) is not None


def _read_rest(status: int, detail: str, wait: float | None) -> Failure:
    if status in (503, 529):
        return Failure(
            "overloaded", "the provider is overloaded", detail=detail,
            retry_after_seconds=wait, upstream_status=status,
        )  # fmt: skip
    if status in (408, 504):
        message = "the provider did not answer in time"
        return Failure(
            "upstream_timeout", message, detail=detail, may_have_spent=True, upstream_status=status
        )
    message = WORDS_BY_STATUS.get(status, f"the provider failed with status {status}")
    return Failure("upstream_failed", message, detail=detail, upstream_status=status)


def describe_stream_error(error: "ErrorBody | str") -> Failure:
    """The failure of an error that stood inside a stream of status 200."""
    said = error if isinstance(error, ErrorBody) else ErrorBody(message=error)
    message = clean_text(said.message or "the provider sent an error in the middle of its answer")
    if _is_too_long(said, message):
        return Failure(
            "context_too_long", message, code="context_length_exceeded", may_have_spent=True
        )
    detail = name_error(200, said.type, said.code if isinstance(said.code, str) else None)
    return Failure("upstream_failed", message, detail=detail, may_have_spent=True)


def _parse(body: bytes) -> ErrorBody:
    try:
        if body.lstrip()[:1] == b"[":  # Gemini's compatible endpoint answers with a list of one.
            said = next(iter(_BODIES.decode(body)), _Body())
        else:
            said = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ErrorBody()
    if isinstance(said.error, ErrorBody):
        return said.error
    if isinstance(said.error, str):
        return ErrorBody(message=said.error)
    detail = bytes(said.detail)
    if detail.startswith(b'"'):
        return ErrorBody(message=msgspec.json.decode(detail, type=str), code=said.code)
    return ErrorBody(message=said.message, type=said.type, code=said.code)
