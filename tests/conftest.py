from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker ends with one of them alone."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)
