from __future__ import annotations

import asyncio
import copy
import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.core.ids import SHARD_ALPHABET
from mooring.core.model import NodeInfo, NodeState, ShardOwner
from mooring.core.standing import YOURS_IS_OVER, PeerWord
from mooring.errors import IllegalMove, StoreUnavailable
from mooring.node.membership.lease import LeaseKeeper
from mooring.node.membership.session import ClosedSession, LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.settings import Settings
from mooring.store import MemoryStore
from tests.fakes import Clock, FlakyStore
from tests.node.moving.nodes import once

HEARTBEAT_SECONDS = 1.0
LEASE_SECONDS = 5.0
FORGET_SECONDS = 3600.0


class Cluster:
    """A store in memory that can be emptied and set back, and the nodes that share it, by one clock."""

    def __init__(self) -> None:
        self.clock = Clock(1_000_000.0)
        self.memory = MemoryStore(self.clock)
        self.members: list[Member] = []
        self._letters = itertools.product(SHARD_ALPHABET, repeat=5)

    async def join(self, name: str = "node-1", **settings: Any) -> Member:
        member = self.member(name, **settings)
        await member.keeper.join(self.fresh_shard)
        return member

    def member(self, name: str = "node-1", **settings: Any) -> Member:
        self.members.append(Member(self, name, **settings))
        return self.members[-1]

    def fresh_shard(self) -> str:
        return "".join(next(self._letters))

    def empty(self) -> None:
        self._replace(MemoryStore(self.clock))

    def saved_copy(self) -> MemoryStore:
        saved = MemoryStore(self.clock)
        saved.__dict__.update({name: copy.copy(value) for name, value in self.memory.__dict__.items()})
        return saved

    def set_back(self, saved: MemoryStore) -> None:
        self._replace(saved)

    def _replace(self, memory: MemoryStore) -> None:
        self.memory = memory
        for member in self.members:
            member.store.inner = memory

    async def beat(self) -> None:
        self.clock.now += HEARTBEAT_SECONDS
        for member in self.members:
            await member.keeper.beat()

    async def shards(self) -> dict[str, ShardOwner]:
        return dict((await self.memory.snapshot()).shards or {})


