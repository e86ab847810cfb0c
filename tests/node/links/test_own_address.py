"""A node that calls itself: over a real wire, at its own address, at nobody's, and at somebody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from mooring.core.model import NodeInfo
from mooring.node.links.asking import PeerQuestions
from mooring.node.links.own_address import check_own_address
from mooring.node.node import Node
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_node
from tests.node.apps import ScriptedApp
from tests.ports import free_port
from tests.waiting import until

REDIS = "redis://127.0.0.1:1"
"""Of no use: the tests give the store."""


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningNode]:
    async with running_node(ScriptedApp(), MemoryStore()) as node:
        yield node


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "this node's address" in record.getMessage()]


async def checked(node: Node, url: str, tries: int = 1) -> bool:
    questions = PeerQuestions(node.peer_keys[0], node.id, 5, node.cluster_time)
    return await check_own_address(questions.call, lambda: replace(node.describe(), url=url), [0.0] * tries)


async def test_a_node_that_is_where_it_says(running: RunningNode, caplog: pytest.LogCaptureFixture) -> None:
    assert await checked(running.mooring._node, running.url)
    assert said(caplog) == []


async def test_nobody_is_there(running: RunningNode, caplog: pytest.LogCaptureFixture) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert not await checked(running.mooring._node, url, tries=2)
    (line,) = said(caplog)
    assert line.startswith(f"at {url}, this node's address, nobody answers from here (")
    assert line.endswith("set advertise_url to where this very process is reached")


async def test_another_node_is_there(running: RunningNode, caplog: pytest.LogCaptureFixture) -> None:
    async with running_node(ScriptedApp(), MemoryStore(), "node-2") as other:
        assert not await checked(running.mooring._node, other.url)
    (line,) = said(caplog)
    assert f"at {other.url}, this node's address, something else answers (HTTP 200, the answer is not from" in line


async def test_one_that_comes_up_late_is_waited_for(running: RunningNode, caplog: pytest.LogCaptureFixture) -> None:
    node, urls = running.mooring._node, [f"http://127.0.0.1:{free_port()}", running.url, running.url]

    def describe() -> NodeInfo:
        return replace(node.describe(), url=urls.pop(0))

    assert await check_own_address(
        PeerQuestions(node.peer_keys[0], node.id, 5, node.cluster_time).call, describe, [0.0, 0.0]
    )
    assert said(caplog) == []


@pytest.mark.parametrize("peer_ports", [None, "any"])
async def test_a_node_looks_at_its_address_when_it_starts(
    peer_ports: str | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.node.links.own_address.check_own_address.__defaults__", ((0.0, 0.01),))
    elsewhere = f"http://127.0.0.1:{free_port()}"
    async with running_node(
        ScriptedApp(), MemoryStore(), redis_url=REDIS, advertise_url=elsewhere, peer_ports=peer_ports
    ) as node:
        (looking,) = [
            task for task in node.mooring._node._own_address._tasks if task.get_name() == "mooring own address"
        ]

        async def is_over() -> bool:
            return looking.done()

        await until(is_over, what="the end of its calls")
        assert looking.result() is (peer_ports is not None), "peers come to its own port then, and that is there"
        assert len(said(caplog)) == (0 if peer_ports else 1)


async def test_without_redis_nobody_looks(running: RunningNode) -> None:
    names = [task.get_name() for task in running.mooring._node._own_address._tasks]
    assert names == ["mooring place"]
