"""Gemini's older schemas (a subset of OpenAPI 3.0, types in upper case) as JSON Schema.

Promises: everything that was said is still said: ``nullable`` becomes a type of its own, ``propertyOrdering`` the
order of the properties, ``example`` an entry of ``examples``; other members keep their names and values.
Facts: Gemini API reference, ``Schema`` (November 2026). Gemini CLI 0.61.0 writes types in upper case where JSON
Schema is wanted, too (``responseJsonSchema`` of the request with which it chooses a model), and Google takes it.
"""

import re
from typing import cast

import msgspec

from backends.wire.gemini.members import to_camel
from backends.wire.prompt import Json

_SUBSCHEMAS = frozenset({"items", "additionalProperties", "not"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "defs", "definitions"})
_COUNTS = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
"""64-bit counts, which protobuf's JSON writes as texts."""


_UPPER_TYPE = re.compile(rb'"type"\s*:\s*\[?\s*"[A-Z]')


def with_lower_types(raw: bytes) -> bytes:
    """The JSON Schema ``raw`` with its types in lower case; as it came where they are."""
    if _UPPER_TYPE.search(raw) is None:
        return raw
    return msgspec.json.encode(_lower_types(msgspec.json.decode(raw)))


def _lower_types(schema: Json) -> Json:
    if isinstance(schema, list):
        return [_lower_types(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Json] = {}
    for name, value in schema.items():
        if name == "type":
            kinds = value if isinstance(value, list) else [value]
            lower: list[Json] = [kind.lower() if isinstance(kind, str) else kind for kind in kinds]
            out[name] = lower if isinstance(value, list) else lower[0]
        elif name in _MAPS and isinstance(value, dict):
            out[name] = {key: _lower_types(one) for key, one in value.items()}
        elif name in _SUBSCHEMAS or name in _LISTS:
            out[name] = _lower_types(value)
        else:
            out[name] = value
    return out


def to_json_schema(schema: Json) -> Json:
    """``schema`` as JSON Schema; nesting is bounded by whoever read it."""
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Json] = {}
    is_nullable = False
    order: Json = None
    for said, value in schema.items():
        name = to_camel(said) if said[:1] != "$" else said
        if name == "nullable":
            is_nullable = value is True
        elif name == "propertyOrdering":
            order = value
        elif name == "type" and isinstance(value, str):
            if value != "TYPE_UNSPECIFIED":
                out["type"] = value.lower()
        elif name == "example":
            out["examples"] = [value]
        else:
            out[name] = _convert(name, value)
    if isinstance(order, list) and isinstance(out.get("properties"), dict):
        out["properties"] = _in_order(cast("dict[str, Json]", out["properties"]), order)
    return _with_null(out) if is_nullable else out


def _convert(name: str, value: Json) -> Json:
    if name in _SUBSCHEMAS:
        return to_json_schema(value)
    if name in _LISTS and isinstance(value, list):
        return [to_json_schema(one) for one in value]
    if name in _MAPS and isinstance(value, dict):
        return {key: to_json_schema(one) for key, one in value.items()}
    if name in _COUNTS and isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    return value


def _in_order(properties: dict[str, Json], order: list[Json]) -> dict[str, Json]:
    first = {
        name: properties[name] for name in order if isinstance(name, str) and name in properties
    }
    return {**first, **properties}


def _with_null(schema: dict[str, Json]) -> dict[str, Json]:
    kind, choices, values = schema.get("type"), schema.get("anyOf"), schema.get("enum")
    if isinstance(values, list) and None not in values:
        schema["enum"] = [*values, None]
    if isinstance(kind, str):
        schema["type"] = kind if kind == "null" else [kind, "null"]
    if isinstance(choices, list) and {"type": "null"} not in choices:
        schema["anyOf"] = [*choices, {"type": "null"}]
    return schema
