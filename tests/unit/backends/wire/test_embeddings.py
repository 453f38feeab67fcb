"""Vectors between two formats: nothing is lost unlisted, no digit is changed, nothing broken passes."""

import base64
import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from backends.wire import gemini_embeddings, openai_embeddings
from backends.wire.clients import EMBEDDERS
from backends.wire.embeddings import Embeddings, to_base64, to_numbers
from backends.wire.failure import Failure, WireError
from backends.wire.json_patch import find_members
from backends.wire.openai_embeddings.tokens import read_tokens, read_vocabulary
from backends.wire.prompt import Asked, EmbeddingAsked, Message, Prompt, Text
from backends.wire.usage import Usage

OPENAI, GOOGLE = EMBEDDERS["openai-embeddings"], EMBEDDERS["gemini-embeddings"]
ONE, SEVERAL = Asked("m"), Asked("m", is_batch=True)


def openai_prompt(**more: object) -> Prompt:
    """A prompt of a good body of OpenAI's."""
    return OPENAI.parse_request(json.dumps({"model": "m", "input": "hi", **more}).encode(), Asked())


def content(*texts: str, **more: object) -> dict[str, Any]:
    """One of Google's requests."""
    return {"model": "models/m", "content": {"parts": [{"text": one} for one in texts]}, **more}


def google_prompt(*requests: dict[str, Any]) -> Prompt:
    """A prompt of several of them."""
    return GOOGLE.parse_request(json.dumps({"requests": requests}).encode(), SEVERAL)


def turns(*texts: str) -> tuple[Message, ...]:
    """Each text as a turn."""
    return tuple(Message("user", (Text(one),)) for one in texts)


def refusal(body: object, asked: Asked | None = None) -> Failure:
    """Why a body is not taken."""
    codec, asked = (OPENAI, Asked()) if asked is None else (GOOGLE, asked)
    with pytest.raises(WireError) as raised:
        codec.parse_request(json.dumps(body).encode(), asked)
    return raised.value.failure


# ------ requests ------


def test_texts_of_openai_are_turns() -> None:
    """One or several, with what is wanted of their vectors."""
    asked = openai_prompt(input=["a", "b"], dimensions=5, encoding_format="base64", user="u", odd=1)
    assert asked.messages == turns("a", "b")
    assert asked.embedding == EmbeddingAsked(dimensions=5, is_base64=True)
    assert (asked.hints.user, asked.unknown) == ("u", {"odd": b"1"})
    assert openai_prompt().messages == turns("hi")
    assert openai_prompt(encoding_format=None, dimensions=None).embedding == EmbeddingAsked()


def test_tokens_are_read_as_their_text() -> None:
    """One text, several, or beside texts: what is looked at is what travels, in either format."""
    assert openai_prompt(input=[15339, 1917]).messages == turns("hello world")
    mixed = openai_prompt(input=[[9642], "plain", [3923, 374, 279, 6864, 315, 9822, 30]])
    texts = ["Yes", "plain", "What is the capital of France?"]
    assert mixed.messages == turns(*texts)
    passed = openai_embeddings.patch_request(mixed, model="e", knows_base64=True)
    assert json.loads(passed) == {"model": "e", "input": texts}
    google = json.loads(gemini_embeddings.render_request(mixed, model="e").body)["requests"]
    assert [one["content"]["parts"][0]["text"] for one in google] == texts


def test_half_of_a_character_is_shown_as_such() -> None:
    """As where a client cut a long text between two tokens."""
    assert read_tokens([94]) == "\ufffd"
    assert read_tokens([]) is None


def test_another_vocabulary_is_none(tmp_path: Path) -> None:
    """A file that is missing, or not the one whose hash is known: then no number is taken."""
    assert read_vocabulary(tmp_path / "none") == []
    (tmp_path / "other").write_text("IQ== 0\n")
    assert read_vocabulary(tmp_path / "other") == []


