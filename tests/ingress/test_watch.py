"""All together: real nodes, and `mooring ingress NAME --watch` beside a real load balancer, which it reloads.

A node that joins is routed to by its sessions' ids, and a request that reaches it there was not passed on by another.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from mooring.ingress import caddy, haproxy, nginx, traefik
from mooring.ingress.proxy import Proxy
from tests.bare import listening
from tests.deploy.containers import as_process
from tests.deployments.configuration import find_caddy
from tests.ingress.real_proxies import checked_command, run, stop_workers
from tests.node.rpc import RawClient
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

SECRET: Final = "a-secret-for-tests-and-nowhere-else"
TOKEN: Final = "a-token-for-tests-and-nowhere-else"


@contextlib.asynccontextmanager
async def node(name: str, redis_url: str) -> AsyncIterator[str]:
    """Its URL."""
    port = free_port()
    environment = {
        "MOORING_SECRET": SECRET,
        "MOORING_STATUS_TOKEN": TOKEN,
        "MOORING_REDIS_URL": redis_url,
        "MOORING_NODE_NAME": name,
    }
    command = ["mooring", "serve", "tests/servers/small.py:app", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    async with as_process(command, environment, port, what=name), aiohttp.ClientSession() as http:

        async def is_ready() -> bool:
            async with http.get(f"{url}/readyz") as answer:
                return answer.status == 200

        await until(is_ready, what=f"{name} to be ready")
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[str]:
    """The Redis of a cluster with one node."""
    async with real_redis() as redis, node("first", redis.url):
        yield redis.url


def reload_flags(kind: Proxy, process: asyncio.subprocess.Process) -> list[str]:
    """By the command's default, where that does not need the one nginx of a machine, or Caddy on the PATH."""
    if kind is nginx:
        return ["--reload", f"kill -HUP {process.pid}"]
    return ["--reload", caddy.RELOAD.replace("caddy", find_caddy(), 1)] if kind is caddy else []


async def forwarded_in(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(f"{url}/mooring/status", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        page: dict[str, Any] = await answer.json()
    return int(page["counters"]["forwarded_in"])


@pytest.mark.parametrize("kind", [traefik, nginx, haproxy, caddy], ids=lambda kind: kind.NAME)
async def test_a_node_that_joins_is_routed_to(kind: Proxy, cluster: str, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / kind.FILE
    written = [sys.executable, "-m", "mooring", "ingress", kind.NAME, "--redis-url", cluster, "-o", str(file)]
    written += ["--address", f"127.0.0.1:{port}"]
    await run(*written)
    if kind is traefik:  # its own pages are where others may be
        file.write_text(file.read_text().replace("127.0.0.1:8081", f"127.0.0.1:{free_port()}"))
        written += ["--part"]
        written[written.index(str(file))] = str(tmp_path / "traefik-dynamic.yml")
    command, environment = await checked_command(kind, tmp_path, file)
    async with (
        listening(command, port, what=kind.NAME, environment=environment, ask_to_stop=False) as process,
        # A reload ends idle connections, of some.
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http,
    ):
        watching = await asyncio.create_subprocess_exec(
            *written, "--watch", *reload_flags(kind, process), env={**environment}
        )
        try:
            async with node(f"second-{kind.NAME}", cluster) as second:
                raw = RawClient(http)
                session = await raw.open(second)

                async def is_routed() -> bool:
                    before = await forwarded_in(http, second)
                    for _ in range(4):
                        reply = await raw.call(f"http://127.0.0.1:{port}", session)
                        assert reply.status == 200, reply.body
                    return await forwarded_in(http, second) == before

                await until(is_routed, what="its sessions to come straight to it")
                assert watching.returncode is None
        finally:
            watching.kill()
            await watching.wait()
            await stop_workers(process)
