"""CEL, as far as policies need it: text → tree → Python closure.

``cel-python`` parses; the tree, the types and the compiler are ours. What is not in the tree (macros,
arithmetic, maps) is refused with its place.
"""

from policies.cel.python import Closure, Unevaluable, compile_tree
from policies.cel.schema import (
    DOMAINS,
    SCHEMA,
    Scope,
    check_types,
    check_words,
    scopes_of,
    words_of,
)
from policies.cel.tree import CelError, Tree, parse

__all__ = [
    "DOMAINS",
    "SCHEMA",
    "CelError",
    "Closure",
    "Scope",
    "Tree",
    "Unevaluable",
    "check_types",
    "check_words",
    "compile_tree",
    "parse",
    "scopes_of",
    "words_of",
]
