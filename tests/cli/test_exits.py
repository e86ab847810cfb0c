from __future__ import annotations

import pytest

from mooring.cli import exits
from mooring.cli.exits import ExitCode, exit_code
from mooring.errors import ClusterError, MooringError, SettingsError, StoreUnavailable, TargetError
from mooring.processes.supervisor import ChildError
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


@pytest.mark.parametrize(
    ("code", "last", "expected"),
    [
        (2, "mooring: setting peer_ports: '9' is wrong: none is free", 2),
        (3, "mooring: Redis at redis://h denies this user something", 3),
        (4, "mooring: there is no module 'x'", 4),
        (1, "mooring: no", 1),
        (0, "mooring: no", 1),
        (-9, "mooring: no", 1),
        (99, "mooring: no", 1),
        (2, "flag provided but not defined: -x", 1),
    ],
)
def test_a_node_that_does_not_come_up_ends_those_that_started_it_with_its_code(
    code: int, last: str, expected: int
) -> None:
    """`mooring up` and `mooring serve --workers`; the codes of other programs mean something else."""
    assert exit_code(ChildError("node-1", code, ["something before", last])) == expected


@pytest.mark.parametrize("code", list(ExitCode))
def test_the_codes_are_documented(code: ExitCode) -> None:
    assert f"{int(code):<5} {code.name}" in (exits.__doc__ or "")
    assert f"| {int(code)} |" in (ROOT / "README.md").read_text()
