"""What a node knows from changes alone, against what the store has: after anything that may happen, in any order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.model import NO_OWNER, Counters, NodeInfo, NodeState, ShardOwner, Snapshot
from mooring.errors import DeclaredDead
from mooring.store import RedisStore, Store
from mooring.store.clients import client_of
from mooring.store.keys import Keys
from tests.ports import free_port
from tests.redis_groups import Group
from tests.store.earlier import EarlierStore
from tests.store.examples import NODE

pytestmark = pytest.mark.real

NODES = ("node-1-aaaaa", "node-2-aaaaa", "node-3-aaaaa")
EARLIER = ("node-4-aaaaa", "node-5-aaaaa")
SHARDS = ("aaaaa", "bbbbb", "ccccc", "ddddd")
LEASE_SECONDS = 600.0
"""Longer than a test: a lease ends where the test says so."""

OURS = (
    *("beat", "beat", "change", "change", "breathe last", "claim", "adopt", "give", "bury", "leave", "register"),
    *("extend", "prune", "copy", "set back", "empty", "lose a key", "look"),
)
THEIRS = ("beat", "beat", "change", "breathe last", "claim", "adopt", "give", "bury", "leave", "register", "prune")
Step = tuple[str, str, str, str, int]
"""A verb, who does it, which shard and peer it is about, and a number for the rest."""


def steps(verbs: tuple[str, ...], doers: tuple[str, ...], peers: tuple[str, ...]) -> st.SearchStrategy[Step]:
    chosen = (st.sampled_from(verbs), st.sampled_from(doers), st.sampled_from(SHARDS), st.sampled_from(peers))
    return st.tuples(*chosen, st.integers(0, 10))


@dataclass
class Member:
    """One node, and what it keeps of the store's answers."""

    info: NodeInfo
    store: Store
    renewed_ms: int = 0
    known: Snapshot | None = None


def told(snapshot: Snapshot) -> object:
    """What has to be the same: all but the times of leases, and counts that may be a little old."""
    leases = {
        node_id: (
            replace(lease.node, sessions=0, counters=Counters()),
            lease.is_over,
            lease.until_ms == 0,
            lease.node.sessions < lease.node.capacity,
        )
        for node_id, lease in snapshot.leases.items()
    }
    return leases, snapshot.shards, snapshot.version


def assert_same(seen: Snapshot, whole: Snapshot) -> None:
    assert told(seen) == told(whole)
    for node_id, lease in whole.leases.items():
        assert abs(seen.leases[node_id].node.sessions - lease.node.sessions) * 25 <= lease.node.capacity


