"""`cluster.json`: how `mooring status` and others find a cluster that runs on this machine."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mooring.files import replace_file

NAME: Final = "cluster.json"


@dataclass(frozen=True, slots=True)
class RunFile:
    """What it says. The cluster secret is not in it; a Redis URL may hold a password, so only its owner can read it.

    Attributes:
        ingress: the URL of the MCP endpoint.
        pid: of the process that holds the cluster together.
    """

    ingress: str
    redis_url: str
    key_prefix: str
    pid: int

    def write(self, path: Path) -> None:
        """Write it whole, by rename."""
        replace_file(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n", private=True)
