"""Runs `mooring` in this process, away from the environment and the files of whoever runs the tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from mooring.cli.app import app


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error_line(self) -> str:
        """The one line that it ended with: there may be no other, and no traceback."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


def mooring(*arguments: str) -> Outcome:
    result = CliRunner().invoke(app, arguments, prog_name="mooring")
    return Outcome(result.exit_code, result.stdout, result.stderr)
