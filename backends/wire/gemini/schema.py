"""Gemini's older schemas (a subset of OpenAPI 3.0, types in upper case) as JSON Schema.

Promises: everything that was said is still said: ``nullable`` becomes a type of its own, ``propertyOrdering`` the
order of the properties, ``example`` an entry of ``examples``; other members keep their names and values.
Facts: Gemini API reference, ``Schema`` (November 2026).
"""

from typing import cast

from backends.wire.gemini.members import to_camel
from backends.wire.prompt import Json

_SUBSCHEMAS = frozenset({"items", "additionalProperties", "not"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "defs", "definitions"})
_COUNTS = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
"""64-bit counts, which protobuf's JSON writes as texts."""


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
