"""`mooring doctor`, as the command line has it: what was typed becomes a plan, and the report becomes a screen.

Here is what only this command needs: its options, what it shows while it runs and in the end, and how Ctrl-C ends it.
What is examined, judged and advised is in `mooring.doctor`, which knows nothing of a terminal.
"""

from mooring.cli.doctor.command import app

__all__ = ["app"]
