"""A real Traefik with generated configuration, and real backends behind it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from mooring.errors import ClusterError
from mooring.ingress.follow import DynamicFile
from mooring.ingress.topology import Topology
from mooring.ingress.traefik import dump, static_configuration
from mooring.local.programs import find_traefik
from mooring.processes.ports import free_port
from tests.real_redis import missing
from tests.waiting import until


@dataclass(frozen=True, slots=True)
class RealBackend:
    """One `tests.ingress.backend` process."""

    name: str
    url: str
    process: asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def backends(*names: str) -> AsyncIterator[dict[str, RealBackend]]:
    async with contextlib.AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(_process(name)) for name in names]
        ports = [await _first_line(process) for process in processes]
        yield {
            name: RealBackend(name, f"http://127.0.0.1:{port}", process)
            for name, port, process in zip(names, ports, processes, strict=True)
        }


@contextlib.asynccontextmanager
async def _process(name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "tests.ingress.backend", name]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _first_line(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    return int(await process.stdout.readline())


@dataclass(frozen=True, slots=True)
class RealTraefik:
    """A running Traefik: where clients come in, and the file that it follows."""

    url: str
    file: DynamicFile
    session: aiohttp.ClientSession

    async def apply(self, topology: Topology) -> None:
        self.file.update(topology)

    async def answer(self, path: str, session_id: str | None = None, method: str = "POST") -> str:
        """The name of the backend that answered; the status where none did."""
        async with self.request(path, session_id, method) as response:
            if response.status != 200:
                return str(response.status)
            return str((await response.json())["name"])

    def request(
        self, path: str, session_id: str | None = None, method: str = "POST", **headers: str
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if session_id is not None:
            headers["Mcp-Session-Id"] = session_id
        return self.session.request(method, self.url + path, headers=headers)


@contextlib.asynccontextmanager
async def real_traefik(folder: Path, topology: Topology, *, secure_cookie: bool = True) -> AsyncIterator[RealTraefik]:
    """Started in `folder`, routing as `topology` says."""
    try:
        program = find_traefik()
    except ClusterError as error:
        missing(str(error))
    port, admin_port = free_port(), free_port()
    file = DynamicFile(folder / "dynamic.yml", secure_cookie=secure_cookie)
    file.update(topology)
    static = static_configuration(
        address=f"127.0.0.1:{port}",
        admin_address=f"127.0.0.1:{admin_port}",
        dynamic_file=str(folder / "dynamic.yml"),
        api=True,
    )
    (folder / "static.yml").write_text(dump(static), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        program, f"--configfile={folder / 'static.yml'}", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            traefik = RealTraefik(f"http://127.0.0.1:{port}", file, session)
            await until(lambda: _serves(traefik), what="Traefik to answer")
            yield traefik
    finally:
        process.kill()
        await process.wait()


async def _serves(traefik: RealTraefik) -> bool:
    try:
        return (await traefik.answer("/")).startswith("node")
    except aiohttp.ClientError:
        return False
