"""Several processes on one port, under each server that can do so: every session counts in the one that opened it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from mooring.processes.child import Child, Command
from mooring.processes.leash import Leash
from mooring.store import RedisStore
from mooring.store.registry import NodeStatus, Registry
from tests.bare import ROOT
from tests.e2e.clusters import environment
from tests.e2e.load import VERSION, open_session
from tests.node.rpc import RawClient
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

WORKERS: Final = 4
SESSIONS: Final = 10
CALLS: Final = 8
EMBEDDED: Final = "tests.servers.entries_embedded:app"
SERVED: Final = str(ROOT / "tests/servers/entries.py") + ":server"
HOST: Final = "127.0.0.1"
SERVE: Final = ("mooring", "serve", SERVED, "--port", "{port}", "--workers", str(WORKERS), "--stop-seconds", "1")
GUNICORN: Final = ("gunicorn", EMBEDDED, "--bind", f"{HOST}:{{port}}", "--workers", str(WORKERS), "-k")
SERVERS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn": ("uvicorn", EMBEDDED, "--port", "{port}", "--workers", str(WORKERS)),
    "uvicorn with `--root-path`": ("uvicorn", EMBEDDED, "--port", "{port}", "--workers", "4", "--root-path", "/api"),
    "gunicorn with uvicorn's worker": (*GUNICORN, "uvicorn.workers.UvicornWorker"),
    "gunicorn": (*GUNICORN, "asgi"),
    "gunicorn that forks late": (*GUNICORN, "asgi", "--preload"),
    "hypercorn": ("hypercorn", EMBEDDED, "--bind", f"{HOST}:{{port}}", "--workers", str(WORKERS)),
    "granian": ("granian", EMBEDDED, "--interface", "asgi", "--port", "{port}", "--workers", str(WORKERS)),
    "mooring": SERVE,
}


@dataclass
class Deployment:
    """A server, its nodes as Redis knows them, and the book of what its processes carried out."""

    url: str
    parent: Child
    registry: Registry
    book: Path

    async def nodes(self) -> list[NodeStatus]:
        return [node for node in await self.registry.nodes() if node.state == "ready"]

    async def until_told_apart(self, count: int = WORKERS) -> list[NodeStatus]:
        """The nodes, once there are that many, each with an address of its own."""

        async def there() -> list[NodeStatus]:
            assert self.parent._process.returncode is None, "\n".join(self.parent.tail)
            nodes = await self.nodes()
            own = {node.info.url for node in nodes if node.info.client_url is not None}
            return nodes if len(nodes) == len(own) == count else []

        return await until(there, what=f"{count} workers", seconds=250)

    def carried_out(self) -> Counter[str]:
        return Counter(self.book.read_text().split())


@contextlib.asynccontextmanager
async def deployed(words: Sequence[str], folder: Path, **variables: str) -> AsyncIterator[Deployment]:
    """Such a server with Redis, told nothing but where Redis is, the secret, and `variables`."""
    port, book = free_port(), folder / "book"
    book.touch()
    async with real_redis() as redis, Leash() as leash:
        told = {"MOORING_REDIS_URL": redis.url, "MOORING_SECRET": "sixteen or more of them", "ENTRIES": str(book)}
        told["MOORING_INGRESS_SECONDS"] = "0"  # nobody balances here but the kernel
        arguments = (sys.executable, "-W", "ignore", "-m", *(word.format(port=port) for word in words))
        command = Command("server", arguments, environment({**told, **variables}))
        store = RedisStore(redis.url, "mcp", 5)
        parent = await Child.start(command, leash, lambda _: None)
        try:
            yield Deployment(f"http://{HOST}:{port}", parent, Registry(store), book)
        finally:
            await parent.stop()
            await store.aclose()


@contextlib.asynccontextmanager
async def strange_client() -> AsyncIterator[RawClient]:
    """A new connection for each request, so that the kernel chooses a worker each time; it keeps no cookies."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield RawClient(http)


async def call(raw: RawClient, url: str, session: str, entry: str) -> int:
    tool = {"name": "enter", "arguments": {"entry": entry}}
    body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": tool}
    reply = await raw.call(url, session, body=body, headers=VERSION)
    assert (reply.status, reply.json.get("error")) == (200, None), f"{entry}: {reply.body.decode()}"
    return int(reply.json["result"]["content"][0]["text"])


