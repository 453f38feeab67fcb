"""The tree of an expression: small, immutable, and nothing in it that policies do not use."""

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple

import celpy.celparser
import lark
import re2

Comparison = Literal["==", "!=", "<", "<=", ">", ">="]
TextTest = Literal["startsWith", "endsWith", "contains"]
Operator = Literal["+", "-", "*", "/", "%"]


class Place(NamedTuple):
    """Where a part of an expression begins; both count from 1."""

    line: int = 1
    column: int = 1


START = Place()


class CelError(ValueError):
    """An expression that does not parse or does not fit the schema, and where in its text."""

    def __init__(self, message: str, at: Place = START) -> None:
        super().__init__(message)
        self.at = at

    @property
    def line(self) -> int:
        """The line in the expression, from 1."""
        return self.at.line

    @property
    def column(self) -> int:
        """The column in that line, from 1."""
        return self.at.column


Plain = str | int | float | bool | None
"""What a constant may be."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant: text, number, truth value or null."""

    value: Plain
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A fact: ``labels``, ``target.boundary``."""

    path: str
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Items:
    """A list of constants."""

    items: tuple[Constant, ...]
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    operand: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Both:
    """``left && right``; an error on one side is absorbed by a false on the other."""

    left: "Tree"
    right: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Either:
    """``left || right``; an error on one side is absorbed by a true on the other."""

    left: "Tree"
    right: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """``left op right``."""

    operator: Comparison
    left: "Tree"
    right: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class In:
    """``item in container``."""

    item: "Tree"
    container: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Test:
    """``subject.startsWith(text)`` and its kin."""

    kind: TextTest
    subject: "Tree"
    text: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Choice:
    """``condition ? yes : no``."""

    condition: "Tree"
    yes: "Tree"
    no: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Size:
    """``size(container)``."""

    container: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``left op right``, of two numbers of one kind."""

    operator: Operator
    left: "Tree"
    right: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Negate:
    """``-operand``."""

    operand: "Tree"
    at: Place = field(default=START, compare=False)


@dataclass(frozen=True, slots=True)
class Matches:
    """``matches(subject, pattern)``: RE2 finds ``pattern`` somewhere in it."""

    subject: "Tree"
    pattern: str
    at: Place = field(default=START, compare=False)


Tree = (
    Constant
    | Name
    | Items
    | Not
    | Both
    | Either
    | Compare
    | In
    | Test
    | Choice
    | Size
    | Arithmetic
    | Negate
    | Matches
)

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
ARITHMETIC: dict[str, Operator] = {
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}
TESTS: dict[str, TextTest] = {
    "startsWith": "startsWith",
    "endsWith": "endsWith",
    "contains": "contains",
}
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
TEXT_MAX = 2000
PATTERN_BYTES_MAX = 1 << 20
"""What RE2 may hold of one pattern in memory."""
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
    hint = next((f": {said}" for look, said in _SLIPS if re.match(look, rest)), "")
    return CelError(f"this is not a CEL expression{hint}", Place(line, column))


_SLIPS = (
    (r"=(?!=)", "did you mean `==`?"),
    (r"and\b", "write `&&`"),
    (r"or\b", "write `||`"),
    (r"not\b", "write `!`"),
    (r"&(?!&)", "did you mean `&&`?"),
    (r"\|(?!\|)", "did you mean `||`?"),
)
"""What people write instead, and what they may have meant."""


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
    kind, at = str(node.data), _place(node)
    if kind in ("conditionalor", "conditionaland") and len(children) == 2:
        left, right = (_convert(child) for child in children)
        return Either(left, right, at) if kind == "conditionalor" else Both(left, right, at)
    if kind == "expr" and len(children) == 3:
        condition, yes, no = (_convert(child) for child in children)
        return Choice(condition, yes, no, at)
    if kind in ("relation", "addition", "multiplication") and len(children) == 2:
        return _operation(children, at)
    if kind == "unary" and len(children) == 2:
        return _unary(children, at)
    if kind == "literal":
        return Constant(_constant(children[0]), at)
    if kind == "list_lit":
        return _items(children, at)
    if kind == "ident":
        return Name(str(children[0]), at)
    if kind in ("member_dot", "member_dot_arg", "ident_arg"):
        return _member(node, kind, children)
    if len(children) == 1:
        return _convert(children[0])
    raise _unsupported(node)


