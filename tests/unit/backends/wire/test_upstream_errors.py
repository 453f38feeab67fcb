"""What of a provider's error goes into the log (its status and its machine words), and what a client is told."""

import json
from collections.abc import Callable

import pytest

from backends.wire import anthropic_messages, gemini, openai_chat
from backends.wire.failure import Failure
from backends.wire.upstream_errors import name_error


@pytest.mark.parametrize(
    "word", ["invalid_api_key", "RATE_LIMIT_EXCEEDED", "rate-limit", "error_1305"]
)
def test_machine_words_are_kept(word: str) -> None:
    """What an operator looks for."""
    assert name_error(400, word, None) == f"400 {word}"


@pytest.mark.parametrize(
    "word",
    [
        "sk-proj-aBcDeFgHiJkLmNoPqRsT",
        "gsk_aBcDeFgHiJkLmNoP",
        "AIzaSyAbCdEfGhIjKlMnOp",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx",
        "card4111111111111111",
        "tel.0171-234567",
        "my text",
        "a" * 65,
        "",
    ],
)
def test_what_may_be_a_key_or_a_number_is_left_out(word: str) -> None:
    """A provider may quote what it was sent where a word should stand."""
    assert name_error(400, word, "invalid_request") == "400 invalid_request"


@pytest.mark.parametrize(
    "read_error", [anthropic_messages.read_error, gemini.read_error, openai_chat.read_error]
)
@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "refused the gateway's credential"), (403, "credential"), (404, "know this model")],
)
def test_whose_fault_it_is_is_told_alike_by_every_format(
    read_error: Callable[[int, dict[str, str], bytes], Failure], status: int, words: str
) -> None:
    """A newcomer with a wrong key, or a model that is gone, reads which it is, whatever the provider speaks."""
    said = json.dumps({"error": {"type": "", "message": "m.", "status": ""}}).encode()
    for body in (said, b"<html>"):
        failure = read_error(status, {}, body)
        assert failure.kind == "upstream_failed"
        assert words in failure.message


def test_a_bad_key_at_google_is_told_as_one() -> None:
    """Google says 400 for a key that is not valid."""
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    error = {"code": 400, "message": "m.", "status": "INVALID_ARGUMENT", "details": [reason]}
    failure = gemini.read_error(400, {}, json.dumps({"error": error}).encode())
    assert failure.message == "the provider refused the gateway's credential"
