"""The way to nodes that have no ingress, as one would balance them: each request to the next that is well.

the node                                  the client gets
----------------------------------------  ---------------------------------------------------------
answers                                   the answer
accepts no connection                     the next node's answer: this one has seen nothing of it
breaks off before it answered             502: nobody knows whether it was carried out
is not well (`/healthz`), as all are      502, once none of them has been for a while
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import httpx2
from mcp.client.streamable_http import streamable_http_client

_CHECK_SECONDS: Final = 0.2
_HELD_SECONDS: Final = 10.0
_SILENT_SECONDS: Final = 4.0
_TIMEOUT: Final = httpx2.Timeout(30, read=300, connect=1)


class Health:
    """Which nodes are well, as one who asks them all the time sees it.

    Args:
        urls: of the nodes.
    """

    def __init__(self, urls: list[str]) -> None:
        self._well = {httpx2.URL(url): True for url in urls}

    @property
    def well(self) -> list[httpx2.URL]:
        return [url for url, is_well in self._well.items() if is_well]

    def accepts_nothing(self, node: httpx2.URL) -> None:
        self._well[node] = False

    async def check(self) -> None:
        async with httpx2.AsyncClient(timeout=_SILENT_SECONDS) as client:

            async def check(url: httpx2.URL) -> None:
                while True:
                    try:
                        self._well[url] = (await client.get(url.join("/healthz"))).status_code == 200
                    except httpx2.HTTPError:
                        self._well[url] = False
                    await asyncio.sleep(_CHECK_SECONDS)

            await asyncio.gather(*map(check, self._well))


class Balancer(httpx2.AsyncHTTPTransport):
    def __init__(self, health: Health) -> None:
        super().__init__()
        self._health = health
        self._turns = itertools.count(random.randrange(60))  # not all clients to the same node first

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _HELD_SECONDS
        why = "no node is well"
        while loop.time() < give_up:
            well = self._health.well
            if not well:
                await asyncio.sleep(_CHECK_SECONDS)
                continue
            node = well[next(self._turns) % len(well)]
            request.url = request.url.copy_with(host=node.host, port=node.port)
            try:
                return await super().handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                self._health.accepts_nothing(node)
            except httpx2.TransportError as error:
                why = f"{node}: {error!r}"
                break
        print(f"{time.strftime('%T')} 502 to {request.method}: {why}")  # shown with a test that fails
        return httpx2.Response(502, request=request)


Connection = Callable[[], AbstractAsyncContextManager[Any]]
"""A client's own way to its server: the official client's streams."""


@contextlib.asynccontextmanager
async def checked(urls: list[str]) -> AsyncIterator[Health]:
    """Which of these nodes are well, while this lasts."""
    health = Health(urls)
    checking = asyncio.create_task(health.check())
    try:
        yield health
    finally:
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)


def requests(health: Health) -> httpx2.AsyncClient:
    """For one client, on connections of its own."""
    return httpx2.AsyncClient(transport=Balancer(health), timeout=_TIMEOUT)


@contextlib.asynccontextmanager
async def balancing(urls: list[str], path: str = "/mcp") -> AsyncIterator[Connection]:
    """The way to their endpoint, for any number of clients, each with connections of its own."""
    async with checked(urls) as health:

        @contextlib.asynccontextmanager
        async def connection() -> AsyncIterator[Any]:
            async with (
                requests(health) as http,
                streamable_http_client(f"{urls[0]}{path}", http_client=http) as streams,
            ):
                yield streams

        yield connection
