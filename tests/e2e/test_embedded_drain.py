"""A uvicorn of the author's own, told to stop: its sessions, and what its app keeps of them in memory, are on the other
node before it hears of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from mooring.processes.child import Child, Command
from mooring.processes.leash import Leash
from mooring.store import RedisStore
from mooring.store.registry import Registry
from tests.e2e.clusters import environment
from tests.e2e.load import open_session
from tests.e2e.test_workers import call, strange_client
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

SESSIONS: Final = 5
EMBEDDED: Final = "tests.servers.entries_carried:app"
SERVERS: Final[dict[str, Callable[[int], tuple[str, ...]]]] = {
    "uvicorn": lambda port: ("uvicorn", EMBEDDED, "--port", str(port)),
    "gunicorn with uvicorn's worker": lambda port: (
        *("gunicorn", EMBEDDED, "--bind", f"127.0.0.1:{port}"),
        *("-k", "uvicorn.workers.UvicornWorker"),
    ),
}


@pytest.mark.parametrize("server", SERVERS)
async def test_its_sessions_go_on_while_it_still_answers(server: str, tmp_path: Path) -> None:
    book = tmp_path / "book"
    book.touch()
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    async with real_redis() as redis, Leash() as leash, strange_client() as raw:
        children = []
        for number, port in enumerate(ports):
            told = {
                "MOORING_REDIS_URL": redis.url,
                "MOORING_SECRET": "sixteen or more of them",
                "MOORING_NODE_NAME": f"node-{number}",
                "MOORING_ADVERTISE_URL": urls[number],
                "MOORING_DRAIN_ON_SIGTERM": "true",
                "MOORING_INGRESS_SECONDS": "0.5",
                "ENTRIES": str(book),
            }
            arguments = (sys.executable, "-W", "ignore", "-m", *SERVERS[server](port))
            children.append(await Child.start(Command("server", arguments, environment(told)), leash, lambda _: None))
        store = RedisStore(redis.url, "mcp", 5)

        async def states() -> dict[str, str]:
            return {node.info.name: node.state for node in await Registry(store).nodes()}

        async def both_are_ready() -> bool:
            listen = [(await raw.send("GET", f"{url}/healthz")).status == 200 for url in urls]  # uvicorn does so last
            return all(listen) and await states() == {"node-0": "ready", "node-1": "ready"}

        async def both_answer() -> bool:
            try:
                return await both_are_ready()
            except aiohttp.ClientError:
                return False

        await until(both_answer, what="both nodes")
        sessions = [await open_session(raw, urls[0]) for _ in range(SESSIONS)]
        assert [await call(raw, urls[0], session, f"a-{session[:8]}") for session in sessions] == [1] * SESSIONS

        children[0]._process.send_signal(signal.SIGTERM)
        turn = 1
        while (await states())["node-0"] != "gone":
            turn += 1
            for session in sessions:
                assert await call(raw, urls[1], session, f"{turn}-{session[:8]}") == turn
        assert await asyncio.wait_for(children[0].wait(), 30) in (0, -signal.SIGTERM)
        record = [await store.load_session(session) for session in sessions]
        assert {one.node_id.rpartition("-")[0] for one in record if one} == {"node-1"}
        await children[1].stop()
        await store.aclose()
    carried_out = (await asyncio.to_thread(book.read_text)).split()
    assert len(carried_out) == len(set(carried_out)) == SESSIONS * turn


HEARS_BY_ITSELF: Final[dict[str, tuple[str, ...]]] = {
    "gunicorn": ("gunicorn", EMBEDDED, "--bind", "127.0.0.1:{port}", "-k", "asgi"),
    "granian": ("granian", EMBEDDED, "--interface", "asgi", "--port", "{port}"),
    "hypercorn": ("hypercorn", EMBEDDED, "--bind", "127.0.0.1:{port}"),
    "hypercorn in one process": ("hypercorn", EMBEDDED, "--bind", "127.0.0.1:{port}", "-w", "0", "-k", "uvloop"),
    "mooring": ("mooring", "serve", "tests/servers/entries.py:server", "--port", "{port}"),
}


@pytest.mark.parametrize("server", HEARS_BY_ITSELF)
async def test_a_server_that_nobody_can_get_in_front_of_is_warned_of_and_ours_needs_nobody(
    server: str, tmp_path: Path
) -> None:
    port, said = free_port(), list[str]()
    async with real_redis() as redis, Leash() as leash, strange_client() as raw:
        told = {
            "MOORING_REDIS_URL": redis.url,
            "MOORING_SECRET": "sixteen or more of them",
            "MOORING_DRAIN_ON_SIGTERM": "true",
            "ENTRIES": str(tmp_path / "book"),
        }
        words = (word.format(port=port) for word in HEARS_BY_ITSELF[server])
        command = Command("server", (sys.executable, "-W", "ignore", "-m", *words), environment(told))
        child = await Child.start(command, leash, said.append)

        async def is_ready() -> bool:
            try:
                return (await raw.send("GET", f"http://127.0.0.1:{port}/readyz")).status == 200
            except aiohttp.ClientError:
                return False

        await until(is_ready, what="the node")
        await child.stop()
    assert any("drain_on_sigterm" in line for line in said) is (server != "mooring"), said
