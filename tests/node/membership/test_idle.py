"""A session that nobody uses is ended in the app, and its record stays."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import pytest

from mooring import Settings
from mooring.core.jsonrpc import Asked
from mooring.node.membership import idle
from mooring.node.membership.idle import IdleSessions
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.store import MemoryStore
from tests.fakes import Clock, FlakyStore


@dataclass
class Standing:
    """What a node holds open for a session."""

    has_listener: bool = False
    is_closed: bool = False

    def close(self) -> None:
        self.is_closed = True


class Request:
    is_listening = True
    since = 0.0
    noted = None

    def cut_off(self) -> None:
        """It runs."""

    def is_cancelled(self, cancelled: Container[Asked]) -> None:
        """It is none of them."""


class World:
    """One session that was opened at the beginning, and has been asked to end so many times."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.sessions = LocalSessions(self.store, "node-1-aaaaa", 600_000, 60, self.clock)
        self.idle = IdleSessions(self.sessions, Settings.load(idle_seconds=1800, **options), self.clock)
        self.asked = 0
        self.takes_delete = True
        self.fails = False
        self.standing = Standing()

    async def open(self, **said: Any) -> LocalSession:
        known: dict[str, Any] = {"standing": self.standing, "end_in_app": self.end, "initialize": b"{}"} | said
        now = self.clock.now
        session = LocalSession("one", "abcde", "inner", now, now, now, "", "2025-11-25", "", endpoint="/mcp", **known)
        session.running.add(Request())  # our own GET
        await self.sessions.open(session)
        return session

    async def end(self) -> bool:
        self.asked += 1
        if self.fails:
            raise OSError("the app is broken")
        return self.takes_delete

    async def after(self, seconds: float) -> bool:
        """Whether it lives here still."""
        self.clock.now += seconds
        self.idle.let_go()
        self.idle.let_go()
        await self.sessions.settle()
        return self.sessions.find("one") is not None


async def test_it_is_let_go_and_its_record_stays() -> None:
    world = World()
    await world.open()
    assert await world.after(1799)
    assert not await world.after(2)
    assert world.asked == 1
    assert await world.store.load_session("one") is not None


async def test_it_stays_while_it_is_used() -> None:
    world = World()
    session = await world.open()
    for _ in range(5):
        assert await world.after(1000)
        session.last_seen = world.clock.now
    assert world.asked == 0


@pytest.mark.parametrize("what", ["a listener", "a request", "no stream"])
async def test_it_stays_where_something_goes_on_or_the_apps_own_limit_counts(what: str) -> None:
    world = World()
    session = await world.open()
    if what == "a listener":
        world.standing.has_listener = True
    elif what == "a request":
        session.running.add(Request())
    else:
        session.standing = None
    assert await world.after(10_000)
    assert world.asked == 0


@pytest.mark.parametrize("why", ["no initialize", "reinitialize", "no DELETE", "fails"])
async def test_where_it_cannot_be_revived_or_ended_the_apps_own_limit_counts(why: str) -> None:
    world = World(on_node_loss="reinitialize" if why == "reinitialize" else "revive")
    world.takes_delete, world.fails = why != "no DELETE", why == "fails"
    await world.open(initialize=b"" if why == "no initialize" else b"{}")
    assert await world.after(2000)
    assert world.standing.is_closed
    assert world.asked == (why in ("no DELETE", "fails"))


@pytest.mark.parametrize("option", ["idle", "hibernate"])
async def test_it_stays_until_the_store_has_its_record(option: str) -> None:
    world = World(**({"hibernate_seconds": 10} if option == "hibernate" else {}))
    store = world.sessions.records._store = FlakyStore(world.store)
    store.away = True
    session = await world.open()
    if option == "hibernate":
        session.standing = None
        session.running.clear()
    assert await world.after(2000)
    assert world.asked == 0
    store.away = False
    await world.sessions.records.flush()
    assert not await world.after(2000)
    assert await world.store.load_session("one") is not None


@pytest.mark.parametrize("fails", [False, True])
async def test_one_whose_stream_ends_while_the_app_is_to_end_it_does_no_harm_to_others(fails: bool) -> None:
    world = World()
    session = await world.open()

    async def end() -> bool:
        session.standing = None
        if fails:
            raise OSError("the app is broken")
        return False

    session.end_in_app = end
    world.clock.now += 2000
    world.idle.let_go()
    errands = list(world.sessions._errands)
    await world.sessions.settle()
    assert [errand.exception() for errand in errands] == [None]


async def test_a_few_are_ended_at_a_time_until_none_is_left() -> None:
    world = World()
    at_once: list[int] = []
    ending = 0

    async def end() -> bool:
        nonlocal ending
        ending += 1
        at_once.append(ending)
        await asyncio.sleep(0)
        ending -= 1
        return True

    for number in range(120):
        session = await world.open(end_in_app=end)
        world.sessions._sessions[str(number)] = session
        session.id = str(number)
    world.sessions._sessions.pop("one")
    await world.after(2000)
    assert len(world.sessions) == 0
    assert (len(at_once), max(at_once)) == (120, 8)


async def test_one_that_is_used_before_its_turn_comes_stays() -> None:
    world = World()
    used = await world.open()
    used.id = "used"
    world.sessions._sessions = {"used": used}

    async def end() -> bool:
        used.last_seen = world.clock.now
        return True

    for number in range(8):
        session = await world.open(end_in_app=end)
        session.id = str(number)
        world.sessions._sessions[str(number)] = session
    world.sessions._sessions.pop("one")
    await world.after(2000)
    assert list(world.sessions._sessions) == ["used"]
    assert world.asked == 0


async def test_an_app_that_does_not_end_one_in_time_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "_END_SECONDS", 0.01)
    world = World()

    async def end() -> bool:
        await asyncio.Event().wait()
        return True

    await world.open(end_in_app=end)
    assert await world.after(2000)
    assert world.standing.is_closed
