from __future__ import annotations

import asyncio

import pytest

from tests.cli.command import mooring
from tests.cli.registries import NODE_1, NODE_2, filled_store, use
from tests.fakes import Clock


def test_all_nodes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled_store(Clock(1_800_000_000.0))
    use(store, monkeypatch)
    said = mooring("rebalance")
    assert (said.code, said.out) == (0, "2 nodes were told to rebalance; sessions now: node-1 2, node-2 2\n")
    assert [asyncio.run(store.take_order(node.id)) for node in (NODE_1, NODE_2)] == ["rebalance"] * 2
