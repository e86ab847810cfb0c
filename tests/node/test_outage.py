"""A real Redis that is stopped, emptied, frozen or set back while requests go to every node."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import aiohttp
import pytest
from mcp.server.mcpserver import Context, MCPServer

from mooring.core.sse import SseEvent
from mooring.store import Store, open_store
from tests.cluster_in_process import SECRET, RunningNode, running_node, running_nodes
from tests.node.apps import ScriptedApp
from tests.node.rpc import RawClient
from tests.node.sdk_apps import Workshop
from tests.node.state_nodes import VERSION
from tests.node.tellers import Reader, Teller, answer_in, call, reading, steps_in
from tests.real_redis import RealRedis, real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

SESSIONS = 12


class Load:
    """Calls on every session at every node, without pause; keeps what failed."""

    def __init__(self, raw: RawClient, nodes: list[RunningNode], sessions: list[str]) -> None:
        self._raw = raw
        self._turns = itertools.cycle((node.url, session) for node in nodes for session in sessions)
        self.calls = 0
        self.failures: list[str] = []

    async def run(self) -> None:
        while True:
            url, session = next(self._turns)
            reply = await self._raw.call(url, session)
            self.calls += 1
            if reply.status != 200 or "error" in reply.json:
                self.failures.append(f"{reply.status} {reply.body!r}")

    async def more(self, calls: int) -> None:
        """Wait until that many more calls were made."""
        wanted = self.calls + calls

        async def made() -> bool:
            return self.calls >= wanted

        await until(made, what=f"{calls} more calls")


@contextlib.asynccontextmanager
async def cluster_under_load(redis: RealRedis, raw: RawClient) -> AsyncIterator[tuple[list[RunningNode], Load]]:
    def store() -> Store:
        return open_store(redis.url, "mcp", 0.3, [SECRET])

    async with running_nodes(ScriptedApp, 3, store) as nodes:
        sessions = [await raw.open(nodes[n % 3].url) for n in range(SESSIONS)]
        load = Load(raw, nodes, sessions)
        running = asyncio.create_task(load.run())
        try:
            yield nodes, load
            assert not running.done()
        finally:
            running.cancel()


async def records(redis: RealRedis) -> int:
    return len([key for key in await redis.keys() if key.startswith("mcp:session:")])


async def everything_is_back(redis: RealRedis, nodes: list[RunningNode], sessions: int) -> bool:
    names = {node.id for node in nodes}
    if await records(redis) != sessions:
        return False
    async with redis.client() as client:
        known = set(await client.hkeys("mcp:{cluster}:nodes"))
        owners = [owner.split(" ")[1] for owner in await client.hvals("mcp:{cluster}:shards") if " " in owner]
    states = [node.mooring._node.membership.state for node in nodes]
    return names <= known and all(owners.count(name) == 8 for name in names) and set(states) == {"ready"}


async def test_redis_stopped_and_started_empty(raw: RawClient) -> None:
    async with real_redis() as redis, cluster_under_load(redis, raw) as (nodes, load):
        await load.more(60)
        await redis.stop()

        async def degraded() -> bool:
            return (await raw.send("GET", f"{nodes[0].url}/readyz")).body.startswith(b"degraded: ")

        await until(degraded, what="the node to say that it is degraded")
        await load.more(100)
        opened_meanwhile = await raw.open(nodes[1].url)
        for node in nodes:
            assert (await raw.call(node.url, opened_meanwhile)).status == 200
        await redis.start()
        await until(lambda: everything_is_back(redis, nodes, SESSIONS + 1), what="everything to be on record again")
        await load.more(100)
        assert load.failures == []


@pytest.mark.parametrize("times", [1, 3])
async def test_redis_emptied(raw: RawClient, times: int) -> None:
    async with real_redis() as redis, cluster_under_load(redis, raw) as (nodes, load):
        for _ in range(times):
            await load.more(60)
            await redis.empty()
            await until(lambda: everything_is_back(redis, nodes, SESSIONS), what="everything to be on record again")
        await load.more(60)
        assert load.failures == []


async def test_redis_frozen_and_thawed(raw: RawClient) -> None:
    async with real_redis() as redis, cluster_under_load(redis, raw) as (nodes, load):
        redis.freeze()
        try:
            await load.more(300)

            async def all_degraded() -> bool:
                return all(node.mooring._node.membership.state == "degraded" for node in nodes)

            await until(all_degraded, what="the nodes to notice")
        finally:
            redis.thaw()
        await until(lambda: everything_is_back(redis, nodes, SESSIONS), what="everything to be on record again")
        await load.more(60)
        assert load.failures == []


async def test_redis_set_back_to_an_old_copy(raw: RawClient) -> None:
    async with real_redis() as redis, cluster_under_load(redis, raw) as (nodes, load):
        async with redis.client() as client, redis.client(decode_responses=False) as copier:
            old = {key: await copier.dump(key) for key in await redis.keys() if "{cluster}" in key}
            before = await client.hgetall("mcp:{cluster}:nodes")
            await raw.open(nodes[0].url)

            async def all_beat_since() -> bool:
                now = await client.hgetall("mcp:{cluster}:nodes")
                return all(now[node_id] != said for node_id, said in before.items())

            await until(all_beat_since, what="a heartbeat of each node")
            async with copier.pipeline(transaction=True) as pipeline:
                pipeline.flushall()
                for key, copy in old.items():
                    pipeline.restore(key, 0, copy)
                await pipeline.execute()
        await until(lambda: everything_is_back(redis, nodes, SESSIONS + 1), what="everything to be on record again")
        await load.more(60)
        assert load.failures == []


async def test_a_session_closed_while_redis_is_away_is_off_the_record_when_it_is_back(raw: RawClient) -> None:
    async with real_redis() as redis:
        store = open_store(redis.url, "mcp", 0.3, [SECRET])
        async with running_node(ScriptedApp(), store) as node:
            sessions = [await raw.open(node.url) for _ in range(2)]
            redis.freeze()
            try:
                reply = await raw.send("DELETE", f"{node.url}/mcp", session=sessions[0])
                assert reply.status == 200
            finally:
                redis.thaw()
            await until(lambda: _only(redis, sessions[1]), what="the closed session's record to go")


async def _only(redis: RealRedis, session: str) -> bool:
    async with redis.client() as client:
        keys = [key for key in await redis.keys() if ":session:" in key]
        return [key for key in keys if not await client.hexists(key, "removed")] == [f"mcp:session:{{{session}}}"]


async def test_what_runs_is_on_record_again_after_redis_was_emptied(raw: RawClient) -> None:
    """A client hears all that it missed, once, though the node of its call dies after that as well.

    It waits meanwhile: nobody is taken for dead until the store can have everything again.
    """
    teller = Teller()
    async with (
        real_redis() as redis,
        running_nodes(teller.app, 2, lambda: open_store(redis.url, "mcp", 0.3, [SECRET])) as nodes,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
    ):
        session = await raw.open(nodes[0].url)
        async with reading(http, "POST", nodes[0].url, session, call("tell")) as reader:
            teller.say(1)
            assert steps_in([await heard(reader), await heard(reader)]) == [1]
        teller.say(2, 3)
        await until(lambda: is_on_record(redis, session, "calls", "log"), what="the call to be on record")
        await redis.empty()
        await until(lambda: is_on_record(redis, session, "calls", "log"), what="the call to be on record again")
        await nodes[0].vanish()
        async with store_at(redis) as store:
            await store.bury(nodes[0].id)
        async with reading(http, "GET", nodes[1].url, session, last=reader.ids[-1]) as again:
            events = await again.rest()
        assert steps_in(events) == [2, 3]
        assert answer_in(events)["error"]["data"] == {"reason": "outcome_unknown", "name": "tell"}
        teller.say(None)


async def test_a_call_in_json_is_on_record_again_after_redis_was_emptied(raw: RawClient) -> None:
    workshops: list[Workshop] = []

    def make_app() -> Workshop:
        workshops.append(Workshop(MCPServer, Context, json_response=True))
        return workshops[-1]

    async with (
        real_redis() as redis,
        running_nodes(make_app, 2, lambda: open_store(redis.url, "mcp", 0.3, [SECRET])) as nodes,
    ):
        session = await raw.open(nodes[0].url)
        work = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "work", "arguments": {}}}
        sending = asyncio.create_task(raw.call(nodes[0].url, session, body=work, headers=VERSION))
        await until(lambda: is_on_record(redis, session, "calls"), what="the call to be on record")
        await redis.empty()
        await until(lambda: is_on_record(redis, session, "calls"), what="the call to be on record again")
        await nodes[0].vanish()
        await asyncio.wait({sending})
        assert sending.exception() is not None
        async with store_at(redis) as store:
            await store.bury(nodes[0].id)
        workshops[1].finish.set()
        assert (await raw.call(nodes[1].url, session, body=work, headers=VERSION)).reason == "outcome_unknown"
        assert workshops[1].ledger == []
        workshops[0].finish.set()


async def heard(reader: Reader) -> SseEvent:
    event = await reader.next()
    assert event is not None
    return event


async def is_on_record(redis: RealRedis, session: str, *what: str) -> bool:
    keys = await redis.keys()
    return all(f"mcp:session:{{{session}}}:{name}" in keys for name in what)


@contextlib.asynccontextmanager
async def store_at(redis: RealRedis) -> AsyncIterator[Store]:
    store = open_store(redis.url, "mcp", 0.3, [SECRET])
    try:
        yield store
    finally:
        await store.aclose()
