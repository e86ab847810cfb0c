from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mooring.core.changes import Changes
from mooring.core.membership import Membership
from mooring.core.model import CHANGES_PER_LIFE, Lease, NodeState, ShardOwner, Snapshot
from mooring.core.ownership import ClusterView
from mooring.core.standing import PeerWord, Standing
from mooring.errors import IllegalMove, StoreUnavailable
from tests.core.views import ME, NODE_IDS, PEERS, a_node

LEASE_SECONDS = 5.0
SHARDS = tuple(f"aaaa{letter}" for letter in "abcdefghij")


@dataclass
class ModelStore:
    """What a store promises, in a few lines: leases by its own time, shards by compare-and-set."""

    leases: dict[str, Lease] = field(default_factory=dict)
    shards: dict[str, ShardOwner] = field(default_factory=dict)
    version: int = 0
    life: int = 1
    said: list[Snapshot] = field(default_factory=list)

    def register(self, node_id: str, now: float) -> int:
        now_ms = round(now * 1000)
        self.leases[node_id] = Lease(a_node(node_id), now_ms + round(LEASE_SECONDS * 1000), now_ms)
        return now_ms

    def heartbeat(self, node_id: str, renewed_ms: int, known: Snapshot | None, now: float) -> Snapshot | None:
        if node_id not in self.leases or self.leases[node_id].renewed_ms != renewed_ms:
            return None
        self.register(node_id, now)
        return self._answer(node_id, known, now)

    def look(self, node_id: str, renewed_ms: int, known: Snapshot | None, now: float) -> Snapshot:
        lease = self.leases.get(node_id)
        return self._answer(node_id, known if lease and lease.renewed_ms == renewed_ms else None, now)

    def _answer(self, node_id: str, known: Snapshot | None, now: float) -> Snapshot:
        """What changed since, as far as the store can tell: it numbers what it says, and goes back in that, too."""
        whole = self.snapshot(now)
        if not self.said or not is_alike(self.said[-1], whole):
            self.said.append(whole)
        whole = replace(whole, mark=str(len(self.said)))
        if known is None or int(known.mark) > len(self.said):
            return whole
        before = self.said[int(known.mark) - 1]
        leases = {
            name: whole.leases.get(name)
            for name in whole.leases.keys() | before.leases.keys()
            if name == node_id or _told(whole.leases.get(name)) != _told(before.leases.get(name))
        }
        shards = {
            shard: whole.shards.get(shard)
            for shard in whole.shards.keys() | before.shards.keys()
            if whole.shards.get(shard) != before.shards.get(shard)
        }
        changes = Changes(
            whole.now_ms, whole.version, whole.mark, leases, shards, has_all_leases=False, has_all_shards=False
        )
        after = changes.since(known)
        assert is_alike(after, whole), "a node asked for what changed since something that is not so any more"
        return after

    def claim(self, shard: str, claimed: ShardOwner, expected_epoch: int) -> ShardOwner:
        current = self.shards.get(shard, ShardOwner("", 0))
        if current.epoch >= claimed.epoch or (current.node_id != claimed.node_id and current.epoch != expected_epoch):
            return current
        self.shards[shard] = claimed
        self.version = (self.version or self.life * CHANGES_PER_LIFE) + 1
        return claimed

    def snapshot(self, now: float) -> Snapshot:
        now_ms = round(now * 1000)
        leases = {node_id: replace(lease, is_over=lease.until_ms <= now_ms) for node_id, lease in self.leases.items()}
        return Snapshot(now_ms, self.version, leases, dict(self.shards))


def _told(lease: Lease | None) -> object:
    return lease and (lease.node, lease.is_over)


def is_alike(one: Snapshot, other: Snapshot) -> bool:
    """Whether they say the same, whatever the times of leases."""
    leases = [{node_id: _told(lease) for node_id, lease in snapshot.leases.items()} for snapshot in (one, other)]
    return leases[0] == leases[1] and one.shards == other.shards