def test_contents_of_google_are_turns() -> None:
    """In either spelling; parts of one content stay together, tasks are kept to be looked at."""
    asked = google_prompt(
        content("a", "b", outputDimensionality=7, taskType="RETRIEVAL_QUERY"),
        content("c", output_dimensionality=7, title="t"),
    )
    assert asked.messages == (Message("user", (Text("a"), Text("b"))), *turns("c"))
    assert asked.embedding == EmbeddingAsked(dimensions=7)
    assert asked.unknown == {
        "requests[0].taskType": b'"RETRIEVAL_QUERY"',
        "requests[1].title": b'"t"',
    }
    one = GOOGLE.parse_request(json.dumps(content("a")).encode(), ONE)
    assert (one.messages, one.request_model) == (turns("a"), "m")


def test_a_role_is_looked_at_unless_it_is_one() -> None:
    """What travels in its place is text like any other."""
    said = content("a")
    said["content"]["role"] = "4111 1111 1111 1111"
    assert "requests[0].content.role" in google_prompt(said).unknown
    said["content"]["role"] = "user"
    assert google_prompt(said).unknown == {}


@pytest.mark.parametrize(
    ("said", "words", "param"),
    [
        ({"input": [100_256]}, "no token", "input"),
        ({"input": ["a", [-1]]}, "no token", "input[1]"),
        ({"input": [[1], []]}, "no token", "input[1]"),
        ({"input": [[1, "a"]]}, "no token", "input[0]"),
        ({"input": [[True]]}, "no token", "input[0]"),
        ({"input": [[10**30]]}, "no token", "input[0]"),
        ({"input": [1] * 300_001}, "300000 tokens", "input"),
        ({"input": [[1] * 150_000, [1] * 150_001]}, "300000 tokens", "input"),
        ({"input": ["a", 1]}, "must be a text", "input[1]"),
        ({"input": [True]}, "must be a text", "input[0]"),
        ({"input": [{"text": "a"}]}, "must be a text", "input[0]"),
        ({"input": ""}, "must not be empty", "input"),
        ({"input": ["a", ""]}, "must not be empty", "input[1]"),
        ({"input": []}, "must not be empty", "input"),
        ({"input": None}, "is missing", "input"),
        ({"input": ["a"] * 2049}, "at most 2048", "input"),
        ({"model": ""}, "must not be empty", "model"),
        ({"dimensions": 0}, "between", "dimensions"),
        ({"dimensions": "5"}, "whole number", "dimensions"),
        ({"encoding_format": "int8"}, "`float`, `base64`", "encoding_format"),
    ],
)
def test_what_openai_clients_may_not_say(said: dict[str, Any], words: str, param: str) -> None:
    """Each with its place, and what would do."""
    failure = refusal({"model": "m", "input": "hi", **said})
    assert words in failure.message
    assert (failure.kind, failure.param) == ("invalid_request", param)


@pytest.mark.parametrize(
    ("body", "words", "param"),
    [
        ({}, "is missing", "requests"),
        ({"requests": []}, "is missing", "requests"),
        ({"requests": [{}]}, "is missing", "requests[0].content"),
        ({"requests": [{"content": {"parts": []}}]}, "no text", "requests[0].content.parts"),
        ({"requests": [content("")]}, "no text", "requests[0].content.parts"),
        ({"requests": [content("a") | {"model": "models/x"}]}, "another one", "requests[0].model"),
        (
            {"requests": [{"content": {"parts": [{"text": "a"}, {"inline_data": {}}]}}]},
            "only texts",
            "requests[0].content.parts[1].inline_data",
        ),
        ({"requests": [content("a", outputDimensionality=0)]}, "between", "requests[0].outputDimensionality"),
        ({"requests": [content("a", taskType=1, task_type=2)]}, "two spellings", "requests[0].task_type"),
    ],
)  # fmt: skip
def test_what_google_clients_may_not_say(body: object, words: str, param: str) -> None:
    """Pictures and sounds have prices of their own; a model is the address's."""
    failure = refusal(body, SEVERAL)
    assert words in failure.message
    assert (failure.kind, failure.param) == ("invalid_request", param)


