"""Which rule sets there were, and what each looked for: a digest a type, so that two can be compared type by type.

Promises: a type has the same digest in two rule sets only if its patterns are the same, the code of its checks with all
that they call, the libraries these use, and what every text goes through before. Comments, docstrings and layout do
not count. Rows in ``versions.json`` are only ever added (``python tools/record_detectors.py``).

What a scan may cost is shared by all types: a text that uses it up leaves types unknown, and more rules use it up
sooner. Such a finding is recorded as unknown, and stays so.
"""

import ast
import functools
import hashlib
import importlib
import inspect
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.resources import files
from types import MappingProxyType
from typing import cast  # lists of a tree hold anything

import msgspec

from policies.classify.rules import Rule

ROWS = "versions.json"
DIGITS = 12
SHARED = ("classifier", "escapes", "folding")
"""What every text goes through, whatever is looked for."""
LIBRARIES = {"re2": "google-re2", "stdnum": "python-stdnum"}
"""Distributions of modules that are called otherwise."""

Types = Mapping[str, str]
"""Type → its digest."""


class Row(msgspec.Struct, frozen=True):
    """A rule set: the digest of all, and of each type."""

    rules: str
    types: dict[str, str]


@functools.lru_cache(maxsize=4)
def digest_types(rules: tuple[Rule, ...]) -> Types:
    """The digest of each type that ``rules`` find. Reads sources, once."""
    shared = [_say_module(f"policies.classify.{name}") for name in SHARED]
    said: dict[str, list[str]] = {}
    for rule in rules:
        code: list[str] = []
        for check in (rule.check, rule.dear):
            if check is not None:
                code += _say_with_needs(check.__module__, check.__qualname__, {})
        said.setdefault(rule.kind, []).append(ascii((rule.pattern, rule.find, code)))
    return MappingProxyType(
        {kind: _digest([*shared, *parts]) for kind, parts in sorted(said.items())}
    )


def digest_rules(types: Types) -> str:
    """Of a whole rule set."""
    return _digest([f"{kind} {digest}" for kind, digest in sorted(types.items())])


def name_version(rules: str) -> str:
    """What records call a rule set: with Unicode's version, which Python brings along and by which texts are folded."""
    return f"{rules}/{unicodedata.unidata_version}"


@functools.cache
def read_rows() -> tuple[Row, ...]:
    """The rule sets that were released, in their order. Reads a file, once."""
    return parse_rows((files("policies.classify") / ROWS).read_bytes())


def parse_rows(text: bytes) -> tuple[Row, ...]:
    """Rows as written; raises ``msgspec.DecodeError``."""
    return msgspec.json.decode(text, type=tuple[Row, ...])


def known_versions() -> dict[str, Types]:
    """What the released rule sets look for, by their names under this Python."""
    return {name_version(row.rules): row.types for row in read_rows()}


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _say_with_needs(module: str, name: str, seen: dict[tuple[str, str], None]) -> list[str]:
    """What the code called ``name`` says, and everything of its package that it needs; of other libraries their
    versions."""
    if (module, name) in seen:
        return []
    seen[module, name] = None
    defined = _definitions(module)
    found = defined.get(name)
    if found is None:  # made within a function, or by a statement of some other kind
        return [_say_module(module)]
    if isinstance(found, ast.Import | ast.ImportFrom):
        return _follow_import(module, found, name, seen)
    said = [f"{name} {_outline(found)}"]
    for inner in ast.walk(found):
        if isinstance(inner, ast.Name) and inner.id in defined:
            said += _say_with_needs(module, inner.id, seen)
    return said


def _follow_import(
    module: str, found: ast.Import | ast.ImportFrom, name: str, seen: dict[tuple[str, str], None]
) -> list[str]:
    origins = {one.asname or one.name.partition(".")[0]: one.name for one in found.names}
    origin = origins[name]
    source = found.module or "" if isinstance(found, ast.ImportFrom) else origin
    root = source.partition(".")[0]
    if root in sys.stdlib_module_names:
        return [f"{source} {origin}"]
    if not _is_own(root, module):
        return [f"{source} {origin} {version(LIBRARIES.get(root, root))}"]
    if isinstance(found, ast.ImportFrom) and origin in _definitions(source):
        return _say_with_needs(source, origin, seen)
    return [_say_module(f"{source}.{origin}" if isinstance(found, ast.ImportFrom) else source)]


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


@functools.cache
def _definitions(module: str) -> Mapping[str, ast.stmt]:
    """Name → the statement of the module that makes it."""
    found: dict[str, ast.stmt] = {}
    for statement in _tree(module).body:
        for name in _names_made(statement):
            found[name] = statement
    return found


def _names_made(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            for one in names:
                yield one.asname or one.name.partition(".")[0]
        case ast.Assign(targets=targets):
            for target in targets:
                yield from (one.id for one in ast.walk(target) if isinstance(one, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case _:
            return


@functools.cache
def _say_module(module: str) -> str:
    tree = _tree(module)
    libraries = sorted(
        f"{root} {version(LIBRARIES.get(root, root))}"
        for root in _roots(tree)
        if root not in sys.stdlib_module_names and not _is_own(root, module)
    )
    return f"{module} {_outline(tree)} {libraries}"


def _is_own(root: str, module: str) -> bool:
    """Whether ``module`` knows the package called ``root`` by its source, and not by a version."""
    return root in (__name__.partition(".")[0], module.partition(".")[0])


def _roots(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            found.add((statement.module or "").partition(".")[0])
        elif isinstance(statement, ast.Import):
            found |= {one.name.partition(".")[0] for one in statement.names}
    return found


def _outline(value: object) -> str:
    """A tree as text, the same in every version of Python: no places, nothing that is empty, no docstrings."""
    if isinstance(value, list):
        said = [
            _outline(inner) for inner in cast("list[object]", value) if not _is_docstring(inner)
        ]
        return f"[{','.join(said)}]"
    if not isinstance(value, ast.AST):
        return ascii(value)
    fields = [
        f"{name}={_outline(inner)}"
        for name, inner in ast.iter_fields(value)
        if inner is not None and inner != [] and name not in ("ctx", "kind", "type_comment")
    ]
    return f"{type(value).__name__}({','.join(fields)})"


def _is_docstring(value: object) -> bool:
    """A text that stands for itself does nothing."""
    return (
        isinstance(value, ast.Expr)
        and isinstance(value.value, ast.Constant)
        and isinstance(value.value.value, str)
    )
