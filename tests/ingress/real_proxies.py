"""Real load balancers, started with a whole configuration as it is written for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from mooring.cli.ingress.reloading import reload_by
from mooring.errors import ClusterError
from mooring.ingress import caddy, haproxy, nginx, traefik
from mooring.ingress.follow import FollowingFiles
from mooring.ingress.proxy import Choice, Proxy
from mooring.ingress.topology import Topology
from mooring.local.programs import find_traefik
from tests.bare import listening
from tests.deployments.configuration import find, find_caddy
from tests.ports import free_port
from tests.real_redis import missing
from tests.waiting import until

RUNNING: Final[tuple[Proxy, ...]] = (traefik, nginx, haproxy, caddy)
"""Those that can be installed from a package registry."""


@dataclass(frozen=True, slots=True)
class RealProxy:
    """A running one: where clients come in, and the files that it follows."""

    kind: Proxy
    url: str
    files: FollowingFiles
    process: asyncio.subprocess.Process
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    session: aiohttp.ClientSession = field(repr=False)

    async def apply(self, topology: Topology) -> None:
        """Write the files, and make it read them: when this returns it may not serve them yet."""
        if not self.files.update(topology):
            return
        if self.kind is nginx:
            self.process.send_signal(signal.SIGHUP)
        elif self.kind is haproxy:
            await reload_by(haproxy.RELOAD, self._file)()
        elif self.kind is caddy:
            file = self._file
            command = [word.replace("{file}", str(file)) for word in caddy.RELOAD.split()]
            await run(find_caddy(), *command[1:], environment=self.environment)

    @property
    def _file(self) -> Path:
        return next(argument for argument in self.command if isinstance(argument, Path))

    async def answer(self, path: str, session_id: str | None = None, method: str = "POST", **headers: str) -> str:
        """The name of the backend that answered; the status where none did."""
        async with self.request(path, session_id, method, **headers) as response:
            if response.status != 200:
                return str(response.status)
            return str((await response.json())["name"])

    def request(
        self, path: str, session_id: str | None = None, method: str = "POST", **headers: str
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if session_id is not None:
            headers["Mcp-Session-Id"] = session_id
        return self.session.request(method, self.url + path, headers=headers)


def find_traefik_or_skip() -> Path:
    try:
        return find_traefik()
    except ClusterError as error:
        missing(str(error))


async def run(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run it to its end, which has to be a good one; what it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def checked_command(kind: Proxy, folder: Path, file: Path) -> tuple[Sequence[str | Path], Mapping[str, str]]:
    """How it is started with that file, once the program has read the file and found nothing wrong."""
    if kind is traefik:
        return [find_traefik_or_skip(), f"--configfile={file}"], {}
    if kind is nginx:
        # In the foreground, and with a process id of its own, beside whatever runs on this machine.
        command: list[str | Path] = [
            find("nginx"),
            "-e",
            "stderr",
            "-p",
            str(folder),
            "-c",
            file,
            "-g",
            "daemon off; pid nginx.pid;",
        ]
        assert "[warn]" not in await run(*command, "-t")
        return command, {}
    if kind is haproxy:
        assert "WARNING" not in (said := await run(find("haproxy"), "-c", "-f", file)), said
        return [find("haproxy"), "-W", "-S", f"unix@{file}.sock", "-f", file], {}
    environment = {"CADDY_ADMIN": f"127.0.0.1:{free_port()}"}
    await run(find_caddy(), "validate", "--config", file, "--adapter", "caddyfile", environment=environment)
    return [find_caddy(), "run", "--config", file, "--adapter", "caddyfile"], environment


@contextlib.asynccontextmanager
async def real_proxy(
    kind: Proxy, folder: Path, topology: Topology, *, secure_cookie: bool = True
) -> AsyncIterator[RealProxy]:
    """Started in `folder`, routing as `topology` says."""
    port = free_port()
    choice = Choice(f"127.0.0.1:{port}", secure_cookie=secure_cookie)
    file = folder / kind.FILE
    files = FollowingFiles(lambda topology: kind.whole(topology, choice, file))
    files.update(topology)
    if kind is traefik:  # its own pages are where others may be
        text = file.read_text().replace("127.0.0.1:8081", f"127.0.0.1:{free_port()}")
        (folder / "started.yml").write_text(text)
    command, environment = await checked_command(kind, folder, folder / "started.yml" if kind is traefik else file)
    async with (
        listening(command, port, what=kind.NAME, environment=environment, ask_to_stop=False) as process,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        proxy = RealProxy(kind, f"http://127.0.0.1:{port}", files, process, command, environment, session)
        try:
            await until(lambda: _serves(proxy), what=f"{kind.NAME} to answer")
            yield proxy
        finally:
            await stop_workers(process)


async def stop_workers(process: asyncio.subprocess.Process) -> None:
    """nginx and HAProxy answer in processes of their own, which outlive a master that is killed.

    The master is frozen first: nginx's would start others. It is killed by whoever started it.
    """
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        process.send_signal(signal.SIGSTOP)
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


async def _serves(proxy: RealProxy) -> bool:
    try:
        return (await proxy.answer("/")).startswith("node")
    except aiohttp.ClientError:
        return False
