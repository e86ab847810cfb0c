"""Runs the client programs, each in a process of its own."""

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any, Final

from tests.bare import ROOT, need, python_for

CLIENTS: Final = ("py_v1", "py_v2", "fastmcp", "sdk1", "client2")
MODERN_CLIENTS: Final = ("py_v2", "fastmcp", "client2")
EARLIER_CLIENT: Final = "sdk1_earlier"
"""One that speaks 2025-06-18, and comes back to a stream by itself."""
_NODE_CLIENTS: Final = ("sdk1", "client2", EARLIER_CLIENT)
NODE_TESTS: Final = ROOT / "tests/clients/node"
NODE: Final = NODE_TESTS / "node_modules/node/bin/node"
_GRACE_SECONDS: Final = 15.0


@dataclass(frozen=True)
class ClientReport:
    """What a client program printed."""

    client: str
    ok: bool
    sessions: int
    checks: dict[str, int]
    nodes: dict[str, int]
    failures: list[dict[str, Any]]


def need_node() -> None:
    need(NODE, "run `make install-tests`")


def command_of(client: str) -> list[str]:
    if client in _NODE_CLIENTS:
        need_node()
        return [str(NODE), str(NODE_TESTS / f"exercise_{client}.mjs")]
    return [python_for(client), "-m", f"tests.clients.exercise_{client}"]


async def run_client(client: str, url: str, *arguments: str, deadline_seconds: float = 60.0) -> ClientReport:
    """Runs one client program against a server or a cluster, to its end."""
    process = await asyncio.create_subprocess_exec(
        *(*command_of(client), url, "--deadline", str(deadline_seconds), *arguments),
        cwd=ROOT,
        env=os.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), deadline_seconds + _GRACE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    if not output.strip():
        raise RuntimeError(f"{client} printed nothing:\n{errors.decode()}")
    return ClientReport(**json.loads(output))
