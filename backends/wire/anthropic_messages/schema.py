"""Fits a JSON Schema to the subset that Claude enforces, and says what that leaves out.

Promises: a schema that needs no change is returned byte for byte. Never widens in silence: what the
subset lacks is removed and named. Facts: Anthropic's structured outputs page (objects need
``additionalProperties: false``; no numeric, length or count bounds) and its own SDK's transform.
"""

import msgspec

from backends.wire.failure import invalid_request
from backends.wire.prompt import Json

_UNSUPPORTED = frozenset(
    {
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "patternProperties",
        "uniqueItems",
    }
)
_HOLDS_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions"})
_DATA = frozenset({"const", "default", "enum", "examples"})
_DEPTH_MAX = 64


class FittedSchema(msgspec.Struct, frozen=True):
    """The schema as Claude takes it and the keywords that were removed or tightened, by name."""

    schema: bytes
    changed: tuple[str, ...]


def fit_schema(schema: bytes, *, param: str) -> FittedSchema:
    """Remove what Claude's structured outputs refuse from ``schema`` (JSON text of an object).

    Raises ``WireError`` if it is no object or nested deeper than 64.
    """
    try:
        root: Json = msgspec.json.decode(schema)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise invalid_request(f"the schema is not valid JSON: {error}", param=param) from error
    if not isinstance(root, dict):
        raise invalid_request("the schema must be a JSON object", param=param)
    changed: dict[str, None] = {}
    fitted = _fit(root, changed, 0, param)
    if not changed:
        return FittedSchema(schema, ())
    return FittedSchema(msgspec.json.encode(fitted), tuple(changed))


def _fit(node: Json, changed: dict[str, None], depth: int, param: str) -> Json:
    if depth > _DEPTH_MAX:
        raise invalid_request(f"the schema is nested deeper than {_DEPTH_MAX}", param=param)
    if isinstance(node, list):
        return [_fit(item, changed, depth + 1, param) for item in node]
    if not isinstance(node, dict):
        return node
    fitted: dict[str, Json] = {}
    for key, value in node.items():
        if key in _UNSUPPORTED or (key == "minItems" and value not in (0, 1)):
            changed[key] = None
        elif key in _DATA:
            fitted[key] = value
        elif key in _HOLDS_SCHEMAS_BY_NAME and isinstance(value, dict):
            fitted[key] = {
                name: _fit(inner, changed, depth + 1, param) for name, inner in value.items()
            }
        else:
            fitted[key] = _fit(value, changed, depth + 1, param)
    if _is_object(fitted) and fitted.get("additionalProperties") is not False:
        fitted["additionalProperties"] = False
        changed["additionalProperties"] = None
    return fitted


def _is_object(schema: dict[str, Json]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)
