"""A session that nobody signed in to belongs to the first who does, once and for good."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from starlette.authentication import SimpleUser

from mooring import ClosedSession
from mooring.asgi import Receive, Scope, Send
from mooring.node.requests.principal import principal_of
from mooring.store import MemoryStore
from tests.cluster_in_process import running_node, running_nodes
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import Request, initialize, joined
from tests.node.moving.nodes import once
from tests.node.rpc import RawClient, Reply
from tests.node.tellers import reading
from tests.node.wrongs import ALICE, BOB, NOBODY, People, call_of
from tests.servers.people import Sdk, authenticated, make_app
from tests.waiting import until

PRINCIPAL_OF_ALICE = principal_of({"user": SimpleUser("alice")})

second_generation = pytest.mark.parametrize("sdk", ["v2", "fastmcp"])


async def a_moment() -> None:
    await asyncio.sleep(0.05)


async def principal_on_record(store: MemoryStore, session: str) -> str:
    record = await store.load_session(session)
    assert record is not None
    return record.principal


@second_generation
async def test_it_is_theirs_from_then_on(sdk: Sdk, raw: RawClient) -> None:
    store = MemoryStore()
    closed: list[ClosedSession] = []
    async with running_nodes(lambda: make_app(sdk, "starlette"), 2, store) as nodes:
        nodes[0].mooring.on_close(closed.append)
        people = People(raw, [node.url for node in nodes])
        session = await people.open(NOBODY)
        for node in nodes:
            assert (await people.count(session, NOBODY, node.url)).status == 200
        assert await principal_on_record(store, session) == ""
        assert (await people.count(session, ALICE, nodes[1].url)).status == 200
        assert await principal_on_record(store, session) == PRINCIPAL_OF_ALICE
        done = await people.ledger()
        for who in (NOBODY, BOB):
            for node in nodes:
                assert (await people.count(session, who, node.url)).reason == "unknown"
                assert (await raw.send("DELETE", f"{node.url}/mcp", session=session, headers=who)).reason == "unknown"
        assert await people.ledger() == done
        assert closed == []
        assert (await people.count(session, ALICE)).status == 200
        assert (await raw.send("DELETE", f"{nodes[1].url}/mcp", session=session, headers=ALICE)).status == 200
        assert closed == [ClosedSession(session, "deleted", PRINCIPAL_OF_ALICE)]
        assert await store.load_session(session) is None


@second_generation
async def test_of_two_who_want_it_at_once_one_gets_it(sdk: Sdk, raw: RawClient) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(lambda: make_app(sdk, "starlette"), 2, store) as nodes:
        people = People(raw, [node.url for node in nodes])
        for base in people.bases:
            session = await people.open(NOBODY)
            store.before["save_session"] = a_moment
            before = await people.ledger()
            askers = [ALICE] * 5 + [BOB] * 5
            bodies = [call_of("count", request_id) for request_id in range(10, 20)]
            replies = await asyncio.gather(
                *(raw.call(base, session, body=body, headers=who) for body, who in zip(bodies, askers, strict=True))
            )
            served = [reply.status == 200 for reply in replies]
            assert sorted([served[:5], served[5:]]) == [[False] * 5, [True] * 5]
            assert await people.ledger() == [*before, *["counted"] * 5]
            winner, loser = (ALICE, BOB) if served[0] else (BOB, ALICE)
            assert (await people.count(session, winner)).status == 200
            assert (await people.count(session, loser)).reason == "unknown"


@second_generation
async def test_who_listened_before_hears_nothing_of_theirs(sdk: Sdk, raw: RawClient) -> None:
    async with (
        running_nodes(lambda: make_app(sdk, "starlette"), 2, MemoryStore()) as nodes,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
    ):
        people = People(raw, [node.url for node in nodes])
        for base in people.bases:
            session = await people.open(NOBODY)
            async with reading(http, "GET", base, session) as listener:
                assert await listener.next() is not None
                assert (await people.count(session, ALICE)).status == 200
                await listener.rest()  # it ends
            again = {"last-event-id": listener.ids[-1]}
            for who, status in ((NOBODY, 404), (BOB, 404), (ALICE, 200)):
                headers = {**who, **again, "accept": "text/event-stream"}
                assert await raw.begin("GET", f"{base}/mcp", session=session, headers=headers) == status


async def test_it_is_theirs_also_while_the_store_is_away_which_learns_of_it_later(raw: RawClient) -> None:
    inner = MemoryStore()
    store = FlakyStore(inner)
    async with running_node(make_app("v2", "starlette"), store) as node:
        people = People(raw, [node.url])
        session = await people.open(NOBODY)
        store.away = True
        assert (await people.count(session, ALICE)).status == 200
        assert (await people.count(session, BOB)).reason == "unknown"
        assert await principal_on_record(inner, session) == ""
        store.away = False
        await node.mooring._node.keeper.beat()
        assert await principal_on_record(inner, session) == PRINCIPAL_OF_ALICE


async def test_it_costs_one_write_and_the_next_request_none(raw: RawClient) -> None:
    store = FlakyStore(MemoryStore())
    async with running_node(make_app("v2", "starlette"), store) as node:
        people = People(raw, [node.url])
        session = await people.open(NOBODY)
        for who, saved in ((NOBODY, 1), (ALICE, 2), (ALICE, 2), (BOB, 2)):
            await people.count(session, who)
            assert store.calls.count("save_session") == saved


@second_generation
async def test_a_request_that_was_running_ends_as_it_would_have(sdk: Sdk, raw: RawClient) -> None:
    """Its tool is what asked for somebody to sign in."""
    async with running_node(make_app(sdk, "starlette"), MemoryStore()) as node:
        people = People(raw, [node.url])
        session = await people.open(NOBODY)
        async with people.running(session, "ask", NOBODY) as asked:
            assert (await people.count(session, ALICE)).status == 200
            await people.tell(session, "Alice", ALICE)
            assert (await asked).status == 200
        assert (await people.ledger())[-1] == "was told Alice"


@second_generation
async def test_the_sdks_own_users_do_not_take_over_what_nobody_opened(sdk: Sdk, raw: RawClient) -> None:
    """The SDK itself holds a session to the credential that it was opened with, none included; we loosen nothing."""
    store = MemoryStore()
    async with running_node(make_app(sdk, "optional bearer"), store) as node:
        people = People(raw, [node.url])
        session = await people.open(NOBODY)
        done = await people.ledger()
        assert (await people.count(session, ALICE)).reason == "unknown"
        assert await people.ledger() == done
        assert await principal_on_record(store, session) == ""
        assert (await people.count(session, NOBODY)).status == 200


# Other apps.


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_another_apps_session_is_taken_over_too(method: str, raw: RawClient) -> None:
    app, inner = ScriptedApp(), MemoryStore()
    store = FlakyStore(inner)
    async with running_node(authenticated(app), store) as node:

        async def ask(who: dict[str, str]) -> Reply:
            return await raw.send(method, f"{node.url}/mcp", session=session, headers=who)

        session = await raw.open(node.url, headers=NOBODY)
        assert (await ask(NOBODY)).status == 200
        store.before["save_session"] = a_moment
        replies = await asyncio.gather(*(ask(who) for who in (ALICE, BOB) for _ in range(3)))
        served = [reply.status == 200 for reply in replies]
        assert sorted([served[:3], served[3:]]) == [[False] * 3, [True] * 3]
        name, winner, loser = ("alice", ALICE, BOB) if served[0] else ("bob", BOB, ALICE)
        assert await principal_on_record(inner, session) == principal_of({"user": SimpleUser(name)})
        assert (await ask(winner)).status == 200
        app.asked.clear()
        for who in (loser, NOBODY):
            assert (await ask(who)).reason == "unknown"
            assert (await raw.send("DELETE", f"{node.url}/mcp", session=session, headers=who)).reason == "unknown"
        assert all(inner_id is None for _, inner_id, _ in app.asked)
        assert app.sessions == {"inner-1"}


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_who_is_turned_away_by_another_app_has_taken_nothing(status: int, raw: RawClient) -> None:
    app, store = ScriptedApp(), MemoryStore()
    async with running_node(authenticated(app), store) as node:
        session = await raw.open(node.url, headers=NOBODY)

        async def fail(scope: Scope, body: bytes, send: Send) -> None:
            await answer(send, status, b"")

        app.unread = fail
        for method in ("POST", "GET", "DELETE"):
            assert (await raw.send(method, f"{node.url}/mcp", session=session, headers=ALICE)).status == status
        assert await principal_on_record(store, session) == ""
        app.unread = None
        assert (await raw.call(node.url, session, headers=NOBODY)).status == 200


async def test_an_unknown_session_of_nobodys_is_not_ended_for_somebody_else(raw: RawClient) -> None:
    """The app may hold a session to the credential that it was opened with, as the SDKs do."""
    app, store = ScriptedApp(), MemoryStore()
    async with running_node(authenticated(app), store) as node:
        session = await raw.open(node.url, headers=NOBODY)

        async def not_found(scope: Scope, body: bytes, send: Send) -> None:
            await answer(send, 404, b"")

        app.unread = not_found
        assert (await raw.send("GET", f"{node.url}/mcp", session=session, headers=ALICE)).reason == "unknown"
        app.unread = None
        assert (await raw.call(node.url, session, headers=NOBODY)).status == 200


@pytest.mark.parametrize("kind", ["another app", "v2", "v2 without a limit"])
async def test_a_request_that_is_slow_to_come_is_not_let_through_once_it_is_anothers(
    kind: str, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began while the session was nobody's, and so was the request."""
    app = ScriptedApp() if kind == "another app" else make_app("v2", "nobody")
    if kind == "v2 without a limit":  # which reads all of the body before the session is served
        limit = importlib.import_module("mcp.server.transport_security").RequestBodyLimitMiddleware
        monkeypatch.setattr(limit, "__call__", lambda self, *request: self.app(*request))
    async with running_node(authenticated(app), MemoryStore()) as node:
        session = await raw.open(node.url, headers=NOBODY)
        may_end = asyncio.Event()
        tally = node.mooring._node.tally
        before = tally.served

        async def body() -> AsyncIterator[bytes]:
            whole = json.dumps(call_of("count")).encode()
            yield whole[:20]
            await may_end.wait()
            yield whole[20:]

        async def has_come() -> bool:
            return tally.served > before

        url = f"{node.url}/mcp"
        slow = asyncio.create_task(raw.send("POST", url, session=session, body=body(), headers=NOBODY))
        await until(has_come, what="the request to come")
        assert (await raw.call(node.url, session, headers=ALICE)).status == 200
        may_end.set()
        assert (await slow).reason == "unknown"
        if isinstance(app, ScriptedApp):
            assert app.disconnected == 1
        else:
            assert (await raw.send("GET", f"{node.url}/ledger")).json == []


