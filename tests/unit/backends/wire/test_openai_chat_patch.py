"""Pass-through edits what it says and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.openai_chat import parse_request, patch_request

BLANKS = st.sampled_from(["", " ", "\n  ", "\t\r\n"])
LOOKALIKES = st.sampled_from(
    [
        '"model":"x"',
        '{"max_tokens": 1}',
        "},",
        '\\"',
        "\\",
        "stream_options",
        ":",
        ",",
        "é\U0001f600",
        "\u2028",
    ]
)
VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | LOOKALIKES | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["model", "stream_options", "include_usage"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)
CAP_NAMES = ("max_tokens", "max_completion_tokens")
CAPS = st.none() | st.integers(1, 99)


@st.composite
def members(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Members of a sound request in any order, with some that look like others inside."""
    found: list[tuple[str, Any]] = [
        ("model", draw(LOOKALIKES)),
        ("messages", [{"role": "user", "content": draw(LOOKALIKES)}]),
    ]
    found += [(name, draw(CAPS)) for name in CAP_NAMES if draw(st.booleans())]
    if draw(st.booleans()):
        found.append(("stream", True))
    if draw(st.booleans()):
        options = st.dictionaries(
            st.sampled_from(["include_usage", "x"]), st.booleans() | st.none(), max_size=2
        )
        found.append(("stream_options", draw(st.none() | options)))
    found += [(name, draw(VALUES)) for name in ("user", "metadata", "modél") if draw(st.booleans())]
    return draw(st.permutations(found))


def write(draw: st.DrawFn, value: Any, *, is_ascii: bool) -> str:
    """JSON text with blanks wherever they may stand."""
    blank = draw(BLANKS)
    if isinstance(value, dict):
        inner = [
            f"{blank}{key_text(draw, key)}{blank}:{draw(BLANKS)}{write(draw, one, is_ascii=is_ascii)}{blank}"
            for key, one in value.items()
        ]
        return "{" + ",".join(inner) + "}"
    if isinstance(value, list):
        return (
            "["
            + f"{blank},".join(write(draw, one, is_ascii=is_ascii) for one in value)
            + blank
            + "]"
        )
    return json.dumps(value, ensure_ascii=is_ascii)


def key_text(draw: st.DrawFn, key: str) -> str:
    """A key, maybe with an escaped letter."""
    if draw(st.integers(0, 3)) == 0:
        return f'"\\u{ord(key[0]):04x}{key[1:]}"'
    return json.dumps(key, ensure_ascii=False)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    text = write(draw, dict(draw(members())), is_ascii=draw(st.booleans()))
    return (draw(BLANKS) + text + draw(BLANKS)).encode()


def expect(
    before: dict[str, Any], cap: int | None, cap_name: str, *, asks: bool, strip: frozenset[str]
) -> dict[str, Any]:
    """The edits on the decoded body, written down apart."""
    after = {name: value for name, value in before.items() if name not in strip}
    after["model"] = "served/model"
    caps = {name: before[name] for name in CAP_NAMES if before.get(name) is not None}
    limit = min([*caps.values(), *([cap] if cap is not None else [])], default=None)
    for name, said in caps.items():
        after[name] = said if cap is None else min(said, cap)
    if not caps and cap is not None:
        after[cap_name] = cap
    if caps and cap_name == "max_tokens" and "max_tokens" not in caps:
        after["max_tokens"] = limit
        if "max_tokens" not in before:
            del after["max_completion_tokens"]
    if asks:
        after["stream_options"] = {**(before.get("stream_options") or {}), "include_usage": True}
    return after


@given(
    bodies(),
    CAPS,
    st.sampled_from(["max_tokens", "max_completion_tokens"]),
    st.booleans(),
    st.frozensets(st.sampled_from(["user", "metadata", "mod\u00e9l", "absent"])),
)
def test_the_patched_body_says_what_was_asked_for(
    raw: bytes, cap: int | None, cap_name: str, asks: bool, strip: frozenset[str]
) -> None:
    """In any order, spacing and escaping, with lookalikes in strings and objects: exactly the edits."""
    patched = patch_request(
        parse_request(raw),
        model="served/model",
        output_cap=cap,
        ask_usage=asks,
        strip=strip,
        cap_name=cap_name,
    )
    expected = expect(json.loads(raw), cap, cap_name, asks=asks, strip=strip)
    assert json.loads(patched) == expected
    assert len(json.loads(patched, object_pairs_hook=list)) == len(expected)


@given(bodies())
def test_bytes_outside_of_the_model_are_left_alone(raw: bytes) -> None:
    """With nothing else to do, the body is the client's but for the one value."""
    model = json.loads(raw)["model"]
    patched = patch_request(
        parse_request(raw), model="served/model", output_cap=None, ask_usage=False
    )
    places = [
        at
        for text in {json.dumps(model), json.dumps(model, ensure_ascii=False)}
        for at in find_all(raw, text.encode())
        if raw[:at] + b'"served/model"' + raw[at + len(text.encode()) :] == patched
    ]
    assert places


def find_all(raw: bytes, text: bytes) -> list[int]:
    return [at for at in range(len(raw)) if raw.startswith(text, at)]


SPACED = (
    b'{ "model" : "a","messages":[{"role":"user","content":"\\"model\\":\\"a\\""}] , "max_tokens" :7,\n'
    b' "stream_options" : {"x":1 }, "user":"u" , "stream":true}\n'
)
SPACED_PATCHED = (
    b'{ "model" : "b","messages":[{"role":"user","content":"\\"model\\":\\"a\\""}] , "max_tokens" :5,\n'
    b' "stream_options" : {"include_usage":true,"x":1 } , "stream":true}\n'
)
LEADING = b'{"user":"u","metadata":{}, "messages":[{"role":"user","content":"x"}],"model":"a"}'
LEADING_PATCHED = b'{"stream_options":{"include_usage":true}, "messages":[{"role":"user","content":"x"}],"model":"b"}'
EMPTY = b'{"messages":[{"role":"user","content":"\xc3\xa9"}],"stream_options":{ } ,"max_tokens":null,"model":"a"}'
EMPTY_PATCHED = (
    b'{"messages":[{"role":"user","content":"\xc3\xa9"}],"stream_options":{"include_usage":true} ,'
    b'"max_tokens":5,"model":"b"}'
)
RENAMED = b'{"messages":[{"role":"user","content":"x"}],"max_completion_tokens" : 3,"model":"a","user":"u"}'
RENAMED_PATCHED = (
    b'{"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}],'
    b'"max_tokens" : 3,"model":"b"}'
)


@pytest.mark.parametrize(
    ("raw", "cap", "patched"),
    [
        (SPACED, 5, SPACED_PATCHED),
        (LEADING, None, LEADING_PATCHED),
        (EMPTY, 5, EMPTY_PATCHED),
        (RENAMED, 5, RENAMED_PATCHED),
    ],
    ids=["spaced", "leading members stripped", "empty options", "older name"],
)
def test_examples_by_hand(raw: bytes, cap: int | None, patched: bytes) -> None:
    """What goes out, to the byte."""
    out = patch_request(
        parse_request(raw),
        model="b",
        output_cap=cap,
        ask_usage=True,
        strip=frozenset({"user", "metadata"}),
        cap_name="max_tokens",
    )
    assert out == patched
