"""The tree of an expression: small, immutable, and nothing in it that policies do not use."""

import re
from dataclasses import dataclass, fields
from typing import Literal

import celpy.celparser
import lark

Comparison = Literal["==", "!=", "<", "<=", ">", ">="]
TextTest = Literal["startsWith", "endsWith", "contains"]


class CelError(ValueError):
    """An expression that does not parse or does not fit the schema. ``column`` counts from 1."""

    def __init__(self, message: str, column: int = 1) -> None:
        super().__init__(message)
        self.column = column


Plain = str | int | float | bool | None
"""What a constant may be."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant: text, number, truth value or null."""

    value: Plain


@dataclass(frozen=True, slots=True)
class Name:
    """A fact: ``labels``, ``target.boundary``."""

    path: str
    column: int = 1


@dataclass(frozen=True, slots=True)
class Items:
    """A list of constants."""

    items: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    operand: "Tree"


@dataclass(frozen=True, slots=True)
class Both:
    """``left && right``; an error on one side is absorbed by a false on the other."""

    left: "Tree"
    right: "Tree"


@dataclass(frozen=True, slots=True)
class Either:
    """``left || right``; an error on one side is absorbed by a true on the other."""

    left: "Tree"
    right: "Tree"


@dataclass(frozen=True, slots=True)
class Compare:
    """``left op right``."""

    operator: Comparison
    left: "Tree"
    right: "Tree"


@dataclass(frozen=True, slots=True)
class In:
    """``item in container``."""

    item: "Tree"
    container: "Tree"


@dataclass(frozen=True, slots=True)
class Test:
    """``subject.startsWith(text)`` and its kin."""

    kind: TextTest
    subject: "Tree"
    text: "Tree"


@dataclass(frozen=True, slots=True)
class Choice:
    """``condition ? yes : no``."""

    condition: "Tree"
    yes: "Tree"
    no: "Tree"


@dataclass(frozen=True, slots=True)
class Size:
    """``size(container)``."""

    container: "Tree"


Tree = Constant | Name | Items | Not | Both | Either | Compare | In | Test | Choice | Size

Branch = lark.Tree[lark.Token]
Node = Branch | lark.Token

OPERATORS: dict[str, Comparison] = {
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
}
TESTS: dict[str, TextTest] = {
    "startsWith": "startsWith",
    "endsWith": "endsWith",
    "contains": "contains",
}
TEXT_MAX = 2000
DEPTH_MAX = 100
"""How deep an expression may nest; a chain of `||` nests once for each."""


def parse(text: str) -> Tree:
    """The tree of ``text``. Raises :class:`CelError` with the column."""
    if len(text) > TEXT_MAX:
        raise CelError(f"an expression may have {TEXT_MAX} characters")
    try:
        tree = _convert(celpy.celparser.CELParser().parse(text))
    except celpy.celparser.CELParseError as error:
        raise _unreadable(text, error.line or 1, error.column or 1) from error
    except RecursionError as error:
        raise _too_deep() from error
    _check_depth(tree)
    return tree


def _unreadable(text: str, line: int, column: int) -> CelError:
    """What cannot be parsed from ``line`` and ``column`` on, both from 1."""
    rest = "\n".join(text.splitlines()[line - 1 :])[column - 1 :]
    hint = ": did you mean `==`?" if re.match(r"=(?!=)", rest) else ""
    return CelError(f"this is not a CEL expression{hint}", column)


def _check_depth(tree: Tree) -> None:
    left = [(tree, 1)]
    while left:
        node, depth = left.pop()
        if depth > DEPTH_MAX:
            raise _too_deep()
        inner = (getattr(node, member.name) for member in fields(node))
        left += [(child, depth + 1) for child in inner if isinstance(child, Tree)]


def _too_deep() -> CelError:
    return CelError(f"this is nested deeper than {DEPTH_MAX} levels")


def _children(node: Branch) -> list[Node]:
    return list(node.children)