def test_google_is_asked_by_openai_clients() -> None:
    """Texts, the name of the model twice, dimensions under Google's name; the rest is listed."""
    asked = openai_prompt(input=["a", "b"], dimensions=5, user="u", odd=[1], none=None)
    rendered = gemini_embeddings.render_request(asked, model="e")
    assert json.loads(rendered.body) == {
        "requests": [
            {"model": "models/e", "content": {"parts": [{"text": one}]}, "outputDimensionality": 5}
            for one in ("a", "b")
        ]
    }
    assert rendered.dropped == ("user", "odd")
    with pytest.raises(WireError, match="at most 100"):
        gemini_embeddings.render_request(openai_prompt(input=["a"] * 101), model="e")


def test_openai_is_asked_by_google_clients() -> None:
    """A content is one text; what stands in every request is listed once."""
    asked = google_prompt(
        content("a", "b", taskType="X", outputDimensionality=5),
        content("c", taskType="X", outputDimensionality=5),
    )
    rendered = openai_embeddings.render_request(asked, model="e", dimensions_name="size")
    assert json.loads(rendered.body) == {
        "model": "e", "input": ["a\nb", "c"], "encoding_format": "float", "size": 5,
    }  # fmt: skip
    assert rendered.dropped == ("requests[].taskType",)
    mixed = google_prompt(content("a", outputDimensionality=5), content("b"))
    with pytest.raises(WireError, match="same number of dimensions"):
        openai_embeddings.render_request(mixed, model="e")


def test_a_body_of_openais_passes() -> None:
    """The model's name, and no more where the host knows it all; else how numbers and dimensions are said."""
    raw = b'{ "encoding_format":"base64", "rid":"x", "model" : "m","input":["\\u00e9"], "dimensions": 5 }'
    asked = OPENAI.parse_request(raw, Asked())
    same = openai_embeddings.patch_request(asked, model="e", knows_base64=True)
    assert same == raw.replace(b'"m"', b'"e"')
    edited = openai_embeddings.patch_request(
        asked, model="e", knows_base64=False, dimensions_name="size", strip=frozenset({"rid", "x"})
    )
    assert edited == b'{ "encoding_format":"float", "model" : "e","input":["\\u00e9"], "size": 5 }'


SPACES = st.text(" \n\t", max_size=2)


@given(
    st.lists(st.tuples(st.text(max_size=5), st.booleans(), SPACES), min_size=1, max_size=4),
    st.booleans(),
)
def test_a_body_of_googles_passes(said: list[tuple[str, bool, str]], is_top_named: bool) -> None:
    """Every name of the model is Google's, and every other byte is the client's."""
    pieces: list[str] = []
    for text, is_named, space in said:
        named = f'"model"{space}:{space}"models/m"{space},' if is_named else ""
        escaped = json.dumps(f'x{{"model":[{text}')
        pieces.append(f'{{{space}{named}"content":{{"parts":[{{"text":{escaped}}}]}}{space}}}')
    top = '"model":"models/m",' if is_top_named else ""
    raw = f'{{{top} "requests":[ {" , ".join(pieces)}\n]}}'.encode()
    prompt = GOOGLE.parse_request(raw, SEVERAL)
    wanted = raw.replace(b'"models/m"', b'"models/e.1"')
    assert gemini_embeddings.patch_request(prompt, model="e.1") == wanted
    assert find_members(wanted)


def test_one_content_passes() -> None:
    """The address for one, with a model in the body or without; a list that is an object, as Google reads it."""
    raw = json.dumps(content("a")).encode()
    prompt = GOOGLE.parse_request(raw, ONE)
    assert gemini_embeddings.patch_request(prompt, model="e") == raw.replace(
        b"models/m", b"models/e"
    )
    bare = b'{"content":{"parts":{"text":"a"}}}'
    assert gemini_embeddings.patch_request(GOOGLE.parse_request(bare, ONE), model="e") == bare
    loose = json.dumps({"requests": content("a")}).encode()
    prompt = GOOGLE.parse_request(loose, SEVERAL)
    assert b"models/e" in gemini_embeddings.patch_request(prompt, model="e")


