"""Several nodes in this process, each behind a real uvicorn on its own port, with one store among them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import uvicorn

from mooring import Mooring, Settings
from mooring.asgi import App
from mooring.store import MemoryStore, Store

SECRET = "a secret for tests, nowhere else"
_START_SECONDS = 60.0


class PromptServer(uvicorn.Server):
    """Tells when it has started, and stops when it is told to: uvicorn itself looks ten times in a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self._told_to_stop = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._told_to_stop.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._told_to_stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, without its pause where nobody is connected any more."""
        for listener in self.servers:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(3):  # a transport tells of its end with the loop's next turns
            await asyncio.sleep(0)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
        else:
            await self.lifespan.shutdown()


@dataclass
class RunningNode:
    """A node, and how to reach and stop it."""

    mooring: Mooring
    url: str
    server: PromptServer
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
    app: App,
    store: Store | None,
    name: str = "node-1",
    *,
    around: Callable[[App], App] | None = None,
    uvicorn_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[RunningNode]:
    """A node; `around` puts something of the author's around Mooring."""
    # asyncio switches Nagle's algorithm off only on sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    chosen = Settings.load(
        **{
            "node_name": name,
            "advertise_url": url,
            "secret": SECRET,
            "heartbeat_seconds": 0.1,
            "lease_seconds": 1.0,
            "hold_seconds": 5.0,
        }
        | settings
    )
    mooring = Mooring(app, chosen, store=store)
    options = {"log_level": "warning", "timeout_keep_alive": 75, "timeout_graceful_shutdown": 1}
    config = uvicorn.Config(around(mooring) if around else mooring, **{**options, **(uvicorn_options or {})})
    server = PromptServer(config)
    vars(server)["capture_signals"] = contextlib.nullcontext
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _start(server, serving)
        yield RunningNode(mooring, url, server, serving)
    finally:
        server.stop()
        await asyncio.wait({serving}, timeout=10)
        listener.close()


async def _start(server: PromptServer, serving: asyncio.Task[None]) -> None:
    is_up = asyncio.ensure_future(server.is_up.wait())
    await asyncio.wait({is_up, serving}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    is_up.cancel()
    if serving.done():
        serving.result()
    assert server.started, "the server stopped while it started, or took too long"


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
                node.server.stop()
