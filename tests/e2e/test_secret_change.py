"""The secret of a cluster is changed node by node, while its sessions go on: old; old and new; new and old; new."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from mooring.core.sse import SseParser
from tests.bare import ROOT
from tests.e2e.load import VERSION
from tests.e2e.nodes import ServedNode
from tests.node.rpc import RawClient
from tests.real_redis import RealRedis, real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

OLD: Final = "the old secret, with a comma as before"
NEW: Final = "0123456789abcdef0123456789abcdef"
NAMES: Final = ("one", "two")


class Cluster:
    """Nodes whose secrets are in files, one a line.

    Attributes:
        nodes: by name.
    """

    def __init__(self, redis: RealRedis, raw: RawClient, folder: Path) -> None:
        self._redis = redis
        self._raw = raw
        self._folder = folder
        self.nodes: dict[str, ServedNode] = {}

    async def start(self, name: str, *secrets: str) -> None:
        file = self._folder / f"secret of {name}"
        file.write_text("\n".join(secrets) + "\n")
        told = {
            "MOORING_SECRET_FILE": str(file),
            "MOORING_REDIS_URL": self._redis.url,
            "MOORING_LEASE_SECONDS": "3",
            "MOORING_INGRESS_SECONDS": "0",
            "ENTRIES": str(self._folder / "entries"),
        }
        node = ServedNode(name, "tests/servers/entries.py:server", self._folder, told, ROOT / "src")
        self.nodes[name] = node
        await asyncio.to_thread(node.wait_until_ready)
        await until(self._all_know_all, what="all nodes to know all")

    async def _all_know_all(self) -> bool:
        pages = [await node.status(self._raw) for node in self.nodes.values()]
        ready = [sorted(node["name"] for node in page["nodes"] if node["state"] == "ready") for page in pages]
        return ready == [sorted(self.nodes)] * len(self.nodes)

    async def stop(self, name: str) -> None:
        await asyncio.to_thread(self.nodes.pop(name).stop, signal.SIGTERM)

    async def open_one_each(self) -> list[str]:
        return [await self._raw.open(node.url) for node in self.nodes.values()]

    async def call(self, *sessions: str) -> list[int]:
        """How each node answers for each of these: one of two passes it on."""
        replies = [await self._raw.call(node.url, session) for session in sessions for node in self.nodes.values()]
        return sorted({reply.status for reply in replies})

    async def call_and_leave(self, session: str, entry: str) -> str:
        """The id of the only event that its client hears of a call that goes on without it."""
        tool = {"name": "wait", "arguments": {"entry": entry, "seconds": 0.5}}
        body = {"jsonrpc": "2.0", "id": entry, "method": "tools/call", "params": tool}
        return await self._raw.first_id(self.nodes[NAMES[0]].url, session, body, VERSION)

    async def comes_back(self, session: str, heard: str) -> list[str]:
        """The ids of the calls whose answers are on that stream, as each node tells it."""
        told = []
        for node in self.nodes.values():
            headers = {**VERSION, "last-event-id": heard}
            reply = await self._raw.send("GET", f"{node.url}/mcp", session=session, headers=headers)
            told += [json.loads(event.data)["id"] for event in SseParser().feed(reply.body) if "result" in event.data]
        return told


@pytest.fixture
async def cluster(raw: RawClient, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with real_redis() as redis:
        cluster = Cluster(redis, raw, tmp_path)
        try:
            yield cluster
        finally:
            for name in list(cluster.nodes):
                print(f"--- {name}", cluster.nodes[name].log, sep="\n")
                await cluster.stop(name)


async def test_no_session_is_lost_while_both_secrets_are_known(cluster: Cluster) -> None:
    for name in NAMES:
        await cluster.start(name, OLD)
    opened_before = await cluster.open_one_each()
    assert await cluster.call(*opened_before) == [200]
    heard = {session: await cluster.call_and_leave(session, f"of {session[:5]}") for session in opened_before}
    sessions = opened_before
    for secrets in ((OLD, NEW), (NEW, OLD)):
        for name in NAMES:
            await cluster.stop(name)
            await cluster.start(name, *secrets)
            sessions = sessions + await cluster.open_one_each()
            assert await cluster.call(*sessions) == [200]
            for session, event in heard.items():
                assert await cluster.comes_back(session, event) == [f"of {session[:5]}"] * 2
    opened_after = await cluster.open_one_each()
    for name in NAMES:
        await cluster.stop(name)
        await cluster.start(name, NEW)
        assert await cluster.call(*opened_after) == [200]
    assert await cluster.call(*opened_before) == [404]
