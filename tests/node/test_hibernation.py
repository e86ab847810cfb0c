"""Sessions that sleep: nothing of them is in the app, and their clients notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from mooring import ClosedSession, RevivedSession
from mooring.asgi import Scope, Send
from mooring.core.reconnects import Reconnects
from mooring.node.membership import inner_ids
from mooring.node.membership.idle import _AT_ONCE
from mooring.node.moving.handing_over import HandOver
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp, answer
from tests.node.rpc import RawClient
from tests.node.tellers import Reader, Teller, answer_in, call, reading
from tests.node.wrongs import ALICE
from tests.servers.people import make_app
from tests.waiting import until

SECONDS = 0.3


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


class Sleepers:
    """Nodes whose sessions sleep soon."""

    def __init__(self, nodes: list[RunningNode], tellers: list[Teller], raw: RawClient) -> None:
        self.nodes = nodes
        self.tellers = tellers
        self.raw = raw
        self.closed: list[ClosedSession] = []
        self.revived: list[RevivedSession] = []
        for node in nodes:
            node.mooring.on_close(self.closed.append)
            node.mooring.on_revive(self.revived.append)

    @property
    def url(self) -> str:
        return self.nodes[0].url

    async def sleeps(self, session: str) -> None:
        async def is_asleep() -> bool:
            await self.nodes[0].mooring._node.sessions.settle()
            return all(node.mooring._node.sessions.find(session) is None for node in self.nodes)

        await until(is_asleep, what="the session to sleep")


@contextlib.asynccontextmanager
async def sleepers(raw: RawClient, count: int = 1, **settings: Any) -> AsyncIterator[Sleepers]:
    tellers: list[Teller] = []

    def app() -> Any:
        tellers.append(Teller())
        return tellers[-1].app()

    options = {"hibernate_seconds": SECONDS, **settings}
    async with running_nodes(app, count, FlakyStore(MemoryStore()), **options) as nodes:
        yield Sleepers(nodes, tellers, raw)


async def hears_of_tools(reader: Reader) -> bool:
    event = await reader.next()
    return event is not None and json.loads(event.data)["method"] == "notifications/tools/list_changed"


async def test_a_listener_hears_on_the_same_stream_what_its_session_says_once_it_is_awake(
    raw: RawClient, http: aiohttp.ClientSession
) -> None:
    async with sleepers(raw) as world:
        session = await raw.open(world.url)
        async with reading(http, "GET", world.url, session) as reader:
            await reader.next()
            for number in range(3):
                await world.sleeps(session)
                async with reading(http, "POST", world.url, session, call("announce", text="x")) as posted:
                    assert answer_in(await posted.rest())["result"]
                assert await hears_of_tools(reader)
                assert [one.incarnation for one in world.revived] == list(range(1, number + 2))
            assert {one.reason for one in world.closed} == {"hibernated"}
            assert len(set(reader.ids)) == len(reader.ids) == 4


async def test_who_listens_to_nobodys_session_hears_the_end_where_somebody_wakes_it(
    raw: RawClient, http: aiohttp.ClientSession
) -> None:
    options = {"hibernate_seconds": SECONDS}
    async with running_nodes(lambda: make_app("v2", "starlette"), 1, MemoryStore(), **options) as nodes:
        world = Sleepers(nodes, [], raw)
        session = await raw.open(world.url)
        async with reading(http, "GET", world.url, session) as listener:
            await listener.next()
            await world.sleeps(session)
            assert (await raw.call(world.url, session, headers=ALICE)).status == 200
            assert [one.principal for one in world.revived] != [""]
            await listener.rest()


async def test_a_running_call_is_not_sent_to_sleep(raw: RawClient, http: aiohttp.ClientSession) -> None:
    async with sleepers(raw) as world:
        session, other = await raw.open(world.url), await raw.open(world.url)
        async with reading(http, "POST", world.url, session, call("tell")) as reader:
            await reader.next()
            await world.sleeps(other)
            assert world.nodes[0].mooring._node.sessions.find(session) is not None
            world.tellers[0].say(None)
            assert answer_in(await reader.rest())["result"]
        await world.sleeps(session)


async def test_a_request_that_comes_while_it_falls_asleep_wakes_it(
    raw: RawClient, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_ended, may_go_on, end = asyncio.Event(), asyncio.Event(), inner_ids.end

    async def end_slowly(session_id: str) -> bool:
        is_ours = await end(session_id)
        has_ended.set()
        await may_go_on.wait()
        return is_ours

    async with sleepers(raw) as world:
        session = await raw.open(world.url)
        monkeypatch.setattr(inner_ids, "end", end_slowly)
        await has_ended.wait()
        async with reading(http, "POST", world.url, session, call("announce", text="x")) as posted:
            assert posted.answer.status == 200
            assert answer_in(await posted.rest())["result"]
        assert [one.id for one in world.revived] == [session]
        assert [(one.id, one.reason) for one in world.closed] == [(session, "hibernated")]
        may_go_on.set()
        await asyncio.sleep(0)
        assert world.nodes[0].mooring._node.sessions.find(session) is not None


async def test_a_client_that_closes_a_sleeping_session_hears_its_stream_end(
    raw: RawClient, http: aiohttp.ClientSession
) -> None:
    async with sleepers(raw) as world:
        session = await raw.open(world.url)
        async with reading(http, "GET", world.url, session) as reader:
            await reader.next()
            await world.sleeps(session)
            assert (await raw.send("DELETE", f"{world.url}/mcp", session=session)).status == 200
            assert await reader.rest() == []
        assert (await raw.call(world.url, session)).status == 404
        assert world.nodes[0].mooring._node.streams.of(session) == []


async def test_a_listener_that_leaves_leaves_nothing_behind(raw: RawClient, http: aiohttp.ClientSession) -> None:
    async with sleepers(raw, stream_log_seconds=0) as world:
        session = await raw.open(world.url)
        async with reading(http, "GET", world.url, session) as reader:
            await reader.next()
            await world.sleeps(session)
            reader.answer.close()

        async def is_gone() -> bool:
            streams = world.nodes[0].mooring._node.streams
            await raw.open(world.url)  # room is made when something comes
            return streams.of(session) == []

        await until(is_gone, what="the stream to be let go")


async def test_a_sleeping_session_goes_along_when_its_node_drains(raw: RawClient, http: aiohttp.ClientSession) -> None:
    async with sleepers(raw, 2, ingress_seconds=0.1) as world:
        session = await raw.open(world.url)
        async with reading(http, "GET", world.url, session) as reader:
            await reader.next()
            await world.sleeps(session)
            await world.nodes[0].mooring.drain()
            assert await reader.rest() == []
        other = world.nodes[1].url
        async with reading(http, "GET", other, session, last=reader.ids[-1]) as again:
            where = await again.next()
            assert where is not None
            assert where.data == ""
            async with reading(http, "POST", other, session, call("announce", text="x")) as posted:
                assert answer_in(await posted.rest())["result"]
            assert await hears_of_tools(again)


async def test_an_app_that_takes_no_delete_keeps_its_session_and_its_client(raw: RawClient) -> None:
    app = ScriptedApp()
    async with running_nodes(lambda: app, 1, MemoryStore(), hibernate_seconds=0.05) as nodes:
        session = await raw.open(nodes[0].url)
        app.on_session = refuse_delete

        async def was_asked() -> bool:
            return any(method == "DELETE" for method, _, _ in app.asked)

        await until(was_asked, what="the app to be asked to end it")
        assert (await raw.call(nodes[0].url, session)).status == 200
        assert [method for method, _, _ in app.asked].count("DELETE") == 1
        assert nodes[0].mooring._node.sessions.find(session) is not None


async def refuse_delete(scope: Scope, body: bytes, send: Send) -> None:
    await answer(send, 405 if scope["method"] == "DELETE" else 200, b"{}")


async def test_what_on_close_gives_up_of_a_session_is_not_what_on_revive_has_brought_back(raw: RawClient) -> None:
    """As in the documentation: both go by the session's id. The one takes its time, and the session is asked for."""
    kept: dict[str, str] = {}
    closes, may_close = asyncio.Event(), asyncio.Event()
    async with sleepers(raw) as world:
        mooring = world.nodes[0].mooring

        @mooring.on_close
        async def forget(session: ClosedSession) -> None:
            closes.set()
            await may_close.wait()
            kept.pop(session.id)

        @mooring.on_revive
        def bring_back(session: RevivedSession) -> None:
            kept[session.id] = f"life {session.incarnation}"

        session = await raw.open(world.url)
        kept[session] = "life 0"
        await closes.wait()
        asking = asyncio.create_task(raw.call(world.url, session))
        arrivals = mooring._node.arrivals

        async def is_asked_for() -> bool:
            return arrivals.are_in(session.partition(".")[0])

        await until(is_asked_for, what="the session to be asked for")
        may_close.set()
        assert (await asking).status == 200
        assert kept == {session: "life 1"}


