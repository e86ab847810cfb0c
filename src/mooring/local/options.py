"""What `mooring up` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `mooring up`.

    Attributes:
        target: as in `mooring serve TARGET`.
        nodes: how many node processes.
        host: the address that clients connect to.
        port: and the port; 0 for any free one.
        redis_url: a Redis that runs already; without it `up` starts one.
        run_dir: where sockets and generated configuration lie while the cluster runs.
        insecure_cookies: let the sticky cookie travel over plain http.
        start_seconds: how long everything may take to come up.
        debug: show children's lines from the start, and tracebacks.
        hint: a line to print once all is up; `{url}` in it is the endpoint.
    """

    target: str
    nodes: int = 3
    host: str = "127.0.0.1"
    port: int = 8080
    redis_url: str | None = None
    run_dir: Path = Path(".mooring")
    insecure_cookies: bool = False
    start_seconds: int = 300
    debug: bool = False
    hint: str | None = None
