from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from mooring.core.model import Counters, Lease, NodeInfo, NodeState, SessionRecord, ShardOwner, Snapshot
from mooring.core.ownership import ClusterView
from mooring.errors import StoreUnavailable
from mooring.store import MemoryStore, Store
from mooring.store.registry import Registry, counters_as_json, node_as_json, watch
from tests.fakes import Clock, FlakyStore, store_that_is_away

EVERY_SECONDS = 2.0
GRACE_SECONDS = 5.0
LEASE_SECONDS = 5.0


def a_node(name: str = "node-1", generation: str = "aaaaa", started: float = 0.0) -> NodeInfo:
    return NodeInfo(
        id=f"{name}-{generation}",
        name=name,
        url=f"http://{name}:8000",
        pid=1,
        state=NodeState.READY,
        sessions=0,
        capacity=100,
        version="0.1.0",
        secret_id="0123abcd",
        started=started,
        counters=Counters(served=7, refused={"forged": 2}, adopted=8, revived=3, outcomes={"rerun": 1}),
    )


def a_record(session_id: str, created: float) -> SessionRecord:
    return SessionRecord(session_id, "node-1-aaaaa", created, created)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


# Registry


async def test_nodes_come_by_name_and_the_older_first(store: MemoryStore) -> None:
    for node in (a_node("b"), a_node("a", "zzzzz", 1.0), a_node("a", "yyyyy", 2.0)):
        await store.register(node, LEASE_SECONDS)
    assert [status.info.id for status in await Registry(store).nodes()] == ["a-zzzzz", "a-yyyyy", "b-aaaaa"]


async def test_a_node_is_told_with_its_shards_its_age_and_its_counters(store: MemoryStore, clock: Clock) -> None:
    node = a_node()
    await store.register(node, LEASE_SECONDS)
    await store.register(a_node("node-2"), LEASE_SECONDS)
    for shard, owner in {"bbbbb": node.id, "aaaaa": node.id, "ccccc": "node-2-aaaaa", "ddddd": "forgotten"}.items():
        await store.claim(shard, ShardOwner(owner, 1), 0)
    clock.now += 1.5
    first, second = await Registry(store).nodes()
    assert first.info == node
    assert first.shards == ["aaaaa", "bbbbb"]
    assert first.lease_age_seconds == 1.5
    assert first.counters == a_node().counters
    assert second.shards == ["ccccc"]


@pytest.mark.parametrize("state", [state for state in NodeState if state is not NodeState.GONE])
async def test_a_node_without_a_lease_is_dead_whatever_it_said_last(
    store: MemoryStore, clock: Clock, state: NodeState
) -> None:
    await store.register(replace(a_node(), state=state), LEASE_SECONDS)
    assert [status.state for status in await Registry(store).nodes()] == [str(state)]
    clock.now += LEASE_SECONDS
    assert [status.state for status in await Registry(store).nodes()] == ["dead"]


async def test_a_node_that_said_goodbye_is_gone_and_not_dead(store: MemoryStore, clock: Clock) -> None:
    await store.register(a_node(), LEASE_SECONDS)
    await store.leave(a_node())
    clock.now += 100
    (status,) = await Registry(store).nodes()
    assert status.state == "gone"
    assert status.lease_age_seconds == 100


async def test_sessions_come_the_oldest_first(store: MemoryStore) -> None:
    records = [a_record("c", 3.0), a_record("a", 1.0), a_record("z", 2.0), a_record("b", 2.0)]
    await store.save_sessions(records, 60)
    assert [record.id for record in await Registry(store).sessions()] == ["a", "b", "z", "c"]


async def test_the_oldest_come_with_how_many_there_are_and_the_others_are_not_read(store: MemoryStore) -> None:
    records = [a_record("c", 3.0), a_record("a", 1.0), a_record("z", 2.0), a_record("b", 2.0)]
    await store.save_sessions(records, 60)
    counted = FlakyStore(store)
    oldest, total = await Registry(counted).oldest_sessions(3)
    assert ([record.id for record in oldest], total) == (["a", "b", "z"], 4)
    assert counted.calls.count("load_session") == 3
    everything, total = await Registry(store).oldest_sessions(9)
    assert ([record.id for record in everything], total) == (["a", "b", "z", "c"], 4)


async def test_sessions_are_found_by_how_their_ids_begin(store: MemoryStore) -> None:
    await store.save_sessions([a_record("abc", 1.0), a_record("abd", 2.0), a_record("xab", 3.0)], 60)
    assert [record.id for record in await Registry(store).sessions("ab")] == ["abc", "abd"]


async def test_a_session_is_found_wherever_it_lives(store: MemoryStore) -> None:
    await store.save_session(a_record("a", 1.0), 60)
    assert await Registry(store).session("a") == a_record("a", 1.0)
    assert await Registry(store).session("b") is None


async def test_an_empty_cluster_is_no_error(store: MemoryStore) -> None:
    assert await Registry(store).nodes() == []
    assert await Registry(store).sessions() == []


async def test_every_question_says_that_the_store_is_away() -> None:
    registry = Registry(store_that_is_away())
    for question in (registry.nodes(), registry.sessions(), registry.session("a")):
        with pytest.raises(StoreUnavailable):
            await question


# What programs read.


