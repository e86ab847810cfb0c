"""Nodes behind each ASGI server that authors use, in this process and on its loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from granian.constants import Interfaces
from granian.server.embed import Server as Granian
from hypercorn.asyncio import serve
from hypercorn.config import Config

from mooring import Mooring, Settings
from mooring.asgi import App
from mooring.store import Store
from tests.cluster_in_process import SECRET, running_node
from tests.waiting import until

UVICORN: Final = ("h11", "httptools")
"""By its parsers."""
SERVERS: Final = (*UVICORN, "hypercorn", "granian")


@dataclass
class ServedNode:
    mooring: Mooring
    url: str


@contextlib.asynccontextmanager
async def node_behind(
    server: str, app: App, store: Store | None, name: str, *, uvicorn_options: Mapping[str, Any], **settings: Any
) -> AsyncIterator[ServedNode]:
    if server in UVICORN:
        options = {"http": server, **uvicorn_options}
        async with running_node(app, store, name, uvicorn_options=options, **settings) as node:
            yield ServedNode(node.mooring, node.url)
        return
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    chosen = Settings.load(
        **{"node_name": name, "advertise_url": url, "secret": SECRET, "hold_seconds": 2.0} | settings
    )
    mooring = Mooring(app, chosen, store=store)
    stop = asyncio.Event()
    run = _hypercorn if server == "hypercorn" else _granian
    serving = asyncio.create_task(run(mooring, port, stop))

    async def listens() -> bool:
        if serving.done():
            serving.result()
        with contextlib.suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            return mooring._node.has_joined
        return False

    try:
        await until(listens, what=f"{server} to listen")
        yield ServedNode(mooring, url)
    finally:
        stop.set()
        await asyncio.wait({serving}, timeout=10)


async def _hypercorn(app: App, port: int, stop: asyncio.Event) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.graceful_timeout = 0.1
    await serve(app, config, shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type]


async def _granian(app: App, port: int, stop: asyncio.Event) -> None:
    server = Granian(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
    serving = asyncio.ensure_future(server.serve())
    await asyncio.wait({serving, asyncio.ensure_future(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    server.stop()  # type: ignore[no-untyped-call]
    await serving
