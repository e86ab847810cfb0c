from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.cli.command import mooring
from tests.cli.registries import NODE_1, NODE_2, filled_store, use
from tests.fakes import Clock


def test_all_nodes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled_store(Clock(1_800_000_000.0))
    use(store, monkeypatch)
    said = mooring("rebalance")
    assert (said.code, said.out) == (0, "2 nodes were told to rebalance; sessions now: node-1 2, node-2 2\n")
    assert [asyncio.run(store.order_for(node.id)) for node in (NODE_1, NODE_2)] == ["rebalance"] * 2


def test_of_many_nodes_the_fullest_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled_store(Clock(1_800_000_000.0))
    for number in range(300):
        node = replace(NODE_1, id=f"n{number}-abcde", name=f"n{number}", sessions=number + 3)
        asyncio.run(store.register(node, 5))
    use(store, monkeypatch)
    said = mooring("rebalance").out
    assert said.startswith("302 nodes were told to rebalance; sessions now: n299 302, n298 301, ")
    assert said.endswith(", and 282 with fewer\n")
    assert len(said) < 400
