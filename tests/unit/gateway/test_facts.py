"""What policy looks at: nothing of a request stands where no detector looks."""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from backends.target import Capability
from backends.wire import openai_chat
from backends.wire.clients import CLIENTS
from backends.wire.failure import WireError
from backends.wire.prompt import Asked, EmbeddingAsked, WireFormat
from gateway.costly import HARMLESS, refuse_costly_members
from gateway.errors import Refused
from gateway.facts import MEDIA_URLS, media_of, needs_of, segments
from policies.facts import CAPABILITIES, EMBED, NEEDS

MARK = "kzqxvjmwpt"
PIXEL = base64.b64encode(b"\x89PNG pixel").decode()
REQUEST: dict[str, Any] = {
    "model": "auto", "stream": True, "stream_options": {"include_usage": True, "odd": "x"}, "n": 1, "seed": 7,
    "stop": ["x"], "user": "x", "safety_identifier": "x", "prompt_cache_key": "x", "metadata": {"k": "x"},
    "logit_bias": {"5": 1}, "temperature": 0.5, "reasoning_effort": "low", "verbosity": "low", "store": False,
    "moderation": {"type": "content", "content": "x"}, "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {
        "name": "s", "description": "x", "strict": True,
        "schema": {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}}}},
    "tools": [{"type": "function", "odd": "x", "function": {
        "name": "f", "description": "x", "odd": "x",
        "parameters": {"type": "object", "properties": {"a": {"default": "x"}}}}}],
    "messages": [
        {"role": "system", "content": "x", "name": "x"}, {"role": "developer", "content": [{"type": "text", "text": "x"}]},
        {"role": "user", "odd": {"deep": ["x"]}, "content": [
            {"type": "text", "text": "x", "odd": "x"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "x"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "odd": "x"}},
            {"type": "file", "file": {"filename": "x", "file_data": f"data:application/pdf;base64,{PIXEL}"}},
            {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}}]},
        {"role": "assistant", "content": "x", "refusal": "x", "reasoning_content": "x", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "x"}', "odd": "x"}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "x"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "x"}]},
    ],
    "odd": {"a": [{"b": "x"}]},
}  # fmt: skip
"""Every member that is modelled, and some that are not, at every level."""

OPAQUE = {"data", "file_data"}
"""Media: no detector reads them, and policy decides on their being there."""


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every text and of every key; a key's path ends in ``None``'s stand-in ``"*"``."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield (*path, str(key), "*")
            yield from places(child, (*path, str(key)))
    elif isinstance(value, list):
        for at, child in enumerate(value):
            yield from places(child, (*path, at))
    elif isinstance(value, str):
        yield path


def marked(path: tuple[str | int, ...]) -> dict[str, Any]:
    """The request with the mark in place of the text, or of the key, at ``path``."""
    request = copy.deepcopy(REQUEST)
    at: Any = request
    is_key = path[-1] == "*"
    path = path[:-1] if is_key else path
    for step in path[:-1]:
        at = at[step]
    if is_key:
        at[MARK] = at.pop(path[-1])
    elif str(at[path[-1]]).startswith("data:"):
        at[path[-1]] = at[path[-1]].replace(";base64", f";name={MARK};base64")
    else:
        at[path[-1]] = f"https://example.com/{MARK}" if path[-1] == "url" else MARK
    return request


PLACES = [path for path in places(REQUEST) if path[-1] not in OPAQUE]


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_no_place_of_a_request_is_overlooked(path: tuple[str | int, ...]) -> None:
    """A word in place of any text, or of any key, is seen by the detectors, or the request is refused."""
    try:
        prompt = openai_chat.parse_request(json.dumps(marked(path)).encode())
        refuse_costly_members(prompt)
    except (WireError, Refused):
        return
    if path == ("model",):
        return  # Decides where it goes, and is replaced there.
    assert any(MARK in segment.text for segment in segments(prompt))


ANYWHERE = [
    "role", "content", "name", "type", "text", "refusal", "tool_calls", "tool_call_id", "function", "arguments", "id",
    "description", "parameters", "strict", "schema", "json_schema", "image_url", "url", "detail", "input_audio", "data",
    "format", "file", "file_data", "file_id", "filename", "include_usage", "tools", "tool_choice", "parallel_tool_calls",
    "stop", "max_tokens", "max_completion_tokens", "reasoning_effort", "temperature", "top_p", "top_k", "seed", "n",
    "presence_penalty", "frequency_penalty", "stream", "stream_options", "odd",
]  # fmt: skip
"""The words of the format: a codec that knows one of them may know it where it means nothing, too."""