async def exercise(deployment: Deployment) -> list[str]:
    """Sessions that all count right, however their requests are spread; and nothing is carried out twice."""
    before = deployment.carried_out()
    async with strange_client() as raw:
        sessions = [await open_session(raw, deployment.url) for _ in range(SESSIONS)]
        for turn in range(1, CALLS + 1):
            random.shuffle(sessions)
            entries = [f"{session[:8]}-{turn}" for session in sessions]
            counted = await asyncio.gather(
                *(call(raw, deployment.url, *pair) for pair in zip(sessions, entries, strict=True))
            )
            assert counted == [turn] * SESSIONS
    made = deployment.carried_out() - before
    assert (len(made), set(made.values())) == (SESSIONS * CALLS, {1})
    return sessions


async def forwarded(deployment: Deployment) -> int:
    return sum([node.counters.forwarded_in for node in await deployment.nodes()])


@pytest.mark.parametrize("server", SERVERS)
async def test_every_session_counts_in_the_process_that_opened_it(server: str, tmp_path: Path) -> None:
    async with deployed(SERVERS[server], tmp_path) as deployment:
        nodes = await deployment.until_told_apart()
        assert len({node.info.pid for node in nodes}) == WORKERS
        await exercise(deployment)

        async def was_forwarded() -> bool:
            return await forwarded(deployment) > 0

        await until(was_forwarded, what="word of requests that one worker passed on to another")


async def test_workers_that_all_say_the_same_address(tmp_path: Path) -> None:
    """As where every process gets the same environment. They find each other in Redis."""
    port = free_port()
    words = [word.replace("{port}", str(port)) for word in SERVERS["uvicorn"]]
    async with deployed(words, tmp_path, MOORING_ADVERTISE_URL=f"http://{HOST}:{port}") as deployment:
        deployment.url = f"http://{HOST}:{port}"
        nodes = await deployment.until_told_apart()
        assert {node.info.client_url for node in nodes} == {deployment.url}
        await exercise(deployment)


async def test_the_parent_is_the_witness_of_a_workers_death(tmp_path: Path) -> None:
    """A lease of half a minute is over at once; the others go on; a new worker takes part."""
    async with deployed(SERVE, tmp_path, MOORING_LEASE_SECONDS="30") as deployment, strange_client() as raw:
        nodes = await deployment.until_told_apart()
        sessions = await exercise(deployment)
        victim = random.choice(nodes)
        os.kill(victim.info.pid, signal.SIGKILL)

        async def is_on_record() -> bool:
            states = {node.info.id: node.state for node in await deployment.registry.nodes()}
            return states[victim.info.id] == "dead"

        await until(is_on_record, what="word of its death", seconds=1)
        lost = [session for session in sessions if session[:5] in victim.shards]
        for session in sessions:
            if session in lost:
                assert await call(raw, deployment.url, session, f"{session[:8]}-after") == 1
            else:
                assert await call(raw, deployment.url, session, f"{session[:8]}-after") == CALLS + 1
        again = await deployment.until_told_apart()
        assert {node.info.name for node in again} == {node.info.name for node in nodes}
        await exercise(deployment)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_and_each_says_goodbye(signal_number: signal.Signals, tmp_path: Path) -> None:
    async with deployed(SERVE, tmp_path) as deployment:
        nodes = await deployment.until_told_apart()
        os.kill(deployment.parent.pid, signal_number)
        async with asyncio.timeout(15):
            assert await deployment.parent.wait() == 0
        assert [node.state for node in await deployment.registry.nodes()] == ["gone"] * WORKERS
        for node in nodes:
            with pytest.raises(ProcessLookupError):
                os.kill(node.info.pid, 0)


async def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    """Though a call is still running that the first one lets finish."""
    words = [*SERVE[:-1], "60"]
    async with deployed(words, tmp_path) as deployment, strange_client() as raw:
        await deployment.until_told_apart()
        session = await open_session(raw, deployment.url)
        tool = {"name": "wait", "arguments": {"entry": "long", "seconds": 60}}
        body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": tool}
        waiting = asyncio.ensure_future(raw.call(deployment.url, session, body=body, headers=VERSION))

        async def has_begun() -> bool:
            return "long-begun" in deployment.book.read_text()

        await until(has_begun, what="a call that takes long")
        os.kill(deployment.parent.pid, signal.SIGTERM)

        async def some_left() -> bool:
            return len(await deployment.nodes()) < WORKERS

        await until(some_left, what="the first goodbye")
        assert not waiting.done()
        os.kill(deployment.parent.pid, signal.SIGTERM)
        async with asyncio.timeout(5):
            await deployment.parent.wait()
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            await waiting
        assert "long-done" not in deployment.book.read_text()


async def test_without_redis_there_is_one_process(tmp_path: Path) -> None:
    words = (sys.executable, "-m", *SERVE)
    process = await asyncio.create_subprocess_exec(
        *(word.format(port=free_port()) for word in words),
        env=environment({"ENTRIES": str(tmp_path / "book")}),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert said.decode().startswith("mooring: setting redis_url: None is wrong: needed with --workers")
