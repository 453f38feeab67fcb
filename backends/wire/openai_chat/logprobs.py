"""Log probabilities of tokens as OpenAI writes them, in its chat format and in Responses.

Promises: whatever a host sends is read or is not, never an error. What has no bytes (Gemini's tokens have none) has
``null`` in a chat, and the bytes of its text where Responses demand some.
"""

import msgspec

from backends.wire.events import TokenLogprob

ALTERNATIVES_MAX = 20
"""As many stand beside a token at most (API reference, ``top_logprobs``)."""

_EMPTY = frozenset({b"", b"null", b"[]", b"{}"})
_TOKENS = msgspec.json.Decoder(list[TokenLogprob])


class _Choice(msgspec.Struct):
    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


_CHOICE = msgspec.json.Decoder(_Choice)

Json = dict[str, object]


def read_choice(raw: msgspec.Raw, dropped: dict[str, None]) -> list[TokenLogprob]:
    """The tokens of a choice's ``logprobs``; ``dropped`` gets the name of what is not read."""
    if bytes(raw) in _EMPTY:
        return []
    try:
        said = _CHOICE.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        said = None
    if said is None or (said.content is None and said.refusal is None):
        dropped["logprobs"] = None
        return []
    if said.refusal:
        dropped["logprobs.refusal"] = None
    return said.content or []


def read_part(raw: msgspec.Raw, dropped: dict[str, None]) -> list[TokenLogprob]:
    """The tokens of a part's or a delta's ``logprobs``, as in :func:`read_choice`."""
    if bytes(raw) in _EMPTY:
        return []
    try:
        return _TOKENS.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        dropped["logprobs"] = None
        return []


def render_choice(tokens: list[TokenLogprob]) -> Json:
    """A choice's ``logprobs`` of a chat."""
    content = [
        _chat_token(one) | {"top_logprobs": [_chat_token(other) for other in one.top_logprobs]}
        for one in tokens
    ]
    return {"content": content, "refusal": None}


def _chat_token(one: TokenLogprob) -> Json:
    return {"token": one.token, "logprob": one.logprob, "bytes": one.bytes}


def render_delta(tokens: list[TokenLogprob]) -> list[Json]:
    """The ``logprobs`` of a piece of text in Responses, which say no bytes."""
    return [
        _delta_token(one) | {"top_logprobs": [_delta_token(other) for other in one.top_logprobs]}
        for one in tokens
    ]


def _delta_token(one: TokenLogprob) -> Json:
    return {"token": one.token, "logprob": one.logprob}


def render_part(tokens: list[TokenLogprob]) -> list[Json]:
    """The ``logprobs`` of a whole text in Responses."""
    return [
        _part_token(one) | {"top_logprobs": [_part_token(other) for other in one.top_logprobs]}
        for one in tokens
    ]


def _part_token(one: TokenLogprob) -> Json:
    said = one.bytes
    own = list(one.token.encode("utf-8", "replace")) if said is None else said
    return {"token": one.token, "bytes": own, "logprob": one.logprob}
