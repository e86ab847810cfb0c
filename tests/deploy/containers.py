"""What a container would run, as a process: its command and environment as they stand in a manifest."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bare import ROOT, listening

DEPLOY: Final = ROOT / "deploy"
BESIDE_PYTHON: Final = Path(sys.executable).parent
EXAMPLE: Final = "examples/counter.py:server"


def program(name: str) -> str:
    """The environment's own, as a container has it on its PATH."""
    return str(BESIDE_PYTHON / name)


@contextlib.asynccontextmanager
async def as_process(
    command: Sequence[str], environment: Mapping[str, str], port: int, *, what: str
) -> AsyncIterator[None]:
    """Runs it as it stands, where the image's working directory is, until it listens on that port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOORING_")}
    wiped = dict.fromkeys(os.environ.keys() - kept.keys(), "")
    async with listening([program(command[0]), *command[1:]], port, what=what, environment={**wiped, **environment}):
        yield