def _convert(node: Node) -> Tree:
    if isinstance(node, lark.Token):
        raise _unsupported(node)
    children = _children(node)
    kind = str(node.data)
    if kind in ("conditionalor", "conditionaland") and len(children) == 2:
        left, right = (_convert(child) for child in children)
        return Either(left, right) if kind == "conditionalor" else Both(left, right)
    if kind == "expr" and len(children) == 3:
        condition, yes, no = (_convert(child) for child in children)
        return Choice(condition, yes, no)
    if kind == "relation" and len(children) == 2:
        return _relation(children)
    if kind == "unary" and len(children) == 2:
        return _unary(children)
    if kind in ("addition", "multiplication") and len(children) > 1:
        raise _unsupported(node)
    if kind == "literal":
        return Constant(_constant(children[0]))
    if kind == "list_lit":
        return _items(children)
    if kind == "ident":
        return _name(node)
    if kind in ("member_dot", "member_dot_arg", "ident_arg"):
        return _member(node, kind, children)
    if len(children) == 1:
        return _convert(children[0])
    raise _unsupported(node)


def _relation(children: list[Node]) -> Tree:
    half, right = children
    if isinstance(half, lark.Token):
        raise _unsupported(half)
    left = _convert(_children(half)[0])
    kind = str(half.data)
    if kind == "relation_in":
        return In(left, _convert(right))
    if kind in OPERATORS:
        return Compare(OPERATORS[kind], left, _convert(right))
    raise _unsupported(half)


def _unary(children: list[Node]) -> Tree:
    sign, operand = children
    if isinstance(sign, lark.Tree) and str(sign.data) == "unary_not":
        return Not(_convert(operand))
    converted = _convert(operand)
    if (
        isinstance(sign, lark.Tree)
        and str(sign.data) == "unary_neg"
        and isinstance(converted, Constant)
        and isinstance(converted.value, int | float)
        and not isinstance(converted.value, bool)
    ):
        return Constant(-converted.value)
    raise _unsupported(sign)


def _items(children: list[Node]) -> Items:
    items: list[Constant] = []
    inner = _children(children[0]) if children and isinstance(children[0], lark.Tree) else []
    for child in inner:
        item = _convert(child)
        if not isinstance(item, Constant):
            raise CelError("a list may hold constants only", _column(child))
        items.append(item)
    return Items(tuple(items))


def _name(node: Branch) -> Name:
    (token,) = _children(node)
    return Name(str(token), _column(token))


def _member(node: Branch, kind: str, children: list[Node]) -> Tree:
    if kind == "ident_arg":
        called = str(children[0])
        arguments = _arguments(children[1:])
        if called == "size" and len(arguments) == 1:
            return Size(arguments[0])
        raise _unsupported(node)
    owner = _convert(children[0])
    word = str(children[1])
    if kind == "member_dot":
        if isinstance(owner, Name):
            return Name(f"{owner.path}.{word}", owner.column)
        raise _unsupported(node)
    arguments = _arguments(children[2:])
    if word in TESTS and len(arguments) == 1:
        return Test(TESTS[word], owner, arguments[0])
    if word == "size" and not arguments:
        return Size(owner)
    raise _unsupported(node)


def _arguments(children: list[Node]) -> list[Tree]:
    return [
        _convert(argument)
        for child in children
        if isinstance(child, lark.Tree)
        for argument in _children(child)
    ]


def _constant(token: Node) -> str | int | float | bool | None:
    if not isinstance(token, lark.Token):
        raise _unsupported(token)
    text = str(token)
    if token.type == "INT_LIT":
        return int(text, 0)
    if token.type == "FLOAT_LIT":
        return float(text)
    if token.type == "BOOL_LIT":
        return text == "true"
    if token.type == "NULL_LIT":
        return None
    if (
        token.type == "STRING_LIT"
        and text[0] in "\"'"
        and "\\" not in text
        and text[:3] not in ('"""', "'''")
    ):
        return text[1:-1]
    raise CelError(
        f"the constant `{text[:40]}` is of a kind that policies do not know", _column(token)
    )


def _column(node: Node) -> int:
    if isinstance(node, lark.Token):
        return node.column or 1
    for child in _children(node):
        return _column(child)
    return 1


def _unsupported(node: Node) -> CelError:
    what = str(node.data) if isinstance(node, lark.Tree) else str(node)
    return CelError(f"policies do not know this part of CEL (`{what[:40]}`)", _column(node))
