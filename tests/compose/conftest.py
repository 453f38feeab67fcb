"""Says at the end of a run what the container stack took."""

import pytest

from tests.compose.engine import FIGURES


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line of times and sizes, if the stack ran."""
    figures = config.stash.get(FIGURES, "")
    if figures:
        terminalreporter.section("container stack")
        terminalreporter.line(figures)
