"""What is kept of a session, where a real Redis is silent, full, or takes no writes, just when it is to be written."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from mooring.core.sealing import Seals
from mooring.store import MemoryStore, RedisStore
from tests.cluster_in_process import SECRET, RunningNode, running_node
from tests.fakes import FlakyStore
from tests.node.rpc import RawClient
from tests.node.state_nodes import StateNodes, sdk_app
from tests.real_redis import RealRedis, real_redis
from tests.waiting import until

pytestmark = pytest.mark.real


class Outage(StateNodes):
    redis: RealRedis
    redis_store: RedisStore

    async def is_sure_of(self, session: str) -> None:
        node: RunningNode = self.running[0]

        async def is_sure() -> bool:
            found = node.mooring._node.sessions.find(session)
            return found is not None and not found.state.is_in_doubt

        await until(is_sure, what="the state to be written again")


@contextlib.asynccontextmanager
async def outage(raw: RawClient) -> AsyncIterator[Outage]:
    async with real_redis() as redis:
        store = RedisStore(redis.url, "mcp", 0.2, Seals([SECRET], "mcp"))
        try:
            async with running_node(sdk_app(), store, hold_seconds=0.5, when_isolated="go_on") as node:
                found = Outage([node], FlakyStore(MemoryStore()), raw)
                found.redis, found.redis_store = redis, store
                yield found
        finally:
            await store.aclose()


async def test_a_silent_redis_fails_the_call_and_what_it_was_sent_comes_too_late(raw: RawClient) -> None:
    async with outage(raw) as nodes:
        session = await nodes.open()
        await nodes.call(session, "keep", entry="e1")
        nodes.redis.freeze()
        try:
            told = await nodes.call(session, "keep", entry="e2")
        finally:
            nodes.redis.thaw()
        assert "Redis does not take it" in told
        await nodes.is_sure_of(session)
        assert await nodes.call(session, "keep", entry="e3") == "2"
        assert (await nodes.look(session))["kept"] == {"entries": ["e1", "e3"]}
        kept, _ = await nodes.redis_store.journal.load_state(session)
        assert kept is not None
        assert b"e2" not in kept


@pytest.mark.parametrize("how", ["full", "read-only"])
async def test_a_redis_that_takes_nothing_fails_the_call_alone(how: str, raw: RawClient) -> None:
    async with outage(raw) as nodes, nodes.redis.client() as client:
        session = await nodes.open()
        await nodes.call(session, "keep", entry="e1")
        if how == "full":
            await client.config_set("maxmemory", "1")
        else:
            await client.config_set("min-replicas-to-write", "1")
        told = await nodes.call(session, "keep", entry="e2")
        assert "Redis does not take it" in told
        assert (await nodes.look(session))["kept"] == {"entries": ["e1"]}
        await client.config_set("maxmemory", "0")
        await client.config_set("min-replicas-to-write", "0")
        await nodes.is_sure_of(session)
        assert await nodes.call(session, "keep", entry="e3") == "2"
