"""The JSON Schema (2020-12) of the policy document, for editors: made of the members themselves.

Promises: what it refuses, a check refuses too. It sees members, types, words and bounds; not expressions, nor whether
what is named is there: ``moegate policy check`` does.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from policies.classify import RULES
from policies.document import POLICY_NAME, UNKNOWN_NUMBERS
from policies.members import LABELS_MAX, DocumentData

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SUFFIX = "Data"

Schema = dict[str, Any]
"""A schema, or a part of one: JSON."""


def render_schema() -> str:
    """The schema as text, the same on every machine."""
    (root,), parts = msgspec.json.schema_components((DocumentData,), ref_template="#/$defs/{name}")
    tidied = {name.removesuffix(SUFFIX): _tidy(part) for name, part in sorted(parts.items())}
    for name, members in _beyond_types().items():
        _add(tidied[name], members)
    whole = {
        "$schema": DIALECT,
        "title": "moegate policy",
        **_tidy(root),
        "$defs": tidied,
    }
    text = msgspec.json.format(msgspec.json.encode(whole), indent=1).decode()
    return f"{text}\n"


def _tidy(part: Any) -> Any:
    """Names without our suffix, descriptions on one line, in the quotes of Markdown."""
    if isinstance(part, list):
        return [_tidy(one) for one in part]
    if not isinstance(part, dict):
        return part
    tidied = {key: _tidy(value) for key, value in part.items()}
    for key in ("title", "$ref"):
        if isinstance(tidied.get(key), str):
            tidied[key] = tidied[key].removesuffix(SUFFIX)
    if isinstance(said := tidied.get("description"), str):
        tidied["description"] = re.sub(r"\s+", " ", said.replace("``", "`"))
    return tidied


def _add(part: Schema, members: Mapping[str, Any]) -> None:
    """Put ``members`` into ``part``, member by member."""
    for name, value in members.items():
        if isinstance(value, dict) and isinstance(part.get(name), dict):
            _add(part[name], value)
        else:
            part[name] = value


def _beyond_types() -> dict[str, Schema]:
    """What types do not say, by struct."""
    types = sorted({rule.kind for rule in RULES})
    families = sorted({f"{kind.partition('.')[0]}.*" for kind in types})
    detected = {"anyOf": [{"enum": [*types, *families]}, {"type": "string", "pattern": r"\*$"}]}
    return {
        "Document": {
            "properties": {
                "policy": {"pattern": f"^{POLICY_NAME}$"},
                "labels": {"maxProperties": LABELS_MAX},
            }
        },
        "Label": {
            "properties": {"detect": {"items": detected}},
            "anyOf": [
                {"properties": {"detect": {"minItems": 1}}, "required": ["detect"]},
                _has("when"),
            ],
        },
        "Constraint": {"properties": {"name": {"pattern": r"^[^\n]*$"}}},
        "Objective": {
            "properties": {"unknown": {"propertyNames": {"enum": list(UNKNOWN_NUMBERS)}}},
            "oneOf": _one_of("minimize", "maximize"),
        },
        "Invariant": {"oneOf": _one_of("never", "always_some_target")},
        "Given": {
            "properties": {"lost": {"items": detected}, "residency": {"pattern": "^[^A-Z]*$"}}
        },
        "First": {"minProperties": 1},
        "Expect": {"minProperties": 1},
    }


def _has(name: str) -> Schema:
    """The member is there: nothing (``null``) is as if it were not."""
    return {"properties": {name: {"type": "string"}}, "required": [name]}


def _one_of(*names: str) -> list[Schema]:
    return [_has(name) for name in names]
