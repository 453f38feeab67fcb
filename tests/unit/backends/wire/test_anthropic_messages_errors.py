"""Claude's error answers in moegate's kinds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.anthropic_messages import read_error


def error(word: str, message: str = "m.") -> bytes:
    return json.dumps({"type": "error", "error": {"type": word, "message": message}}).encode()


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (400, "invalid_request_error", "invalid_request"),
        (401, "authentication_error", "upstream_failed"),
        (402, "billing_error", "upstream_failed"),
        (403, "permission_error", "upstream_failed"),
        (404, "not_found_error", "upstream_failed"),
        (413, "request_too_large", "too_large"),
        (429, "rate_limit_error", "rate_limited"),
        (500, "api_error", "upstream_failed"),
        (504, "timeout_error", "upstream_timeout"),
        (529, "overloaded_error", "overloaded"),
    ],
)
def test_types_are_mapped(status: int, word: str, kind: str) -> None:
    """Each documented type has its kind, and the status alone says the same."""
    assert read_error(status, {}, error(word)).kind == kind
    assert read_error(status, {}, b"<html>").kind == kind
    assert read_error(status, {}, error(word)).upstream_status == status


def test_account_trouble_stays_with_the_operator() -> None:
    """A refused key is told to the operator, never to the client."""
    failure = read_error(401, {}, error("authentication_error", "invalid x-api-key"))
    assert "api-key" not in failure.message
    assert failure.detail == "401 authentication_error"


def test_long_context_keeps_its_wording() -> None:
    """The sentence with the two numbers stays, for clients read it."""
    text = "prompt is too long: 201000 tokens > 200000 maximum"
    failure = read_error(400, {}, error("invalid_request_error", text))
    assert (failure.kind, failure.message) == ("context_too_long", text)
    assert failure.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": "7", "Retry-After-Ms": "1500"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e99"}, 86_400.0),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """A wait in either header is kept, bounded, and nonsense is ignored."""
    failure = read_error(429, headers, error("rate_limit_error"))
    assert failure.retry_after_seconds == seconds


@given(st.integers(300, 599), st.binary(max_size=100))
def test_any_body_gives_a_failure(status: int, body: bytes) -> None:
    """No error body raises, and the detail is one bounded line."""
    failure = read_error(status, {}, body)
    assert "\n" not in (failure.detail or "")
    assert "\n" not in failure.message
