"""Servers that are wrong by themselves, each at a URL of its own; `tests.servers.faults` says how they do it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields

from tests.bare import listening
from tests.ports import free_port


@dataclass(frozen=True, slots=True)
class Faults:
    """The MCP endpoints of one process."""

    healthy: str
    """Nothing is wrong here, for comparison."""
    silent: str
    """Takes every request and never answers."""
    silent_in_session: str
    """Answers `initialize`, and nothing after it."""
    page: str
    """A web page with status 200, whatever is asked."""
    login: str
    """401 for strangers; for the tokens in `tests.servers.tokens` a server whose sessions belong to their users."""
    shared_sessions: str
    """The same, but the other user may use a session too."""
    slash: str
    """307 to `/mcp/`, where the server is."""
    moved: str
    """307 to `healthy`: another origin."""
    other_host: str
    """421: it is mcp.example.com, and answers to no other name."""
    echo: str
    """500, with the request's headers in the body, `Authorization` too."""


@contextlib.asynccontextmanager
async def running_faults() -> AsyncIterator[Faults]:
    """All of them, for as long as they are needed."""
    ports = {field.name: free_port() for field in fields(Faults)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.servers.faults"]
    arguments = [f"{name}={port}" for name, port in ports.items()]
    async with listening([*command, *arguments], list(ports.values())[-1], what="the faults"):
        yield Faults(**{name: f"http://127.0.0.1:{port}/mcp" for name, port in ports.items()})