# ------ answers ------

NUMBERS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8
)


@given(NUMBERS)
def test_base64_there_and_back(numbers: list[float]) -> None:
    """Single precision is kept to the bit, both ways."""
    text = json.dumps(numbers).encode()
    short = bytes(to_base64(text))
    assert base64.b64decode(json.loads(short)) == struct.pack(f"<{len(numbers)}f", *numbers)
    assert json.loads(bytes(to_numbers(short))) == numbers
    assert bytes(to_numbers(text)) == text
    assert bytes(to_base64(short)) == short


@pytest.mark.parametrize(
    "vector",
    [
        b"[]",
        b'""',
        b'"AAA="',
        b'"!!!!"',
        b"[1e300]",
        b'["a"]',
        b"{}",
        b"null",
        b"[1",
        b'"AACAfw=="',
        b"[[1]]",
    ],
)
def test_what_is_no_vector_is_refused(vector: bytes) -> None:
    """Half of a number, an infinite one, none at all: never made up, never passed on as null."""
    with pytest.raises(WireError):
        to_base64(vector)
    if vector != b"[1e300]":
        with pytest.raises(WireError):
            to_numbers(vector)


def openai_answer(*vectors: object, **more: object) -> bytes:
    """As OpenAI answers."""
    data = [
        {"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return json.dumps(
        {"object": "list", "data": data, "model": "e-1", "usage": usage, **more}
    ).encode()


def test_an_answer_of_openais_to_a_client_of_googles() -> None:
    """In the order of the texts, with the host's own digits, and its count."""
    asked = google_prompt(content("a"), content("b"))
    data = [{"index": 1, "embedding": [0.30]}, {"index": 0, "embedding": [-1.5e-7]}]
    said = openai_embeddings.parse_answer(asked, openai_answer(data=data).replace(b"0.3", b"0.30"))
    assert said == Embeddings((b"[-1.5e-07]", b"[0.30]"), "e-1", "", Usage(input_tokens=3))
    assert GOOGLE.render_embeddings(asked, said) == (
        b'{"embeddings":[{"values":[-1.5e-07]},{"values":[0.30]}],"usageMetadata":{"promptTokenCount":3}}'
    )
    one = GOOGLE.parse_request(json.dumps(content("a")).encode(), ONE)
    said = openai_embeddings.parse_answer(one, openai_answer([1]))
    assert json.loads(GOOGLE.render_embeddings(one, said))["embedding"] == {"values": [1]}


@pytest.mark.parametrize("is_counted", [True, False])
def test_an_answer_of_googles_to_a_client_of_openais(is_counted: bool) -> None:
    """As the SDK reads it; a count that was not given is not made up."""
    body: dict[str, Any] = {"embeddings": [{"values": [0.5]}, {"values": [1, 2]}]}
    if is_counted:
        body["usageMetadata"] = {"promptTokenCount": 9}
    asked = openai_prompt(input=["a", "b"])
    said = gemini_embeddings.parse_answer(asked, json.dumps(body).encode(), model="e")
    shown = json.loads(OPENAI.render_embeddings(asked, said))
    assert [one["embedding"] for one in shown["data"]] == [[0.5], [1, 2]]
    assert [one["index"] for one in shown["data"]] == [0, 1]
    assert shown["model"] == "e"
    if is_counted:
        answer = CreateEmbeddingResponse.model_validate(shown)
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (9, 9)
    else:
        assert "usage" not in shown
    base64_prompt = openai_prompt(input=["a", "b"], encoding_format="base64")
    short = json.loads(OPENAI.render_embeddings(base64_prompt, said))["data"][0]["embedding"]
    assert base64.b64decode(short) == struct.pack("<f", 0.5)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"\xff", openai_answer(), openai_answer([1], [2]), openai_answer(None),
        openai_answer(data=[{"index": 1, "embedding": [1]}]), openai_answer(data=[{"index": 0}]),
        openai_answer([1], error={"message": "boom"}), openai_answer([1], usage=3),
    ],
)  # fmt: skip
def test_an_answer_of_openais_that_is_none(body: bytes) -> None:
    """Too few, too many, none, or an error inside: it may have cost something."""
    with pytest.raises(WireError) as raised:
        openai_embeddings.parse_answer(openai_prompt(), body)
    assert raised.value.failure.may_have_spent


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"\xff", b'{"embeddings":[]}', b'{"embedding":{}}', b'{"embedding":{"values":"x"}}',
        b'{"embeddings":[{"values":[1]},{"values":[1]}]}',
    ],
)  # fmt: skip
def test_an_answer_of_googles_that_is_none(body: bytes) -> None:
    """The same."""
    with pytest.raises(WireError) as raised:
        gemini_embeddings.parse_answer(openai_prompt(), body, model="e")
    assert raised.value.failure.may_have_spent


