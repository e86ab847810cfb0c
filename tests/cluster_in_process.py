"""Several nodes in this process, each behind a real uvicorn on its own port, with one store among them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import uvicorn

from mooring import Mooring, Settings
from mooring.asgi import App
from mooring.store import MemoryStore, Store
from tests.waiting import until

SECRET = "a secret for tests, nowhere else"


@dataclass
class RunningNode:
    """A node, and how to reach and stop it."""

    mooring: Mooring
    url: str
    server: uvicorn.Server
    serving: asyncio.Task[None]

    @property
    def id(self) -> str:
        return self.mooring.node_id

    async def vanish(self) -> None:
        """Stop answering at once, without a goodbye: what SIGKILL does, as peers see it."""
        for listener in self.server.servers:
            listener.close()
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()
        node = self.mooring._node
        if node._heart is not None:
            node._heart.cancel()


@contextlib.asynccontextmanager
async def running_node(
    app: App, store: Store, name: str = "node-1", *, around: Callable[[App], App] | None = None, **settings: Any
) -> AsyncIterator[RunningNode]:
    """A node; `around` puts something of the author's around Mooring."""
    # asyncio switches Nagle's algorithm off only on sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    chosen = Settings.load(
        **{"node_name": name, "advertise_url": url, "secret": SECRET, "heartbeat_seconds": 0.1, "lease_seconds": 1.0}
        | settings
    )
    mooring = Mooring(app, chosen, store=store)
    config = uvicorn.Config(
        around(mooring) if around else mooring, log_level="warning", timeout_keep_alive=75, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    vars(server)["capture_signals"] = contextlib.nullcontext
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: _is_up(server, serving), what=f"{name} to start")
        yield RunningNode(mooring, url, server, serving)
    finally:
        server.should_exit = True
        await asyncio.wait({serving}, timeout=10)
        listener.close()


async def _is_up(server: uvicorn.Server, serving: asyncio.Task[None]) -> bool:
    if serving.done():
        serving.result()
        raise AssertionError("the server stopped while it started")
    return server.started


@contextlib.asynccontextmanager
async def running_nodes(
    make_app: Callable[[], App], count: int = 3, store: Store | Callable[[], Store] | None = None, **settings: Any
) -> AsyncIterator[list[RunningNode]]:
    """`count` nodes that know each other, with one store among them or one each."""
    shared = MemoryStore() if store is None else store
    async with contextlib.AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                running_node(make_app(), shared() if callable(shared) else shared, f"node-{n + 1}", **settings)
            )
            for n in range(count)
        ]
        for node in nodes:
            await node.mooring._node.keeper.beat()
        try:
            yield nodes
        finally:
            for node in nodes:
                node.server.should_exit = True
