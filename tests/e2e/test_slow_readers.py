"""A client that reads more slowly than its server speaks: the server is held back, and nobody else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mooring.core.sse import SseEvent, SseParser
from tests.bare import ROOT
from tests.e2e.load import VERSION, open_session
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.node.rpc import RawClient
from tests.waiting import until

pytestmark = pytest.mark.real

EVENTS, SIZE = 600, 64 * 1024
"""Nearly 40 MB, of which sockets and the server's own buffers hold a few."""
MOST_HELD = 24 * 1024 * 1024


async def post(url: str, session: str, body: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which nothing was read of the answer yet, and little is read ahead."""
    where, sent = urlsplit(url), json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=16 * 1024)
    headers = {
        "host": where.netloc,
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": str(len(sent)),
        "mcp-session-id": session,
        "connection": "close",
        **VERSION,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + sent)
    await writer.drain()
    return reader, writer


async def events_in(reader: asyncio.StreamReader) -> AsyncIterator[SseEvent]:
    assert b" 200 " in await reader.readuntil(b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    parser = SseParser()
    while size := int(await reader.readuntil(b"\r\n"), 16):
        for part in parser.feed(await reader.readexactly(size)):
            if isinstance(part, SseEvent):
                yield part
        await reader.readexactly(2)


def resident_bytes(node: ServedNode) -> int:
    status = Path(f"/proc/{node.process.pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


async def test_a_slow_reader_holds_its_own_server_back_and_hears_all_of_it_once(raw: RawClient, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()

    def said() -> int:
        return ledger.read_text().count("said slow ")

    with serving_nodes("tests/servers/ledger_v2.py:app", {"LEDGER": str(ledger)}, {"a": ROOT / "src"}) as [node]:
        session, other = [await open_session(raw, node.url) for _ in range(2)]
        before = resident_bytes(node)
        arguments = {"entry": "slow", "events": EVENTS, "size": SIZE}
        params = {"name": "chat", "arguments": arguments, "_meta": {"progressToken": "p"}}
        body = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
        reader, writer = await post(node.url, session, body)
        counts: list[int] = []

        async def is_held_back() -> bool:
            counts.append(said())
            await asyncio.sleep(0.3)
            return counts[-1] > 0 and said() == counts[-1]

        await until(is_held_back, what="the server to be held back")
        assert said() < EVENTS / 2
        assert resident_bytes(node) - before < MOST_HELD
        for _ in range(20):
            began = time.monotonic()
            assert (await raw.call(node.url, other, headers=VERSION)).status == 200
            assert time.monotonic() - began < 2
        # It goes on as it is read.
        heard, most = [], 0
        async for event in events_in(reader):
            heard.append(event)
            most = max(most, resident_bytes(node)) if len(heard) % 50 == 0 else most
        writer.close()
    assert most - before < MOST_HELD
    messages = [json.loads(event.data) for event in heard if event.data]
    assert [one["params"]["progress"] for one in messages[:-1]] == list(range(1, EVENTS + 1))
    assert messages[-1]["result"]["content"][0]["text"] == "slow"
    ids = [event.id for event in heard]
    assert len(set(ids)) == len(ids)
