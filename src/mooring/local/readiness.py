"""Whether each part of a local cluster is up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp

from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo
from mooring.core.ownership import ClusterView
from mooring.errors import StoreUnavailable
from mooring.store import Store
from mooring.store.registry import watch

POLL_SECONDS: Final = 0.1
_PROBE_SECONDS: Final = 2.0
_ROUTER: Final = "/api/http/routers/mcp@file"


async def store_answers(store: Store) -> None:
    """Wait for a store that is being started."""
    while True:
        try:
            await store.snapshot()
        except StoreUnavailable:
            await asyncio.sleep(POLL_SECONDS)
        else:
            return


async def nodes_are_ready(store: Store, pids: Mapping[str, int | None]) -> tuple[ClusterView, list[NodeInfo]]:
    """Wait until each of these processes, by its node's name, takes new sessions; returns the view and the nodes."""
    async for view in watch(store, every_seconds=POLL_SECONDS, grace_seconds=0):
        ready = {
            info.name: info
            for info in view.alive()
            if pids.get(info.name) == info.pid and info.state in TAKES_NEW_SESSIONS
        }
        if len(ready) == len(pids):
            return view, [ready[name] for name in pids]
    raise AssertionError("a watch has no end")


async def ingress_answers(ready_url: str, admin_url: str) -> None:
    """Wait until Traefik has its routes and passes requests on.

    It asks for a node's readiness rather than the MCP endpoint, whose requests are counted: both routes come with the
    same file, which Traefik applies as a whole.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PROBE_SECONDS)) as session:
        for url in (f"{admin_url}{_ROUTER}", ready_url):
            while not await _is_ok(session, url):  # noqa: ASYNC110 - what we wait for is another process
                await asyncio.sleep(POLL_SECONDS)


async def _is_ok(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def refuses_connections(host: str, port: int) -> None:
    """Wait until nobody listens there any longer."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(POLL_SECONDS / 2)