class Cluster(RuleBasedStateMachine):
    """Nodes that do with their membership what the keeper does, in any order, with a store that fails in any way.

    `taken` keeps what really happened: who was given each epoch of each shard, whatever the store remembers of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.store = ModelStore()
        self.copies: list[ModelStore] = []
        self.nodes: dict[str, Membership] = {}
        self.taken: dict[tuple[str, int], str] = {}
        self.fenced: dict[str, set[str]] = {}
        self.lives = 1

    @initialize()
    def start(self) -> None:
        for node_id in NODE_IDS:
            node = self.nodes[node_id] = Membership(node_id, LEASE_SECONDS)
            self.fenced[node_id] = set()
            node.registered(self.store.register(node_id, self.now))
            node.go(NodeState.READY)
            self.renew(node_id)

    # What the keeper does.

    @rule(node_id=st.sampled_from(NODE_IDS))
    def renew(self, node_id: str) -> None:
        node = self.nodes[node_id]
        self.now += 0.001  # no two renewals of a node are of the same moment
        if not node.must_write_anew and not self._heartbeat(node_id):
            node.forgotten()
        if node.must_write_anew:
            node.begin_writing_anew(self.now)
            node.registered(self.store.register(node_id, self.now))
            for shard, epoch in list(node.shards.items()):
                mine = ShardOwner(node_id, epoch)
                owner = self.store.claim(shard, mine, 0)
                if node.outranks(shard, owner):
                    owner = self.store.claim(shard, mine, owner.epoch)
                if not node.claimed(shard, owner):
                    self.fenced[node_id].add(shard)
            node.wrote_anew()
            assert self._heartbeat(node_id)

    def _heartbeat(self, node_id: str) -> bool:
        node = self.nodes[node_id]
        snapshot = self.store.heartbeat(node_id, node.renewed_ms, node.known, self.now)
        if snapshot is None:
            return False
        before = node.view
        self.fenced[node_id].update(node.renewed(snapshot, self.now, self.now))
        self._check_that_absence_is_no_evidence(node, before)
        return True

    def _check_that_absence_is_no_evidence(self, node: Membership, before: ClusterView) -> None:
        """In grace, whoever was alive is alive, and every shard has an owner, whatever the store lacks."""
        if node.is_in_grace(self.now):
            assert {info.id for info in before.alive()} <= {info.id for info in node.view.alive()}
            assert before.shards.keys() <= node.view.shards.keys()

    @rule(node_id=st.sampled_from(NODE_IDS))
    def miss(self, node_id: str) -> None:
        """The store does not answer this one; a peer reaches it, or nobody knows."""
        self.nodes[node_id].missed(StoreUnavailable("away, as the test wants it"))
        for standing in (Standing.CUT_OFF, Standing.ISOLATED):
            assert self.nodes[node_id].peers_said(standing, [], self.now, goes_on_alone=False) == []

    @rule(beats=st.integers(1, 20))
    def be_away_from_all(self, beats: int) -> None:
        """The store answers nobody for a while, and all tell each other so, and whose each shard is, as they know."""
        for _ in range(beats):
            for node_id, node in self.nodes.items():
                node.missed(StoreUnavailable("away, as the test wants it"))
                words = [
                    PeerWord(False, {shard: owner for shard in node.shards if (owner := peer.owner_of(shard))})
                    for peer in self.nodes.values()
                    if peer is not node
                ]
                lost = node.peers_said(Standing.AWAY, words, self.now, goes_on_alone=False)
                self.fenced[node_id].update(lost)
                assert not node.has_lapsed(self.now + LEASE_SECONDS)
            self.now += 1.0

    @rule(node_id=st.sampled_from(NODE_IDS), peer_id=st.sampled_from(NODE_IDS))
    def hear_from_one_who_can_renew(self, node_id: str, peer_id: str) -> None:
        node, peer = self.nodes[node_id], self.nodes[peer_id]
        if node is peer:
            return
        self.renew(peer_id)
        node.missed(StoreUnavailable("cut off, as the test wants it"))
        word = PeerWord(True, {shard: owner for shard in node.shards if (owner := peer.owner_of(shard))})
        self.fenced[node_id].update(node.peers_said(Standing.CUT_OFF, [word], self.now, goes_on_alone=False))

    @rule(node_id=st.sampled_from(NODE_IDS))
    def look(self, node_id: str) -> None:
        node, before = self.nodes[node_id], self.nodes[node_id].view
        node.looked(self.store.look(node_id, node.renewed_ms, node.known, self.now), self.now)
        self._check_that_absence_is_no_evidence(node, before)

    @rule(node_id=st.sampled_from(NODE_IDS), shard=st.sampled_from(SHARDS))
    def claim_a_fresh_shard(self, node_id: str, shard: str) -> None:
        if any(shard == known for known, _ in self.taken):
            return
        owner = self.store.claim(shard, ShardOwner(node_id, 1), 0)
        if self.nodes[node_id].claimed(shard, owner):
            self.taken[shard, owner.epoch] = node_id

    @rule(node_id=st.sampled_from(NODE_IDS), shard=st.sampled_from(SHARDS))
    def hear_from_a_peer(self, node_id: str, shard: str) -> None:
        """A peer says who owns a shard, perhaps long after that changed."""
        epochs = sorted(epoch for name, epoch in self.taken if name == shard)
        for epoch in epochs:
            self.nodes[node_id].learned(shard, ShardOwner(self.taken[shard, epoch], epoch))

    # What happens to them.

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 6.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        """Nobody does anything meanwhile: for a node whose lease is shorter than that it is a pause."""
        self.now += seconds

    @rule(taker=st.sampled_from(NODE_IDS), shard=st.sampled_from(SHARDS))
    def adopt(self, taker: str, shard: str) -> None:
        """A node takes over the shard of one that it takes for dead, and that is dead by the store's time."""
        self.look(taker)
        node, owner = self.nodes[taker], self.store.shards.get(shard)
        if owner is None or node.view.owner_of(shard) != owner or node.is_in_grace(self.now):
            return
        if node.view.is_alive(owner.node_id) or not self._is_alive(taker) or owner.node_id not in self.store.leases:
            return
        assert not self._is_alive(owner.node_id)
        epoch = owner.epoch + 1
        claimed = self.store.claim(shard, ShardOwner(taker, epoch), owner.epoch)
        assert self.nodes[taker].claimed(shard, claimed)
        self.taken[shard, epoch] = taker

    def _is_alive(self, node_id: str) -> bool:
        lease = self.store.leases.get(node_id)
        return lease is not None and lease.until_ms > round(self.now * 1000)

    @rule()
    def lose_everything(self) -> None:
        self.store = ModelStore(life=self._another_life())

    @rule()
    def lose_the_shards(self) -> None:
        """One key of the two was evicted, or deleted by hand."""
        self.store.shards, self.store.version, self.store.life = {}, 0, self._another_life()

    def _another_life(self) -> int:
        """Where the store's own clock moved on meanwhile, as it does between two seconds."""
        self.lives += 1
        return self.lives

    @rule()
    def copy(self) -> None:
        self.copies.append(copy.deepcopy(self.store))

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def set_back(self, data: st.DataObject) -> None:
        self.store = copy.deepcopy(data.draw(st.sampled_from(self.copies)))
        self.store.life = self._another_life()

    # What has to be true.

    @invariant()
    def no_epoch_has_two_owners(self) -> None:
        """Not in the store, and not in what the nodes believe."""
        for node_id, node in self.nodes.items():
            for shard, epoch in node.shards.items():
                assert self.taken[shard, epoch] == node_id
        for shard, owner in self.store.shards.items():
            assert self.taken[shard, owner.epoch] == owner.node_id

    @invariant()
    def no_two_serve_the_same_shard(self) -> None:
        for shard in {shard for shard, _ in self.taken}:
            serving = [n for n, node in self.nodes.items() if shard in node.shards and not node.has_lapsed(self.now)]
            assert len(serving) <= 1, (shard, serving)

    @invariant()
    def a_shard_is_given_up_or_fenced(self) -> None:
        """Whoever was given a shard holds it still, unless it was told to fence it."""
        for (shard, _), node_id in self.taken.items():
            assert shard in self.nodes[node_id].shards or shard in self.fenced[node_id]

    def teardown(self) -> None:
        """After one more round with a store that works, all agree: every shard has the last of its owners."""
        if not self.nodes:
            return
        for _ in range(3):
            self.now += 1.0
            for node_id in NODE_IDS:
                self.renew(node_id)
        for node_id, node in self.nodes.items():
            assert node.state is NodeState.READY
            assert not node.must_write_anew
            assert not node.has_lapsed(self.now)
            assert node.view.shards == self.store.shards
            assert all(node.view.is_alive(peer) for peer in NODE_IDS)
            held = {shard: ShardOwner(node_id, epoch) for shard, epoch in node.shards.items()}
            assert held == {shard: owner for shard, owner in self.store.shards.items() if owner.node_id == node_id}


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


