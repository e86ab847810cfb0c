"""`cluster.json`: how `mooring status` and others find a cluster that runs on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
        beside = path.with_name(f".{path.name}.tmp")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self), file, indent=2)
            file.write("\n")
        beside.replace(path)
