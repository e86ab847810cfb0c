from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings but the defaults, an empty working directory, 80 columns; and the loggers as they were."""
    for name in list(os.environ):
        if name.startswith("MOORING_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    os.environ.pop("MOORING_NODE_NAME", None)  # `serve` sets it for the app
    root.handlers[:] = handlers
    root.setLevel(level)
