"""Shards that change their owner: taken over once, from the dead alone, and let go once they are empty."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mooring.core.membership import Membership
from mooring.core.model import NO_OWNER, NodeInfo, NodeState, SessionRecord, ShardOwner
from mooring.core.standing import YOURS_IS_OVER, PeerWord
from mooring.errors import StoreUnavailable
from mooring.node.counters import Tally
from mooring.node.membership.adoption import EMPTY_SECONDS, Adoption
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.store import MemoryStore
from tests.core.views import a_node
from tests.fakes import Clock, FlakyStore

ME, PEER, DEAD = "node-1-aaaaa", "node-2-aaaaa", "node-3-aaaaa"
LEASE_SECONDS = 5.0
TTL_SECONDS = 600


class Member:
    """One node's part in it, without a heartbeat but those that the test makes."""

    def __init__(self, node_id: str, store: FlakyStore, clock: Clock, sessions: int = 0) -> None:
        self.id = node_id
        self.store = store
        self.clock = clock
        self.info = a_node(node_id, sessions=sessions)
        self.membership = Membership(node_id, LEASE_SECONDS)
        self.sessions = LocalSessions(store, node_id, TTL_SECONDS, 60.0, clock)
        self.tally = Tally()
        self.adoption = Adoption(store, self.membership, self.sessions, node_id, self.tally, clock)

    async def join(self, *shards: str) -> Member:
        self.membership.registered(await self.store.register(self.info, LEASE_SECONDS))
        for shard in shards:
            assert self.membership.claimed(shard, await self.store.claim(shard, ShardOwner(self.id, 1), 0))
        self.membership.go(NodeState.READY)
        await self.beat()
        return self

    async def beat(self) -> None:
        known = self.membership
        snapshot = await self.store.heartbeat(self.info, LEASE_SECONDS, known.renewed_ms, known.known)
        assert snapshot is not None
        known.renewed(snapshot, self.clock.now, self.clock.now)

    async def open(self, shard: str) -> LocalSession:
        now = self.clock.now
        epoch = self.membership.shards[shard]
        name = f"{shard}.{len(self.sessions)}"
        session = LocalSession(name, shard, name, now, now, now, "", "", "test 1", b"{}", epoch)
        await self.sessions.open(session)
        return session


