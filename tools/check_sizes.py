"""Fails when a module or a function grew past what can be read in one sitting.

Averages hide what ruins a codebase, so the maxima are checked. The list of exceptions may only shrink.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
FOLDERS = ("gateway", "backends", "policies", "migrations", "tests", "tools")

EXCEPTIONS: dict[str, str] = {
    "migrations/versions/0001_first_schema.py::upgrade": "a schema, declared table by table",
}
"""Path, or path::function, to the reason."""


def main() -> int:
    """0 when everything fits."""
    found: list[str] = []
    for folder in FOLDERS:
        for path in sorted(Path(folder).rglob("*.py")):
            found += check(path)
    found += [f"{name}: fits now, take it off the list" for name in EXCEPTIONS if not exceeds(name)]
    for line in found:
        sys.stderr.write(f"{line}\n")
    return 1 if found else 0


def check(path: Path) -> list[str]:
    """One line for each thing in ``path`` that is too long and not on the list."""
    return [
        f"{name}: {lines} lines, more than {most}"
        for name, lines, most in measure(path)
        if lines > most and name not in EXCEPTIONS
    ]


def measure(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, lines and the most that is allowed: of the module, then of every function in it."""
    text = path.read_text(encoding="utf-8")
    yield str(path), len(text.splitlines()), MODULE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield f"{path}::{node.name}", lines, FUNCTION_LINES_MAX


def exceeds(exception: str) -> bool:
    """Whether what the list excepts is still there and still too long."""
    path = Path(exception.partition("::")[0])
    return path.is_file() and any(
        name == exception and lines > most for name, lines, most in measure(path)
    )


if __name__ == "__main__":
    sys.exit(main())
