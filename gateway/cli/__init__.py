"""The command line: one module a command. Everything takes ``--json`` and exits with a meaning:
0 done, 1 refused or broken (one line says why), 2 wrong usage."""

from gateway.cli.main import main

__all__ = ["main"]
