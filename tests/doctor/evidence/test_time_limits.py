from __future__ import annotations

import pytest

from mooring.doctor.evidence.time_limits import duration, known_limits


@pytest.mark.parametrize(
    ("seconds", "names"),
    [
        (14.0, []),
        (15.2, ["Envoy's route timeout"]),
        (60.0, ["nginx's proxy_read_timeout", "AWS ALB's idle timeout"]),
        (61.0, []),
        (240.3, ["Azure Container Apps' request timeout"]),
    ],
)
def test_well_known_limits(seconds: float, names: list[str]) -> None:
    assert known_limits(seconds) == names


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "200 ms"), (0.004, "4 ms"), (5.0, "5 s"), (5.04, "5 s"), (3.25, "3.2 s"), (34.98, "35 s"), (100.4, "100 s")],
)
def test_how_a_time_is_written(seconds: float, text: str) -> None:
    assert duration(seconds) == text
