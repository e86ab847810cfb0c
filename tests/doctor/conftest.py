"""What the tests of the doctor share."""

from __future__ import annotations

import pytest

from mooring.doctor.client import pace


@pytest.fixture
def quick_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor slows down by as many stages, and waits for less in each."""
    monkeypatch.setattr(pace, "_INTERVALS", (0.01, 0.02, 0.04))
    monkeypatch.setattr(pace, "_AND_MORE", 0.02)