NUMBER = 4111111111111111
VALUES: list[Any] = [
    MARK, NUMBER, [MARK], {MARK: 1}, {"name": MARK}, {"schema": {"a": MARK}}, {"function": {"name": MARK}},
    [{"type": "text", "text": MARK}],
    [{"id": "i", "type": "function", "function": {"name": "f", "arguments": MARK}}],
]  # fmt: skip
FREE: list[dict[str, Any]] = [
    {"model": "auto", "messages": REQUEST["messages"][:1], "response_format": {"type": kind}}
    for kind in ("text", "json_object")
]


def objects(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every object."""
    if isinstance(value, dict):
        yield path
    if isinstance(value, dict | list):
        steps = value.items() if isinstance(value, dict) else enumerate(value)
        for step, child in steps:
            yield from objects(child, (*path, step))


def is_overlooked(request: dict[str, Any], mark: str) -> bool:
    """Whether the request is taken and no detector sees the mark."""
    try:
        prompt = openai_chat.parse_request(json.dumps(request).encode())
        refuse_costly_members(prompt)
    except (WireError, Refused):
        return False
    return not any(mark in segment.text for segment in segments(prompt))


@pytest.mark.parametrize("value", VALUES, ids=json.dumps)
@pytest.mark.parametrize("request_", [REQUEST, *FREE], ids=["full", "text", "json_object"])
def test_no_word_of_the_format_hides_a_value(value: object, request_: dict[str, Any]) -> None:
    """Any member that is known somewhere, put anywhere: what it holds is seen, or the request is refused."""
    sound = copy.deepcopy(request_)
    mark = str(NUMBER) if value == NUMBER else MARK
    overlooked: list[str] = []
    for path in list(objects(sound)):
        parent: Any = sound
        for step in path:
            parent = parent[step]
        for name in ANYWHERE:
            before = dict(parent)
            parent[name] = value
            if is_overlooked(sound, mark):
                overlooked.append(".".join(map(str, (*path, name))))
            parent.clear()
            parent.update(before)
    assert overlooked == []


def test_the_places_are_taken() -> None:
    """The request that the marks are put into is a good one."""
    prompt = openai_chat.parse_request(json.dumps(REQUEST).encode())
    refuse_costly_members(prompt)
    assert len(segments(prompt)) > 25
    assert len(PLACES) > 120


def test_policies_know_every_need_and_capability() -> None:
    """What a policy may ask for is what requests can need and targets can do, word for word."""
    request = REQUEST | {"n": 2}
    prompt = openai_chat.parse_request(json.dumps(request).encode())
    vectors = msgspec.structs.replace(prompt, embedding=EmbeddingAsked())
    assert needs_of(prompt, media_of(prompt)) == NEEDS - {EMBED}
    assert needs_of(vectors, media_of(prompt)) == NEEDS
    assert {*get_args(Capability), MEDIA_URLS} == CAPABILITIES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("models", ["openai/gpt-6-sol"]),
        ("route", "fallback"),
        ("provider", {"order": ["elsewhere"]}),
        ("preset", "mine"),
        ("search_parameters", {"mode": "on"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("store", True),
        ("plugins", [{"id": "web"}]),
        ("service_tier", "priority"),
    ],
)
def test_what_decides_in_our_place_is_refused(name: str, value: object) -> None:
    """Another model, another host, a search: not by a member of the body; said empty, it is taken."""
    with pytest.raises(Refused) as caught:
        refuse_costly_members(
            openai_chat.parse_request(json.dumps(REQUEST | {name: value}).encode())
        )
    assert caught.value.failure.param == name
    values = HARMLESS["openai-chat"][name]
    assert isinstance(values, tuple)
    for harmless in values:
        said = REQUEST | {name: json.loads(harmless)}
        refuse_costly_members(openai_chat.parse_request(json.dumps(said).encode()))


@pytest.mark.parametrize("format", ["openai-chat", "openai-responses"])
def test_nothing_is_kept_for_longer_than_by_default(format: WireFormat) -> None:
    """`prompt_cache_options` asks for what `prompt_cache_retention` may not, and may name another's response."""
    said: dict[str, dict[str, Any]] = {
        "openai-chat": {"model": "auto", "messages": REQUEST["messages"][:1]},
        "openai-responses": {"model": "auto", "input": "hi"},
    }
    for options in (None, {}, {"mode": "explicit"}, {"ttl": "30m", "prewarm": False}):
        raw = json.dumps(said[format] | {"prompt_cache_options": options}).encode()
        prompt = CLIENTS[format].parse_request(raw, Asked())
        refuse_costly_members(prompt)
    for options in ({"ttl": "12h"}, {"comparison_response_id": "resp_1"}, {"prewarm": True}, "x"):
        raw = json.dumps(said[format] | {"prompt_cache_options": options}).encode()
        prompt = CLIENTS[format].parse_request(raw, Asked())
        with pytest.raises(Refused):
            refuse_costly_members(prompt)
