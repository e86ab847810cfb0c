"""Who owns what, whatever happens in whatever order: a property of the store in memory, and the same on a real one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.model import NodeInfo, NodeState, ShardOwner
from mooring.errors import DeclaredDead
from mooring.store import MemoryStore, RedisStore, Store
from tests.fakes import Clock
from tests.real_redis import RealRedis, real_redis

NODES = ("node-1-aaaaa", "node-2-aaaaa", "node-3-aaaaa")
SHARDS = ("aaaaa", "bbbbb", "ccccc", "ddddd")
LEASE_SECONDS = 1000.0
"""Longer than a test: a lease ends where the test says so, on every kind of store."""

VERBS = (
    *("beat", "lapse", "claim", "adopt", "adopt", "give", "bury", "write anew"),
    *("leave", "lose the node", "lose the nodes", "lose the shards"),
)
Step = tuple[str, str, str, str]
"""A verb, who does it or suffers it, and which shard and peer it is about, where it is about any."""

steps = st.tuples(st.sampled_from(VERBS), st.sampled_from(NODES), st.sampled_from(SHARDS), st.sampled_from(NODES))


class Ground(Protocol):
    """A store, and what can happen to it from outside."""

    store: Store

    async def end_lease(self, node_id: str) -> None: ...

    async def lose_nodes(self, *node_ids: str) -> None: ...

    async def lose_shards(self) -> None: ...


class MemoryGround:
    def __init__(self) -> None:
        self.clock = Clock()
        self.memory = MemoryStore(self.clock)
        self.store: Store = self.memory

    async def end_lease(self, node_id: str) -> None:
        lease = self.memory._leases.get(node_id)
        if lease is not None and lease.until_ms:
            self.memory._leases[node_id] = replace(lease, until_ms=1)

    async def lose_nodes(self, *node_ids: str) -> None:
        for node_id in node_ids:
            self.memory._leases.pop(node_id, None)

    async def lose_shards(self) -> None:
        self.memory._shards.clear()
        self.memory._version = 0


class RedisGround:
    def __init__(self, server: RealRedis) -> None:
        self.server = server
        self.store: Store = RedisStore(server.url, "mcp", timeout_seconds=5)

    async def end_lease(self, node_id: str) -> None:
        async with self.server.client() as client:
            entry = await client.hget("mcp:{cluster}:nodes", node_id)
            until_ms, _, said = (entry or "0  ").partition(" ")
            if until_ms != "0":
                await client.hset("mcp:{cluster}:nodes", node_id, f"1 {said}")

    async def lose_nodes(self, *node_ids: str) -> None:
        async with self.server.client() as client:
            await client.hdel("mcp:{cluster}:nodes", *node_ids)

    async def lose_shards(self) -> None:
        async with self.server.client() as client:
            await client.delete("mcp:{cluster}:shards")


def a_node(node_id: str) -> NodeInfo:
    return NodeInfo(node_id, node_id[:6], f"http://{node_id}", 1, NodeState.READY, 0, 9, "1", "0123abcd", 0.0)


@dataclass
class Member:
    """What one process believes. It is alive until its lease was over by its own clock, or it ended."""

    id: str
    alive: bool = False
    ended: bool = False
    renewed_ms: int = 0
    held: dict[str, int] = field(default_factory=dict)


class Story:
    """Processes that do with the store what keepers do; `told` is what the store answered, in order."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.store = ground.store
        self.members = {node_id: Member(node_id) for node_id in NODES}
        # Whoever was given each epoch, whatever became of it; until the store loses shards, with its memory of epochs.
        self.taken: dict[tuple[str, int], str] = {}
        self.known: set[str] = set()
        self.told: list[object] = []

    async def tell(self, script: list[Step]) -> list[object]:
        for node_id, shard in zip(NODES, SHARDS, strict=False):
            await self._beat(self.members[node_id])
            await self._claim(self.members[node_id], shard, self.members[node_id])
        for verb, node_id, shard, peer in script:
            member = self.members[node_id]
            before = await self._shards()
            alive = {member.id for member in self._alive()}
            await getattr(self, f"_{verb.replace(' ', '_')}")(member, shard, self.members[peer])
            after = await self._shards()
            self.told.append((verb, sorted(after.items())))
            self._check(verb, before, after)
            moved = [shard for shard in after if shard in before and before[shard] != after[shard]]
            for shard in moved:
                if verb == "adopt":
                    assert before[shard].node_id not in alive
                    assert after[shard].node_id in alive
                elif verb == "give":
                    assert {before[shard].node_id, after[shard].node_id} <= alive
        return self.told

    def _check(self, verb: str, before: dict[str, ShardOwner], after: dict[str, ShardOwner]) -> None:
        for shard, owner in after.items():
            assert self.taken.setdefault((shard, owner.epoch), owner.node_id) == owner.node_id
            past = before.get(shard)
            if past is not None and past != owner:
                assert owner.epoch > past.epoch
                assert verb in ("adopt", "give", "write anew", "beat") or past.node_id == owner.node_id
        for shard in self.known:
            holders = [(member.id, member.held[shard]) for member in self._alive() if shard in member.held]
            assert len({epoch for _, epoch in holders}) == len(holders)

    def _alive(self) -> list[Member]:
        return [member for member in self.members.values() if member.alive]

    async def _shards(self) -> dict[str, ShardOwner]:
        return dict((await self.store.snapshot()).shards)

    async def _beat(self, member: Member, *_: object) -> None:
        snapshot = await self.store.heartbeat(a_node(member.id), LEASE_SECONDS, member.renewed_ms, None)
        self.told.append(snapshot is None)
        if snapshot is None:
            await self._write_anew(member)
            return
        assert not member.ended
        member.alive, member.renewed_ms = True, snapshot.leases[member.id].renewed_ms
        for shard, owner in snapshot.shards.items():
            if shard in member.held and owner.node_id != member.id and owner.epoch >= member.held[shard]:
                del member.held[shard]

    async def _write_anew(self, member: Member, *_: object) -> None:
        try:
            member.renewed_ms = await self.store.register(a_node(member.id), LEASE_SECONDS)
        except DeclaredDead:
            # Where the entry was lost it may come back; see `Store.register`.
            assert member.ended
            self.told.append("declared dead")
            member.held, member.alive = {}, False
            return
        member.alive, member.ended = True, False
        for shard, epoch in list(member.held.items()):
            owner = await self.store.claim(shard, ShardOwner(member.id, epoch), 0)
            if owner.node_id != member.id and owner.epoch < epoch:
                owner = await self.store.claim(shard, ShardOwner(member.id, epoch), owner.epoch)
            self._learn(member, shard, owner)

    async def _lapse(self, member: Member, *_: object) -> None:
        """A lease's time passes in which this node does not renew."""
        await self.ground.end_lease(member.id)
        member.alive = False

    async def _claim(self, member: Member, shard: str, _: Member) -> None:
        """A fresh shard: its name is random, so nobody ever had it."""
        if member.alive and shard not in self.known:
            self.known.add(shard)
            self._learn(member, shard, await self.store.claim(shard, ShardOwner(member.id, 1), 0))

    async def _adopt(self, member: Member, shard: str, _: Member) -> None:
        """A node that believes itself alive or not: the store judges."""
        epoch = (await self._shards()).get(shard, ShardOwner("", 0)).epoch
        owner = await self.store.adopt(shard, member.id, epoch)
        self.told.append(owner)
        if owner.node_id == member.id and owner.epoch > epoch:
            self._learn(member, shard, owner)

    async def _give(self, member: Member, shard: str, peer: Member) -> None:
        epoch = member.held.get(shard, 1)
        owner = await self.store.give(shard, ShardOwner(member.id, epoch), peer.id)
        self.told.append(owner)
        if owner.node_id == peer.id and owner.epoch == epoch + 1 and peer is not member:
            member.held.pop(shard, None)
            self._learn(peer, shard, owner)

    async def _bury(self, member: Member, *_: object) -> None:
        """Its parent saw it end."""
        self.told.append(await self.store.bury(member.id))
        member.alive, member.ended, member.held = False, True, {}

    async def _leave(self, member: Member, *_: object) -> None:
        await self.store.leave(a_node(member.id))
        member.alive, member.ended, member.held = False, True, {}

    async def _lose_the_node(self, member: Member, *_: object) -> None:
        await self.ground.lose_nodes(member.id)

    async def _lose_the_nodes(self, *_: object) -> None:
        await self.ground.lose_nodes(*NODES)

    async def _lose_the_shards(self, *_: object) -> None:
        """Who lives writes anew within a heartbeat, long before any lease can end; who was cut off may not."""
        await self.ground.lose_shards()
        self.taken.clear()
        for member in self._alive():
            await self._beat(member)
            await self._write_anew(member)

    def _learn(self, member: Member, shard: str, owner: ShardOwner) -> None:
        if owner.node_id == member.id:
            member.held[shard] = owner.epoch
        else:
            member.held.pop(shard, None)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40))
async def test_no_epoch_has_two_owners_and_no_living_nodes_shard_is_adopted(script: list[Step]) -> None:
    await Story(MemoryGround()).tell(script)


def a_script(seed: int) -> list[Step]:
    """Steps at random, always the same for a seed."""
    chance = random.Random(seed)
    return [
        (chance.choice(VERBS), chance.choice(NODES), chance.choice(SHARDS), chance.choice(NODES)) for _ in range(60)
    ]


@pytest.mark.real
@pytest.mark.parametrize("flavour", ["valkey", "redis"])
async def test_a_real_store_answers_as_the_one_in_memory_does(flavour: str) -> None:
    async with real_redis("valkey" if flavour == "valkey" else "redis") as server:
        for seed in range(40):
            await server.empty()
            ground = RedisGround(server)
            try:
                told = await Story(ground).tell(a_script(seed))
            finally:
                await ground.store.aclose()
            assert told == await Story(MemoryGround()).tell(a_script(seed))
