"""Servers that are set up as strangers set up theirs, each at a URL of its own: `tests.servers.oddities`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Final

from tests.bare import listening
from tests.ports import free_port

NAMES: Final = (
    *("ends_idle_sessions", "few_sessions", "one_client", "slow", "buffering", "hides_id_from_pages", "open_to_pages"),
    *("slash", "other_path", "with_sse", "token", "other_token", "json"),
)


@contextlib.asynccontextmanager
async def running_oddities() -> AsyncIterator[Mapping[str, str]]:
    """The MCP endpoint of each, all in one process."""
    ports = {name: free_port() for name in NAMES}
    command = [sys.executable, "-W", "ignore", "-m", "tests.servers.oddities"]
    command += [f"{name}={port}" for name, port in ports.items()]
    async with listening(command, list(ports.values())[-1], what="the oddities"):
        yield {name: f"http://127.0.0.1:{port}/mcp" for name, port in ports.items()}
