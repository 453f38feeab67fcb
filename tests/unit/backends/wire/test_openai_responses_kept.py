"""Kept state of Responses as pure functions: requests joined, answers marked, everything else byte for byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.failure import WireError
from backends.wire.openai_responses import parse_request
from backends.wire.openai_responses.kept import (
    find_final,
    item_ids,
    join,
    list_item,
    output_items,
    own_items,
    previous_id,
    read_final,
    referred_ids,
    resolve,
    say_kept,
    say_kept_in_event,
    wants_kept,
)
from backends.wire.prompt import Asked, Kept

KEPT = Kept("resp_ours", b"{}", "resp_before")
TEXTS = st.text(max_size=20)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ITEMS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXTS}),
    max_size=4,
)


@given(
    before=ITEMS,
    own=ITEMS | TEXTS | st.none(),
    more=st.dictionaries(TEXTS, JSONS, max_size=3),
    indent=st.sampled_from([None, 2]),
    is_last=st.booleans(),
)
def test_a_joined_request_is_what_a_client_would_have_sent(
    before: list[Any], own: Any, more: dict[str, Any], indent: int | None, is_last: bool
) -> None:
    """All items as the input, no previous response, every other member as it was."""
    rest = {name: value for name, value in more.items() if name not in ("input", "model")}
    body = {"previous_response_id": "resp_1", "model": "m"} if not is_last else {"model": "m"}
    body |= rest | ({} if own is None else {"input": own})
    if is_last:
        body["previous_response_id"] = "resp_1"
    raw = json.dumps(body, indent=indent).encode()
    items = [json.dumps(item).encode() for item in before]
    joined = json.loads(join(raw, [*items, *own_items(raw)]))
    said = [] if own is None else own
    if isinstance(own, str):
        said = [{"type": "message", "role": "user", "content": own}]
    body.pop("previous_response_id")
    assert joined == body | {"input": [*before, *said]}


@given(response=st.dictionaries(TEXTS, JSONS, max_size=4), indent=st.sampled_from([None, 2]))
def test_a_kept_response_says_so_and_nothing_else(
    response: dict[str, Any], indent: int | None
) -> None:
    """Three members are ours, whether they stood there or not; the others stay, and so does their order."""
    response = {"object": "response"} | response
    raw = json.dumps(response, indent=indent).encode()
    said = json.loads(say_kept(raw, KEPT))
    ours = {"id": "resp_ours", "store": True, "previous_response_id": "resp_before"}
    assert said == response | ours
    kept_order = [name for name in said if name not in ours]
    assert kept_order == [name for name in response if name not in ours]
    first = json.loads(say_kept(raw, Kept("resp_ours", b"{}")))
    assert first.get("previous_response_id") == response.get("previous_response_id")


@pytest.mark.parametrize(
    "event",
    [
        b'event: response.created\ndata: {"type":"response.created","response":{"id":"x","store":false}}\n\n',
        b'data: {"response":{"id":"x","store":false},"sequence_number":0}\r\n\r\n',
        b'data:{"response": {"id":"x","store":false}}\n\n',
    ],
)
def test_events_that_hold_the_response_say_so(event: bytes) -> None:
    """In any spelling of an event; what stands around the response stays."""
    said = say_kept_in_event(event, KEPT)
    final = find_final(said.replace(b'"store"', b'"output":[],"store"'))
    assert final is not None
    assert final.id == "resp_ours"
    assert json.loads(final.raw)["store"] is True
    begin = event.index(b'{"id"')
    assert said[:begin] == event[:begin]
    assert said.endswith(event[event.index(b"false") + 6 :])


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"delta":"say \\"response\\" twice"}\n\n',
        b'data: {"delta":"x","item":{"response":1}}\n\n',
        b": comment\n\n",
        b'data: {"response":5}\n\n',
        b'data: {"response":{"store":1,"id":"a","id":"longer"}}\n\n',
    ],
)
def test_other_events_stay(event: bytes) -> None:
    """Byte for byte."""
    assert say_kept_in_event(event, KEPT) == event


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("head", ["", "event: {x", ": {x", "id: }"])
def test_an_event_in_many_lines_says_so_too(head: str, end: str) -> None:
    """With any line ends, and braces where no JSON is."""
    lines = [
        head,
        'data: {"type":"response.completed","response":',
        'data: {"id":"x","output":[]}}',
    ]
    event = end.join([*(line for line in lines if line), "", ""]).encode()
    final = find_final(say_kept_in_event(event, KEPT))
    assert final is not None
    assert final.id == "resp_ours"


@pytest.mark.parametrize(
    "raw",
    [b'{"id":"a","output":[],"id":"longer"}', b'{"id":"a","id":"b","store":{},"store":1}', b"5"],
)
def test_a_response_with_a_member_twice_stays(raw: bytes) -> None:
    """Two readers could take it for two responses; it is not garbled, and kept under no id of ours."""
    assert say_kept(raw, KEPT) == raw


@given(st.binary(max_size=60))
def test_nothing_that_is_shown_raises(shown: bytes) -> None:
    """Whatever the last bytes of an answer are, they hold a response or none."""
    assert read_final(shown) is None
    assert find_final(shown) is None


def test_the_last_response_of_what_was_shown_counts() -> None:
    """Several events in one piece, the last blank line missing."""
    whole = b'{"id":"b","output":[{"id":"i","type":"message"},{"type":"message"}]}'
    shown = (
        b'data: {"response":{"id":"a","output":[]}}\n\n'
        b'data: {"delta":"x"}\n\nevent: response.completed\ndata: {"response":%b}' % whole
    )
    final = find_final(shown)
    assert final is not None
    assert (final.id, final.raw) == ("b", whole)
    assert item_ids(output_items(final.raw)) == ["i"]


@pytest.mark.parametrize(
    ("member", "previous", "wanted"),
    [
        (b"", None, None),
        (b',"store":true', None, True),
        (b',"store":false', None, False),
        (b',"store":null,"previous_response_id":null', None, None),
        (b',"previous_response_id":"resp_\\u0031"', "resp_1", None),
        (b',"previous_response_id":7', None, None),
    ],
)
def test_what_a_request_says_of_being_kept(
    member: bytes, previous: str | None, wanted: bool | None
) -> None:
    """Read out of what its parser left by name; an id that is no text is left for the refusal of such members."""
    prompt = parse_request(b'{"model":"m","input":"hi"%b}' % member, Asked())
    assert previous_id(prompt.unknown) == previous
    assert wants_kept(prompt.unknown) is wanted


def test_references_are_replaced_where_they_are_known() -> None:
    """By type, or as OpenAI takes them without; messages are no references."""
    items = [
        b'{"type":"item_reference","id":"a"}', b'{"id":"b"}', b'{"role":"user","id":"c"}',
        b'{"type":"message","role":"user","id":"d","content":"x"}',
    ]  # fmt: skip
    assert referred_ids(items) == ["a", "b"]
    assert resolve(items, {"a": b"1", "c": b"3", "d": b"4"}) == [b"1", *items[1:]]


def test_listed_items_are_whole() -> None:
    """A type, parts and an id, which follows from the response and the place; what has them keeps them."""
    listed = list_item(b'{"role":"user","content":"hi"}', "resp_1", 0)
    assert isinstance(listed, dict)
    assert listed["content"] == [{"type": "input_text", "text": "hi"}]
    assert (listed["type"], listed["status"]) == ("message", "completed")
    assert listed == list_item(b'{"role":"user","content":"hi"}', "resp_1", 0)
    other = list_item(b'{"role":"user","content":"hi"}', "resp_1", 1)
    assert isinstance(other, dict)
    assert str(listed["id"]).startswith("msg_")
    assert listed["id"] != other["id"]
    said = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": ""}
    assert list_item(json.dumps(said).encode(), "resp_1", 2) == said
    spoken = list_item(b'{"role":"assistant","content":"yes"}', "resp_1", 3)
    assert isinstance(spoken, dict)
    assert spoken["content"] == [{"type": "output_text", "text": "yes"}]


@given(st.binary(max_size=80))
def test_a_body_that_parses_can_be_joined(tail: bytes) -> None:
    """Whatever the parser takes, the joining takes too."""
    raw = b'{"model":"m","previous_response_id":"resp_1"%b}' % tail
    try:
        parse_request(raw, Asked())
    except WireError:
        return
    joined = join(raw, [b'{"role":"user","content":"x"}', *own_items(raw)])
    assert parse_request(joined, Asked()).messages
