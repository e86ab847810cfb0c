"""An app that answers before it has read a request is heard at once, wherever the request came in."""

from __future__ import annotations

import asyncio

import pytest

from mooring.asgi import Scope, Send
from tests.node.apps import answer
from tests.node.clusters import Cluster
from tests.node.rpc import RawClient

PIECE = b"x" * 64 * 1024


async def too_large(scope: Scope, body: bytes, send: Send) -> None:
    await answer(send, 413, b'{"error": "too large"}' * 1000)


@pytest.mark.parametrize("node", [0, 1])
@pytest.mark.parametrize("pieces", [0, 1, 40])
@pytest.mark.parametrize("framing", ["content-length: 100000000", "transfer-encoding: chunked"])
async def test_it_reaches_a_client_that_is_still_sending(
    cluster: Cluster, raw: RawClient, node: int, pieces: int, framing: str
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    cluster.apps[0].unread = too_large
    host, _, port = cluster.nodes[node].url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /mcp HTTP/1.1\r\nhost: a\r\nmcp-session-id: {session}\r\n{framing}\r\n\r\n".encode())

    async def send_some() -> None:
        for _ in range(pieces):
            writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if "chunked" in framing else PIECE)
            await writer.drain()

    sending = asyncio.create_task(send_some())
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert await reader.readexactly(22_000) == b'{"error": "too large"}' * 1000
    sending.cancel()
    writer.close()