def _operation(children: list[Node], at: Place) -> Tree:
    """Lark nests the left side in a node that is named after the operator."""
    half, right = children
    if isinstance(half, lark.Token):
        raise _unsupported(half)
    left = _convert(_children(half)[0])
    kind = str(half.data)
    if kind == "relation_in":
        return In(left, _convert(right), at)
    if kind in OPERATORS:
        return Compare(OPERATORS[kind], left, _convert(right), at)
    if kind in ARITHMETIC:
        return Arithmetic(ARITHMETIC[kind], left, _convert(right), at)
    raise _unsupported(half)


def _unary(children: list[Node], at: Place) -> Tree:
    sign, operand = children
    if isinstance(sign, lark.Token):
        raise _unsupported(sign)
    # the sign itself holds no token that says where it stands
    inner = _convert(operand)
    return Not(inner, at) if str(sign.data) == "unary_not" else Negate(inner, at)


def _items(children: list[Node], at: Place) -> Items:
    items: list[Constant] = []
    inner = _children(children[0]) if children and isinstance(children[0], lark.Tree) else []
    for child in inner:
        item = _convert(child)
        if isinstance(item, Negate) and isinstance(item.operand, Constant):
            raise CelError("write the number without a space behind `-`", _place(child))
        if not isinstance(item, Constant):
            raise CelError("a list may hold constants only", _place(child))
        items.append(item)
    return Items(tuple(items), at)


def _member(node: Branch, kind: str, children: list[Node]) -> Tree:
    at = _place(node)
    if kind == "ident_arg":
        called = str(children[0])
        arguments = _arguments(children[1:])
        if called == "size" and len(arguments) == 1:
            return Size(arguments[0], at)
        if called == "matches" and len(arguments) == 2:
            return _matches(arguments[0], arguments[1], at)
        raise _uncallable(called, at)
    word = str(children[1])
    if kind == "member_dot":
        owner = _convert(children[0])
        if isinstance(owner, Name):
            return Name(f"{owner.path}.{word}", owner.at)
        raise _unsupported(node)
    if word in MACROS:  # before what stands in it is looked at: a macro brings names of its own
        raise _uncallable(word, at)
    owner, arguments = _convert(children[0]), _arguments(children[2:])
    if word in TESTS and len(arguments) == 1:
        return Test(TESTS[word], owner, arguments[0], at)
    if word == "matches" and len(arguments) == 1:
        return _matches(owner, arguments[0], at)
    if word == "size" and not arguments:
        return Size(owner, at)
    raise _uncallable(word, at)


def _matches(subject: Tree, pattern: Tree, at: Place) -> Matches:
    if not isinstance(pattern, Constant) or not isinstance(pattern.value, str):
        raise CelError("the pattern of `matches` is a constant text", pattern.at)
    try:
        compile_pattern(pattern.value)
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0]
        why = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise CelError(f"RE2 does not take this pattern: {why}", pattern.at) from error
    return Matches(subject, pattern.value, at)


def compile_pattern(pattern: str) -> Callable[[str], object]:
    """The search for ``pattern``, None where it finds nothing. Raises ``re2.error``. RE2 runs in time linear in
    the text, and here in little memory."""
    options = re2.Options()
    options.max_mem = PATTERN_BYTES_MAX
    options.log_errors = False
    return re2.compile(pattern, options).search


def _arguments(children: list[Node]) -> list[Tree]:
    return [
        _convert(argument)
        for child in children
        if isinstance(child, lark.Tree)
        for argument in _children(child)
    ]


