"""One node from its start to its stop: what it says of itself, when it does not start, and where new sessions go."""

from __future__ import annotations

import re
import time
from collections import Counter
from importlib.metadata import version
from typing import Any

import pytest

from mooring import ClosedSession, Settings, SettingsError, StoreUnavailable
from mooring.core.endpoints import FOUND_AT_MOST
from mooring.core.ids import SessionIds
from mooring.core.model import NodeState
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.store import MemoryStore, RedisStore, Store
from tests.cluster_in_process import SECRET
from tests.fakes import FlakyStore, store_that_is_away
from tests.node.direct import QUIET
from tests.waiting import until

OTHER_SECRET = "another secret, of another cluster"


def a_node(store: Store | None = None, **settings: Any) -> Node:
    known: dict[str, Any] = {"node_name": "node-1", "secret": SECRET, "shards": 4, **QUIET}
    return Node(Settings.load(**known | settings), MemoryStore() if store is None else store)


async def a_session(node: Node) -> LocalSession:
    session_id, shard = node.mint()
    session = LocalSession(session_id, shard, session_id, 0.0, 0.0, 0.0, "", "2025-11-25", "test 1", b"{}")
    await node.sessions.open(session)
    return session


async def states(store: Store) -> dict[str, NodeState]:
    return {node_id: lease.node.state for node_id, lease in (await store.snapshot()).leases.items()}


# Start.


async def test_a_node_that_started_is_ready_with_its_shards_and_known_to_all() -> None:
    store = MemoryStore()
    node = a_node(store)
    assert node.membership.state is NodeState.STARTING
    await node.start()
    snapshot = await store.snapshot()
    assert snapshot.leases[node.id].node == node.describe()
    assert {shard for shard, owner in (snapshot.shards or {}).items() if owner.node_id == node.id} == set(
        node.membership.shards
    )
    assert len(node.membership.shards) == 4
    await node.stop()


async def test_a_node_that_started_keeps_its_lease() -> None:
    store = MemoryStore()
    node = a_node(store, heartbeat_seconds=0.01, lease_seconds=5)
    await node.start()
    first = (await store.snapshot()).leases[node.id].until_ms

    async def is_renewed() -> bool:
        return (await store.snapshot()).leases[node.id].until_ms > first

    await until(is_renewed, what="the lease to be renewed")
    await node.stop()


async def test_a_node_does_not_start_while_its_store_is_away_and_may_be_asked_again() -> None:
    store = store_that_is_away()
    node = a_node(store)
    with pytest.raises(StoreUnavailable):
        await node.start()
    store.away = False
    await node.start()
    assert await states(store.inner) == {node.id: NodeState.READY}
    await node.stop()


async def test_a_node_with_another_secret_does_not_start_and_says_whose_it_lacks() -> None:
    store = MemoryStore()
    first, second = a_node(store, node_name="first"), a_node(store, node_name="second")
    stranger = a_node(store, node_name="stranger", secret=OTHER_SECRET)
    for node in (first, second):
        await node.start()
    with pytest.raises(SettingsError, match="first, second") as told:
        await stranger.start()
    assert told.value.name == "secret"
    assert SECRET not in str(told.value)
    assert OTHER_SECRET not in str(told.value)
    await stranger.stop()
    assert (await states(store))[stranger.id] is NodeState.GONE
    await second.keeper.beat()
    assert {info.id for info in second.membership.view.alive()} == {first.id, second.id}
    for node in (first, second):
        await node.stop()


async def test_while_the_secret_is_changed_nodes_start_in_the_right_order_alone() -> None:
    store = MemoryStore()
    steps = [SECRET, f"{SECRET}\n{OTHER_SECRET}", f"{OTHER_SECRET}\n{SECRET}", OTHER_SECRET]
    before = a_node(store, node_name="before", secret=steps[0])
    await before.start()
    for number, secret in enumerate(steps[1:], 1):
        for too_soon in steps[number + 1 :]:
            hasty = a_node(store, node_name="hasty", secret=too_soon)
            with pytest.raises(SettingsError, match="before has"):
                await hasty.start()
            await hasty.stop()
        after = a_node(store, node_name="before", secret=secret)
        await after.start()
        session_id, shard = before.mint()
        assert after.ids.shard_of(session_id) == shard
        await before.stop()
        before = after
    await before.stop()


