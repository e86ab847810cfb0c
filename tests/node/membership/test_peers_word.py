"""Whether it is the store that is away, or we: nodes that ask each other, with a store that fails for some or all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from mooring.core.model import NodeInfo, ShardOwner
from mooring.core.standing import PEERS_ASKED, PeerWord
from mooring.errors import StoreUnavailable
from tests.node.membership.test_lease import HEARTBEAT_SECONDS, LEASE_SECONDS, Cluster, Member, cluster

__all__ = ["cluster"]


async def three(cluster: Cluster, **settings: Any) -> list[Member]:
    members = [await cluster.join(f"node-{n}", **settings) for n in (1, 2, 3)]
    await cluster.beat()
    return members


async def test_while_the_store_is_away_from_all_all_go_on(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    members = await three(cluster)
    owned = [member.owned for member in members]
    for member in members:
        member.store.away = True
    for _ in range(30):
        await cluster.beat()
        assert not any(member.keeper.has_lapsed for member in members)
    for member in members:
        member.store.away = False
    await cluster.beat()
    assert [member.owned for member in members] == owned
    assert all(member.keeper.membership.standing is None for member in members)
    assert caplog.text.count("no peer reaches the store either: sessions go on") == 3


async def test_the_one_that_is_cut_off_serves_to_the_end_of_its_lease_and_no_longer(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cut_off, *others = await three(cluster)
    await cut_off.open("one")
    cut_off.store.away = True
    for _ in range(int(LEASE_SECONDS)):
        assert not cut_off.keeper.has_lapsed
        await cluster.beat()
    cluster.clock.now += 0.1
    assert cut_off.keeper.has_lapsed
    assert not await cut_off.keeper.regain()
    assert cut_off.keeper.helper is not None
    assert cut_off.keeper.helper.id in {other.id for other in others}
    assert not any(other.keeper.has_lapsed for other in others)
    assert caplog.text.count("peers reach the store and this node does not") == 1
    # Nobody took its shards, so it goes on with its sessions once it is back.
    cut_off.store.away = False
    assert await cut_off.keeper.regain()
    assert cut_off.keeper.helper is None
    assert cut_off.sessions.find("one") is not None
    assert cut_off.closed == []


async def test_the_one_that_is_cut_off_hears_from_its_peers_what_it_has_lost(cluster: Cluster) -> None:
    cut_off, other, _ = await three(cluster)
    lost, kept = cut_off.shards
    await cut_off.open("lost", lost)
    await cut_off.open("kept", kept)
    cut_off.store.away = True
    for _ in range(int(LEASE_SECONDS) + 1):
        await cluster.beat()
    assert set(cut_off.shards) == {lost, kept}
    assert await other.keeper.adoption.adopt(lost, ShardOwner(cut_off.id, 1))
    await cut_off.keeper.beat()
    await cut_off.sessions.settle()
    assert set(cut_off.shards) == {kept}
    assert [(closed.id, closed.reason) for closed in cut_off.closed] == [("lost", "fenced")]
    assert cut_off.sessions.find("kept") is not None


@pytest.mark.parametrize("choice", ["stop", "go_on"])
async def test_a_node_that_nobody_answers_does_as_the_operator_chose(
    cluster: Cluster, choice: str, caplog: pytest.LogCaptureFixture
) -> None:
    isolated, *_ = await three(cluster, when_isolated=choice)
    isolated.store.away, isolated.answers_peers = True, False
    for _ in range(20):
        await cluster.beat()
    assert await isolated.keeper.regain() is (choice == "go_on")
    assert isolated.keeper.helper is None
    assert caplog.text.count("neither the store nor enough peers answer") == 1
    assert "when_isolated" in caplog.text


async def test_the_smaller_part_of_a_cluster_does_not_take_itself_for_the_whole(cluster: Cluster) -> None:
    members = [await cluster.join(f"node-{n}") for n in range(1, 6)]
    await cluster.beat()
    for member in members:
        member.store.away = True
    for gone in members[2:]:
        gone.answers_peers = False
    for _ in range(6):
        cluster.clock.now += HEARTBEAT_SECONDS
        for member in members[:2]:
            await member.keeper.beat()
    assert all(member.keeper.has_lapsed for member in members[:2])


async def test_a_renewal_that_came_through_while_peers_were_asked_counts_more_than_their_word(
    cluster: Cluster,
) -> None:
    member, *_ = await three(cluster)
    asking = member.keeper._peers._ask

    async def slowly(peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        words = await asking(peers, shards)
        member.store.away = False
        cluster.clock.now += 0.1
        assert await member.keeper.renew()
        return words

    member.keeper._peers._ask = slowly
    member.store.away = True
    await member.keeper.beat()
    assert member.keeper.membership.standing is None
    assert member.keeper.helper is None


async def test_only_so_many_peers_are_asked(cluster: Cluster) -> None:
    members = [await cluster.join(f"node-{n}") for n in range(1, 30)]
    await cluster.beat()
    asked: list[int] = []

    async def count(peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
        asked.append(len({peer.id for peer in peers}))
        return []

    members[0].keeper._peers._ask = count
    members[0].store.away = True
    await members[0].keeper.beat()
    assert asked == [8]


async def test_a_session_that_cannot_be_written_is_no_lost_lease(cluster: Cluster) -> None:
    """The lease was renewed, and the store failed after that: there is nothing to ask peers for."""
    member, *_ = await three(cluster)
    member.store.away = True
    await member.open("unsaved")
    member.store.away, member.store.takes = False, 1
    cluster.clock.now += HEARTBEAT_SECONDS
    await member.keeper.beat()
    assert member.state == "degraded"
    assert member.keeper.membership.standing is None


async def serve_at_one_node(cluster: Cluster, beats: int = 20) -> None:
    for _ in range(beats):
        await cluster.beat()
        served = Counter(shard for member in cluster.members for shard in member.serves)
        assert set(served.values()) <= {1}


@pytest.mark.parametrize("is_answer_lost", [True, False])
async def test_nodes_that_lose_the_store_as_another_joins_do_not_go_on_beside_it(
    cluster: Cluster, is_answer_lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It joins in the moment of their last renewal, or before: the answer to that, which would tell of it, is lost."""

    async def loses_the_answer() -> None:
        raise StoreUnavailable("it took too long")

    members = await three(cluster)
    for member in members:
        await member.open(member.name)
    await cluster.beat()
    late = await cluster.join("node-4")
    for member in members:
        if is_answer_lost:
            member.store.after["heartbeat"] = loses_the_answer
            await member.keeper.beat()
        member.store.away = True
    await serve_at_one_node(cluster)
    assert len(late.serves) == 4 * len(late.keeper.adoption.own_shards())
    assert not any(member.serves for member in members)
    assert caplog.text.count("that its lease is over: it runs, and does not reach the store") == 3