def _constant(token: Node) -> Plain:
    if not isinstance(token, lark.Token):
        raise _unsupported(token)
    text, at = str(token), _place(token)
    match token.type:
        case "INT_LIT":
            whole = int(text, 16 if "0x" in text else 10)
            if not INT_MIN <= whole <= INT_MAX:
                raise CelError(f"`{text[:40]}` is no number of 64 bits", at)
            return whole
        case "FLOAT_LIT":
            number = float(text)
            if not math.isfinite(number):
                raise CelError(f"`{text[:40]}` is no finite number", at)
            return number
        case "BOOL_LIT":
            return text == "true"
        case "NULL_LIT":
            return None
        case "STRING_LIT" | "MLSTRING_LIT":
            return _unquote(text, at)
        case "UINT_LIT":
            raise CelError(f"there are no unsigned numbers here: write `{text[:-1]}`", at)
        case "BYTES_LIT":
            raise CelError(f"there are no bytes here: write the text `{text[1:41]}`", at)
        case _:
            raise _unsupported(token)


_ESCAPE = re.compile(
    r"\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.)|$)",
    re.DOTALL,
)
_ESCAPED = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "`": "`", "?": "?",
}  # fmt: skip


def _unquote(text: str, at: Place) -> str:
    """What a literal stands for: with escapes, unless it is raw (``r"…"``)."""
    is_raw = text[0] in "rR"
    quoted = text[1:] if is_raw else text
    marks = 3 if quoted[:3] in ('"""', "'''") and len(quoted) >= 6 else 1
    inner = quoted[marks:-marks]
    if is_raw or "\\" not in inner:
        return inner

    def decode(found: re.Match[str]) -> str:
        digits = found[1] or found[2] or found[3]
        code = int(digits, 16) if digits else int(found[4], 8) if found[4] else None
        if code is None:
            known = _ESCAPED.get(found[5] or "")
            if known is None:
                raise CelError(f"CEL has no escape `{found[0]}`: write `\\{found[0]}`", at)
            return known
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise CelError(f"`{found[0]}` is no character", at)
        return chr(code)

    return _ESCAPE.sub(decode, inner)


def _place(node: Node) -> Place:
    """Where the first token in ``node`` stands."""
    if isinstance(node, lark.Token):
        return Place(node.line or 1, node.column or 1)
    for child in _children(node):
        if isinstance(child, lark.Token) or child.children:
            return _place(child)
    return START


MACROS = frozenset({"has", "all", "exists", "exists_one", "map", "filter"})
_INSTEAD = {
    **dict.fromkeys(
        MACROS - {"has"}, 'there are no macros: ask `"x" in …`, and join with `&&` and `||`'
    ),
    "has": "every fact is there; what compares an unknown one is not evaluated, so leave it out",
    **dict.fromkeys(
        ("timestamp", "duration", "getHours", "getDayOfWeek"),
        "there are no times: `clock.hour` and `clock.weekday` say what time it is, in UTC",
    ),
    **dict.fromkeys(
        ("int", "uint", "double", "string", "bool", "bytes", "dyn", "type"),
        "there are no conversions: whole numbers and fractions compare as they are",
    ),
}
"""What is called elsewhere, and what to do about it here."""
_PARTS = {
    "member_index": 'nothing is looked up by `[…]`: write `"x" in labels`',
    "map_lit": "there are no maps: write out the cases with `? :`",
    "member_object": "there are no messages, only facts and constants",
    "dot_ident": "facts are written without a `.` in front",
    "dot_ident_arg": "facts are written without a `.` in front",
    "member_dot": "only facts have members",
}
"""Parts of the grammar that are not taken, by its names for them."""


def _uncallable(word: str, at: Place) -> CelError:
    if word in _INSTEAD:
        return CelError(f"`{word}` is not taken here: {_INSTEAD[word]}", at)
    known = ("size", "matches", *TESTS)
    close = difflib.get_close_matches(word, known, n=1)
    if word in known:
        return CelError(f"`{word}` was given too many or too few arguments", at)
    hint = f": did you mean `{close[0]}`?" if close else f"; there are {', '.join(known)}"
    return CelError(f"there is no function `{word[:40]}`{hint}", at)


def _unsupported(node: Node) -> CelError:
    what = str(node.data) if isinstance(node, lark.Tree) else str(node)
    said = _PARTS.get(what, f"policies do not know this part of CEL (`{what[:40]}`)")
    return CelError(said, _place(node))