class Member:
    """One node's lease and sessions, with its own way to the store."""

    def __init__(self, cluster: Cluster, name: str, **settings: Any) -> None:
        self.id = f"{name}-aaaaa"
        self.name = name
        self._clock = cluster.clock
        self.store = FlakyStore(cluster.memory)
        self.sessions = LocalSessions(self.store, self.id, 600, 60, cluster.clock)
        self.closed: list[ClosedSession] = []
        self.sessions.add_close_handler(self.closed.append)
        self.slept: list[float] = []
        self.answers_peers = True
        self._cluster = cluster
        self.keeper = LeaseKeeper(
            self.store,
            Settings.load(
                shards=2,
                heartbeat_seconds=HEARTBEAT_SECONDS,
                lease_seconds=LEASE_SECONDS,
                forget_seconds=FORGET_SECONDS,
                **settings,
            ),
            self.sessions,
            self.id,
            self.describe,
            ask_peers=self.ask,
            now=cluster.clock,
            sleep=self.sleep,
        )

    async def ask(self, peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        """What each of the peers that answer would say over the wire."""
        asked = {member.id: member for member in self._cluster.members if member.answers_peers}
        return [(peer, await asked[peer.id].word(shards)) for peer in peers if peer.id in asked and self.answers_peers]

    async def word(self, shards: Collection[str]) -> PeerWord:
        if not await self.keeper.renew():
            if YOURS_IS_OVER in shards:
                self.keeper.was_told_that_it_is_over()
            return PeerWord(False, {})
        view = self.keeper.membership.view
        return PeerWord(True, {shard: owner for shard in shards if (owner := view.owner_of(shard))})

    @property
    def state(self) -> str:
        return str(self.keeper.membership.state)

    @property
    def shards(self) -> Mapping[str, int]:
        return self.keeper.membership.shards

    @property
    def serves(self) -> Collection[str]:
        """The shards whose sessions it would serve at this moment."""
        return () if self.keeper.has_lapsed else self.shards

    @property
    def owned(self) -> dict[str, ShardOwner]:
        return {shard: ShardOwner(self.id, epoch) for shard, epoch in self.shards.items()}

    def sees(self, other: Member) -> bool:
        return self.keeper.membership.view.is_alive(other.id)

    def describe(self) -> NodeInfo:
        return NodeInfo(
            id=self.id,
            name=self.name,
            url=f"http://{self.name}:8000",
            pid=1,
            state=self.keeper.membership.state,
            sessions=len(self.sessions),
            capacity=100,
            version="0.1.0",
            secret_id="0123abcd",
            started=0.0,
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 5:
            raise asyncio.CancelledError

    async def open(self, session_id: str, shard: str | None = None) -> None:
        now = self._clock.now
        shard = next(iter(self.shards)) if shard is None else shard
        await self.sessions.open(
            LocalSession(session_id, shard, session_id, now, now, now, "", "2025-11-25", "test 1", b"{}")
        )


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def records(cluster: Cluster) -> dict[str, str]:
    return {record.id: record.node_id async for record in cluster.memory.sessions()}


# Joining and leaving.


async def test_a_node_that_joins_is_ready_with_its_lease_and_its_shards(cluster: Cluster) -> None:
    member = cluster.member()
    assert member.state == "starting"
    assert member.keeper.has_lapsed
    await member.keeper.join(cluster.fresh_shard)
    assert member.state == "ready"
    assert not member.keeper.has_lapsed
    assert list(member.shards.values()) == [1, 1]
    assert await cluster.shards() == member.owned
    lease = (await cluster.memory.snapshot()).leases[member.id]
    assert lease.node == member.describe()
    assert lease.until_ms - lease.renewed_ms == LEASE_SECONDS * 1000
    assert member.sees(member)


async def test_a_shard_that_somebody_has_is_left_to_them(cluster: Cluster) -> None:
    first = await cluster.join("node-1")
    taken = iter([*first.shards, "zzzzz", "yyyyy"])
    second = cluster.member("node-2")
    await second.keeper.join(lambda: next(taken))
    assert list(second.shards) == ["zzzzz", "yyyyy"]
    assert await cluster.shards() == first.owned | second.owned


async def test_nodes_see_each_other_with_their_next_heartbeat(cluster: Cluster) -> None:
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    assert second.sees(first)
    assert not first.sees(second)
    await cluster.beat()
    assert first.sees(second)
    assert first.keeper.membership.view.shards == first.owned | second.owned


@pytest.mark.parametrize("takes", range(4))
async def test_a_node_does_not_start_without_its_store_and_starts_when_asked_again(
    cluster: Cluster, takes: int
) -> None:
    member = cluster.member()
    member.store.takes = takes
    if takes < 3:
        with pytest.raises(StoreUnavailable):
            await member.keeper.join(cluster.fresh_shard)
        assert member.state == "starting"
        member.store.away, member.store.takes = False, None
        await member.keeper.join(cluster.fresh_shard)
        assert member.state == "ready"
    else:
        await member.keeper.join(cluster.fresh_shard)
        assert member.state == "degraded"
    assert len(member.shards) == 2
    assert await cluster.shards() == member.owned


@pytest.mark.parametrize("takes", range(3))
async def test_a_store_that_is_slow_for_a_moment_keeps_no_node_from_starting(
    cluster: Cluster, takes: int, caplog: pytest.LogCaptureFixture
) -> None:
    member = cluster.member()
    member.store.takes = takes

    joining = asyncio.create_task(member.keeper.join(cluster.fresh_shard))
    await once(lambda: "not started yet" in caplog.text, what="it to try again")
    member.store.away, member.store.takes = False, None
    await joining
    assert member.state == "ready"
    assert await cluster.shards() == member.owned
    assert len(member.shards) == 2


async def test_a_node_that_leaves_says_what_it_has_to_and_goodbye(cluster: Cluster) -> None:
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    first.store.away = True
    await first.open("unsaved")
    first.store.away = False
    await first.keeper.leave()
    assert first.state == "gone"
    assert "unsaved" in await records(cluster)
    await second.keeper.beat()
    assert not second.sees(first)
    assert second.keeper.membership.view.nodes[first.id].info.state is NodeState.GONE


@pytest.mark.parametrize("is_silent_at", ["save_sessions", "leave"])
async def test_a_store_that_is_silent_for_a_moment_hears_its_goodbye_and_what_it_had_to_say(
    cluster: Cluster, is_silent_at: str
) -> None:
    async def away() -> None:
        raise StoreUnavailable("away for one call")

    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    first.store.before["save_session"] = away
    await first.open("unsaved")
    first.store.before[is_silent_at] = away
    await first.keeper.leave()
    assert is_silent_at not in first.store.before
    assert "unsaved" in await records(cluster)
    await second.keeper.beat()
    assert second.keeper.membership.view.nodes[first.id].info.state is NodeState.GONE


async def test_a_node_leaves_though_the_store_is_away(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    member = await cluster.join()
    member.store.away = True
    await member.keeper.leave()
    assert member.state == "gone"
    assert "left without saying goodbye" in caplog.text


async def test_gone_is_gone(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.keeper.leave()
    with pytest.raises(IllegalMove):
        await member.keeper.leave()


# The heartbeat.


async def test_each_beat_renews_the_lease_and_tells_how_the_node_is(cluster: Cluster) -> None:
    member = await cluster.join()
    for beat in range(1, 20):
        await member.open(f"session {beat}")
        await cluster.beat()
        snapshot = await cluster.memory.snapshot()
        assert snapshot.leases[member.id].until_ms - snapshot.now_ms == LEASE_SECONDS * 1000
        assert snapshot.leases[member.id].node.sessions == beat
        assert not member.keeper.has_lapsed


async def test_a_beat_with_nothing_to_tell_is_one_call(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.open("one")
    member.store.calls.clear()
    await cluster.beat()
    assert member.store.calls == ["heartbeat"]


async def test_beating_goes_on_for_ever_in_its_time(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    member = await cluster.join()

    async def breaks() -> None:
        raise ZeroDivisionError("a mistake in a heartbeat")

    member.store.before["heartbeat"] = breaks
    member.store.calls.clear()
    with pytest.raises(asyncio.CancelledError):
        await member.keeper.run()
    assert set(member.slept) == {HEARTBEAT_SECONDS}
    assert member.store.calls.count("heartbeat") == 5
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


async def test_the_dead_are_pruned_once_a_minute_and_only_after_long(cluster: Cluster) -> None:
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    second.store.away = True
    prunes = []
    for _ in range(int(FORGET_SECONDS) + 70):
        first.store.calls.clear()
        await cluster.beat()
        prunes.append("prune" in first.store.calls)
        if cluster.clock.now - 1_000_000 < FORGET_SECONDS:
            assert second.id in first.keeper.membership.view.nodes
    assert prunes.count(True) == len(prunes) // 60
    assert set((await cluster.memory.snapshot()).leases) == {first.id}
    assert await cluster.shards() == first.owned


# The store is away.


async def test_while_the_store_is_away_sessions_go_on(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    member = await cluster.join()
    await member.open("before")
    member.store.away = True
    for _ in range(30):
        await cluster.beat()
        assert member.state == "degraded"
        assert "away" in member.keeper.membership.why_degraded
        assert not member.keeper.has_lapsed
        assert member.sees(member)
    await member.open("meanwhile")
    assert len(member.sessions) == 2
    assert member.closed == []
    assert caplog.text.count("degraded: away") == 1
    assert caplog.text.count("sessions go on") == 1


@pytest.mark.parametrize("lost", [True, False], ids=["empty", "as it was"])
async def test_when_the_store_is_back_it_gets_everything_anew(cluster: Cluster, lost: bool) -> None:
    member = await cluster.join()
    await member.open("before")
    owned = member.owned
    member.store.away = True
    await cluster.beat()
    await member.open("meanwhile")
    if lost:
        cluster.empty()
    member.store.away = False
    await cluster.beat()
    assert member.state == "ready"
    assert member.keeper.membership.why_degraded == ""
    assert member.owned == owned
    assert await cluster.shards() == owned
    assert await records(cluster) == {"before": member.id, "meanwhile": member.id}
    assert (await cluster.memory.snapshot()).leases[member.id].node == member.describe()
    assert member.closed == []


async def test_a_store_that_was_emptied_between_two_beats_gets_everything_anew(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.open("one")
    owned = member.owned
    cluster.empty()
    await cluster.beat()
    assert member.state == "ready"
    assert await cluster.shards() == owned
    assert await records(cluster) == {"one": member.id}


@pytest.mark.parametrize("which", [0, 1], ids=["as it is claimed", "before its turn"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_shard_that_is_given_away_while_everything_is_written_anew_is_not_taken_back(
    cluster: Cluster, which: int, when: str
) -> None:
    giver, taker = await cluster.join("node-1"), await cluster.join("node-2")
    kept, given = dict(giver.owned), list(giver.owned)[which]
    epoch = kept.pop(given).epoch

    async def give() -> None:
        owner = await cluster.memory.claim(given, ShardOwner(taker.id, epoch + 1), epoch)
        if owner.node_id != taker.id:  # not written anew yet
            owner = await cluster.memory.claim(given, ShardOwner(taker.id, epoch + 1), 0)
        giver.keeper.membership.gave(given, owner)

    cluster.empty()
    getattr(giver.store, when)["claim"] = give
    await cluster.beat()
    await cluster.beat()
    assert giver.owned == kept
    assert (await cluster.shards())[given] == ShardOwner(taker.id, epoch + 1)


async def test_a_store_that_was_set_back_gets_what_it_lacks(cluster: Cluster) -> None:
    first = await cluster.join("node-1")
    old = cluster.saved_copy()
    second = await cluster.join("node-2")
    await second.open("one")
    await cluster.beat()
    cluster.set_back(old)
    await cluster.beat()
    assert await cluster.shards() == first.owned | second.owned
    assert await records(cluster) == {"one": second.id}
    assert second.sees(first)


async def test_whoever_comes_first_to_an_empty_store_still_knows_the_others(cluster: Cluster) -> None:
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    await cluster.beat()
    cluster.empty()
    cluster.clock.now += HEARTBEAT_SECONDS
    await first.keeper.beat()
    assert first.sees(second)
    assert first.keeper.membership.view.shards == first.owned | second.owned
    await second.keeper.beat()
    assert await cluster.shards() == first.owned | second.owned


async def test_who_does_not_come_back_is_dead_when_the_grace_is_over(cluster: Cluster) -> None:
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    await cluster.beat()
    second.store.away = True
    cluster.empty()
    await cluster.beat()
    grace_ends = cluster.clock.now + LEASE_SECONDS
    while cluster.clock.now < grace_ends:
        assert first.sees(second)
        await cluster.beat()
    assert not first.sees(second)


async def test_for_a_leases_time_after_a_loss_what_is_missing_may_exist(cluster: Cluster) -> None:
    node = await cluster.join()
    await cluster.beat()
    assert not node.keeper.is_in_grace
    cluster.empty()
    await cluster.beat()
    begun = cluster.clock.now
    assert node.keeper.is_in_grace
    cluster.clock.now = begun + LEASE_SECONDS - 0.001
    assert node.keeper.is_in_grace
    cluster.clock.now = begun + LEASE_SECONDS
    assert not node.keeper.is_in_grace


async def test_a_store_that_forgets_at_once_counts_as_away(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.open("one")

    async def empty() -> None:
        cluster.empty()

    cluster.empty()
    member.store.after["register"] = empty
    await cluster.beat()
    assert member.state == "degraded"
    await cluster.beat()
    assert member.state == "ready"
    assert await cluster.shards() == member.owned
    assert await records(cluster) == {"one": member.id}


@pytest.mark.parametrize("takes", range(6))
async def test_a_store_that_goes_away_in_the_middle_of_its_return_has_everything_at_the_next(
    cluster: Cluster, takes: int
) -> None:
    member = await cluster.join()
    await member.open("one")
    cluster.empty()
    member.store.takes = takes
    await cluster.beat()
    member.store.away, member.store.takes = False, None
    await cluster.beat()
    assert member.state == "ready"
    assert await cluster.shards() == member.owned
    assert await records(cluster) == {"one": member.id}


async def test_a_draining_node_keeps_draining_through_an_outage(cluster: Cluster) -> None:
    member = await cluster.join()
    member.keeper.membership.state = NodeState.DRAINING
    await cluster.beat()
    member.store.away = True
    await cluster.beat()
    assert member.state == "draining"
    cluster.empty()
    member.store.away = False
    await cluster.beat()
    assert member.state == "draining"
    assert (await cluster.memory.snapshot()).leases[member.id].node.state is NodeState.DRAINING
    assert await cluster.shards() == member.owned


# Fencing.


async def lose(cluster: Cluster, member: Member) -> str:
    """Somebody claims the member's first shard at the next epoch; answers which."""
    shard, epoch = next(iter(member.shards.items()))
    await cluster.memory.claim(shard, ShardOwner("node-9-aaaaa", epoch + 1), epoch)
    return shard


async def test_a_shard_with_a_new_owner_is_given_up_with_its_sessions(cluster: Cluster) -> None:
    member = await cluster.join()
    kept_shard = list(member.shards)[1]
    await member.open("lost 1")
    await member.open("lost 2")
    await member.open("kept", kept_shard)
    lost = await lose(cluster, member)
    await cluster.beat()
    assert list(member.shards) == [kept_shard]
    assert member.sessions.find("kept") is not None
    await member.sessions.settle()
    assert {(closed.id, closed.reason) for closed in member.closed} == {("lost 1", "fenced"), ("lost 2", "fenced")}
    assert (await cluster.shards())[lost].node_id == "node-9-aaaaa"
    assert member.state == "ready"


async def test_a_shard_that_was_taken_while_the_store_was_away_is_given_up(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.open("lost")
    member.store.away = True
    await cluster.beat()
    lost = await lose(cluster, member)
    member.store.away = False
    await cluster.beat()
    assert lost not in member.shards
    assert member.sessions.find("lost") is None
    assert (await cluster.shards())[lost] == ShardOwner("node-9-aaaaa", 2)


async def test_a_version_that_comes_by_again_is_not_taken_for_the_one_that_is_known(cluster: Cluster) -> None:
    """The emptied store counts its changes from 0, and has as many as before, but others."""
    member = await cluster.join()
    await member.open("lost")
    known = member.keeper.membership.view.version
    cluster.empty()
    lost = await lose_in_an_empty_store(cluster, member)
    await cluster.beat()
    assert member.keeper.membership.view.version == known
    assert lost not in member.shards
    assert member.sessions.find("lost") is None


async def lose_in_an_empty_store(cluster: Cluster, member: Member) -> str:
    shard, epoch = next(iter(member.shards.items()))
    await cluster.memory.claim(shard, ShardOwner("node-9-aaaaa", epoch + 1), 0)
    return shard


async def test_the_records_of_a_lost_shard_stay_the_new_owners(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.open("lost")
    member.store.away = True
    await cluster.beat()
    await lose(cluster, member)
    session = member.sessions.find("lost")
    assert session is not None
    await cluster.memory.save_session(session.record("node-9-aaaaa"), 600)
    member.store.away = False
    await cluster.beat()
    assert await records(cluster) == {"lost": "node-9-aaaaa"}


async def test_an_owner_of_old_does_not_fence(cluster: Cluster) -> None:
    """The store comes back with a copy from before the shard was ours."""
    member = await cluster.join()
    shard = next(iter(member.shards))
    await cluster.memory.claim(shard, ShardOwner("node-9-aaaaa", 1), 0)
    member.keeper.membership.claimed(shard, await cluster.memory.claim(shard, ShardOwner(member.id, 2), 1))
    await cluster.beat()
    await member.open("one", shard)
    old = cluster.saved_copy()
    old._shards[shard] = ShardOwner("node-9-aaaaa", 1)
    member.store.away = True
    await cluster.beat()
    cluster.set_back(old)
    member.store.away = False
    for _ in range(10):
        await cluster.beat()
    assert member.sessions.find("one") is not None
    assert (await cluster.shards())[shard] == ShardOwner(member.id, 2)


async def test_a_node_that_has_lost_all_its_shards_begins_with_others(cluster: Cluster) -> None:
    member = await cluster.join()
    before = dict(member.shards)
    for shard, epoch in before.items():
        await cluster.memory.claim(shard, ShardOwner("node-9-aaaaa", epoch + 1), epoch)
    await cluster.beat()
    assert len(member.shards) == len(before)
    assert member.shards.keys().isdisjoint(before)
    assert member.owned.items() <= (await cluster.shards()).items()


async def test_a_handler_that_takes_its_time_does_not_hold_up_the_heartbeat(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.open("lost")

    async def takes_its_time(_: ClosedSession) -> None:
        await asyncio.Event().wait()

    member.sessions.add_close_handler(takes_its_time)
    await lose(cluster, member)
    await asyncio.wait_for(cluster.beat(), 0.1)


async def test_a_node_that_was_buried_and_lives_ends_its_sessions_and_takes_nothing_new(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    await first.open("lost")
    await cluster.memory.bury(first.id)
    await cluster.beat()
    await cluster.beat()
    await first.sessions.settle()
    assert [(closed.id, closed.reason) for closed in first.closed] == [("lost", "fenced")]
    assert (first.state, first.shards) == ("draining", {})
    assert caplog.text.count("it cannot come back by this id") == 1
    assert not second.sees(first)
    assert second.state == "ready"
    await first.keeper.leave()
    assert (await cluster.memory.snapshot()).leases[first.id].node.state is NodeState.GONE


# A lease that lapsed.


async def test_a_lapsed_lease_asks_the_store_before_the_next_request_and_once_for_all_that_wait(
    cluster: Cluster,
) -> None:
    member = await cluster.join()
    cluster.clock.now += LEASE_SECONDS
    assert not member.keeper.has_lapsed
    cluster.clock.now += 0.1
    assert member.keeper.has_lapsed
    member.store.calls.clear()
    await asyncio.gather(*(member.keeper.regain() for _ in range(20)))
    assert member.store.calls.count("heartbeat") == 1
    assert not member.keeper.has_lapsed
    await member.keeper.regain()
    assert member.store.calls.count("heartbeat") == 1


async def test_what_was_lost_while_the_process_slept_is_not_served(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.open("lost")
    await lose(cluster, member)
    cluster.clock.now += 3600
    assert member.keeper.has_lapsed
    await member.keeper.regain()
    assert member.sessions.find("lost") is None


async def test_a_node_that_was_pruned_while_it_slept_is_written_anew(cluster: Cluster) -> None:
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    await second.open("one")
    cluster.clock.now += 2 * FORGET_SECONDS
    await first.keeper.beat()
    assert second.id not in (await cluster.memory.snapshot()).leases
    await second.keeper.regain()
    assert await cluster.shards() == first.owned | second.owned
    assert second.sessions.find("one") is not None
    assert await records(cluster) == {"one": second.id}


async def test_a_node_alone_in_its_cluster_goes_on_while_the_store_is_away(cluster: Cluster) -> None:
    member = await cluster.join()
    await member.open("one")
    cluster.clock.now += 3600
    member.store.away = True
    assert await member.keeper.regain()
    assert member.sessions.find("one") is not None
    cluster.clock.now += LEASE_SECONDS + 0.1
    assert member.keeper.has_lapsed


async def test_the_time_that_an_answer_took_is_no_part_of_the_lease(cluster: Cluster) -> None:
    """The process is stopped between the store's deed and the reading of its answer."""
    member = await cluster.join()

    async def stopped() -> None:
        cluster.clock.now += 60

    member.store.after["heartbeat"] = stopped
    await member.keeper.beat()
    snapshot = await cluster.memory.snapshot()
    assert snapshot.leases[member.id].until_ms < snapshot.now_ms
    assert member.keeper.has_lapsed


# Looking.


async def test_looking_brings_the_view_up_to_this_moment(cluster: Cluster) -> None:
    first = await cluster.join("node-1")
    second = await cluster.join("node-2")
    assert await first.keeper.look() is True
    assert first.sees(second)
    assert first.keeper.membership.view.shards == first.owned | second.owned
    cluster.clock.now += LEASE_SECONDS + 1
    assert await first.keeper.look() is True
    assert not first.sees(second)


async def test_looking_says_when_the_store_is_away_and_the_view_stands(cluster: Cluster) -> None:
    member = await cluster.join()
    view = member.keeper.membership.view
    member.store.away = True
    assert await member.keeper.look() is False
    assert member.keeper.membership.view is view
    assert member.state == "ready"


async def test_looking_is_no_heartbeat(cluster: Cluster) -> None:
    member = await cluster.join()
    cluster.clock.now += 2
    await member.keeper.look()
    lease = (await cluster.memory.snapshot()).leases[member.id]
    assert lease.until_ms == (cluster.clock.now - 2 + LEASE_SECONDS) * 1000


async def test_looking_at_a_store_that_was_emptied_is_no_evidence(cluster: Cluster) -> None:
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    await cluster.beat()
    cluster.empty()
    await first.keeper.look()
    assert first.sees(second)
    assert first.keeper.membership.view.shards == first.owned | second.owned


async def test_one_look_serves_however_many_want_one(cluster: Cluster) -> None:
    member = await cluster.join()
    member.store.calls.clear()
    assert await asyncio.gather(*(member.keeper.look() for _ in range(100))) == [True] * 100
    assert member.store.calls.count("look") <= 2


# Whatever happens.

steps = st.sampled_from(["away", "back", "empty", "beat", "look", "open", "close", "time", "takes 1", "takes 3"])


@settings(deadline=None, max_examples=100)
@given(st.lists(steps, max_size=25))
@example(story=["away", "open", "takes 1", "beat", "back", "open", "empty"])
async def test_whatever_the_store_goes_through_it_has_everything_in_the_end(story: list[str]) -> None:
    cluster = Cluster()
    first, second = await cluster.join("node-1"), await cluster.join("node-2")
    owned = first.owned | second.owned
    numbers = itertools.count()
    open_ids: list[str] = []
    for step in story:
        await act(step, cluster, first, open_ids, numbers)
        assert first.state in ("ready", "degraded")
        assert {closed.reason for closed in first.closed} <= {"ended"}
        assert all(first.sessions.find(session_id) is not None for session_id in open_ids)
    first.store.away, first.store.takes = False, None
    await cluster.beat()
    await cluster.beat()
    assert first.state == "ready"
    assert await cluster.shards() == first.owned | second.owned == owned
    assert set(await records(cluster)) == set(open_ids)
    assert first.sees(second)
    assert second.sees(first)


async def act(step: str, cluster: Cluster, member: Member, open_ids: list[str], numbers: Any) -> None:
    match step.split():
        case ["away"] | ["back"]:
            member.store.away, member.store.takes = step == "away", None
        case ["takes", count]:
            member.store.away, member.store.takes = False, int(count)
        case ["empty"]:
            cluster.empty()
        case ["beat"]:
            await cluster.beat()
        case ["look"]:
            await member.keeper.look()
        case ["open"]:
            open_ids.append(f"session {next(numbers)}")
            await member.open(open_ids[-1])
        case ["close"] if open_ids:
            await member.sessions.close(open_ids.pop(0))
        case ["time"]:
            cluster.clock.now += 2 * LEASE_SECONDS
