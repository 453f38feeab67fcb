"""Schemas as Gemini's clients write them, as JSON Schema."""

import json

from backends.wire.gemini.parsing import parse_request
from backends.wire.gemini.schema import to_json_schema, with_lower_types
from backends.wire.prompt import Asked, Json

USER = {"role": "user", "parts": [{"text": "hi"}]}


def test_older_schemas_become_json_schema() -> None:
    """Types, null, order, counts and examples, at any depth."""
    older: Json = {
        "type": "OBJECT",
        "propertyOrdering": ["b", "a"],
        "properties": {
            "a": {"type": "STRING", "nullable": True, "enum": ["x"], "min_length": "2"},
            "b": {"type": "ARRAY", "items": {"any_of": [{"type": "INTEGER"}], "nullable": True}},
        },
    }
    assert json.dumps(to_json_schema(older)) == json.dumps(
        {
            "type": "object",
            "properties": {
                "b": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                "a": {"type": ["string", "null"], "enum": ["x", None], "minLength": 2},
            },
        }
    )


def test_types_in_upper_case_become_json_schema() -> None:
    """Where JSON Schema is wanted; what is called like a type, and what is right already, stays as it is."""
    schema = (
        b'{"type": "OBJECT", "properties": {"type": {"type": ["STRING", "NULL"], "enum": ["A"]},'
        b' "score": {"anyOf": [{"type": "INTEGER"}]}}, "required": ["type"]}'
    )
    lower = {
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["A"]},
            "score": {"anyOf": [{"type": "integer"}]},
        },
        "required": ["type"],
    }
    config = {"responseMimeType": "application/json", "responseJsonSchema": json.loads(schema)}
    declared = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": json.loads(schema)}]}
    body = {"contents": [USER], "generationConfig": config, "tools": [declared]}
    prompt = parse_request(json.dumps(body).encode(), Asked("gemini-x"))
    wanted = prompt.output_schema
    assert wanted is not None
    assert wanted.schema is not None
    assert json.loads(wanted.schema) == lower
    assert json.loads(prompt.tools[0].parameters or b"") == lower
    right = b'{ "type": "object", "title": "OBJECT" }'
    assert with_lower_types(right) == right
