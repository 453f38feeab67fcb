"""How losses are named, and the parts that both target codecs share."""

import json

import pytest

from backends.wire.anthropic_messages.schema import fit_schema
from backends.wire.failure import WireError
from backends.wire.prompt import Hints, Message, Prompt, Text, WireFormat
from backends.wire.rendering import DROPPED_NAMES_MAX, ID_CHARS_MAX, Losses, is_json_object
from backends.wire.targets import TARGETS


@pytest.mark.parametrize("target", ["openai-chat", "openai-responses"])
def test_a_long_user_gets_a_stable_substitute(target: WireFormat) -> None:
    """Claude Code says three ids in one, which OpenAI and its relatives refuse for its length."""
    user = json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "s" * 36})
    messages = (Message("user", (Text("hi"),)),)
    sent: list[str] = []
    for said in (user, user, user + "x", "short"):
        prompt = Prompt("anthropic-messages", b"{}", "m", messages, hints=Hints(said))
        rendered = TARGETS[target].render_request(
            prompt, model="gpt-5.5", output_cap=None, output_tokens_default=9
        )
        assert rendered.dropped == ()
        sent.append(json.loads(rendered.body)["user"])
    assert sent[0] == sent[1] != sent[2]
    assert all(0 < len(one) <= ID_CHARS_MAX for one in sent)
    assert sent[3] == "short"


def test_losses_are_named_once_in_order() -> None:
    """A name that is lost twice is listed once, where it was first found."""
    losses = Losses()
    for name in ("b", "a", "b"):
        losses.add(name)
    assert losses.names() == ("b", "a")


@pytest.mark.parametrize(
    ("format", "where"),
    [
        ("openai-chat", "response_format.json_schema.schema"),
        ("openai-responses", "text.format.schema"),
        ("anthropic-messages", "output_config.format.schema"),
        ("gemini", "generationConfig.responseJsonSchema"),
    ],
)
def test_keywords_of_a_schema_stand_where_the_client_wrote_them(
    format: WireFormat, where: str
) -> None:
    """A keyword that is not enforced is found in the client's own request by its name."""
    losses = Losses(format)
    losses.add("response_format.json_schema.schema.minLength")
    assert losses.names() == (f"{where}.minLength",)


def test_names_are_bounded_and_safe_in_a_header() -> None:
    """A client cannot make the list long or put other characters into it."""
    losses = Losses()
    losses.add("response_format.json_schema.a\r\nset-cookie: b")
    losses.add_unknown({f"x\r\n{i}" + "y" * 500: b"1" for i in range(100)}, frozenset())
    names = losses.names()
    assert len(names) == DROPPED_NAMES_MAX + 1
    assert names[-1] == "..."
    assert all(name.isascii() and name.isprintable() and len(name) <= 80 for name in names)


@pytest.mark.parametrize(
    ("raw", "lost"),
    [(b"null", ()), (b"{ }", ()), (b'{"5": 1}', ("logit_bias",))],
)
def test_values_without_effect_are_not_losses(raw: bytes, lost: tuple[str, ...]) -> None:
    """What says nothing is not listed as lost."""
    losses = Losses()
    losses.add_unknown({"logit_bias": raw}, frozenset())
    assert losses.names() == lost


@pytest.mark.parametrize(
    ("text", "is_object"),
    [
        ('{"a":1}', True),
        (" {} ", True),
        ("[]", False),
        ('{"a":nul}', False),
        ('{"a":"\\x"}', False),
        ("", False),
        ("{} {}", False),
    ],
)
def test_json_objects_are_told_apart(text: str, is_object: bool) -> None:
    """Only text that is one whole JSON object may be spliced in."""
    assert is_json_object(text) is is_object


def test_fitted_schema_keeps_data_that_looks_like_keywords() -> None:
    """Names of properties and values of enums are no keywords."""
    schema = (
        b'{"type":"object","additionalProperties":false,"properties":'
        b'{"maximum":{"enum":["minimum",{"maxLength":1}]}}}'
    )
    assert fit_schema(schema, param="p").schema is schema


def test_deep_schema_is_refused() -> None:
    """A schema cannot exhaust the stack."""
    for depth in (100, 100_000):
        schema = b'{"not":' * depth + b"{}" + b"}" * depth
        with pytest.raises(WireError):
            fit_schema(schema, param="p")
