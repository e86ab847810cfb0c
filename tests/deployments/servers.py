"""The replicas of one server: real processes which know nothing of each other."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Literal

from tests.bare import ROOT, listening, uvicorn_command
from tests.clients.programs import NODE, need_node
from tests.ports import free_port

Kind = Literal["everything", "stateful", "stateless", "typescript"]

_TARGETS: Final[dict[Kind, str]] = {
    "everything": "tests.servers.everything_v2:app",
    "stateful": "tests.servers.small:app",
    "stateless": "tests.servers.small:stateless",
}


@dataclass(frozen=True, slots=True)
class Build:
    """What one replica runs.

    | kind         | sessions | unknown session | event ids | SDK        |
    |--------------|----------|-----------------|-----------|------------|
    | `everything` | yes      | 404             | yes       | Python     |
    | `stateful`   | yes      | 404             | no        | Python     |
    | `stateless`  | no       | served          | no        | Python     |
    | `typescript` | yes      | 400             | no        | TypeScript |

    `version` is what the server reports of itself, where it is `stateful` or `stateless`.
    """

    kind: Kind
    version: str = "1.0.0"


@dataclass(frozen=True, slots=True)
class Replica:
    """A running one, which a test may kill."""

    url: str
    process: asyncio.subprocess.Process

    @property
    def base(self) -> str:
        """Without the MCP path."""
        return self.url.removesuffix("/mcp")


def _command(kind: Kind, port: int) -> list[str]:
    if kind == "typescript":
        need_node()
        return [str(NODE), str(ROOT / "tests/servers/sessions_ts.mjs"), str(port)]
    return uvicorn_command(_TARGETS[kind], port, python=sys.executable)


@contextlib.asynccontextmanager
async def _replica(build: Build) -> AsyncIterator[Replica]:
    port = free_port()
    environment = {"SMALL_VERSION": build.version}
    async with listening(_command(build.kind, port), port, what=build.kind, environment=environment) as process:
        yield Replica(f"http://127.0.0.1:{port}/mcp", process)


@contextlib.asynccontextmanager
async def mixture(*builds: Build) -> AsyncIterator[list[Replica]]:
    """One replica of each build. They start all at once."""
    async with contextlib.AsyncExitStack() as stack:
        starting = [stack.enter_async_context(_replica(build)) for build in builds]
        started = await asyncio.gather(*starting, return_exceptions=True)
        running: list[Replica] = []
        for outcome in started:
            if isinstance(outcome, BaseException):
                raise outcome
            running.append(outcome)
        yield running


def replicas(kind: Kind, count: int = 3) -> contextlib.AbstractAsyncContextManager[list[Replica]]:
    """So many replicas of one kind of server."""
    return mixture(*[Build(kind)] * count)


@contextlib.asynccontextmanager
async def replica_urls(kind: Kind, count: int = 3) -> AsyncIterator[list[str]]:
    """The same, for tests that kill none of them."""
    async with replicas(kind, count) as running:
        yield [replica.url for replica in running]
