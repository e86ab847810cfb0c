"""The command line: one module for each command, imported when it is run."""

from mooring.cli.app import main

__all__ = ["main"]
