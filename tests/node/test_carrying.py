"""What an app keeps of a session in memory goes along when its node gives it away, and never comes after a crash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mooring import MovingSession, RevivedSession
from mooring.core.model import Touch
from mooring.errors import StoreUnavailable
from mooring.node.moving.handing_over import remove_old_dumps
from mooring.node.node import Node
from tests.cluster_in_process import running_node
from tests.node.apps import ScriptedApp
from tests.node.moving.nodes import Nodes, SlowCall, once, some_nodes
from tests.node.rpc import RawClient


class Memory:
    """What one node's app keeps, and how it dumps and loads that."""

    def __init__(self, node: Any) -> None:
        self.of: dict[str, bytes] = {}
        self.revived: list[RevivedSession] = []
        self.loads = 0
        self.dumped: list[str] = []
        node.carry(self.dump, self.load)
        node.on_revive(self.revived.append)

    async def dump(self, session: MovingSession) -> bytes | None:
        self.dumped.append(session.id)
        return self.of.get(session.id)

    def load(self, session: RevivedSession, data: bytes) -> None:
        self.loads += 1
        self.of[session.id] = data


@contextlib.asynccontextmanager
async def remembering(raw: RawClient, count: int = 3, **settings: Any) -> AsyncIterator[tuple[Nodes, list[Memory]]]:
    async with some_nodes(raw, count, ingress_seconds=0, **settings) as nodes:
        yield nodes, [Memory(one.mooring) for one in nodes.running]


async def fail() -> None:
    raise StoreUnavailable("away for once")


async def give_to(nodes: Nodes, session: str, receiver: int, at: int = 0) -> bool:
    await nodes.node(at).keeper.look()
    return await nodes.hand_over(at).give(nodes.shard_of(session), nodes.info(receiver), 1.0)


async def end_by_itself(nodes: Nodes, session: str, at: int) -> None:
    """The app ends it, as one that was idle for long; its record stays."""
    sessions = nodes.node(at).sessions
    local = sessions.find(session)
    assert local is not None
    await sessions.let_go(local)


def node_of(nodes: Nodes, session: str) -> int:
    [index] = nodes.lives_at(session)
    return index


async def test_it_goes_along_from_node_to_node_each_time(raw: RawClient) -> None:
    async with remembering(raw) as (nodes, memories):
        sessions = [await nodes.open() for _ in range(6)]
        for number, session in enumerate(sessions):
            memories[0].of[session] = b"%d \x00\xff" % number
        await nodes.running[0].mooring.drain()
        for number, session in enumerate(sessions):
            assert (await nodes.ping(session, 1)).status == 200
            memory = memories[node_of(nodes, session)]
            assert memory.of[session] == b"%d \x00\xff" % number
            assert memory.revived[-1].is_loaded
            assert await nodes.store.journal.carried(session) is None
        await nodes.running[1].mooring.drain()
        for session in sessions:
            assert (await nodes.ping(session, 2)).status == 200
        assert {session: memories[2].of[session] for session in sessions} == {
            session: b"%d \x00\xff" % number for number, session in enumerate(sessions)
        }


async def test_one_that_nobody_uses_while_two_nodes_are_replaced_is_loaded_by_the_third(raw: RawClient) -> None:
    async with remembering(raw) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.running[0].mooring.drain()
        await nodes.running[1].mooring.drain()
        assert (await nodes.ping(session, 2)).status == 200
        assert (memories[2].of, memories[2].loads) == ({session: b"kept"}, 1)


async def test_after_a_crash_nothing_is_loaded_however_fresh(raw: RawClient) -> None:
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.give(session)
        await nodes.running[1].vanish()
        await nodes.store.inner.bury(nodes.running[1].id)
        assert (await nodes.ping(session, 2)).status == 200
        memory = memories[node_of(nodes, session)]
        assert (memory.loads, [one.is_loaded for one in memory.revived]) == (0, [False])