async def test_an_answer_that_has_begun_is_cut_off(raw: RawClient) -> None:
    class Echo(ScriptedApp):
        """Answers each piece of a body as it comes."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not self.sessions:
                await super().__call__(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})
            has_begun.set()
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                more = message.get("more_body", False)
                await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})

    has_begun, may_end = asyncio.Event(), asyncio.Event()
    async with running_node(authenticated(Echo()), MemoryStore()) as node:
        session = await raw.open(node.url, headers=NOBODY)

        async def body() -> AsyncIterator[bytes]:
            yield b"nobody's"
            await may_end.wait()
            yield b"and Alice's"

        url = f"{node.url}/mcp"
        slow = asyncio.create_task(raw.send("POST", url, session=session, body=body(), headers=NOBODY))
        await has_begun.wait()
        assert (await raw.call(node.url, session, headers=ALICE)).status == 200
        may_end.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await slow


class Quiet(ScriptedApp):
    """Whoever listens to it hears what it is told to say."""

    def __init__(self) -> None:
        super().__init__()
        self.to_say: asyncio.Queue[bytes] = asyncio.Queue()
        self.on_session = self._on_session

    async def _on_session(self, scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] != "GET":
            await answer(send, 200, b"{}")
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        while True:
            said = await self.to_say.get()
            await send({"type": "http.response.body", "body": b"data: %b\n\n" % said, "more_body": True})


def by_alice(request: Request) -> Request:
    """Signed in around Mooring."""
    request.scope["user"] = SimpleUser("alice")
    return request


def listening(session: str) -> Request:
    return Request("GET", session=session, headers=[(b"accept", b"text/event-stream")])


class Gate:
    """Holds up whoever comes to it, once."""

    def __init__(self) -> None:
        self.is_reached, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.is_reached.set()
        await self.may_go_on.wait()


async def test_nobody_who_is_let_in_to_listen_at_that_moment_hears_nothing_of_theirs() -> None:
    store, app, gate = FlakyStore(MemoryStore()), Quiet(), Gate()
    async with joined(app, store) as mooring, asyncio.timeout(10):
        session = (await initialize().to(mooring)).session_id
        store.before["save_session"] = gate
        nobodys = listening(session)
        listens = asyncio.create_task(nobodys.to(mooring))
        await gate.is_reached.wait()
        assert (await by_alice(Request(session=session, pieces=[b"{}"])).to(mooring)).status == 200
        gate.may_go_on.set()
        await listens
        hers = by_alice(listening(session))
        hears = asyncio.create_task(hers.to(mooring))
        app.to_say.put_nowait(b"secret")
        await once(lambda: b"secret" in hers.body, what="her to hear it")
        assert b"secret" not in nobodys.body
        hers.leave()
        await hears


async def test_who_listened_hears_the_end_though_whoever_signs_in_leaves_at_once() -> None:
    """Some servers cancel the request of a client that leaves; the record says whose the session is all the same."""
    store, app, gate = FlakyStore(MemoryStore()), Quiet(), Gate()
    async with joined(app, store) as mooring, asyncio.timeout(10):
        session = (await initialize().to(mooring)).session_id
        nobodys = listening(session)
        listens = asyncio.create_task(nobodys.to(mooring))
        await once(lambda: bool(nobodys.sent), what="it to listen")
        await mooring._node.sessions.settle()
        store.before["save_session"] = gate
        hers = asyncio.create_task(by_alice(listening(session)).to(mooring))
        await gate.is_reached.wait()
        hers.cancel()
        await asyncio.wait({hers})
        await listens
        await mooring._node.keeper.beat()
        assert await principal_on_record(store.inner, session) == PRINCIPAL_OF_ALICE  # type: ignore[arg-type]


async def test_whoever_signs_in_to_listen_listens() -> None:
    app = Quiet()
    async with joined(app) as mooring, asyncio.timeout(10):
        session = (await initialize().to(mooring)).session_id
        hers = by_alice(listening(session))
        hears = asyncio.create_task(hers.to(mooring))
        app.to_say.put_nowait(b"hers")
        await once(lambda: b"hers" in hers.body, what="her to hear it")
        assert not hears.done()
        hers.leave()
        await hears