async def test_of_many_nodes_those_that_lose_the_store_do_not_go_on_beside_the_few_that_do_not(
    cluster: Cluster,
) -> None:
    """They ask some of their peers, which may all have lost it."""
    members = [await cluster.join(f"node-{n}") for n in range(3 * PEERS_ASKED)]
    await cluster.beat()
    for member in members:
        await member.open(member.name)
    for _ in range(int(LEASE_SECONDS) + 1):
        await cluster.beat()
    for _ in range(2):  # those that were told are told again
        for member in members[1:]:
            member.store.away = True
        await serve_at_one_node(cluster)
        assert [member for member in members if member.serves] == members[:1]
        for member in members[1:]:
            member.store.away = False
        await cluster.beat()
        for member in members:
            await member.open(f"{member.name} again")
        await cluster.beat()
        assert all(member.serves for member in members)


async def test_nodes_that_leave_just_then_are_asked_in_vain_by_those_that_lose_the_store(cluster: Cluster) -> None:
    """Those that lose it take them for peers, and so may ask them in the place of the one that does not."""
    members = [await cluster.join(f"node-{n}") for n in range(6 + PEERS_ASKED)]
    for _ in range(int(LEASE_SECONDS) + 1):
        await cluster.beat()
    left, lost = members[1:6], members[6:]
    for member in lost:
        await member.open(member.name)
    await cluster.beat()
    for member in lost:
        member.store.away = True
    for member in left:
        cluster.members.remove(member)
        await member.keeper.leave()
    await serve_at_one_node(cluster)
    assert [member for member in cluster.members if member.serves] == members[:1]
