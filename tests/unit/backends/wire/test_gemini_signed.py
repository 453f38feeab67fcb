"""Other issuers' signatures in bodies of Gemini's format: they never pass to Google."""

import pytest

from backends.wire.clients import CLIENTS
from backends.wire.gemini.patch import patch_request
from backends.wire.gemini.signed import wrap_signature
from backends.wire.prompt import Asked


@pytest.mark.parametrize("at", [0, 3, 9])
def test_no_spelling_brings_another_issuers_signature_to_google(at: int) -> None:
    """A letter of it written as an escape, as some encoders do: it is found and taken out all the same."""
    wrapped = wrap_signature("sig" * 20, "anthropic")
    spelled = wrapped[:at] + f"\\u00{ord(wrapped[at]):02x}" + wrapped[at + 1 :]
    raw = b'{"contents":[{"role":"model","parts":[{"text":"x","thoughtSignature":"%b"}]}]}'
    prompt = CLIENTS["gemini"].parse_request(raw % spelled.encode(), Asked("m"))
    body, lost = patch_request(prompt, model="m", output_cap=None, allows_provider_tools=False)
    assert b"ignature" not in body
    assert lost == ("contents[].parts[].thoughtSignature",)


def test_escapes_alone_change_no_byte() -> None:
    """What holds no such signature passes as it came, however it is written."""
    raw = b'{ "contents" : [{"role":"user","parts":[{"text":"caf\\u00e9"}]}] }'
    prompt = CLIENTS["gemini"].parse_request(raw, Asked("m"))
    body, lost = patch_request(prompt, model="m", output_cap=None, allows_provider_tools=False)
    assert (body, lost) == (raw, ())
