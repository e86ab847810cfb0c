"""The doctor's package among the commands: there for who runs it, and not imported before."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


def test_the_command_is_found_by_its_name() -> None:
    assert importlib.import_module("mooring.cli.doctor").app.registered_commands


@pytest.mark.real
def test_help_imports_nothing_of_the_doctor() -> None:
    script = (
        "import sys\nfrom mooring.cli.app import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "sys.exit(any(name.startswith(('mooring.doctor', 'mooring.cli.doctor', 'aiohttp')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
