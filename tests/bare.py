"""One server under test, bare: no Mooring, no load balancer, one process of uvicorn."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

from tests.ports import free_port
from tests.real_redis import missing
from tests.waiting import until

ServerKind = Literal["v1", "v2", "fastmcp"]

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHON_V1: Final = ROOT / ".venv-v1/bin/python"
_START_SECONDS: Final = 200.0
_STOP_SECONDS: Final = 3.0


def need(path: Path, remedy: str) -> None:
    """Skips the test where something that it needs is not installed, and fails it where it has to be."""
    if not path.exists():
        missing(f"{path.relative_to(ROOT)} is missing: {remedy}")


def python_for(kind: str) -> str:
    """The interpreter whose environment holds that generation of the SDK."""
    if not kind.endswith("v1"):
        return sys.executable
    need(PYTHON_V1, "run `make install-tests`")
    return str(PYTHON_V1)


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _stop(process: asyncio.subprocess.Process, *, ask: bool) -> None:
    if process.returncode is not None:
        return
    process.terminate() if ask else process.kill()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:  # open streams hold it up
        process.kill()
        await process.wait()


@asynccontextmanager
async def listening(
    command: Sequence[str | Path],
    port: int,
    *,
    what: str,
    environment: Mapping[str, str] | None = None,
    ask_to_stop: bool = True,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that listens on that port, and is stopped in the end: asked to at first, or killed.

    Raises:
        RuntimeError: it ended before it listened; the message holds what it printed.
    """
    with tempfile.NamedTemporaryFile(prefix="server-", suffix=".log") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=log, stderr=log
        )
        try:

            async def listens() -> bool:
                if process.returncode is not None:
                    log.seek(0)
                    raise RuntimeError(f"{what} ended before it listened:\n{log.read().decode()}")
                return await _accepts(port)

            await until(listens, what=f"{what} to listen", seconds=_START_SECONDS)
            yield process
        finally:
            await _stop(process, ask=ask_to_stop)


def uvicorn_command(target: str, port: int, *, python: str) -> list[str]:
    """Serves an ASGI application, named as uvicorn names it.

    It uses h11: llhttp, the other parser, keeps the spaces behind a header's value, which one scenario of the
    conformance suite sends.
    """
    arguments = ["--port", str(port), "--http", "h11", "--timeout-keep-alive", "75", "--log-level", "warning"]
    return [python, "-W", "ignore", "-m", "uvicorn", target, *arguments]


@asynccontextmanager
async def serve(
    target: str, *, python: str, environment: Mapping[str, str] | None = None, port: int | None = None
) -> AsyncIterator[str]:
    """Runs an ASGI application on that port, or a free one, and gives the URL of its MCP endpoint."""
    port = port or free_port()
    command = uvicorn_command(target, port, python=python)
    async with listening(command, port, what=target, environment=environment):
        yield f"http://127.0.0.1:{port}/mcp"


@asynccontextmanager
async def bare_server(kind: ServerKind, environment: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    target = f"tests.servers.everything_{kind}:app"
    async with serve(target, python=python_for(kind), environment=environment) as url:
        yield url
