"""CEL, as far as policies need it: text → tree → Python closure.

``cel-python`` parses; the tree, the types and the compiler are ours. What is not in the tree (macros,
arithmetic, maps) is refused with its place.
"""

from policies.cel.python import Closure, Unevaluable, compile_tree
from policies.cel.schema import SCHEMA, Scope, check_types, scopes_of
from policies.cel.tree import CelError, Tree, parse

__all__ = [
    "SCHEMA",
    "CelError",
    "Closure",
    "Scope",
    "Tree",
    "Unevaluable",
    "check_types",
    "compile_tree",
    "parse",
    "scopes_of",
]