# One case after another, where a property says less than an example.


def a_member() -> tuple[Membership, ModelStore]:
    """A node that is ready, with a renewed lease and one shard, at 1,000 s."""
    store, node = ModelStore(), Membership(ME, LEASE_SECONDS)
    node.registered(store.register(ME, 1_000.0))
    assert node.claimed("aaaaa", store.claim("aaaaa", ShardOwner(ME, 1), 0))
    node.go(NodeState.READY)
    snapshot = store.heartbeat(ME, node.renewed_ms, node.known, 1_000.0)
    assert snapshot is not None
    assert node.renewed(snapshot, 1_000.0, 1_000.0) == []
    return node, store


def test_whoever_was_told_that_its_lease_is_over_serves_nothing_until_it_has_renewed() -> None:
    """However many of the peers that it knows cannot renew either."""
    node, store = a_member()
    node.missed(StoreUnavailable("away"))
    assert node.peers_said(Standing.AWAY, [], 1_004.0, goes_on_alone=True) == []
    node.was_told_that_it_is_over()
    for standing in (None, Standing.AWAY, Standing.ISOLATED):
        if standing is not None:
            node.peers_said(standing, [], 1_006.0, goes_on_alone=True)
        assert node.standing is Standing.CUT_OFF
        assert node.has_lapsed(1_006.0)
    snapshot = store.heartbeat(ME, node.renewed_ms, node.known, 1_007.0)
    assert snapshot is not None
    node.renewed(snapshot, 1_007.0, 1_007.0)
    assert not node.has_lapsed(1_007.0)
    node.peers_said(Standing.AWAY, [], 1_008.0, goes_on_alone=False)
    assert node.standing is Standing.AWAY