class World:
    """A node, a peer, and one that is dead and had two sessions."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.memory = MemoryStore(self.clock)
        self.store = FlakyStore(self.memory)

    async def begin(self) -> World:
        await Member(DEAD, self.store, self.clock, sessions=2).join("ddddd", "eeeee", "fffff")
        self.clock.now += LEASE_SECONDS - 1
        self.me = await Member(ME, self.store, self.clock).join("aaaaa")
        self.peer = await Member(PEER, self.store, self.clock, sessions=1).join("bbbbb")
        self.clock.now += 2
        for member in (self.me, self.peer):
            await member.beat()
        return self

    async def owner_of(self, shard: str) -> ShardOwner:
        return (await self.memory.snapshot()).shards.get(shard, NO_OWNER)


@pytest.fixture
async def world() -> World:
    return await World().begin()


def a_record(shard: str, node_id: str, epoch: int) -> SessionRecord:
    return SessionRecord(f"{shard}.x", node_id, 0.0, 0.0, epoch=epoch)


async def test_of_two_who_adopt_one_has_it_and_the_other_learns_whose_it_is(world: World) -> None:
    owner = await world.owner_of("ddddd")
    assert await world.me.adoption.adopt("ddddd", owner)
    assert not await world.peer.adoption.adopt("ddddd", owner)
    taken = ShardOwner(ME, 2)
    assert await world.owner_of("ddddd") == taken
    assert world.me.membership.shards["ddddd"] == 2
    assert world.peer.membership.view.owner_of("ddddd") == taken
    assert (world.me.tally.adopted, world.peer.tally.adopted) == (1, 0)


async def test_a_node_that_cannot_have_heard_of_us_is_told_before_its_shard_is_taken(world: World) -> None:
    asked: list[tuple[list[str], list[str]]] = []

    async def ask(peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        assert (await world.owner_of("ddddd")).node_id == DEAD
        asked.append(([peer.id for peer in peers], [*shards]))
        return ()

    late = Member("node-4-aaaaa", world.store, world.clock)
    late.adoption = Adoption(world.store, late.membership, late.sessions, late.id, late.tally, world.clock, ask)
    owner = await world.owner_of("ddddd")
    await late.join("ggggg")
    assert await late.adoption.adopt("ddddd", owner)
    assert asked == [([DEAD], [YOURS_IS_OVER])]
    assert await late.adoption.adopt("eeeee", owner)
    assert len(asked) == 1


async def test_it_is_told_once_for_however_many_requests_want_its_shards(world: World) -> None:
    """Its machine may be silent: each question would be a connection that waits."""
    asked = 0
    answers = asyncio.Event()

    async def ask(peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        nonlocal asked
        asked += 1
        await answers.wait()
        return ()

    late = Member("node-4-aaaaa", world.store, world.clock)
    late.adoption = Adoption(world.store, late.membership, late.sessions, late.id, late.tally, world.clock, ask)
    owner = await world.owner_of("ddddd")
    await late.join("ggggg")
    wanting = [asyncio.create_task(late.adoption.adopt(shard, owner)) for shard in ("ddddd", "eeeee") * 5]
    await asyncio.sleep(0)
    wanting[0].cancel()
    await asyncio.sleep(0)
    assert (await world.owner_of("ddddd")).node_id == DEAD
    answers.set()
    assert all(await asyncio.gather(*wanting[1:]))
    assert asked == 1


async def test_all_whose_orphans_are_to_be_taken_are_told_at_once(world: World) -> None:
    """Each that does not answer takes its time."""
    asked: list[set[str]] = []

    async def ask(peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        asked.append({peer.id for peer in peers})
        return ()

    world.clock.now += 2 * LEASE_SECONDS
    late = Member("node-4-aaaaa", world.store, world.clock)
    late.adoption = Adoption(world.store, late.membership, late.sessions, late.id, late.tally, world.clock, ask)
    await late.join("ggggg")
    world.clock.now += LEASE_SECONDS  # nobody lived, so nobody adopts for a lease's time
    await late.beat()
    await late.adoption.adopt_orphans()
    assert asked == [{DEAD, PEER}]
    await late.adoption.adopt_orphans()
    assert len(asked) == 1


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_one_that_said_goodbye_or_could_hear_of_us_is_told_nothing(says_goodbye: bool, world: World) -> None:
    async def ask(peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        raise AssertionError(peers)

    adopter = Member("node-4-aaaaa", world.store, world.clock) if says_goodbye else world.me
    adopter.adoption = Adoption(
        world.store, adopter.membership, adopter.sessions, adopter.id, adopter.tally, world.clock, ask
    )
    owner = await world.owner_of("bbbbb")
    if says_goodbye:
        await world.store.leave(world.peer.info)
        await adopter.join("ggggg")
    else:
        for _ in range(2):
            world.clock.now += LEASE_SECONDS - 1
            await world.me.beat()
            await world.peer.beat()
        world.clock.now += LEASE_SECONDS - 1
        await world.me.beat()
        world.clock.now += 2
        await world.me.beat()
    assert await adopter.adoption.adopt("bbbbb", owner)


@pytest.mark.parametrize("can_renew", [True, False])
async def test_of_one_that_could_renew_after_all_nothing_is_said(
    world: World, can_renew: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        return [(peer, PeerWord(can_renew, {})) for peer in peers]

    late = Member("node-4-aaaaa", world.store, world.clock)
    late.adoption = Adoption(world.store, late.membership, late.sessions, late.id, late.tally, world.clock, ask)
    owner = await world.owner_of("ddddd")
    await late.join("ggggg")
    await late.adoption.adopt("ddddd", owner)
    assert ("does not reach the store" in caplog.text) is not can_renew


async def test_what_is_ours_already_is_not_counted_as_adopted(world: World) -> None:
    owner = await world.owner_of("ddddd")
    assert await world.me.adoption.adopt("ddddd", owner)
    assert await world.me.adoption.adopt("ddddd", ShardOwner(ME, 2))
    assert world.me.tally.adopted == 1


async def test_a_live_nodes_shard_is_not_adopted(world: World) -> None:
    owner = await world.owner_of("bbbbb")
    assert not await world.me.adoption.adopt("bbbbb", owner)
    assert await world.owner_of("bbbbb") == owner
    assert "bbbbb" not in world.me.membership.shards


async def test_all_orphans_are_taken_between_those_who_are_left(world: World) -> None:
    await world.me.adoption.adopt_orphans()
    await world.peer.adoption.adopt_orphans()
    owners = {shard: (await world.owner_of(shard)).node_id for shard in ("ddddd", "eeeee", "fffff")}
    assert owners == {"ddddd": ME, "eeeee": PEER, "fffff": ME}
    await world.me.adoption.adopt_orphans()
    assert (world.me.tally.adopted, world.peer.tally.adopted) == (2, 1)


async def test_whoever_drains_takes_no_orphans(world: World) -> None:
    world.me.membership.go(NodeState.DRAINING)
    await world.me.adoption.adopt_orphans()
    assert world.me.tally.adopted == 0


async def test_orphans_that_could_not_be_taken_are_taken_the_next_time(world: World) -> None:
    world.store.takes = 1
    with pytest.raises(StoreUnavailable):
        await world.me.adoption.adopt_orphans()
    world.store.takes, world.store.away = None, False
    await world.me.beat()
    await world.me.adoption.adopt_orphans()
    assert set(world.me.adoption.adopted) == {"ddddd", "eeeee"}  # they are dealt out anew
    assert world.me.tally.adopted == 2


async def test_a_forgotten_shard_is_held_beyond_its_records_epoch(world: World) -> None:
    record = a_record("zzzzz", DEAD, 7)
    assert await world.me.adoption.hold_for(record, "zzzzz") == 8
    assert await world.owner_of("zzzzz") == ShardOwner(ME, 8)
    assert world.me.tally.adopted == 1


async def test_a_record_of_a_later_epoch_raises_that_of_the_shard(world: World) -> None:
    """The shard was forgotten, and began anew by the record of an earlier epoch."""
    assert await world.me.adoption.hold_for(a_record("zzzzz", DEAD, 1), "zzzzz") == 2
    assert await world.me.adoption.hold_for(a_record("zzzzz", PEER, 2), "zzzzz") == 3
    assert await world.me.adoption.hold_for(a_record("zzzzz", DEAD, 9), "zzzzz") == 10
    assert await world.owner_of("zzzzz") == ShardOwner(ME, 10)
    assert world.me.tally.adopted == 1


async def test_a_shard_of_ours_is_held_without_a_word_to_the_store(world: World) -> None:
    world.store.calls.clear()
    assert await world.me.adoption.hold_for(a_record("aaaaa", ME, 1), "aaaaa") == 1
    assert world.store.calls == []


async def test_a_shard_of_somebody_else_is_not_held(world: World) -> None:
    assert await world.me.adoption.hold("bbbbb", 100) == 0
    assert (await world.owner_of("bbbbb")).node_id == PEER
    assert world.me.membership.view.owner_of("bbbbb") == await world.owner_of("bbbbb")


@pytest.mark.parametrize("is_declared", [True, False])
async def test_whoever_left_holds_nothing_more(is_declared: bool, world: World) -> None:
    if is_declared:
        world.me.membership.declared_dead()
    else:
        world.me.membership.go(NodeState.GONE)
        world.me.membership.let_go("aaaaa")
    assert await world.me.adoption.hold("zzzzz", 1) == 0
    assert await world.me.adoption.hold("aaaaa", 5) == 0
    assert await world.owner_of("zzzzz") == NO_OWNER
    assert await world.owner_of("aaaaa") == ShardOwner(ME, 1)


async def test_an_adopted_shard_is_let_go_when_it_has_been_empty_for_long(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mooring.lease")
    await world.me.adoption.adopt("ddddd", await world.owner_of("ddddd"))
    session = await world.me.open("ddddd")
    world.clock.now += EMPTY_SECONDS + 1
    await world.me.adoption.let_empty_ones_go()
    assert "ddddd" in world.me.membership.shards
    await world.me.sessions.let_go(session)
    world.clock.now += EMPTY_SECONDS - 1
    await world.me.adoption.let_empty_ones_go()
    assert "ddddd" in world.me.membership.shards
    world.clock.now += 2
    await world.me.adoption.let_empty_ones_go()
    assert list(world.me.membership.shards) == ["aaaaa"]
    assert await world.owner_of("ddddd") == NO_OWNER
    assert "let shard ddddd go" in caplog.text
    assert world.me.adoption.adopted == {}


async def test_what_a_node_began_with_is_never_let_go(world: World) -> None:
    world.clock.now += 10 * EMPTY_SECONDS
    await world.me.adoption.let_empty_ones_go()
    assert await world.owner_of("aaaaa") == ShardOwner(ME, 1)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_could_not_be_let_go_is_let_go_the_next_time(when: str, world: World) -> None:
    await world.me.adoption.adopt("ddddd", await world.owner_of("ddddd"))
    world.clock.now += EMPTY_SECONDS + 1

    async def fail() -> None:
        raise StoreUnavailable("away, as the test wants it")

    getattr(world.store, when)["retire"] = fail
    with pytest.raises(StoreUnavailable):
        await world.me.adoption.let_empty_ones_go()
    await world.me.adoption.let_empty_ones_go()
    assert await world.owner_of("ddddd") == NO_OWNER
    assert "ddddd" not in world.me.membership.shards


async def test_a_shard_that_was_lost_meanwhile_is_not_let_go(world: World) -> None:
    await world.me.adoption.adopt("ddddd", await world.owner_of("ddddd"))
    given = await world.memory.give("ddddd", ShardOwner(ME, 2), PEER)
    world.clock.now += EMPTY_SECONDS + 1
    await world.me.adoption.let_empty_ones_go()
    assert await world.owner_of("ddddd") == given == ShardOwner(PEER, 3)


async def test_a_shard_that_was_let_go_is_taken_again_by_whoever_is_asked_for_its_session(world: World) -> None:
    await world.me.adoption.adopt("ddddd", await world.owner_of("ddddd"))
    session = await world.me.open("ddddd")
    await world.me.sessions.let_go(session)
    world.clock.now += EMPTY_SECONDS + 1
    await world.me.adoption.let_empty_ones_go()
    record: Any = replace(session.record(ME))
    assert await world.peer.adoption.hold_for(record, "ddddd") == 3
    assert await world.owner_of("ddddd") == ShardOwner(PEER, 3)


@pytest.mark.parametrize("hears_first", [False, True])
async def test_what_was_adopted_and_whose_answer_was_lost_is_no_gift(world: World, hears_first: bool) -> None:
    """Nobody let its clients go before it moved, and what was dumped of its sessions is old."""
    owner = await world.owner_of("ddddd")

    async def lose() -> None:
        if hears_first:
            await world.me.beat()
        raise StoreUnavailable("lost on its way")

    world.store.after["adopt"] = lose
    with pytest.raises(StoreUnavailable):
        await world.me.adoption.adopt("ddddd", owner)
    await world.me.beat()
    assert world.me.membership.shards["ddddd"] == 2
    assert not world.me.membership.was_given("ddddd")
    world.me.adoption.notice_given()
    assert "ddddd" in world.me.adoption.adopted


async def test_what_is_given_after_it_could_not_be_adopted_is_a_gift(world: World) -> None:
    async def lose() -> None:
        raise StoreUnavailable("lost on its way")

    world.store.before["adopt"] = lose
    with pytest.raises(StoreUnavailable):
        await world.me.adoption.adopt("bbbbb", await world.owner_of("bbbbb"))
    await world.me.beat()
    await world.memory.give("bbbbb", ShardOwner(PEER, 1), ME)
    await world.me.beat()
    assert world.me.membership.was_given("bbbbb")
