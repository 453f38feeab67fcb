"""Gemini's error answers in moegate's kinds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.gemini import read_error


def error(status: int, word: str, message: str = "m.", *details: dict[str, Any]) -> bytes:
    body = {"code": status, "message": message, "status": word, "details": details}
    return json.dumps({"error": body}).encode()


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (400, "INVALID_ARGUMENT", "invalid_request"),
        (400, "FAILED_PRECONDITION", "upstream_failed"),
        (401, "UNAUTHENTICATED", "upstream_failed"),
        (403, "PERMISSION_DENIED", "upstream_failed"),
        (404, "NOT_FOUND", "upstream_failed"),
        (413, "INVALID_ARGUMENT", "too_large"),
        (429, "RESOURCE_EXHAUSTED", "rate_limited"),
        (500, "INTERNAL", "upstream_failed"),
        (503, "UNAVAILABLE", "overloaded"),
        (504, "DEADLINE_EXCEEDED", "upstream_timeout"),
    ],
)
def test_statuses_are_mapped(status: int, word: str, kind: str) -> None:
    """Each documented status has its kind, alone and inside an array."""
    assert read_error(status, {}, error(status, word)).kind == kind
    assert read_error(status, {}, b"[" + error(status, word) + b"]").kind == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request"),
        (429, "rate_limited"),
        (502, "upstream_failed"),
        (503, "overloaded"),
    ],
)
def test_status_decides_where_the_body_is_foreign(status: int, kind: str) -> None:
    """A page of some proxy is judged by its status alone."""
    assert read_error(status, {}, b"<html>\n</html>").kind == kind


def test_bad_key_stays_with_the_operator() -> None:
    """Google says 400 for a bad key; that is the gateway's fault, not the client's."""
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    failure = read_error(400, {}, error(400, "INVALID_ARGUMENT", "API key not valid.", detail))
    assert failure.kind == "upstream_failed"
    assert "key" not in failure.message
    assert failure.detail == "400 INVALID_ARGUMENT API_KEY_INVALID"


def test_long_context_is_known_by_its_wording() -> None:
    """The one sentence that Google has for it is recognised and shown."""
    text = "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576)."
    failure = read_error(400, {}, error(400, "INVALID_ARGUMENT", text))
    assert (failure.kind, failure.code) == ("context_too_long", "context_length_exceeded")
    assert "1250074" in failure.message


def test_wait_is_read_from_the_details() -> None:
    """Google sends no header; the wait stands in RetryInfo."""
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "48s"}
    failure = read_error(429, {"Retry-After": "5"}, error(429, "RESOURCE_EXHAUSTED", "q", {}, wait))
    assert failure.retry_after_seconds == 48.0
    assert read_error(503, {"Retry-After": "5"}, b"").retry_after_seconds == 5.0


@given(st.integers(300, 599), st.binary(max_size=100))
def test_any_body_gives_a_failure(status: int, body: bytes) -> None:
    """No error body raises, and the detail is one bounded line."""
    failure = read_error(status, {}, body)
    assert "\n" not in (failure.detail or "")
    assert "\n" not in failure.message