def test_a_node_may_serve_nothing_before_its_first_renewal() -> None:
    node = Membership(ME, LEASE_SECONDS)
    assert node.has_lapsed(0.0)
    assert node.state is NodeState.STARTING


def test_a_lease_is_counted_from_the_asking_and_not_from_the_answer() -> None:
    node, store = a_member()
    snapshot = store.heartbeat(ME, node.renewed_ms, node.known, 1_003.0)
    assert snapshot is not None
    node.renewed(snapshot, asked=1_001.0, now=1_004.0)
    assert not node.has_lapsed(1_006.0)
    assert node.has_lapsed(1_006.1)


def test_the_time_of_all_is_the_stores_as_it_was_at_the_last_renewal() -> None:
    assert Membership(ME, LEASE_SECONDS).store_time(1_000.0) is None
    node, store = a_member()
    snapshot = store.heartbeat(ME, node.renewed_ms, node.known, 1_500.0)
    assert snapshot is not None
    node.renewed(snapshot, asked=1_001.0, now=1_001.0)
    assert node.store_time(1_004.0) == 1_503.0


@pytest.mark.parametrize("can_renew", [True, False])
def test_a_node_that_is_cut_off_goes_by_the_time_of_whoever_is_not(can_renew: bool) -> None:
    """Redis may have failed over to a machine with another time, and this node does not reach it there."""
    node, _ = a_member()
    node.missed(StoreUnavailable("away"))
    standing = Standing.CUT_OFF if can_renew else Standing.AWAY
    node.peers_said(standing, [PeerWord(can_renew, {}, 1_121_000)], 1_001.0, goes_on_alone=False)
    assert node.store_time(1_001.0) == (1_121.0 if can_renew else 1_001.0)
    node.peers_said(standing, [PeerWord(can_renew, {})], 1_002.0, goes_on_alone=False)
    assert node.store_time(1_002.0) == (1_122.0 if can_renew else 1_002.0)


