from __future__ import annotations

import json
from pathlib import Path

from mooring.local.runfile import NAME, RunFile


def test_is_for_its_owner_alone_and_says_how_to_reach_the_cluster(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("of a cluster that was killed")
    RunFile("http://127.0.0.1:8080/mcp", "redis://:password@127.0.0.1", "mcp", 42).write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {
        "ingress": "http://127.0.0.1:8080/mcp",
        "redis_url": "redis://:password@127.0.0.1",
        "key_prefix": "mcp",
        "pid": 42,
    }
    assert list(tmp_path.iterdir()) == [path]
