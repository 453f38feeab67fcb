"""CEL, as far as policies need it: text → tree → Python closure.

``cel-python`` parses; the tree, the types and the compiler are ours. What is not in the tree (macros,
maps, times) is refused with its place.
"""

from policies.cel.python import (
    Closure,
    Scale,
    Sieve,
    Unevaluable,
    compile_scale,
    compile_sieve,
    compile_tree,
)
from policies.cel.schema import (
    DOMAINS,
    QUOTE_FACTS,
    REQUEST_FACTS,
    SCHEMA,
    TARGET_FACTS,
    Scope,
    check_types,
    check_words,
    labels_in,
    scopes_of,
    words_of,
)
from policies.cel.tree import CelError, Place, Tree, parse

__all__ = [
    "DOMAINS",
    "QUOTE_FACTS",
    "REQUEST_FACTS",
    "SCHEMA",
    "TARGET_FACTS",
    "CelError",
    "Closure",
    "Place",
    "Scale",
    "Scope",
    "Sieve",
    "Tree",
    "Unevaluable",
    "check_types",
    "check_words",
    "compile_scale",
    "compile_sieve",
    "compile_tree",
    "labels_in",
    "parse",
    "scopes_of",
    "words_of",
]
