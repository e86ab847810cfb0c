from __future__ import annotations

import pytest

from mooring.cli.durations import ago


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60.0, "1 min"),
        (3_599.0, "59 min"),
        (7_200.0, "2 h"),
        (1e6, "11 d"),
    ],
)
def test_time_spans(seconds: float, text: str) -> None:
    assert ago(seconds) == text
