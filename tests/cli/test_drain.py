from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mooring.core.model import NodeState
from mooring.errors import StoreUnavailable
from mooring.store import MemoryStore
from tests.cli.command import mooring
from tests.cli.registries import NODE_1, NODE_2, filled_store, use
from tests.fakes import Clock, FlakyStore


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    store = filled_store(Clock(1_800_000_000.0))
    use(store, monkeypatch)
    return store


def test_the_node_is_told_and_nobody_else(store: MemoryStore) -> None:
    said = mooring("drain", "node-1")
    assert (said.code, said.out) == (0, "node-1 was told to drain; it has 2 sessions\n")
    assert asyncio.run(store.order_for(NODE_1.id)) == "drain"
    assert asyncio.run(store.order_for(NODE_2.id)) == ""


def test_one_that_waits_sees_it_done(store: MemoryStore) -> None:
    asyncio.run(store.register(replace(NODE_1, state=NodeState.DRAINING, sessions=0), 60))
    asyncio.run(store.retire("abcde", (asyncio.run(store.snapshot())).shards["abcde"]))
    said = mooring("drain", "node-1", "--wait")
    assert said.code == 0
    assert said.out.splitlines()[1:] == ["node-1 draining: 0 sessions in 0 shards"]


def test_one_that_waits_sees_it_done_though_the_store_is_silent_for_a_moment(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = FlakyStore(store)
    use(flaky, monkeypatch)
    asyncio.run(store.register(replace(NODE_1, state=NodeState.DRAINING, sessions=0), 60))
    asyncio.run(store.retire("abcde", (asyncio.run(store.snapshot())).shards["abcde"]))

    async def falls_silent() -> None:
        async def is_silent() -> None:
            raise StoreUnavailable("away for one call")

        flaky.before["snapshot"] = is_silent

    flaky.after["order"] = falls_silent
    said = mooring("drain", "node-1", "--wait")
    assert (said.code, "snapshot" in flaky.before) == (0, False)
    assert said.out.splitlines()[1:] == ["node-1 draining: 0 sessions in 0 shards"]


def test_one_that_waits_for_nothing_gives_up(store: MemoryStore) -> None:
    said = mooring("drain", "node-1", "--wait", "--timeout", "1")
    assert said.code == 1
    assert said.error_line == "mooring: node-1 has not given everything away after 1 s: see its log"


def test_the_last_node_is_not_drained(store: MemoryStore) -> None:
    asyncio.run(store.leave(NODE_2))
    said = mooring("drain", "node-1")
    assert said.code == 1
    assert "no other node takes the sessions of node-1" in said.error_line
    assert asyncio.run(store.order_for(NODE_1.id)) == ""
