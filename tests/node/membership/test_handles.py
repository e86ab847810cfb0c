"""The handles of one node: how long they last, and who hears of their end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from mooring.core.handles import RANDOM_BYTES, Handle, Handles
from mooring.node.membership.handles import LocalHandles
from mooring.node.membership.session import ClosedSession
from tests.fakes import Clock

HANDLES = Handles("a secret")
ONE, OTHER = "aaaaa", "bbbbb"


def a_handle(number: int, shard: str = ONE, principal: str = "") -> Handle:
    handle = HANDLES.read(HANDLES.mint(shard, "browser", bytes([number]) * RANDOM_BYTES, principal))
    assert handle is not None
    return handle


class World:
    """Those of a node, by a clock that stands still."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.clock = Clock()
        self.local = LocalHandles(self._tell, self._run, self.clock)

    async def _tell(self, closed: ClosedSession) -> None:
        self.told.append((closed.id, closed.reason, closed.principal))

    def _run(self, errand: Coroutine[Any, Any, None]) -> None:
        asyncio.run(errand)


@pytest.fixture
def world() -> World:
    return World()


def test_one_that_is_added_is_here_until_its_author_ends_it(world: World) -> None:
    handle = a_handle(1, principal="alice")
    added = world.local.add(handle, "alice")
    assert world.local.add(handle, "alice") is added
    assert world.local.find(handle.text) is added
    assert (len(world.local), world.local.owned, world.local.shards()) == (1, 1, {ONE})
    assert world.local.end(handle.text)
    assert not world.local.end(handle.text)
    assert (len(world.local), world.local.owned, world.local.shards()) == (0, 0, set())
    assert world.told == [(handle.text, "deleted", "alice")]


def test_one_that_no_call_names_ends_and_one_in_use_does_not(world: World) -> None:
    used, idle, running = (a_handle(number) for number in range(3))
    for handle in (used, idle, running):
        world.local.add(handle, "")
    with world.local.using([running.text, "not one of ours"]):
        world.clock.now += 50
        with world.local.using([used.text]):
            pass
        world.clock.now += 50
        world.local.end_idle(60)
        assert world.told == [(idle.text, "ended", "")]
        world.clock.now += 1000
        world.local.end_idle(60)
        assert world.local.find(running.text) is not None
        assert world.local.find(used.text) is None
    world.local.end_idle(60)
    assert world.local.find(running.text) is not None  # its call has only just ended


def test_calls_at_once_count_each(world: World) -> None:
    handle = a_handle(1)
    world.local.add(handle, "")
    with world.local.using([handle.text]):
        with world.local.using([handle.text]):
            pass
        world.clock.now += 1000
        world.local.end_idle(60)
        assert world.local.find(handle.text) is not None


def test_one_that_ends_while_a_call_uses_it_is_no_trouble(world: World) -> None:
    handle = a_handle(1)
    world.local.add(handle, "")
    with world.local.using([handle.text]):
        assert world.local.end(handle.text)
    assert len(world.local) == 0


def test_a_shard_that_has_another_owner_takes_its_own_along_and_the_log_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    lost, kept, moved = a_handle(1), a_handle(2, OTHER), a_handle(3, "ccccc")
    for handle in (lost, kept, moved):
        world.local.add(handle, "")
    world.local.fence(ONE)
    world.local.fence(ONE)
    world.local.move_away("ccccc")
    assert world.told == [(lost.text, "fenced", ""), (moved.text, "moved", "")]
    assert world.local.shards() == {OTHER}
    assert caplog.text.count("ended its 1 handles here (lease_seconds)") == 1
    assert lost.text not in caplog.text
