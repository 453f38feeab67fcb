"""Commands in surroundings of their own."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def nothing_is_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key and no configuration of whoever runs the tests."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith(("MOEGATE_", "SGLANG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MOEGATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MOEGATE_DISCOVER", "off")