def test_what_is_known_is_of_the_last_renewal_and_no_later_look_counts() -> None:
    node, store = a_member()
    renewal = node.known
    assert renewal is not None
    store.claim("bbbbb", ShardOwner(PEERS[0], 1), 0)
    node.looked(store.look(ME, node.renewed_ms, node.known, 1_001.0), 1_001.0)
    assert node.view.owner_of("bbbbb") == ShardOwner(PEERS[0], 1)
    assert node.known == renewal
    node.registered(store.register(ME, 1_002.0))
    assert node.known is None


def test_a_shard_that_vanished_alone_is_written_anew() -> None:
    node, store = a_member()
    store.shards, store.version = {}, 0
    snapshot = store.heartbeat(ME, node.renewed_ms, node.known, 1_001.0)
    assert snapshot is not None
    assert node.renewed(snapshot, 1_001.0, 1_001.0) == []
    assert node.must_write_anew
    assert node.shards == {"aaaaa": 1}


def test_a_shard_that_was_adopted_while_the_store_was_asked_is_no_loss() -> None:
    """Many requests ask at once: the store may have answered one before it gave another one the shard."""
    member, store = a_member()
    shards_then = dict(member.shards)
    before = store.look(ME, member.renewed_ms, member.known, 1_001.0)
    assert member.claimed("zzzzz", ShardOwner(ME, 7))
    member.looked(member.with_later_claims(before, shards_then), 1_001.0)
    assert not member.is_in_grace(1_001.0)
    assert not member.must_write_anew
    assert member.shards["zzzzz"] == 7
    member.looked(member.with_later_claims(before, dict(member.shards)), 1_001.0)
    assert member.must_write_anew  # asked later, and it lacks the shard


def test_an_outage_is_news_once_and_its_end_too() -> None:
    node, _ = a_member()
    assert node.missed(StoreUnavailable("first"))
    assert not node.missed(StoreUnavailable("second"))
    assert (node.state, node.why_degraded) == (NodeState.DEGRADED, "second")
    assert node.wrote_anew()
    assert not node.wrote_anew()
    assert (node.state, node.why_degraded) == (NodeState.READY, "")


def test_a_draining_node_stays_draining_through_an_outage() -> None:
    node, _ = a_member()
    node.go(NodeState.DRAINING)
    assert not node.missed(StoreUnavailable("away"))
    assert not node.wrote_anew()
    assert node.state is NodeState.DRAINING


def test_a_lease_that_was_not_renewed_ends() -> None:
    node, _ = a_member()
    node.missed(StoreUnavailable("away"))
    assert not node.has_lapsed(1_005.0)
    assert node.has_lapsed(1_005.1)


@pytest.mark.parametrize(
    ("standing", "goes_on_alone", "goes_on"),
    [
        (Standing.AWAY, False, True),
        (Standing.AWAY, True, True),
        (Standing.CUT_OFF, False, False),
        (Standing.CUT_OFF, True, False),
        (Standing.ISOLATED, False, False),
        (Standing.ISOLATED, True, True),
    ],
)
def test_what_the_peers_say_decides_whether_a_node_goes_on(
    standing: Standing, goes_on_alone: bool, goes_on: bool
) -> None:
    node, _ = a_member()
    node.missed(StoreUnavailable("away"))
    assert node.peers_said(standing, [], 1_004.0, goes_on_alone=goes_on_alone) == []
    assert node.standing is standing
    assert node.has_lapsed(1_005.1) is not goes_on
    assert node.has_lapsed(1_009.1)


