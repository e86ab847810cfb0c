from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from mooring.cli.ordering import living_nodes, named
from mooring.errors import ClusterError, StoreUnavailable
from mooring.store.registry import NodeStatus
from tests.cli.registries import NODE_1, NODE_2, filled_store
from tests.fakes import Clock, FlakyStore


def living(*infos: object) -> list[NodeStatus]:
    return asyncio.run(living_nodes(filled_store(Clock(1_800_000_000.0))))


def test_the_dead_are_told_nothing() -> None:
    assert [node.info.name for node in living()] == ["node-1", "node-2"]


def test_a_store_that_is_silent_is_asked_again_by_whoever_has_time() -> None:
    store = FlakyStore(filled_store(Clock(1_800_000_000.0)))

    async def is_silent() -> None:
        raise StoreUnavailable("away for one call")

    for seconds in (10.0, 0.0):
        store.before["snapshot"] = is_silent
        with contextlib.nullcontext() if seconds else pytest.raises(StoreUnavailable):
            assert len(asyncio.run(living_nodes(store, seconds))) == 2


@pytest.mark.parametrize("name", [NODE_2.name, NODE_2.id])
def test_a_node_is_named_by_name_or_id(name: str) -> None:
    assert named(living(), name).info == NODE_2


@pytest.mark.parametrize("name", ["node-3", "node-", "", "\x1b[31m"])
def test_who_is_not_there_is_said_with_who_is(name: str) -> None:
    with pytest.raises(ClusterError, match="there are: node-1, node-2") as raised:
        named(living(), name)
    assert "\x1b" not in str(raised.value)


def test_two_of_one_name_are_told_apart_by_their_ids() -> None:
    twin = NodeStatus(replace(NODE_1, id="node-1-zzzzz"), "ready", [], 0.0)
    with pytest.raises(ClusterError, match=f"2 nodes are called node-1: say {NODE_1.id} or node-1-zzzzz"):
        named([*living(), twin], "node-1")
    assert named([*living(), twin], "node-1-zzzzz") is twin