async def test_an_on_close_that_hangs_keeps_no_session_from_sleeping_or_from_waking(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    async with sleepers(raw, hold_seconds=2.0) as world:
        mooring = world.nodes[0].mooring

        @mooring.on_close
        async def hang(session: ClosedSession) -> None:
            told.append(session.id)
            await asyncio.Event().wait()

        sessions = [await raw.open(world.url) for _ in range(2 * _AT_ONCE)]

        async def all_are_told() -> bool:
            return set(told) == set(sessions)

        await until(all_are_told, what="all to sleep")
        assert (await raw.call(world.url, sessions[0])).status == 200
        assert "before on_close has returned for its last life here" in caplog.text


async def test_a_session_that_sleeps_here_is_not_called_misrouted(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mooring")
    async with sleepers(raw) as world:
        session = await raw.open(world.url)
        await world.sleeps(session)
        caplog.clear()
        assert not await world.nodes[0].mooring.has_session(session)
        [said] = [record for record in caplog.records if session[:10] in record.getMessage()]
        assert (said.levelname, "misrouted" in said.getMessage()) == ("INFO", False)


async def test_an_author_hears_that_a_session_was_deleted_while_it_slept_and_once(raw: RawClient) -> None:
    """What was kept to wake it with is of no use any more."""
    async with sleepers(raw) as world:
        session = await raw.open(world.url)
        await world.sleeps(session)
        for status in (200, 404):
            assert (await raw.send("DELETE", f"{world.url}/mcp", session=session)).status == status
        await world.nodes[0].mooring._node.sessions.settle()
        assert [(one.id, one.reason) for one in world.closed] == [(session, "hibernated"), (session, "deleted")]


async def test_the_shard_of_one_that_sleeps_stays_where_its_client_listens(
    raw: RawClient, http: aiohttp.ClientSession
) -> None:
    """Another node would take it, and say there what nobody hears."""
    async with sleepers(raw, 2) as world:
        first, second = (node.mooring._node for node in world.nodes)
        session = await raw.open(world.url)
        shard = session.partition(".")[0]
        assert await HandOver(first, Reconnects(0)).give(shard, second.describe(), 1.0)
        url = world.nodes[1].url
        async with reading(http, "GET", url, session) as reader:
            await reader.next()
            await world.sleeps(session)
            second.keeper.adoption.notice_given()
            second.keeper.adoption.adopted[shard] -= 10_000
            await second.keeper.adoption.let_empty_ones_go()
            async with reading(http, "POST", world.url, session, call("announce", text="x")) as posted:
                assert answer_in(await posted.rest())["result"]
            assert await hears_of_tools(reader)
        await world.sleeps(session)
        second.keeper.adoption.adopted[shard] -= 10_000

        async def is_let_go() -> bool:
            await second.keeper.adoption.let_empty_ones_go()
            return shard not in second.membership.shards

        await until(is_let_go, what="the shard to be let go once nobody listens")
