"""Which node serves what runs now."""

from __future__ import annotations

import asyncio
import gc

from mooring.node.current import Serving, joined, left, nodes_here, what_is_served


class Node:
    """Stands for one."""


def test_outside_of_a_request_nothing_is_served() -> None:
    assert what_is_served() is None


async def test_within_a_request_and_its_tasks_and_threads_it_is_known_who_serves() -> None:
    node = Node()

    async def later() -> object:
        await asyncio.sleep(0)
        now = what_is_served()
        return now.node if now is not None else None

    with Serving(node, {"type": "http"}, "a session"):
        now = what_is_served()
        assert now is not None
        assert (now.node, now.scope["type"], now.session_id) == (node, "http", "a session")
        task = asyncio.create_task(later())
        thread = await asyncio.to_thread(what_is_served)
        assert thread is now
    assert what_is_served() is None
    assert await task is node


async def test_requests_of_two_nodes_at_once_know_their_own() -> None:
    async def served(node: Node) -> bool:
        with Serving(node, {}):
            await asyncio.sleep(0)
            now = what_is_served()
            return now is not None and now.node is node

    assert all(await asyncio.gather(*(served(Node()) for _ in range(10))))


def test_a_node_is_here_until_it_leaves_or_is_forgotten() -> None:
    before = nodes_here()
    one, two = Node(), Node()
    joined(one)
    joined(two)
    assert {one, two} <= set(nodes_here())
    left(one)
    left(one)
    assert one not in nodes_here()
    del two
    gc.collect()
    assert nodes_here() == before
