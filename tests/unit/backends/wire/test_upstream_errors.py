"""What of a provider's error goes into the log: its status and its machine words, and nothing else."""

import pytest

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
