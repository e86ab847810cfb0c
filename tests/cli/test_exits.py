from __future__ import annotations

import pytest

from mooring.cli import exits
from mooring.cli.exits import ExitCode, exit_code
from mooring.errors import ClusterError, MooringError, SettingsError, StoreUnavailable, TargetError
from tests.bare import ROOT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MooringError("x"), 1),
        (ClusterError("x"), 1),
        (SettingsError("shards", 0, "more"), 2),
        (StoreUnavailable("x"), 3),
        (TargetError("x"), 4),
    ],
)
def test_each_error_has_its_code(error: MooringError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize("code", list(ExitCode))
def test_the_codes_are_documented(code: ExitCode) -> None:
    assert f"{int(code):<5} {code.name}" in (exits.__doc__ or "")
    assert f"| {int(code)} |" in (ROOT / "README.md").read_text()