def test_a_peers_word_ends_what_another_node_owns_by_now_and_nothing_else() -> None:
    node, store = a_member()
    for shard in ("bbbbb", "ccccc"):
        assert node.claimed(shard, store.claim(shard, ShardOwner(ME, 3), 0))
    word = PeerWord(
        True,
        {
            "aaaaa": ShardOwner(PEERS[0], 2),
            "bbbbb": ShardOwner(PEERS[0], 2),  # of old
            "ccccc": ShardOwner(ME, 4),
            "ddddd": ShardOwner(PEERS[0], 9),  # never ours
        },
    )
    assert node.peers_said(Standing.CUT_OFF, [word, word], 1_001.0, goes_on_alone=False) == ["aaaaa"]
    assert set(node.shards) == {"bbbbb", "ccccc"}
    assert node.view.owner_of("aaaaa") == ShardOwner(PEERS[0], 2)


def test_a_node_that_was_declared_dead_holds_nothing_so_no_lease_binds_it() -> None:
    node, _ = a_member()
    assert node.declared_dead() == ["aaaaa"]
    assert not node.has_lapsed(10**9)
    assert node.state is NodeState.DRAINING


def test_nobody_comes_back_from_the_dead() -> None:
    node, _ = a_member()
    node.go(NodeState.GONE)
    with pytest.raises(IllegalMove):
        node.go(NodeState.READY)


def test_shards_cannot_be_changed_from_outside() -> None:
    node, _ = a_member()
    with pytest.raises(TypeError):
        node.shards["bbbbb"] = 1  # type: ignore[index]


def test_what_is_let_go_is_ours_no_more_and_missed_by_nobody() -> None:
    node, store = a_member()
    node.let_go("aaaaa")
    node.let_go("bbbbb")
    assert dict(node.shards) == {}
    del store.shards["aaaaa"]
    snapshot = store.heartbeat(ME, node.renewed_ms, node.known, 1_001.0)
    assert snapshot is not None
    assert node.renewed(snapshot, 1_001.0, 1_001.0) == []
    assert not node.must_write_anew


def test_whoever_left_or_was_declared_dead_takes_nothing_more() -> None:
    for is_declared in (True, False):
        node, _ = a_member()
        assert not node.has_left
        if is_declared:
            node.declared_dead()
        else:
            node.go(NodeState.GONE)
        assert node.has_left


def renewed(node: Membership, store: ModelStore, now: float) -> None:
    snapshot = store.heartbeat(ME, node.renewed_ms, node.known, now)
    assert snapshot is not None
    node.renewed(snapshot, now, now)


def test_a_shard_that_a_peer_gave_is_ours_and_known_as_a_gift_until_it_is_not() -> None:
    node, store = a_member()
    store.claim("bbbbb", ShardOwner(PEERS[0], 1), 0)
    renewed(node, store, 1_001.0)
    assert not node.was_given("bbbbb")
    store.shards["bbbbb"] = ShardOwner(ME, 2)
    store.version += 1
    renewed(node, store, 1_002.0)
    assert (node.shards["bbbbb"], node.take_given(), node.take_given()) == (2, {"bbbbb": PEERS[0]}, {})
    assert node.was_given("bbbbb")
    assert not node.was_given("aaaaa")
    assert node.claimed("bbbbb", ShardOwner(ME, 3), is_raised=True)  # a later epoch, so that nobody else writes for it
    assert node.was_given("bbbbb")

    node.gave("bbbbb", ShardOwner(PEERS[0], 4))
    assert not node.was_given("bbbbb")
    # Its new owner died, and we took it: that was no gift.
    assert node.claimed("bbbbb", ShardOwner(ME, 5))
    assert not node.was_given("bbbbb")


def test_what_was_ours_before_is_no_gift_when_an_old_copy_of_the_store_comes_back() -> None:
    node, store = a_member()
    node.gave("aaaaa", ShardOwner(PEERS[0], 2))
    store.shards["aaaaa"] = ShardOwner(ME, 1)
    store.version += 1
    renewed(node, store, 1_001.0)
    assert (node.take_given(), dict(node.shards)) == ({}, {})
