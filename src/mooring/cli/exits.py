"""Exit codes. The README has the same table.

code  name         when
0     OK           done, or stopped because it was asked to
1     FAILURE      could not be done; one line says why
2     USAGE        a wrong argument, flag or setting
3     STORE        Redis does not answer, or refuses
4     TARGET       TARGET cannot be imported or started, or serves no MCP
70    INTERNAL     an error that should not happen; --debug shows where
130   INTERRUPTED  Ctrl-C in a command that had not finished
"""

from __future__ import annotations

import enum

from mooring.errors import MooringError, SettingsError, StoreUnavailable, TargetError


class ExitCode(enum.IntEnum):
    OK = 0
    FAILURE = 1
    USAGE = 2
    STORE = 3
    TARGET = 4
    INTERNAL = 70
    INTERRUPTED = 130


def exit_code(error: MooringError) -> ExitCode:
    """What the process exits with after `error`."""
    if isinstance(error, SettingsError):
        return ExitCode.USAGE
    if isinstance(error, StoreUnavailable):
        return ExitCode.STORE
    if isinstance(error, TargetError):
        return ExitCode.TARGET
    return _of_child(error)


def _of_child(error: MooringError) -> ExitCode:
    """That of a command of ours which was to be brought up, and ended; what others end with means something else."""
    from mooring.processes.supervisor import ChildError  # slow to import, and needed by two commands

    if isinstance(error, ChildError) and error.is_ours and error.code in set(ExitCode) - {ExitCode.OK}:
        return ExitCode(error.code)
    return ExitCode.FAILURE
