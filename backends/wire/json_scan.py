"""Reading a JSON body from outside so that no second reader can read it in another way.

Promises: one value per key at any depth, UTF-8, no NaN, no lone surrogates, bounded nesting; else a
``WireError`` that says where. Everything slow is avoided by what C can prove: a text that equals the
encoding of what was decoded from it cannot hold a key twice. Next: :mod:`backends.wire.openai_chat`.
"""

import json
from typing import NoReturn

import msgspec

from backends.wire.failure import WireError, invalid_request
from backends.wire.prompt import Json

DEPTH_MAX = 64
"""How deep lists and objects may nest; real tool schemas reach about 20."""

_DECODER = msgspec.json.Decoder()
_TOO_DEEP = b"\n" + b" " * (DEPTH_MAX + 1)
"""In a text indented by one blank a level, lines that begin so stand too deep: within strings there are
no line breaks in JSON."""
_LOOKED_AT_MAX = 256
"""Members and elements in one container that are worth a look, see :func:`_is_ramified`."""


class _DuplicateKeyError(ValueError):
    pass


def read_object(raw: bytes) -> dict[str, Json]:
    """The JSON object in ``raw``. Raises ``WireError`` (invalid_request) for anything else."""
    try:
        tree: Json = _DECODER.decode(raw)
        encoded = msgspec.json.encode(tree)
        compact = raw if encoded == raw else msgspec.json.format(raw, indent=-1)
        if encoded != compact:
            # Escapes that an encoder would not write, floats with zeros, or indeed a key twice.
            json.loads(raw, object_pairs_hook=_refuse_duplicates)
        # Most bodies hold too few containers to be deep.
        is_too_deep = _is_ramified(tree) and _TOO_DEEP in msgspec.json.format(raw, indent=1)
    except _DuplicateKeyError as error:
        raise invalid_request(str(error), code="duplicate_key") from error
    except RecursionError as error:
        raise _too_deep() from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise _explain(raw, str(error)) from error
    if is_too_deep:
        raise _too_deep()
    if not isinstance(tree, dict):
        raise invalid_request("the body must be a JSON object", code="invalid_type")
    return tree


def _is_ramified(tree: Json) -> bool:
    """False only if ``tree`` surely holds fewer objects and lists than it would take to nest too deep."""
    count, left = 0, [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict | list):
            count += 1
            if count > DEPTH_MAX or len(node) > _LOOKED_AT_MAX:
                return True
            left += node.values() if isinstance(node, dict) else node
    return False


def _refuse_duplicates(pairs: list[tuple[str, Json]]) -> None:
    """Builds nothing: only the keys matter here."""
    if len(dict(pairs)) == len(pairs):
        return
    seen: set[str] = set()
    for key, _value in pairs:
        if key in seen:
            shown = key[:100].encode("utf-8", "replace").decode()
            raise _DuplicateKeyError(f"the key `{shown}` stands twice in one object")
        seen.add(key)


def _too_deep() -> WireError:
    return invalid_request(f"the body is nested deeper than {DEPTH_MAX} levels", code="too_deep")


def _explain(raw: bytes, reason: str) -> WireError:
    """Why ``raw`` is no JSON, with its place, as well as a reader that keeps count can tell."""
    if not raw.strip():
        return invalid_request("the body is empty", code="invalid_json")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: byte {error.start} cannot stand there"
        return invalid_request(message, code="invalid_json")
    try:
        json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=len)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        what = error.msg.removesuffix(" at")
        reason = f"{what[:1].lower()}{what[1:]} at {place}"
    except RecursionError:
        return _too_deep()
    except ValueError as error:
        is_long = "digits" in str(error)
        reason = "a number has too many digits" if is_long else str(error)
    else:
        is_range = reason.startswith("Number out of range")
        reason = "a number is out of range" if is_range else "a \\u escape is half of a pair"
    return invalid_request(f"the body is not JSON: {reason}", code="invalid_json")


def _refuse_constant(word: str) -> NoReturn:
    message = f"`{word}` is no JSON number"
    raise ValueError(message)
