"""The handles of one node: how long they last, and who hears of their end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mooring.core.handles import RANDOM_BYTES, Handle, Handles
from mooring.node.membership.handles import LocalHandles
from mooring.node.membership.session import ClosedSession, LocalSession
from tests.fakes import Clock

HANDLES = Handles("a secret")
ONE, OTHER = "aaaaa", "bbbbb"


def a_handle(number: int, shard: str = ONE, principal: str = "") -> Handle:
    handle = HANDLES.read(HANDLES.mint(shard, "browser", bytes([number]) * RANDOM_BYTES, principal))
    assert handle is not None
    return handle


@contextmanager
def in_use(handles: LocalHandles, texts: list[str]) -> Iterator[None]:
    """Within this context a call with these runs."""
    call = handles.using(texts)
    call.begin()
    try:
        yield
    finally:
        call.end()


class World:
    """Those of a node, by a clock that stands still."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.clock = Clock()
        self.removed: list[str] = []
        self.renewed: list[str] = []
        self.local = LocalHandles(self._tell, self._run, self._remove, self._renew, self.clock)

    async def _remove(self, kept: LocalSession) -> None:
        self.removed.append(kept.id)

    async def _renew(self, kept: LocalSession) -> None:
        self.renewed.append(kept.id)

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
    assert (len(world.local), world.local.shards()) == (1, {ONE})
    assert world.local.end(handle.text)
    assert not world.local.end(handle.text)
    assert (len(world.local), world.local.shards()) == (0, set())
    assert world.told == [(handle.text, "deleted", "alice")]


def test_one_that_no_call_names_ends_and_one_in_use_does_not(world: World) -> None:
    used, idle, running = (a_handle(number) for number in range(3))
    for handle in (used, idle, running):
        world.local.add(handle, "")
    with in_use(world.local, [running.text, "not one of ours"]):
        world.clock.now += 50
        with in_use(world.local, [used.text]):
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
    with in_use(world.local, [handle.text]):
        with in_use(world.local, [handle.text]):
            pass
        world.clock.now += 1000
        world.local.end_idle(60)
        assert world.local.find(handle.text) is not None


def test_one_that_ends_while_a_call_uses_it_is_no_trouble(world: World) -> None:
    handle = a_handle(1)
    world.local.add(handle, "")
    with in_use(world.local, [handle.text]):
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


def kept_of(world: World, number: int, text: bytes = b'{"own":{"n":1}}') -> LocalSession:
    handle = a_handle(number, principal="alice")
    world.local.add(handle, "alice", may_begin=True)
    kept = world.local.keep(handle.text, 3, 1024)
    assert kept is not None
    if text:
        kept.state.is_kept(text)
    return kept


def test_what_is_kept_of_one_is_there_for_the_record_and_for_each_call(world: World) -> None:
    kept = kept_of(world, 1)
    assert world.local.keep(kept.id, 9, 1024) is kept
    assert (kept.principal, kept.epoch, kept.shard) == ("alice", 3, ONE)
    assert world.local.kept == {kept.id: kept}
    assert world.local.kept_in(ONE) == [kept]
    assert world.local.kept_in(OTHER) == []


def test_nothing_begins_to_be_kept_of_one_that_was_minted_elsewhere(world: World) -> None:
    handle = a_handle(1)
    world.local.add(handle, "")
    assert world.local.keep(handle.text, 1, 1024) is None
    assert world.local.keep(a_handle(2).text, 1, 1024) is None


def test_one_of_which_something_is_on_record_survives(world: World) -> None:
    kept_of(world, 1)
    assert not world.local.would_lose(ONE)
    kept_of(world, 2, b"")
    assert world.local.would_lose(ONE)


def test_where_it_is_here_already_what_is_here_counts(world: World) -> None:
    kept, other = kept_of(world, 1), kept_of(World(), 1)
    world.local.add(a_handle(1, principal="alice"), "alice", other)
    assert world.local.keep(kept.id, 3, 1024) is kept


@pytest.mark.parametrize(
    ("how", "removed", "renewed"), [("end", True, False), ("idle", False, True), ("fence", False, False)]
)
def test_its_end_takes_it_off_the_record_where_its_author_wants_it(
    world: World, how: str, removed: bool, renewed: bool
) -> None:
    kept = kept_of(world, 1)
    if how == "end":
        world.local.end(kept.id)
    elif how == "idle":
        world.clock.now += 100
        world.local.end_idle(50)
    else:
        world.local.fence(ONE)
    assert (world.removed, world.renewed) == ([kept.id] * removed, [kept.id] * renewed)
    assert (kept.is_closed, kept.ends_as) == (removed, {"end": "deleted", "idle": "ended", "fence": "fenced"}[how])
    assert world.local.kept == {}


def test_one_whose_record_is_in_doubt_stays_though_it_is_idle(world: World) -> None:
    kept = kept_of(world, 1)
    kept.state.is_in_doubt = True
    world.clock.now += 100
    world.local.end_idle(50)
    assert world.local.find(kept.id) is not None


def test_one_that_somebody_listens_to_is_not_idle_and_in_nobodys_way(world: World) -> None:
    kept = kept_of(world, 1)
    told: list[str] = []
    listening = world.local.using([kept.id], lambda: told.append("moved"), listens=True)
    listening.begin()
    world.clock.now += 100
    world.local.end_idle(50)
    assert world.local.find(kept.id) is not None
    assert not world.local.are_in_use(kept.shard)
    world.local.cut_off(kept.shard)
    assert told == ["moved"]
    listening.end()
    world.clock.now += 100
    world.local.end_idle(50)
    assert world.local.find(kept.id) is None


def test_a_call_with_one_lets_its_record_live_on(world: World) -> None:
    kept = kept_of(world, 1)
    world.clock.now += 100
    with in_use(world.local, [kept.id]):
        pass
    assert kept.last_seen == world.clock.now
