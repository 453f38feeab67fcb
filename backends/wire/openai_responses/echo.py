"""The response object: what the answer says, and the request again as OpenAI's servers repeat it.

Promises: every member that OpenAI's schema requires, and those that the Open Responses schema does; what the client
said is repeated as it was said, what it left out with the value that holds then. ``store`` says whether the gateway
keeps it.
"""

from collections.abc import Mapping

import msgspec
import orjson

from backends.wire.openai_responses.usage import render_usage
from backends.wire.prompt import Kept, Prompt
from backends.wire.usage import Usage

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TOOLS = msgspec.json.Decoder(list[msgspec.Raw])
_WORDS = msgspec.json.Decoder(list[str] | None)

DEFAULTS: Mapping[str, bytes] = {
    "background": b"false",
    "frequency_penalty": b"0.0",
    "instructions": b"null",
    "max_output_tokens": b"null",
    "max_tool_calls": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "presence_penalty": b"0.0",
    "previous_response_id": b"null",
    "prompt_cache_key": b"null",
    "reasoning": b'{"effort":null,"summary":null}',
    "safety_identifier": b"null",
    "service_tier": b'"default"',
    "temperature": b"1.0",
    "text": b'{"format":{"type":"text"},"verbosity":"medium"}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_logprobs": b"0",
    "top_p": b"1.0",
    "truncation": b'"disabled"',
    "user": b"null",
}
"""Members that repeat the request, and what they say if it said nothing (API reference, November 2026)."""

_FUNCTION = b'"function"'
_SCHEMA = b'"json_schema"'
_FUNCTION_DEFAULTS = {"description": b"null", "parameters": b"null", "strict": b"true"}
_FORMAT_DEFAULTS = {"description": b"null", "strict": b"true"}
"""OpenAI repeats a format whose strictness was not said as strict (recorded answers)."""
_INSIDE = {"text": {"format": b'{"type":"text"}', "verbosity": b'"medium"'},
           "reasoning": {"effort": b"null", "summary": b"null"}}  # fmt: skip


class ResponseObject:
    """The response to ``prompt`` at any moment; what does not change in it is made once."""

    __slots__ = ("_head", "_is_kept", "_tail")

    def __init__(self, prompt: Prompt, response_id: str, model: str, created_at: int) -> None:
        self._head = b'{"id":%b,"object":"response","created_at":%d,"model":%b,' % (
            orjson.dumps(response_id),
            created_at,
            orjson.dumps(model),
        )
        self._is_kept = prompt.kept is not None
        self._tail = b",%b}" % repeat_request(prompt.raw, prompt.kept)

    def render(
        self,
        status: str,
        items: list[bytes],
        *,
        usage: Usage | None = None,
        incomplete_reason: str | None = None,
        error: Mapping[str, str | None] | None = None,
    ) -> bytes:
        """The object with these items as its output, each the JSON of one."""
        details = None if incomplete_reason is None else {"reason": incomplete_reason}
        return (
            b'%b"status":"%b","completed_at":null,"error":%b,"incomplete_details":%b,'
            b'"output":[%b],"usage":%b,"store":%b%b'
            % (
                self._head,
                status.encode(),
                orjson.dumps(error),
                orjson.dumps(details),
                b",".join(items),
                b"null" if usage is None else orjson.dumps(render_usage(usage)),
                b"true" if self._is_kept and status != "failed" else b"false",
                self._tail,
            )
        )


def repeat_request(raw: bytes, kept: Kept | None = None) -> bytes:
    """The members of a response that say what was asked for, as they stand in an object."""
    said = _MEMBERS.decode(raw)
    members = {name: _said(said, name, default) for name, default in DEFAULTS.items()}
    members["tools"] = _tools(members["tools"])
    for name, defaults in _INSIDE.items():
        members[name] = _filled(members[name], defaults)
    members["text"] = _text(members["text"])
    if members["service_tier"] == b'"auto"':
        members["service_tier"] = b'"default"'
    if kept is not None and kept.previous_id is not None:
        members["previous_response_id"] = orjson.dumps(kept.previous_id)
    # Line breaks stand between tokens only, in JSON; within an event they would end a line.
    return _join(members).replace(b"\n", b" ").replace(b"\r", b" ")


def includes(raw: bytes, word: str) -> bool:
    """Whether the request asks for ``word`` to be included."""
    listed = _MEMBERS.decode(raw).get("include")
    return listed is not None and word in (_WORDS.decode(listed) or ())


def _said(said: Mapping[str, msgspec.Raw], name: str, default: bytes) -> bytes:
    value = bytes(said.get(name, b""))
    return default if value in (b"", b"null") else value


def _tools(raw: bytes) -> bytes:
    """Functions with all of their members, as the schema requires them; other tools as they came."""
    made: list[bytes] = []
    for one in _TOOLS.decode(raw):
        tool = bytes(one)
        if bytes(_MEMBERS.decode(tool).get("type", b"")) == _FUNCTION:
            tool = _filled(tool, _FUNCTION_DEFAULTS)
        made.append(tool)
    return b"[%b]" % b",".join(made)


def _text(raw: bytes) -> bytes:
    """The text's form with all of its members, if it is a schema."""
    members = {name: bytes(value) for name, value in _MEMBERS.decode(raw).items()}
    if bytes(_MEMBERS.decode(members["format"]).get("type", b"")) == _SCHEMA:
        members["format"] = _filled(members["format"], _FORMAT_DEFAULTS)
    return b"{%b}" % _join(members)


def _filled(raw: bytes, defaults: Mapping[str, bytes]) -> bytes:
    """The object ``raw`` with what it leaves out."""
    members = {name: bytes(value) for name, value in _MEMBERS.decode(raw).items()}
    for name, default in defaults.items():
        if members.get(name, b"null") == b"null":
            members[name] = default
    return b"{%b}" % _join(members)


def _join(members: Mapping[str, bytes]) -> bytes:
    return b",".join(b"%b:%b" % (orjson.dumps(name), value) for name, value in members.items())
