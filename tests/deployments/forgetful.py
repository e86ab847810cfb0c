"""A hop that forgets connections on which nothing came for a while, as firewalls and load balancers for TCP do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


@contextlib.asynccontextmanager
async def forgetful(url: str, seconds: float) -> AsyncIterator[str]:
    """The URL of the same endpoint behind it. What comes on a connection that was idle for so long is reset, and
    nobody was told before; so whoever keeps connections for longer sends on dead ones."""
    node = urlsplit(url)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_node, to_node = await asyncio.open_connection(node.hostname, node.port)
        last = time.monotonic()
        is_used = False

        async def forward() -> None:
            nonlocal last
            while data := await reader.read(65_536):
                if is_used and time.monotonic() - last > seconds:
                    return
                last = time.monotonic()
                to_node.write(data)
                await to_node.drain()

        async def back() -> None:
            nonlocal last, is_used
            while data := await from_node.read(65_536):
                last, is_used = time.monotonic(), True
                writer.write(data)
                await writer.drain()

        ways = [asyncio.create_task(forward()), asyncio.create_task(back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()
            to_node.transport.abort()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    with contextlib.closing(server):
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{node.path}"