async def test_what_was_dumped_for_a_move_that_came_to_nothing_is_never_loaded(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"old"
        await nodes.give_in_vain(session)
        await nodes.node(0).sessions.settle()
        assert await nodes.store.journal.carried(session) is None
        assert (await nodes.ping(session)).status == 200
        memories[0].of[session] = b"new"
        async with running_node(ScriptedApp(), nodes.store, "node-3") as third:
            memory = Memory(third.mooring)
            third_node: Node = third.mooring._node
            await nodes.node(0).keeper.look()
            await nodes.running[0].mooring.drain()
            assert (await raw.call(third.url, session)).status == 200
            assert third_node.sessions.find(session) is not None
            assert memory.of == {session: b"new"}


@pytest.mark.parametrize("what", ["raises", "hangs", "too large", "no bytes", "nothing"])
async def test_a_session_whose_dump_fails_moves_without(
    raw: RawClient, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def dump(session: MovingSession) -> Any:
        if what == "raises":
            raise ValueError("no way to write a socket down")
        if what == "hangs":
            await asyncio.Event().wait()
        return {"too large": bytes(2000), "no bytes": "text", "nothing": None}[what]

    async with remembering(raw, 2, carry_bytes=1024, carry_seconds=0.05) as (nodes, memories):
        session = await nodes.open()
        nodes.running[0].mooring.carry(dump, memories[0].load)
        await nodes.running[0].mooring.drain()
        assert (await nodes.ping(session, 1)).status == 200
        assert nodes.lives_at(session) == [1]
        assert memories[1].loads == 0
    assert ("moves without" in caplog.text) == (what != "nothing")


@pytest.mark.parametrize("what", ["raises", "hangs"])
async def test_a_version_that_cannot_load_what_the_last_one_dumped_goes_on_without(
    raw: RawClient, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def load(session: RevivedSession, data: bytes) -> None:
        if what == "raises":
            raise ValueError("a format of long ago")
        await asyncio.Event().wait()

    async with remembering(raw, 2, carry_seconds=0.05) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        nodes.running[1].mooring.carry(memories[1].dump, load)
        await nodes.running[0].mooring.drain()
        replies = await asyncio.gather(*(nodes.ping(session, 1) for _ in range(5)))
        assert {reply.status for reply in replies} == {200}
        assert [one.is_loaded for one in memories[1].revived] == [False]
        assert await nodes.store.journal.carried(session) is None
    assert "goes on without what was dumped" in caplog.text


async def test_while_the_store_is_away_nothing_moves_and_nothing_is_lost(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        nodes.store.away = True
        draining = asyncio.create_task(nodes.running[0].mooring.drain())
        await once(lambda: nodes.node(0).membership.state == "draining", what="the node to drain")
        assert (await nodes.ping(session)).status == 200
        nodes.store.away = False
        await draining
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}


async def test_a_session_that_ends_takes_its_dump_along(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.running[0].mooring.drain()
        assert await nodes.store.journal.carried(session) is not None
        assert (await raw.send("DELETE", f"{nodes.running[1].url}/mcp", session=session)).status in (200, 204)
        assert await nodes.store.journal.carried(session) is None
        assert memories[1].loads == 0


async def test_a_revival_that_fails_after_the_load_has_lost_nothing(raw: RawClient) -> None:
    async with remembering(raw, 2, hold_seconds=0.5) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        assert await nodes.give(session)
        hangs = [True]

        async def hang(revived: RevivedSession) -> None:
            if hangs.pop():
                hangs.append(False)
                await asyncio.Event().wait()
            hangs.append(False)

        nodes.running[1].mooring.on_revive(hang)
        assert (await nodes.ping(session, 1)).reason == "not_revived"
        assert nodes.lives_at(session) == []
        assert memories[1].loads == 1
        memories[1].of.clear()
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}
        assert [one.is_loaded for one in memories[1].revived] == [True, True]
        assert await nodes.store.journal.carried(session) is None


async def test_a_load_that_hangs_for_longer_than_requests_wait_keeps_nobody_out(raw: RawClient) -> None:
    async with remembering(raw, 2, hold_seconds=0.6, carry_seconds=60) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        assert await nodes.give(session)

        async def load(revived: RevivedSession, data: bytes) -> None:
            await asyncio.Event().wait()

        nodes.running[1].mooring.carry(memories[1].dump, load)
        assert (await nodes.ping(session, 1)).status == 200
        assert nodes.lives_at(session) == [1]


async def test_what_was_loaded_and_could_not_be_removed_is_not_loaded_into_a_later_life(raw: RawClient) -> None:
    """Nor where the store did not hear of the life between: then its number says nothing."""
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        assert await nodes.give(session)
        nodes.store.before |= {"save_session": fail, "save_sessions": fail, "carry": fail}
        assert (await nodes.ping(session, 1)).status == 200
        await end_by_itself(nodes, session, 1)
        assert await nodes.store.journal.carried(session) == (0, b"kept")
        record = await nodes.store.load_session(session)
        assert record is not None
        assert record.incarnation == 0
        assert await give_to(nodes, session, 2, at=1)
        assert (await nodes.ping(session, 2)).status == 200
        assert (memories[1].loads, memories[2].loads) == (1, 0)


async def test_the_same_where_it_comes_back_to_the_same_node(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        assert await nodes.give(session)
        nodes.store.before |= {"save_session": fail, "carry": fail}
        assert (await nodes.ping(session, 1)).status == 200
        await end_by_itself(nodes, session, 1)
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].loads == 1
        assert await nodes.store.journal.carried(session) is None


async def test_what_an_adopter_finds_is_removed(raw: RawClient) -> None:
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.give(session)
        await nodes.running[1].vanish()
        await nodes.store.inner.bury(nodes.running[1].id)
        assert (await nodes.ping(session, 2)).status == 200
        assert await nodes.store.journal.carried(session) is None


async def test_who_asks_does_not_wait_for_the_removal_and_a_later_dump_does(raw: RawClient) -> None:
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"old"
        gate, has_begun = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            has_begun.set()
            await gate.wait()

        await nodes.give_in_vain(session, wait)
        assert nodes.node(0).membership.moving == set()
        await has_begun.wait()
        assert (await nodes.ping(session)).status == 200
        memories[0].of[session] = b"new"
        giving = asyncio.create_task(give_to(nodes, session, 2))
        await once(lambda: bool(nodes.node(0).membership.moving), what="the shard to be held")
        assert memories[0].dumped == [session]
        gate.set()
        assert await giving
        assert await nodes.store.journal.carried(session) == (0, b"new")
        assert (await nodes.ping(session, 2)).status == 200
        assert memories[2].of == {session: b"new"}


async def test_all_dumps_of_a_shard_have_one_deadline(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    async with remembering(raw, 2, shards=1, hold_seconds=1.5, carry_seconds=60) as (nodes, memories):
        sessions = [await nodes.open() for _ in range(20)]

        async def dump(session: MovingSession) -> bytes:
            if session.id != sessions[0]:
                await asyncio.Event().wait()
            return b"quick"

        nodes.running[0].mooring.carry(dump, memories[0].load)
        giving = asyncio.create_task(nodes.give(sessions[0]))
        await once(lambda: bool(nodes.node(0).membership.moving), what="the shard to be held")
        replies = await asyncio.gather(*(nodes.ping(session) for session in sessions))
        assert {reply.status for reply in replies} == {200}
        assert await giving
        assert memories[1].of == {sessions[0]: b"quick"}
    assert caplog.text.count("19 sessions of shard") == 1
    assert caplog.text.count("hold_seconds") == 1


async def test_a_session_whose_call_was_cut_off_moves_without(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    """The app's work for it may go on, as it does where the SDK runs a tool in its session's own task."""
    async with remembering(raw, 2, shards=1) as (nodes, memories):
        sessions = [await nodes.open() for _ in range(3)]
        memories[0].of = dict.fromkeys(sessions, b"kept")
        slow = SlowCall(nodes.apps[0])
        call = asyncio.create_task(nodes.ping(sessions[0]))
        await slow.has_begun.wait()
        nodes.store.before["give"] = fail
        assert await nodes.give(sessions[0], 0.05, cuts_off=True)
        assert (await call).reason == "outcome_unknown"
        assert sorted(memories[0].dumped) == sorted(sessions[1:])
    assert caplog.text.count("(drain_seconds)") == 1


async def test_a_session_whose_record_is_lost_gets_one_first(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        del nodes.store.inner._sessions[session]  # type: ignore[attr-defined]
        assert await nodes.give(session)
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}


async def test_a_session_without_a_record_moves_without_and_it_is_said(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        del nodes.store.inner._sessions[session]  # type: ignore[attr-defined]
        nodes.store.before["save_session"] = fail
        assert await nodes.give(session)
    assert "has no record of it" in caplog.text


async def test_a_shard_that_another_node_writes_to_is_not_given(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.store.inner.touch_sessions([Touch(session, 7, 1.0)], 60)
        assert not await nodes.give(session)
        assert "give" not in nodes.store.calls
        assert nodes.node(0).membership.moving == set()


async def test_a_session_that_ends_while_it_is_dumped_keeps_nobody_back(raw: RawClient) -> None:
    async with remembering(raw, 2, shards=1) as (nodes, memories):
        sessions = [await nodes.open() for _ in range(3)]

        async def dump(session: MovingSession) -> bytes:
            if session.id == sessions[0]:
                await nodes.node(0).sessions.close(session.id)
            if session.id == sessions[1]:
                await end_by_itself(nodes, session.id, 0)
            return b"kept"

        nodes.running[0].mooring.carry(dump, memories[0].load)
        assert await nodes.give(sessions[0])
        carried = [await nodes.store.journal.carried(session) for session in sessions]
        assert carried == [None, None, (0, b"kept")]


async def test_one_that_ended_before_its_turn_is_not_dumped(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        local = nodes.node(0).sessions.find(session)
        assert local is not None
        await end_by_itself(nodes, session, 0)
        await nodes.node(0).carrying.pack(local.shard, [local])
        assert memories[0].dumped == []


async def test_one_that_can_never_be_revived_is_not_dumped(raw: RawClient) -> None:
    async with remembering(raw, 2, on_node_loss="reinitialize") as (nodes, memories):
        session = await nodes.open()
        assert await nodes.give(session)
        assert memories[0].dumped == []


async def test_what_moved_though_nobody_heard_of_it_keeps_its_dump(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.give_cut_short(session, nodes.store.after)
        await nodes.node(0).sessions.settle()
        assert await nodes.store.journal.carried(session) == (0, b"kept")
        await remove_old_dumps(nodes.node(0))
        await nodes.node(0).sessions.settle()
        assert await nodes.store.journal.carried(session) == (0, b"kept")
        assert nodes.node(0).carrying.doubtful_shards == set()
        await nodes.node(1).keeper.beat()
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}


async def test_what_stayed_though_nobody_knew_loses_its_dump_once_that_is_known(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.give_cut_short(session, nodes.store.before)
        assert await nodes.store.journal.carried(session) == (0, b"kept")
        nodes.store.away = True
        with pytest.raises(StoreUnavailable):
            await remove_old_dumps(nodes.node(0))
        nodes.store.away = False
        await remove_old_dumps(nodes.node(0))
        await nodes.node(0).sessions.settle()
        assert await nodes.store.journal.carried(session) is None


async def test_what_could_not_be_removed_is_removed_before_the_shard_is_given(raw: RawClient) -> None:
    """Also of a session that does not live here any more: its life went on after it was dumped."""
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"old"
        await nodes.give_in_vain(session, fail)
        await nodes.node(0).sessions.settle()
        assert await nodes.store.journal.carried(session) == (0, b"old")
        await end_by_itself(nodes, session, 0)
        nodes.store.before["carry"] = fail
        assert not await give_to(nodes, session, 2)
        assert await give_to(nodes, session, 2)
        assert (await nodes.ping(session, 2)).status == 200
        assert [one.is_loaded for one in memories[2].revived] == [False]


async def test_what_could_not_be_dumped_again_does_not_move_as_it_was_before(raw: RawClient) -> None:
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"old"
        await nodes.give_in_vain(session, fail)
        del memories[0].of[session]
        assert await give_to(nodes, session, 2)
        assert await nodes.store.journal.carried(session) is None


async def test_where_the_store_fails_no_dump_goes_on_behind_its_back(raw: RawClient) -> None:
    async with remembering(raw, 2, shards=1) as (nodes, memories):
        sessions = [await nodes.open() for _ in range(20)]
        running: set[str] = set()

        async def dump(session: MovingSession) -> bytes:
            running.add(session.id)
            try:
                await (asyncio.sleep(0) if session.id == sessions[0] else asyncio.Event().wait())
            finally:
                running.discard(session.id)
            return b"kept"

        nodes.running[0].mooring.carry(dump, memories[0].load)
        nodes.store.before["carry"] = fail
        assert not await nodes.give(sessions[0])
        assert running == set()
        await nodes.node(0).sessions.settle()
        assert [await nodes.store.journal.carried(session) for session in sessions] == [None] * 20


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
async def test_as_much_as_may_go_along_does_in_any_form_of_bytes(raw: RawClient, make: Callable[[bytes], Any]) -> None:
    async with remembering(raw, 2, carry_bytes=1024) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = make(b"x" * 1024)
        assert await nodes.give(session)
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"x" * 1024}


async def test_one_byte_more_does_not(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    async with remembering(raw, 2, carry_bytes=1024) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"x" * 1025
        assert await nodes.give(session)
        assert await nodes.store.journal.carried(session) is None
    assert "1025 bytes is more than 1024 (carry_bytes)" in caplog.text


@pytest.mark.parametrize("error", [TimeoutError("of its own"), asyncio.CancelledError()])
async def test_an_end_of_its_own_is_a_failure_like_any_other(
    raw: RawClient, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> Any:
        raise error

    async with remembering(raw, 2) as (nodes, memories):
        sessions = [await nodes.open() for _ in range(2)]
        memories[0].of = dict.fromkeys(sessions, b"kept")
        nodes.running[1].mooring.carry(memories[1].dump, fails)
        assert await nodes.give(sessions[0])
        nodes.running[0].mooring.carry(fails, memories[0].load)
        assert await nodes.give(sessions[1])
        assert [(await nodes.ping(session, 1)).status for session in sessions] == [200, 200]
    assert "dump failed" in caplog.text
    assert "load failed" in caplog.text
    assert "carry_seconds" not in caplog.text


async def test_a_session_moves_to_the_one_who_took_it_over_though_the_store_did_not_hear_of_it(raw: RawClient) -> None:
    """Else its dump would be loaded for whoever comes first."""
    async with remembering(raw, 2) as (nodes, _memories):
        session = await nodes.open()
        local = nodes.node(0).sessions.find(session)
        assert local is not None
        nodes.store.before["save_session"] = fail
        await nodes.node(0).sessions.take_over(local, "alice")
        assert await nodes.give(session)
        record = await nodes.store.load_session(session)
        assert record is not None
        assert record.principal == "alice"


async def test_the_removal_fences_no_session_whose_shard_was_claimed_anew(raw: RawClient) -> None:
    """A revival that fails leaves its shard at a later epoch than the sessions that live there."""
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        shard, node = nodes.shard_of(session), nodes.node(0)
        await node.keeper.adoption.hold(shard, node.membership.shards[shard] + 1)
        await nodes.give_in_vain(session)
        await node.sessions.settle()
        assert await nodes.store.journal.carried(session) is None
        local = node.sessions.find(session)
        assert local is not None
        assert await node.sessions.records.write(local)


async def test_a_revival_that_fails_at_its_last_step_keeps_the_dump_for_the_next_try(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.running[0].mooring.drain()
        nodes.store.before["save_session"] = fail
        real = nodes.node(1).may_open
        outcomes = [False, True]

        async def may_open(shard: str) -> bool:
            return await real(shard) and outcomes.pop(0)

        nodes.node(1).may_open = may_open  # type: ignore[method-assign]
        assert "error" not in (await nodes.ping(session, 1)).json
        assert memories[1].of == {session: b"kept"}
        assert [one.is_loaded for one in memories[1].revived] == [True, True]
        assert await nodes.store.journal.carried(session) is None


async def test_what_could_not_be_removed_after_it_was_loaded_is_not_loaded_into_a_later_life(raw: RawClient) -> None:
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"first"
        await nodes.running[0].mooring.drain()
        nodes.store.before["carry"] = fail
        at = 1
        assert (await nodes.ping(session, at)).status == 200
        at = node_of(nodes, session)
        assert memories[at].of == {session: b"first"}
        assert await nodes.store.journal.carried(session) is not None
        memories[at].of.clear()  # the app dropped it by itself: there is nothing to dump any more
        await nodes.running[at].mooring.drain()
        other = 3 - at
        assert (await nodes.ping(session, other)).status == 200
        assert memories[other].loads == 0


async def test_what_is_outdated_is_removed_before_the_shard_is_given(raw: RawClient) -> None:
    """Also where the session sleeps by then, so that nobody dumps it anew."""
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"old"

        async def away_for_a_while() -> None:
            nodes.store.away = True
            raise StoreUnavailable("away from now on")

        nodes.store.before["give"] = away_for_a_while
        giving = asyncio.create_task(nodes.give(session))
        await once(lambda: nodes.store.away, what="the store to go away")
        giving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await giving
        nodes.store.away = False
        assert await nodes.store.journal.carried(session) is not None  # it may be the next owner's to load
        memories[0].of.clear()
        assert await nodes.give(session)
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].loads == 0


async def test_a_shard_whose_gift_nobody_knows_of_keeps_its_dump(raw: RawClient) -> None:
    async with remembering(raw, 2, hold_seconds=0.2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"

        async def away_for_a_while() -> None:
            nodes.store.away = True

        nodes.store.after["give"] = away_for_a_while
        nodes.store.before["snapshot"] = fail
        giving = asyncio.create_task(nodes.give(session))
        await once(lambda: nodes.store.away, what="the store to go away")
        giving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await giving
        nodes.store.away = False
        await nodes.node(0).sessions.settle()
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}


async def test_nothing_is_dumped_of_a_session_whose_call_does_not_end(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session, quiet = await nodes.open(), await nodes.open()
        while nodes.shard_of(quiet) != nodes.shard_of(session):
            quiet = await nodes.open()
        memories[0].of |= {session: b"half of it", quiet: b"whole"}
        ends = asyncio.Event()

        async def never_mind(scope: Any, body: bytes, send: Any) -> None:
            while not ends.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await ends.wait()

        nodes.apps[0].on_session = never_mind
        calling = asyncio.create_task(nodes.ping(session))
        await once(lambda: nodes.hand_over().is_busy(nodes.shard_of(session)), what="the call to run")
        assert await nodes.give(session, 0.0, cuts_off=True)
        ends.set()
        await asyncio.gather(calling, return_exceptions=True)
        for one in (session, quiet):
            assert (await nodes.ping(one, 1)).status == 200
        assert memories[1].of == {quiet: b"whole"}
    assert "(drain_seconds)" in caplog.text