async def test_a_dead_node_with_another_secret_is_no_hindrance() -> None:
    """So a cluster can be given a new secret: stop it, and start it again."""
    store = MemoryStore()
    before, after = a_node(store), a_node(store, secret=OTHER_SECRET)
    await before.start()
    await before.stop()
    await after.start()
    assert (await states(store))[after.id] is NodeState.READY
    await after.stop()


async def test_a_node_that_shares_a_redis_needs_the_secret_of_its_peers() -> None:
    given = {"redis_url": "redis://127.0.0.1:1", "secret": SECRET, "advertise_url": "http://10.0.0.7:8000"}
    store = RedisStore(given["redis_url"], "mcp", 1)
    with pytest.raises(SettingsError, match="setting secret: None is wrong: needed with redis_url") as told:
        Node(Settings.load(**{name: value for name, value in given.items() if name != "secret"}), store)
    assert told.value.name == "secret"
    assert Node(Settings.load(**given), store).describe().url == given["advertise_url"]
    await store.aclose()


# What it says of itself.


def test_a_node_started_anew_is_another_one_of_the_same_name() -> None:
    ids = [a_node().id for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(re.fullmatch(r"node-1-[a-z2-7]{5}", node_id) for node_id in ids)


async def test_what_a_node_says_is_so_at_that_moment() -> None:
    node = a_node(capacity=7)
    before = node.describe()
    assert (before.name, before.sessions, before.capacity) == ("node-1", 0, 7)
    assert (before.state, before.version) == (NodeState.STARTING, version("mooring"))
    await node.start()
    await a_session(node)
    node.tally.served += 3
    now = node.describe()
    assert (now.state, now.sessions, now.counters.served) == (NodeState.READY, 1, 3)
    assert now.id == before.id
    await node.stop()


async def test_when_a_node_started_is_told_by_the_clock_of_all_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its machine's clock, years behind, it would be the oldest, and all logins its own once it has come."""
    store = MemoryStore(lambda: 1_800_000_000.0)
    first, second = a_node(store, node_name="node-1"), a_node(store, node_name="node-2")
    await first.start()
    monkeypatch.setattr(time, "time", lambda: 1.0)
    await second.start()
    known = {info.name: info.started for info in first.membership.view.alive()}
    snapshot = await store.snapshot()
    known |= {lease.node.name: lease.node.started for lease in snapshot.leases.values()}
    assert known == {"node-1": 1_800_000_000.0, "node-2": 1_800_000_000.0}
    await second.stop()
    await first.stop()


# New sessions.


async def test_new_sessions_go_to_the_nodes_shards_in_turn() -> None:
    node = a_node()
    await node.start()
    minted = [node.mint() for _ in range(12)]
    assert all(SessionIds(SECRET).shard_of(session_id) == shard for session_id, shard in minted)
    assert len({session_id for session_id, _ in minted}) == 12
    assert Counter(shard for _, shard in minted) == dict.fromkeys(node.membership.shards, 3)
    assert all({shard for _, shard in minted[n : n + 4]} == set(node.membership.shards) for n in range(9))
    await node.stop()


def test_a_node_without_a_shard_mints_all_the_same() -> None:
    node = a_node()
    assert node.membership.shards == {}
    session_id, shard = node.mint()
    assert SessionIds(SECRET).shard_of(session_id) == shard


def test_a_single_node_without_a_secret_makes_one_of_its_own() -> None:
    one, other = (Node(Settings.load(), MemoryStore()) for _ in range(2))
    session_id, shard = one.mint()
    assert one.ids.shard_of(session_id) == shard
    assert other.ids.shard_of(session_id) is None
    assert SessionIds("").shard_of(session_id) is None


async def test_a_node_takes_new_sessions_while_it_is_up_stays_and_has_room() -> None:
    store = FlakyStore(MemoryStore())
    node = a_node(store, capacity=1)
    assert not node.takes_new_sessions
    await node.start()
    assert node.takes_new_sessions
    store.away = True
    await node.keeper.beat()
    assert node.takes_new_sessions
    store.away = False
    await node.keeper.beat()
    session = await a_session(node)
    assert not node.takes_new_sessions
    await node.sessions.close(session.id)
    assert node.takes_new_sessions
    node.membership.go(NodeState.DRAINING)
    assert not node.takes_new_sessions
    await node.stop()
    assert not node.takes_new_sessions


# Stop.


class ClosingStore(MemoryStore):
    """Knows whether its connections were let go, and what it was told before."""

    def __init__(self) -> None:
        super().__init__()
        self.closed_with: list[dict[str, NodeState]] = []

    async def aclose(self) -> None:
        self.closed_with.append(await states(self))


async def test_a_node_that_stops_says_goodbye_and_then_lets_go_of_its_store() -> None:
    store = ClosingStore()
    node = a_node(store)
    await node.start()
    assert not node.is_stopping
    await node.stop()
    assert node.is_stopping
    assert store.closed_with == [{node.id: NodeState.GONE}]


async def test_a_node_that_never_started_says_nothing_at_its_stop() -> None:
    store = ClosingStore()
    await a_node(store).stop()
    assert store.closed_with == [{}]


async def test_a_node_stops_though_its_store_is_away() -> None:
    store = FlakyStore(MemoryStore())
    node = a_node(store)
    await node.start()
    store.away = True
    await node.stop()
    assert node.is_stopping


@pytest.mark.parametrize("why", ["it cannot be revived", "it was deleted", "it must not be revived"])
async def test_a_session_that_the_app_ends_goes_off_the_record_unless_it_can_be_revived_or_the_node_stops(
    why: str,
) -> None:
    """At a stop all transports end. The records stay: their sessions go on elsewhere."""
    store = MemoryStore()
    node = a_node(store, on_node_loss="reinitialize" if why == "it must not be revived" else "revive")
    closed: list[ClosedSession] = []
    node.sessions.add_close_handler(closed.append)
    await node.start()
    ended, kept = await a_session(node), await a_session(node)
    if why == "it cannot be revived":
        ended.initialize = b""
    elif why == "it was deleted":
        ended.ends_as = "deleted"
    node.session_ended(ended.id)
    await node.stop()
    node.session_ended(kept.id)
    await node.sessions.settle()
    assert [record.id async for record in store.sessions()] == [kept.id]
    assert closed == [ClosedSession(ended.id, ended.ends_as, "")]


async def test_a_session_that_the_app_ends_by_itself_stays_on_record_to_be_revived() -> None:
    store = MemoryStore()
    node = a_node(store)
    closed: list[ClosedSession] = []
    node.sessions.add_close_handler(closed.append)
    await node.start()
    session = await a_session(node)
    session.last_seen = 77.0
    node.session_ended(session.id)
    node.session_ended(session.id)
    await node.sessions.settle()
    assert node.sessions.find(session.id) is None
    record = await store.load_session(session.id)
    assert record is not None
    assert record.last_seen == 77.0
    assert closed == [ClosedSession(session.id, "ended", "")]
    await node.stop()


# Endpoints.


def test_a_node_that_finds_no_more_endpoints_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    node = a_node()
    for number in range(FOUND_AT_MOST + 10):
        assert node.found_endpoint(f"/{number}/mcp") == f"/{number}/mcp"
    assert [record.message for record in caplog.records if "mcp_path" in record.message] == [
        "found 1000 MCP endpoints, and finds no more: name them by a pattern (mcp_path, such as /{id}/mcp), and find "
        "no others (find_endpoints)"
    ]