@pytest.mark.parametrize("count", [0, -1, 2**60])
def test_counts_that_cannot_be_are_none(count: int) -> None:
    """Then a bound is booked."""
    usage = {"prompt_tokens": count, "total_tokens": count}
    said = openai_embeddings.parse_answer(openai_prompt(), openai_answer([1], usage=usage))
    assert said.usage is None
    body = {"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": count}}
    said = gemini_embeddings.parse_answer(openai_prompt(), json.dumps(body).encode(), model="e")
    assert said.usage is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
GOOD: list[tuple[Asked | None, dict[str, Any]]] = [
    (None, {"model": "m", "input": ["a", "b"], "dimensions": 5, "encoding_format": "float", "user": "u", "odd": {}}),
    (ONE, content("a", taskType="X")),
    (SEVERAL, {"requests": [content("a", title="t"), content("b", outputDimensionality=4)]}),
]  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a body."""
    found = [path] if path else []
    entries = enumerate(node) if isinstance(node, list) else getattr(node, "items", tuple)()
    for key, value in entries:
        found += places(value, (*path, key))
    return found


def read_and_render(raw: bytes, asked: Asked | None) -> None:
    """A prompt that can be asked anywhere, or an error of the format's own."""
    codec = OPENAI if asked is None else GOOGLE
    prompt, failure = None, None
    try:
        prompt = codec.parse_request(raw, asked or Asked())
    except WireError as error:
        failure = error.failure
    if failure is not None:
        assert failure.kind == "invalid_request"
        assert "\n" not in failure.message
        assert codec.render_failure(failure, "req_1")[0] == 400
    if prompt is None:
        return
    with contextlib.suppress(WireError):
        json.loads(openai_embeddings.render_request(prompt, model="e").body)
        json.loads(gemini_embeddings.render_request(prompt, model="e").body)
    if asked is None:
        passed = openai_embeddings.patch_request(prompt, model="e", knows_base64=False)
    else:
        passed = gemini_embeddings.patch_request(prompt, model="e")
    json.loads(passed)


@given(st.sampled_from(GOOD), st.data())
def test_a_mutated_body(said: tuple[Asked | None, Any], data: st.DataObject) -> None:
    """Anything at any place of a good body."""
    asked, body = said[0], json.loads(json.dumps(said[1]))
    path = data.draw(st.sampled_from(places(body)))
    holder = body
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = data.draw(JUNK)
    try:
        raw = json.dumps(body).encode()
    except UnicodeEncodeError:
        return
    read_and_render(raw, asked)


@given(st.binary(max_size=100))
def test_bytes(raw: bytes) -> None:
    """Not even JSON, as a request or as an answer."""
    for asked in (None, ONE, SEVERAL):
        read_and_render(raw, asked)
    asked_for = openai_prompt()
    for read in (
        lambda: openai_embeddings.parse_answer(asked_for, raw),
        lambda: gemini_embeddings.parse_answer(asked_for, raw, model="e"),
    ):
        with contextlib.suppress(WireError):
            read()
