"""Nodes that lose Redis, each other, or time: one alone, and all. The judge is the servers' own book.

Each node has a link of its own to Redis, which can be cut, and is reached by its peers through another.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from mooring.core.sse import SseParser
from tests.e2e.cuttable import State
from tests.e2e.linked import LEASE_SECONDS, nodes
from tests.e2e.load import VERSION, open_session
from tests.e2e.nodes import ServedNode
from tests.node.rpc import RawClient, Reply
from tests.waiting import until

pytestmark = pytest.mark.real

CUTS: Final[tuple[State, ...]] = ("silent", "refused")


@pytest.fixture
async def raw() -> AsyncIterator[RawClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield RawClient(http)


async def enter(raw: RawClient, base: str, session: str, entry: str) -> Reply:
    return await call(raw, base, session, "enter", {"entry": entry})


async def call(raw: RawClient, base: str, session: str, tool: str, arguments: Mapping[str, Any]) -> Reply:
    body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    return await raw.call(base, session, body=body, headers=VERSION)


async def shards_of(raw: RawClient, node: ServedNode) -> dict[str, list[str]]:
    """Whose each shard is, as this node sees it."""
    return {each["name"]: each["shards"] for each in (await node.status(raw))["nodes"]}


async def has_health(raw: RawClient, node: ServedNode, status: int) -> bool:
    return (await raw.send("GET", f"{node.url}/healthz")).status == status


def counted(reply: Reply) -> int:
    assert reply.status == 200, reply
    assert "result" in reply.json, reply
    return int(reply.json["result"]["content"][0]["text"])


@pytest.mark.parametrize("how", CUTS)
async def test_one_that_is_cut_off_from_redis_stops_and_its_peers_go_on(
    raw: RawClient, tmp_path: Path, how: State
) -> None:
    async with nodes(3, tmp_path, raw) as cluster:
        cut_off, peer, third = cluster.served
        its, peers = [await open_session(raw, node.url) for node in (cut_off, peer)]
        assert counted(await enter(raw, peer.url, its, "before")) == 1
        cluster.to_redis[0].cut(how)

        async def has_stopped() -> bool:
            return await cluster.healths(raw) == [503, 200, 200]

        await until(has_stopped, what="the cut-off node to fail its health check")
        # What arrives there is passed to a peer, and works: sessions of others, and new ones.
        assert counted(await enter(raw, cut_off.url, peers, "passed-on")) == 1
        new = await open_session(raw, cut_off.url)
        assert counted(await enter(raw, cut_off.url, new, "new")) == 1
        shards = await shards_of(raw, peer)
        assert new[:5] in shards[peer.name] + shards[third.name]
        # Its own session is adopted by whoever is asked for it, and goes on there.
        replies = [await enter(raw, base, its, "after") for base in (cut_off.url, peer.url, cut_off.url)]
        assert [counted(reply) for reply in replies] == [1, 2, 3]
        assert sorted(cluster.entries()) == ["after", "after", "after", "before", "new", "passed-on"]
        cluster.to_redis[0].mend()
        await cluster.until_well(raw)
        assert await cluster.healths(raw) == [200, 200, 200]
        back = await open_session(raw, cut_off.url)
        assert counted(await enter(raw, peer.url, back, "back")) == 1
        assert counted(await enter(raw, cut_off.url, new, "new-again")) == 2


@pytest.mark.parametrize("how", CUTS)
async def test_one_that_comes_back_before_anybody_took_its_sessions_goes_on_with_them(
    raw: RawClient, tmp_path: Path, how: State
) -> None:
    async with nodes(2, tmp_path, raw) as cluster:
        cut_off, peer = cluster.served
        its = await open_session(raw, cut_off.url)
        assert counted(await enter(raw, peer.url, its, "one")) == 1
        cluster.to_redis[0].cut(how)

        async def has_heard_its_peer() -> bool:
            return "peers reach the store and this node does not" in cut_off.log

        await until(has_heard_its_peer, what="the cut-off node to hear from its peer")
        peer.process.send_signal(signal.SIGSTOP)  # it takes nothing over meanwhile
        await until(lambda: has_health(raw, cut_off, 503), what="the cut-off node to fail its health check")
        cluster.to_redis[0].mend()
        await until(lambda: has_health(raw, cut_off, 200), what="it to be well again")
        peer.process.send_signal(signal.SIGCONT)
        await cluster.until_well(raw)
        assert counted(await enter(raw, peer.url, its, "two")) == 2


@pytest.mark.parametrize("how", CUTS)
async def test_while_redis_is_away_for_all_everybody_goes_on(raw: RawClient, tmp_path: Path, how: State) -> None:
    async with nodes(3, tmp_path, raw) as cluster:
        sessions = [await open_session(raw, node.url) for node in cluster.served]
        for redis_link in cluster.to_redis:
            redis_link.cut(how)
        ends = asyncio.get_running_loop().time() + 4 * LEASE_SECONDS
        calls = 0
        while asyncio.get_running_loop().time() < ends:
            calls += 1
            for number, session in enumerate(sessions):
                node = cluster.served[(number + calls) % len(cluster.served)]
                assert counted(await enter(raw, node.url, session, f"{number}-{calls}")) == calls
            assert await cluster.healths(raw) == [200, 200, 200]
        meanwhile = await open_session(raw, cluster.served[1].url)
        for redis_link in cluster.to_redis:
            redis_link.mend()
        await cluster.until_well(raw)
        for session in sessions:
            assert counted(await enter(raw, cluster.served[0].url, session, "after")) == calls + 1
        assert counted(await enter(raw, cluster.served[2].url, meanwhile, "meanwhile")) == 1
        entries = [entry for entry in cluster.entries() if entry != "after"]
        assert len(entries) == len(set(entries)) == 3 * calls + 1


@pytest.mark.parametrize("choice", ["stop", "go_on"])
async def test_one_that_nobody_answers_does_as_its_operator_chose(raw: RawClient, tmp_path: Path, choice: str) -> None:
    async with nodes(2, tmp_path, raw, {"MOORING_WHEN_ISOLATED": choice, "MOORING_HOLD_SECONDS": "1"}) as cluster:
        isolated, peer = cluster.served
        its = await open_session(raw, isolated.url)
        cluster.to_redis[0].cut()
        for node_link in cluster.to_node:
            node_link.cut()

        async def has_said_so() -> bool:
            return "neither the store nor enough peers answer" in isolated.log

        await until(has_said_so, what="the isolated node to say so")
        if choice == "go_on":
            for number in range(1, 20):
                assert counted(await enter(raw, isolated.url, its, f"alone-{number}")) == number
                await asyncio.sleep(0.15)

            async def are_alive() -> bool:  # what the peers said, once it is late, is out of date for a moment
                return await cluster.healths(raw) == [200, 200]

            await until(are_alive, what="both to be alive")
            return

        async def has_stopped() -> bool:
            return await cluster.healths(raw) == [503, 200]

        await until(has_stopped, what="the isolated node to fail its health check")
        reply = await enter(raw, isolated.url, its, "isolated")
        assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", 9)
        assert cluster.entries() == []
        cluster.to_redis[0].mend()
        for node_link in cluster.to_node:
            node_link.mend()
        await cluster.until_well(raw)
        assert counted(await enter(raw, peer.url, its, "back")) == 1


async def test_one_that_was_stopped_for_longer_than_its_lease_serves_nothing_of_what_it_lost(
    raw: RawClient, tmp_path: Path
) -> None:
    async with nodes(2, tmp_path, raw) as cluster:
        paused, peer = cluster.served
        its = await open_session(raw, paused.url)
        listening = asyncio.create_task(raw.send("GET", f"{paused.url}/mcp", session=its, headers=VERSION))
        running = asyncio.create_task(call(raw, paused.url, its, "wait", {"entry": "running", "seconds": 60}))

        async def has_begun() -> bool:
            return "running-begun" in cluster.entries()

        await until(has_begun, what="the call to run")
        paused.process.send_signal(signal.SIGSTOP)
        at_the_paused = asyncio.create_task(enter(raw, paused.url, its, "at-the-paused"))
        # It may have reached the paused one, so nobody carries it out a second time.
        assert (await enter(raw, peer.url, its, "at-the-peer")).reason == "outcome_unknown"
        assert counted(await enter(raw, peer.url, its, "at-the-peer-again")) == 1
        paused.process.send_signal(signal.SIGCONT)
        assert counted(await at_the_paused) == 2
        [begun] = SseParser().feed((await running).body)
        last_seen = {**VERSION, "last-event-id": begun.id or ""}
        settled = await raw.send("GET", f"{peer.url}/mcp", session=its, headers=last_seen)
        assert (settled.json["id"], settled.reason) == (9, "outcome_unknown")
        assert (await listening).status == 200

        async def is_cancelled() -> bool:
            return "running-cancelled" in cluster.entries()

        await until(is_cancelled, what="the call to be cancelled")
        assert sorted(cluster.entries()) == ["at-the-paused", "at-the-peer-again", "running-begun", "running-cancelled"]
        await cluster.until_well(raw)


async def test_one_that_was_stopped_while_redis_went_away_waits_to_be_told(raw: RawClient, tmp_path: Path) -> None:
    """Its own clock says that its lease is over, and Redis says nothing: its peers do."""
    async with nodes(3, tmp_path, raw) as cluster:
        paused, peer, _ = cluster.served
        its = await open_session(raw, paused.url)
        paused.process.send_signal(signal.SIGSTOP)
        for redis_link in cluster.to_redis:
            redis_link.cut()
        await asyncio.sleep(2 * LEASE_SECONDS)
        paused.process.send_signal(signal.SIGCONT)
        assert counted(await enter(raw, paused.url, its, "told")) == 1
        assert counted(await enter(raw, peer.url, its, "told-too")) == 2


async def test_one_that_joins_when_all_others_have_lost_redis_serves_nothing_that_they_still_serve(
    raw: RawClient, tmp_path: Path
) -> None:
    """They would go on, since no peer that they know reaches Redis."""
    async with nodes(2, tmp_path, raw, {"MOORING_HOLD_SECONDS": "1"}) as cluster:
        owner, peer = cluster.served
        its = await open_session(raw, owner.url)
        for redis_link in cluster.to_redis:
            redis_link.cut("refused")

        async def go_on() -> bool:
            return all("no peer reaches the store either" in node.log for node in cluster.served)

        await until(go_on, what="both to go on without Redis")
        assert counted(await enter(raw, peer.url, its, "before")) == 1
        async with cluster.one_more("joined") as joined:

            async def serves_it() -> bool:
                return "result" in (await enter(raw, joined.url, its, "at-the-joined")).json

            await until(serves_it, what="the one that joined to take the session over")
            for base in (owner.url, peer.url, owner.url):
                assert (await enter(raw, base, its, "at-the-old")).reason == "unreachable"
            assert counted(await enter(raw, joined.url, its, "at-the-joined")) > 1
            assert set(cluster.entries()) == {"before", "at-the-joined"}
            for redis_link in cluster.to_redis:
                redis_link.mend()

            async def is_back() -> bool:
                return "result" in (await enter(raw, owner.url, its, "back")).json

            await until(is_back, what="its old owner to pass on what arrives for it")
