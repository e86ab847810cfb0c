from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import web

from mooring.core.model import NodeState, Snapshot
from mooring.errors import StoreUnavailable
from mooring.local.readiness import ingress_answers, nodes_are_ready, refuses_connections, store_answers
from mooring.store import MemoryStore
from tests.ingress.topologies import node

ROUTER = "/api/http/routers/mcp@file"


class LateStore(MemoryStore):
    """Does not answer at first."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def snapshot(self) -> Snapshot:
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("not yet")
        return await super().snapshot()


async def test_waits_for_a_store_that_is_being_started() -> None:
    store = LateStore(failures=2)
    await store_answers(store)
    assert store.failures == 0


async def test_nodes_are_ready_when_each_process_says_so() -> None:
    store = MemoryStore()
    before, first, second = (
        node("node-1", "other"),
        dataclasses.replace(node("node-1", "aaaaa"), pid=11),
        dataclasses.replace(node("node-2", "bbbbb", state=NodeState.STARTING), pid=12),
    )
    for info in (before, first, second):
        await store.register(info, 60)
    waiting = asyncio.create_task(nodes_are_ready(store, {"node-1": 11, "node-2": 12}))
    await asyncio.sleep(0)
    assert not waiting.done()
    await store.register(dataclasses.replace(second, state=NodeState.READY), 60)
    view, infos = await waiting
    assert [info.id for info in infos] == ["node-1-aaaaa", "node-2-bbbbb"]
    assert view.is_alive("node-1-aaaaa")


class Statuses:
    """A server that answers each path with the next of its statuses, and with the last one for ever."""

    def __init__(self, **statuses: list[int]) -> None:
        self._statuses = statuses

    async def answer(self, request: web.Request) -> web.Response:
        statuses = self._statuses["router" if request.path == ROUTER else "ready"]
        return web.Response(status=statuses.pop(0) if len(statuses) > 1 else statuses[0])

    def left(self) -> int:
        return sum(len(statuses) for statuses in self._statuses.values())


@pytest_asyncio.fixture
async def server() -> AsyncIterator[tuple[Statuses, str]]:
    statuses = Statuses(router=[404, 200], ready=[404, 502, 503, 200])
    application = web.Application()
    application.router.add_get("/{path:.*}", statuses.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield statuses, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_ingress_answers_when_it_has_its_routes_and_a_node_is_ready(server: tuple[Statuses, str]) -> None:
    statuses, url = server
    await ingress_answers(f"{url}/readyz", url)
    assert statuses.left() == 2


async def test_a_port_refuses_when_its_server_has_gone() -> None:
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    waiting = asyncio.create_task(refuses_connections(host, port))
    await asyncio.sleep(0)
    assert not waiting.done()
    listening.close()
    await listening.wait_closed()
    async with asyncio.timeout(5):
        await waiting
