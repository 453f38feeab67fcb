"""Failures in OpenAI's words: what clients are told, and what hosts meant."""

import json
from typing import get_args

import pytest

from backends.wire.failure import Failure, FailureKind
from backends.wire.openai_chat import read_error, render_error_event, render_failure

TABLE: dict[FailureKind, tuple[int, str, str]] = {
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


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_each_kind_has_its_status_type_and_code(kind: FailureKind) -> None:
    """The table of the documentation, for plain answers and streams alike."""
    failure = Failure(kind, "why", param="messages[0]", detail="operators only")
    status, body = render_failure(failure, "req-1")
    error = json.loads(body)["error"]
    assert (status, error["type"], error["code"]) == TABLE[kind]
    assert error["param"] == "messages[0]"
    assert b"operators only" not in body
    event = render_error_event(failure, "req-1")
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    in_stream = json.loads(event[6:])["error"]
    assert in_stream == {name: error[name] for name in ("message", "type", "param", "code")}


def test_a_failure_keeps_a_code_of_its_own() -> None:
    """Where clients look for it; three codes have an HTTP status too."""
    for code, status in (
        ("unsupported_media_type", 415),
        ("not_found", 404),
        ("method_not_allowed", 405),
        ("invalid_json", 400),
    ):
        found, body = render_failure(Failure("invalid_request", "why", code=code), "r")
        assert (found, json.loads(body)["error"]["code"]) == (status, code)


def test_an_internal_error_tells_nothing_but_the_request() -> None:
    """Whatever went into the message."""
    failure = Failure("internal", "KeyError: 'secret'", detail="trace")
    for body in (render_failure(failure, "req-9")[1], render_error_event(failure, "req-9")):
        assert b"secret" not in body
        assert b"req-9" in body
    assert b"secret" not in render_error_event(failure)


def error(message: str, **more: object) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error("bad", code="invalid_value", param="n"), "invalid_request"),
        (400, error("too long", code="context_length_exceeded"), "context_too_long"),
        (400, error("This model's maximum context length is 8192 tokens."), "context_too_long"),
        (400, error("The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
         "context_too_long"),
        (400, error("This model's maximum prompt length is 131072 but the request contains 200000 tokens."),
         "context_too_long"),
        (400, error("Please reduce the length of the messages or completion."), "context_too_long"),
        (400, error("The total length of all messages is too long.", type="too_many_prompt_tokens", code=400),
         "context_too_long"),
        (400, error("the request exceeds the available context size", type="exceed_context_size_error"),
         "context_too_long"),
        (400, error("image exceeds the maximum size of 20 MB"), "invalid_request"),
        (400, error("`n` exceeds the maximum of 8"), "invalid_request"),
        (401, error("no key"), "upstream_failed"),
        (402, error("insufficient balance"), "upstream_failed"),
        (403, error("no access"), "upstream_failed"),
        (404, error("no such model", code="model_not_found"), "upstream_failed"),
        (408, b"", "upstream_timeout"),
        (413, b"<html>", "too_large"),
        (422, b'{"detail":[{"loc":["body"],"msg":"extra"}]}', "invalid_request"),
        (429, error("slow down", code="rate_limit_exceeded"), "rate_limited"),
        (429, error("pay", code="insufficient_quota"), "upstream_failed"),
        (429, error("pay", type="insufficient_quota"), "upstream_failed"),
        (500, b"", "upstream_failed"),
        (502, b"<html>bad gateway</html>", "upstream_failed"),
        (503, error("busy"), "overloaded"),
        (504, b"", "upstream_timeout"),
        (529, error("busy"), "overloaded"),
        (302, b"", "upstream_failed"),
    ],
)  # fmt: skip
def test_what_a_hosts_error_means(status: int, body: bytes, kind: FailureKind) -> None:
    """By status, code and words; nothing that a host says is shown as its own status."""
    failure = read_error(status, {}, body)
    assert (failure.kind, failure.upstream_status) == (kind, status)


def test_a_hosts_complaint_about_the_request_reaches_the_client() -> None:
    """Message, code and path are about what the client sent."""
    body = error("Unsupported value.\n Use 1.", code="unsupported_value", param="n", type="x")
    failure = read_error(400, {}, body)
    assert (failure.message, failure.code, failure.param) == (
        "Unsupported value. Use 1",
        "unsupported_value",
        "n",
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "the message"}',
        b'{"detail": "the message"}',
        b'{"object": "error", "message": "the message", "type": "BadRequestError", "code": 400}',
        b'[{"error": {"message": "the message", "code": 400}}]',
    ],
    ids=["text", "mistral", "sglang", "gemini"],
)
def test_other_shapes_of_errors_are_read(body: bytes) -> None:
    """Each host has its own; numbers are no codes."""
    failure = read_error(400, {}, body)
    assert (failure.message, failure.code) == ("the message", None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "1", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "1", "retry-after-ms": "0"}, 1.0),
        (
            {
                "retry-after": "Mon, 23 Nov 2026 20:01:30 GMT",
                "date": "Mon, 23 Nov 2026 20:00:00 GMT",
            },
            90.0,
        ),
        (
            {
                "retry-after": "Mon, 23 Nov 2026 19:00:00 GMT",
                "date": "Mon, 23 Nov 2026 20:00:00 GMT",
            },
            0.0,
        ),
        ({"retry-after": "Mon, 23 Nov 2026 20:01:30 GMT"}, None),
        ({"retry-after": "soon", "date": "now"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "1e99"}, 86_400.0),
        ({}, None),
    ],
)
def test_the_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds, or a date against the answer's own."""
    assert read_error(429, headers, b"").retry_after_seconds == seconds


@pytest.mark.parametrize(
    "secret",
    ["sk-proj-abcdefghij0123456789", "sk-abc***********wxyz", "gsk_abcdefghij0123", "AIzaSyA1234567890abcdefg",
     "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_keys_are_hidden(secret: str, status: int) -> None:
    """From clients and from logs, though the host repeats them."""
    for words in (f"Incorrect API key provided: {secret}.", f"bad header `Bearer {secret}`, sorry"):
        failure = read_error(status, {}, error(words))
        assert secret not in f"{failure.message} {failure.detail}"


def test_our_credential_is_not_the_clients_affair() -> None:
    """A refused key says nothing about itself to the client; operators see the host's error code."""
    failure = read_error(401, {}, error("org acme-internal is suspended", code="org_suspended"))
    assert "acme" not in failure.message
    assert (failure.detail or "").endswith("org_suspended")


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_operators_do_not_read_prompts(status: int) -> None:
    """Hosts quote what they refuse, in the text or where a code should stand: the log gets neither."""
    failure = read_error(
        status,
        {},
        error("`my secret plan` is no value", code="my secret plan", type="x\nmy secret plan"),
    )
    assert failure.detail == str(status)