class Story:
    """Nodes of this release, and perhaps of the one before, on one Redis."""

    def __init__(self, client: Any, ours: Store, theirs: Store) -> None:
        self._client = client
        self._ours = ours
        self.members = {
            node_id: Member(replace(NODE, id=node_id, name=node_id[:6]), ours if node_id in NODES else theirs)
            for node_id in NODES + EARLIER
        }
        self._copies: list[dict[bytes, bytes]] = []
        # Each is one thing that a node says of itself.
        self._turns = itertools.count()

    async def tell(self, script: list[Step], *, beats_are_exact: bool) -> None:
        for verb, node_id, shard, peer, number in script:
            member = self.members[node_id]
            await getattr(self, f"_{verb.replace(' ', '_')}")(member, shard, self.members[peer], number)
            whole = await self._ours.snapshot()
            for each in self.members.values():
                assert_same(await each.store.look(each.info.id, each.renewed_ms, each.known), whole)
            if beats_are_exact and await self._beats(member):
                assert member.known is not None
                assert_same(member.known, await self._ours.snapshot())

    async def _beats(self, member: Member, lease_seconds: float = LEASE_SECONDS) -> bool:
        """One heartbeat; where the store does not know the node, it registers."""
        await asyncio.sleep(0.0015)  # no two renewals of a node are of the same moment
        seen = await member.store.heartbeat(member.info, lease_seconds, member.renewed_ms, member.known)
        if seen is None:
            await self._register(member)
            return False
        member.known, member.renewed_ms = seen, seen.leases[member.info.id].renewed_ms
        return True

    async def _beat(self, member: Member, *_: object) -> None:
        await self._beats(member)

    async def _change(self, member: Member, _: str, __: Member, number: int) -> None:
        sessions = member.info.sessions
        changed: list[dict[str, Any]] = [
            {"state": NodeState.DRAINING},
            {"state": NodeState.READY},
            {"url": f"http://10.0.0.1:{next(self._turns)}"},
            {"sessions": member.info.capacity},
            {"sessions": sessions + 1},
            {"sessions": max(0, sessions - 1)},
            {"counters": Counters(next(self._turns), 0, 0, {"forged": 1})},
        ]
        member.info = replace(member.info, **changed[number % len(changed)])
        await self._beats(member)

    async def _breathe_last(self, member: Member, *_: object) -> None:
        """A heartbeat after which the node dies: its lease is over by the time that this returns."""
        if await self._beats(member, lease_seconds=0.001):
            await asyncio.sleep(0.003)
            assert (await self._ours.snapshot()).leases[member.info.id].is_over

    async def _register(self, member: Member, *_: object) -> None:
        await asyncio.sleep(0.0015)
        try:
            member.renewed_ms = await member.store.register(member.info, LEASE_SECONDS)
        except DeclaredDead:
            pass
        member.known = None

    async def _extend(self, member: Member, *_: object) -> None:
        await self._ours.extend(member.info.id, member.renewed_ms, 2 * LEASE_SECONDS)

    async def _claim(self, member: Member, shard: str, _: Member, number: int) -> None:
        owner = (await self._ours.snapshot()).shards.get(shard, NO_OWNER)
        await member.store.claim(shard, ShardOwner(member.info.id, number + 1), owner.epoch)

    async def _adopt(self, member: Member, shard: str, *_: object) -> None:
        owner = (await self._ours.snapshot()).shards.get(shard, NO_OWNER)
        await member.store.adopt(shard, member.info.id, owner.epoch)

    async def _give(self, member: Member, shard: str, peer: Member, _: int) -> None:
        owner = (await self._ours.snapshot()).shards.get(shard, NO_OWNER)
        await member.store.give(shard, owner, peer.info.id)

    async def _bury(self, member: Member, _: str, peer: Member, __: int) -> None:
        await member.store.bury(peer.info.id)

    async def _leave(self, member: Member, *_: object) -> None:
        await member.store.leave(member.info)

    async def _prune(self, member: Member, *_: object) -> None:
        await asyncio.sleep(0.002)
        await member.store.prune(0)

    async def _look(self, *_: object) -> None:
        """Everybody does, after each step."""

    async def _copy(self, *_: object) -> None:
        self._copies.append({key: await self._client.dump(key) for key in await self._client.keys("*")})

    async def _set_back(self, _: Member, __: str, ___: Member, number: int) -> None:
        if self._copies:
            await self._client.flushall()
            for key, value in self._copies[number % len(self._copies)].items():
                await self._client.restore(key, 0, value)

    async def _empty(self, *_: object) -> None:
        await self._client.flushall()

    async def _lose_a_key(self, _: Member, __: str, ___: Member, number: int) -> None:
        keys = Keys("mcp").cluster
        await self._client.delete(keys[number % len(keys)])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    group = Group(tmp_path_factory.mktemp("redis"))
    port = free_port()
    try:
        group.start(port, "--save", "")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        group.stop()


@asynccontextmanager
async def a_story(url: str) -> AsyncIterator[Story]:
    client = client_of(url, 5)
    ours, theirs = RedisStore(url, "mcp", 5), EarlierStore(url, "mcp", 5)
    try:
        await client.flushall()
        story = Story(client, ours, theirs)
        for member in story.members.values():
            if member.info.id in NODES:
                await story._register(member)
        yield story
    finally:
        for each in (client, ours, theirs):
            await each.aclose()


def run(url: str, script: list[Step], *, beats_are_exact: bool) -> None:
    async def tell() -> None:
        async with a_story(url) as story:
            await story.tell(script, beats_are_exact=beats_are_exact)

    asyncio.run(tell())


PROPERTY: Callable[..., Any] = settings(max_examples=150, deadline=None)


@PROPERTY
@given(st.lists(steps(OURS, NODES, NODES), max_size=30))
def test_what_heartbeats_and_looks_tell_is_what_the_store_has(url: str, script: list[Step]) -> None:
    run(url, script, beats_are_exact=True)


@PROPERTY
@given(st.lists(steps(OURS, NODES, NODES + EARLIER) | steps(THEIRS, EARLIER, NODES + EARLIER), max_size=30))
def test_a_look_is_exact_though_nodes_of_the_release_before_write_past_the_index(url: str, script: list[Step]) -> None:
    run(url, script, beats_are_exact=False)