@pytest.mark.parametrize("state", [*map(str, NodeState), "dead"])
def test_a_node_for_programs_is_plain_json_and_alive_until_it_is_over(state: str) -> None:
    told = node_as_json(a_node(), state, ["aaaaa"])
    assert json.loads(json.dumps(told)) == told
    assert told["alive"] is (state not in ("dead", "gone"))
    assert told == {
        "id": "node-1-aaaaa",
        "name": "node-1",
        "pid": 1,
        "url": "http://node-1:8000",
        "peer_link": "direct",
        "relayed_to": [],
        "version": "0.1.0",
        "state": state,
        "alive": told["alive"],
        "sessions": 0,
        "capacity": 100,
        "shards": ["aaaaa"],
        "served": 7,
        "forwarded_in": 0,
        "forwarded_out": 0,
        "refused": {"forged": 2},
        "adopted": 8,
        "revived": 3,
        "outcomes": {"rerun": 1},
        "streams_open": 0,
        "streams_kept": 0,
    }


def test_what_programs_read_is_theirs_to_change() -> None:
    counters = Counters(refused={"forged": 2}, outcomes={"rerun": 1})
    counters_as_json(counters)["refused"]["forged"] += 1
    counters_as_json(counters)["outcomes"]["rerun"] += 1
    assert counters == Counters(refused={"forged": 2}, outcomes={"rerun": 1})


# watch


class Story:
    """A store over time: each sleep of the watcher is the next chapter."""

    def __init__(self, clock: Clock, *chapters: Callable[[], Store]) -> None:
        self._clock = clock
        self._chapters = iter(chapters)
        self._current = next(self._chapters)()
        self.slept: list[float] = []

    async def snapshot(self) -> Snapshot:
        return await self._current.snapshot()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._clock.now += seconds
        chapter = next(self._chapters, None)
        if chapter is None:
            raise TheEnd
        self._current = chapter()

    async def views(self) -> list[ClusterView]:
        seen: list[ClusterView] = []
        watching = watch(
            self,  # type: ignore[arg-type]
            every_seconds=EVERY_SECONDS,
            grace_seconds=GRACE_SECONDS,
            sleep=self.sleep,
            now=self._clock,
        )
        while True:
            try:
                seen.append(await anext(watching))
            except TheEnd:
                return seen


class TheEnd(Exception):
    pass


def names(view: ClusterView) -> list[str]:
    return [node.name for node in view.alive()]


@pytest.fixture
def write(clock: Clock) -> Callable[..., Store]:
    """A store that these nodes have just written, each with a shard; version and leases are of that moment."""

    def written(*nodes: str, version: int | None = None) -> MemoryStore:
        store = MemoryStore(clock)
        now_ms = int(clock.now * 1000)
        for n, name in enumerate(nodes):
            node = a_node(name)
            store._shards["abcde"[n] * 5] = ShardOwner(node.id, 1)
            store._leases[node.id] = _lease(node, now_ms)
        store._version = len(nodes) if version is None else version
        return store

    return written


def _lease(node: NodeInfo, now_ms: int) -> Lease:
    return Lease(node, now_ms + int(LEASE_SECONDS * 1000), now_ms)


async def test_the_first_view_comes_at_once_and_then_one_after_each_look(
    clock: Clock, write: Callable[..., Store]
) -> None:
    story = Story(clock, write, lambda: write("a"), lambda: write("a", "b"), lambda: write("a", "b"))
    assert [names(view) for view in await story.views()] == [[], ["a"], ["a", "b"], ["a", "b"]]
    assert story.slept == [EVERY_SECONDS] * 4


async def test_while_the_store_is_away_the_last_view_stands(
    clock: Clock, write: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    away = [store_that_is_away] * 10
    story = Story(clock, lambda: write("a"), *away, lambda: write("a"))
    assert [names(view) for view in await story.views()] == [["a"], ["a"]]
    assert len(story.slept) == 12
    assert [(record.name, record.levelno) for record in caplog.records] == [("mooring.registry", logging.WARNING)]


async def test_each_outage_is_logged_once(
    clock: Clock, write: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    await Story(clock, *[store_that_is_away] * 3, write, *[store_that_is_away] * 3, write).views()
    assert caplog.text.count("the registry does not answer") == 2


async def test_a_store_that_comes_back_empty_takes_nobody_away_for_the_grace(
    clock: Clock, write: Callable[..., Store]
) -> None:
    back = [write] * 5
    story = Story(clock, lambda: write("a", "b"), store_that_is_away, *back)
    views = await story.views()
    assert [names(view) for view in views] == [["a", "b"], ["a", "b"], ["a", "b"], ["a", "b"], [], []]
    assert [bool(view.shards) for view in views] == [True, True, True, True, False, False]


async def test_a_store_that_was_emptied_between_two_looks_is_noticed(clock: Clock, write: Callable[..., Store]) -> None:
    story = Story(clock, lambda: write("a", "b"), write, lambda: write("a"), lambda: write("a", "b"))
    assert [names(view) for view in await story.views()] == [["a", "b"]] * 4


async def test_a_node_whose_lease_ends_is_dead_where_nothing_was_lost(
    clock: Clock, write: Callable[..., Store]
) -> None:
    store = write("a", "b")
    story = Story(clock, *itertools.repeat(lambda: store, 4))
    assert [names(view) for view in await story.views()] == [["a", "b"], ["a", "b"], ["a", "b"], []]


async def test_a_node_that_says_goodbye_goes_at_once_also_in_the_grace(
    clock: Clock, write: Callable[..., MemoryStore]
) -> None:
    def back() -> Store:
        store = write("a")
        store._leases["b-aaaaa"] = replace(_lease(a_node("b"), 0), node=replace(a_node("b"), state=NodeState.GONE))
        return store

    story = Story(clock, lambda: write("a", "b"), store_that_is_away, back)
    assert [names(view) for view in await story.views()] == [["a", "b"], ["a"]]


async def test_another_error_than_the_stores_is_not_swallowed(clock: Clock) -> None:
    class Broken(MemoryStore):
        async def snapshot(self) -> Snapshot:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Story(clock, Broken).views()
