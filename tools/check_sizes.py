"""Fails when a module or a function grew past what can be read in one sitting.

Averages hide what ruins a codebase, so the maxima are checked. The list of exceptions may only shrink.
"""

import ast
import sys
from pathlib import Path

MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
FOLDERS = ("gateway", "backends", "policies", "migrations", "tests", "tools")

EXCEPTIONS: dict[str, str] = {}
"""Path, or path::function, to the reason."""


def main() -> int:
    """0 when everything fits."""
    found: list[str] = []
    for folder in FOLDERS:
        for path in sorted(Path(folder).rglob("*.py")):
            found += check(path)
    for line in found:
        sys.stderr.write(f"{line}\n")
    return 1 if found else 0


def check(path: Path) -> list[str]:
    """One line for each thing in ``path`` that is too long."""
    text = path.read_text(encoding="utf-8")
    found: list[str] = []
    lines = text.count("\n")
    if lines > MODULE_LINES_MAX and str(path) not in EXCEPTIONS:
        found.append(f"{path}: {lines} lines, more than {MODULE_LINES_MAX}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX and f"{path}::{node.name}" not in EXCEPTIONS:
                found.append(
                    f"{path}:{node.lineno}: `{node.name}` has {length} lines, "
                    f"more than {FUNCTION_LINES_MAX}"
                )
    return found


if __name__ == "__main__":
    sys.exit(main())
