"""What is on record of a call outlasts it, however long that runs."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import pytest

from mooring.core.jsonrpc import Asked
from mooring.errors import StoreUnavailable
from mooring.node.membership.running_calls import RunningCalls
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.store import MemoryStore
from mooring.store.journal import Call
from tests.fakes import Clock, FlakyStore

KEEP_SECONDS = 300.0
CALL = Call("stream", "7", "tools/call", "work", b"{}", 0.0)


@dataclass(eq=False)
class Request:
    is_listening: bool = False
    since: float = 0.0
    noted: Call | None = None

    def cut_off(self) -> None:
        """It runs."""

    def is_cancelled(self, cancelled: Container[Asked]) -> None:
        """It is none of them."""


class World:
    """A session of which a call is on record."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = FlakyStore(MemoryStore(self.clock))
        self.sessions = LocalSessions(self.store, "node-1-aaaaa", 600_000, 60, self.clock)
        self.calls = RunningCalls(self.sessions, lambda: self.store.journal, KEEP_SECONDS, self.clock)

    async def begin(self, request: Request) -> LocalSession:
        now = self.clock.now
        session = LocalSession("one", "abcde", "inner", now, now, now, "", "2025-11-25", "", b"{}", endpoint="/mcp")
        session.running.add(request)
        await self.sessions.open(session)
        await self.store.journal.note_calls(session.id, session.epoch, [CALL], KEEP_SECONDS)
        return session

    async def pass_time(self, seconds: float) -> None:
        """Beat by beat."""
        for _ in range(round(seconds / 10)):
            self.clock.now += 10
            await self.calls.keep()

    async def is_on_record(self) -> bool:
        return await self.store.journal.calls("one") == [CALL]


async def test_a_call_stays_on_record_while_it_runs_and_not_much_longer() -> None:
    world, request = World(), Request()
    session = await world.begin(request)
    await world.pass_time(10 * KEEP_SECONDS)
    assert await world.is_on_record()
    session.running.discard(request)
    await world.pass_time(KEEP_SECONDS + 10)
    assert not await world.is_on_record()


async def test_whoever_only_listens_keeps_nothing_on_record() -> None:
    world = World()
    await world.begin(Request(is_listening=True))
    await world.pass_time(KEEP_SECONDS + 10)
    assert not await world.is_on_record()


async def test_it_is_asked_for_seldom_and_again_where_the_store_was_away() -> None:
    world = World()
    await world.begin(Request())
    await world.pass_time(KEEP_SECONDS)
    assert world.store.calls.count("note_calls") <= 1 + 4
    world.store.away = True
    world.clock.now += KEEP_SECONDS / 2
    with pytest.raises(StoreUnavailable):
        await world.calls.keep()
    world.store.away = False
    await world.calls.keep()
    await world.pass_time(KEEP_SECONDS)
    assert await world.is_on_record()
