"""A client that comes back: it gets what it missed, once, in order, on the stream that it was on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from mooring.asgi import App, Message, Scope, Send
from mooring.core.sse import SseEvent
from mooring.node.streams.answer import NOTHING
from mooring.store import MemoryStore
from mooring.store.journal import SettledCall
from tests.cluster_in_process import RunningNode, running_nodes
from tests.node.apps import ScriptedApp
from tests.node.direct import Request, initialize, joined
from tests.node.links.http_servers import node_behind
from tests.node.moving.nodes import once
from tests.node.rpc import INITIALIZE, RawClient
from tests.node.tellers import Reader, Teller, answer_in, call, reading, steps_in
from tests.waiting import until


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
async def teller() -> AsyncIterator[tuple[Teller, RunningNode]]:
    teller = Teller()
    async with running_nodes(teller.app, 1, MemoryStore()) as nodes:
        yield teller, nodes[0]


async def test_the_first_thing_on_a_calls_stream_is_an_id(
    teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession
) -> None:
    server, node = teller
    session = await raw.open(node.url)
    async with reading(http, "POST", node.url, session, call("tell")) as reader:
        first = await reader.next()
        assert first is not None
        assert (first.data, first.retry_milliseconds) == ("", 2000)
        assert first.id
        server.say(1, None)
        events = await reader.rest()
        assert steps_in(events) == [1]
        assert answer_in(events)["result"]["content"][0]["text"] == "told 1"
        assert len(set(reader.ids)) == len(events) + 1


async def test_a_client_of_an_earlier_revision_gets_its_id_with_a_message_that_says_nothing(
    teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession
) -> None:
    server, node = teller
    body = json.dumps(INITIALIZE).replace("2025-11-25", "2025-06-18").encode()
    opened = await raw.send("POST", f"{node.url}/mcp", body=body)
    async with reading(http, "POST", node.url, opened.session_id, call("tell")) as reader:
        first = await reader.next()
        assert first is not None
        assert (first.event, first.data, first.retry_milliseconds) == ("message", NOTHING, 2000)
        reader.answer.close()
    async with reading(http, "GET", node.url, opened.session_id, last=reader.ids[0]) as again:
        server.say(1, None)
        events = await again.rest()
    assert steps_in(events) == [1]
    assert answer_in(events)["result"]["content"][0]["text"] == "told 1"


@pytest.mark.parametrize("heard", [0, 1, 3])
async def test_a_client_that_was_cut_off_hears_the_rest_once(
    teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession, heard: int
) -> None:
    server, node = teller
    session = await raw.open(node.url)
    async with reading(http, "POST", node.url, session, call("tell")) as reader:
        await reader.next()
        server.say(1, 2, 3)
        before = [await reader.next() for _ in range(heard)]
        reader.answer.close()
    async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as again:
        server.say(4, None)
        events = [*(event for event in before if event is not None), *await again.rest()]
    assert steps_in(events) == [1, 2, 3, 4]
    assert answer_in(events)["result"]["content"][0]["text"] == "told 4"
    async with reading(http, "GET", node.url, session, last=again.ids[-1]) as after_the_end:
        # An empty stream has TypeScript's clients come back once more, without an id, to a stream that is another's.
        assert after_the_end.answer.status == 405


async def test_one_comes_back_through_a_middleware_that_takes_no_answer_for_a_failure(
    raw: RawClient, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Starlette's, which FastAPI makes of `@app.middleware("http")`: the app is asked who it is that comes back."""
    server = Teller()

    async def pass_on(request: StarletteRequest, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    async with running_nodes(lambda: BaseHTTPMiddleware(server.app(), pass_on), 1, MemoryStore()) as [node]:
        session = await raw.open(node.url)
        async with reading(http, "POST", node.url, session, call("tell")) as reader:
            await reader.next()
            reader.answer.close()
        async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as again:
            server.say(1, None)
            assert steps_in(await again.rest()) == [1]
        async with reading(http, "GET", node.url, session) as first:  # the app answers this one
            await first.next()
            first.answer.close()
        async with reading(http, "POST", node.url, session, call("announce", text="x")) as posted:
            await posted.rest()
        async with reading(http, "GET", node.url, session, last=first.ids[0]) as second:
            said = await second.next()
            assert said is not None
            assert json.loads(said.data)["method"] == "notifications/tools/list_changed"
    assert "Exception in ASGI application" not in caplog.text


async def test_another_sessions_id_gives_nothing_away(
    teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession
) -> None:
    server, node = teller
    mine, other = await raw.open(node.url), await raw.open(node.url)
    server.say(1, None)
    async with reading(http, "POST", node.url, mine, call("tell")) as reader:
        await reader.rest()
    async with reading(http, "GET", node.url, other, last=reader.ids[0]) as stranger:
        first = await stranger.next()
        assert first is not None
        assert first.data == ""
        assert first.id
        assert first.id.split(".")[0] != reader.ids[0].split(".")[0]


@pytest.mark.parametrize(("name", "value", "status"), [("origin", "http://evil.example", 403), ("host", "evil", 421)])
async def test_nobody_comes_back_from_where_the_sdk_lets_nobody_in(
    name: str, value: str, status: int, teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession
) -> None:
    """A web page that reaches the server under a name of its own (specification 2025-11-25, Transports: Security)."""
    server, node = teller
    session = await raw.open(node.url)
    server.say(1, None)
    async with reading(http, "POST", node.url, session, call("tell")) as reader:
        await reader.rest()
    async with reading(http, "GET", node.url, session) as listening:
        await listening.next()
        for last in (reader.ids[0], listening.ids[0]):
            headers = {"accept": "text/event-stream", "last-event-id": last, name: value}
            assert (await raw.begin("GET", f"{node.url}/mcp", session=session, headers=headers)) == status


@pytest.mark.parametrize("accept", ["*/*", "text/*", "Text/Event-Stream;q=1", "application/json, text/*;q=0.5"])
async def test_a_client_that_takes_anything_listens_like_one_that_names_event_streams(
    accept: str, teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession
) -> None:
    _, node = teller
    session = await raw.open(node.url)
    headers = {"accept": accept, "mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
    async with http.get(f"{node.url}/mcp", headers=headers) as answer:
        first = await Reader(answer).next()
        assert first is not None
        assert first.id
    async with reading(http, "POST", node.url, session, call("announce", text="x")) as posted:
        await posted.rest()
    async with http.get(f"{node.url}/mcp", headers={**headers, "last-event-id": first.id}) as answer:
        said = await Reader(answer).next()
        assert said is not None
        assert json.loads(said.data)["method"] == "notifications/tools/list_changed"


async def test_what_the_server_says_while_nobody_listens_is_not_lost(
    teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession
) -> None:
    _, node = teller
    session = await raw.open(node.url)
    async with reading(http, "GET", node.url, session) as reader:
        await reader.next()
        reader.answer.close()
    standing = node.mooring._node.sessions.find(session).standing  # type: ignore[union-attr]

    async def has_left() -> bool:
        return not standing.stream.has_listener

    await until(has_left, what="the client to have left")
    async with reading(http, "POST", node.url, session, call("announce", text="x")) as posted:
        await posted.rest()
    async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as again:
        events = await again.rest()  # it ends once, so that the next broken connection is not the second in a row
        assert [json.loads(event.data)["method"] for event in events] == ["notifications/tools/list_changed"]
    async with reading(http, "GET", node.url, session, last=again.ids[-1]) as third:
        async with reading(http, "POST", node.url, session, call("announce", text="y")) as posted:
            await posted.rest()
        where, event = await third.next(), await third.next()
        assert where is not None
        assert event is not None
        assert (where.data, where.id) == ("", again.ids[-1])
        assert json.loads(event.data)["method"] == "notifications/tools/list_changed"


async def test_one_client_listens_at_a_time(
    teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession
) -> None:
    _, node = teller
    session = await raw.open(node.url)
    async with reading(http, "GET", node.url, session) as reader:
        await reader.next()
        async with reading(http, "GET", node.url, session) as second:
            assert second.answer.status == 409
        async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as third:
            assert third.answer.status == 200
            assert await reader.rest() == []


@pytest.mark.parametrize("log_seconds", [300.0, 0.0])
async def test_a_call_that_died_with_its_node_has_one_outcome(
    raw: RawClient, http: aiohttp.ClientSession, log_seconds: float
) -> None:
    """Decided once and for all, also where a stream is let go as soon as it is over."""
    tellers: list[Teller] = []

    def make_app() -> App:
        tellers.append(Teller())
        return tellers[-1].app()

    store = MemoryStore()
    async with running_nodes(make_app, 3, store, stream_log_seconds=log_seconds) as nodes:
        session = await raw.open(nodes[0].url)
        async with reading(http, "POST", nodes[0].url, session, call("tell", request_id=77)) as reader:
            await reader.next()
            tellers[0].say(1)
            await reader.next()
            await nodes[0].vanish()
            with contextlib.suppress(aiohttp.ClientError):
                await reader.rest()
        for node in nodes[1:]:
            async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as again:
                events = await again.rest()
                assert [json.loads(event.data)["id"] for event in events] == [77]
                assert answer_in(events)["error"]["data"]["reason"] == "outcome_unknown"
        assert [type(one) for one in await store.journal.calls(session)] == [SettledCall]
        server = next(teller for teller, node in zip(tellers, nodes, strict=True) if node.mooring._node.tally.revived)
        server.say(None)
        async with reading(http, "POST", nodes[1].url, session, call("tell", request_id=78)) as reader:
            assert answer_in(await reader.rest())["result"]["content"][0]["text"] == "told 0"


async def test_the_servers_own_stream_goes_on_on_another_node(raw: RawClient, http: aiohttp.ClientSession) -> None:
    async with running_nodes(lambda: Teller().app(), 3, MemoryStore()) as nodes:
        session = await raw.open(nodes[0].url)
        async with reading(http, "GET", nodes[0].url, session) as reader:
            await reader.next()
            await nodes[0].vanish()
            with contextlib.suppress(aiohttp.ClientError):
                await reader.rest()
        async with reading(http, "GET", nodes[1].url, session, last=reader.ids[-1]) as again:
            await again.rest()
        async with reading(http, "POST", nodes[2].url, session, call("announce", text="x")) as posted:
            assert answer_in(await posted.rest())["result"]
        async with reading(http, "GET", nodes[2].url, session, last=(again.ids or reader.ids)[-1]) as third:
            event = await third.next()
            assert event is not None
            assert json.loads(event.data)["method"] == "notifications/tools/list_changed"


class Cluster:
    """Nodes with a teller each."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.tellers: list[Teller] = []
        self.nodes: list[RunningNode] = []

    def make_app(self) -> App:
        self.tellers.append(Teller())
        return self.tellers[-1].app()

    async def has_written(self, session: str, stream: str, events: int) -> bool:
        return len(await self.store.journal.read(session, stream)) >= events

    def heir(self) -> Teller:
        """The teller on the node that revived a session."""
        pairs = zip(self.tellers, self.nodes, strict=True)
        return next(teller for teller, node in pairs if node.mooring._node.tally.revived)


@pytest.fixture
async def trio() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    async with running_nodes(cluster.make_app, 3, cluster.store) as nodes:
        cluster.nodes = nodes
        yield cluster


async def die_in_the_middle(
    trio: Cluster, http: aiohttp.ClientSession, session: str, tool: str, heard: int
) -> tuple[list[SseEvent], str]:
    """A call on the first node says 1, 2, 3; its client hears some of it; the node dies. Returns what it heard."""
    async with reading(http, "POST", trio.nodes[0].url, session, call(tool, request_id=9)) as reader:
        first = await reader.next()
        assert first is not None
        trio.tellers[0].say(1, 2, 3)
        before = [event for _ in range(heard) if (event := await reader.next()) is not None]
        stream = str(first.id).split(".")[0]

        async def is_written() -> bool:
            return await trio.has_written(session, stream, 4)

        await until(is_written, what="all that was said to be written down")
        await trio.nodes[0].vanish()
    return before, reader.ids[-1]


@pytest.mark.parametrize("heard", [0, 2])
async def test_the_next_owner_says_what_the_last_one_said_and_the_outcome(
    trio: Cluster, raw: RawClient, http: aiohttp.ClientSession, heard: int
) -> None:
    session = await raw.open(trio.nodes[0].url)
    before, last = await die_in_the_middle(trio, http, session, "tell", heard)
    for node in trio.nodes[1:]:
        async with reading(http, "GET", node.url, session, last=last) as again:
            events = [*before, *await again.rest()]
        assert steps_in(events) == [1, 2, 3]
        error = answer_in(events)["error"]
        assert (error["data"]["reason"], error["data"]["name"]) == ("outcome_unknown", "tell")
        assert answer_in(events)["id"] == 9


async def test_what_changes_nothing_is_carried_out_again(
    trio: Cluster, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    session = await raw.open(trio.nodes[0].url)
    before, last = await die_in_the_middle(trio, http, session, "ask", 1)
    async with reading(http, "GET", trio.nodes[1].url, session, last=last) as again:
        events = [*before]
        for _ in range(2):
            event = await again.next()
            assert event is not None
            events.append(event)
        trio.heir().say(1, 2, 3, 4, None)
        events += await again.rest()
    assert steps_in(events) == [1, 2, 3, 4]
    assert answer_in(events)["result"]["content"][0]["text"] == "asked 1"


async def test_an_outcome_stands_when_its_node_dies_too(
    trio: Cluster, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    session = await raw.open(trio.nodes[0].url)
    _, last = await die_in_the_middle(trio, http, session, "tell", 0)
    async with reading(http, "GET", trio.nodes[1].url, session, last=last) as again:
        first = await again.rest()
    heir = trio.tellers.index(trio.heir())
    await trio.nodes[heir].vanish()
    [other] = {0, 1, 2} - {0, heir}
    async with reading(http, "GET", trio.nodes[other].url, session, last=last) as again:
        second = await again.rest()
    assert answer_in(first) == answer_in(second)
    assert trio.nodes[other].mooring._node.tally.outcomes == {}


async def test_a_call_that_ends_at_once_writes_nothing(
    trio: Cluster, raw: RawClient, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []

    async def note(*arguments: object) -> dict[str, Any]:
        written.append(arguments)
        return {}

    monkeypatch.setattr(trio.store.journal, "append_all", note)
    monkeypatch.setattr(trio.store.journal, "note_all", note)
    behind = trio.nodes[0].mooring._node._behind
    assert behind is not None
    behind._after_seconds = 5.0
    session = await raw.open(trio.nodes[0].url)
    trio.tellers[0].say(1, None)
    async with reading(http, "POST", trio.nodes[0].url, session, call("tell")) as reader:
        await reader.rest()
    behind._grow_up()
    await behind._write_all()
    assert written == []


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_a_server_that_cancels_what_its_client_has_left_cancels_no_work(
    server: str, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    teller = Teller()
    async with node_behind(server, teller.app(), MemoryStore(), "node-1", uvicorn_options={}) as node:
        session = await raw.open(node.url)
        async with reading(http, "POST", node.url, session, call("tell")) as reader:
            await reader.next()
            teller.say(1)
            await reader.next()
            reader.answer.close()
        teller.say(2, 3)
        async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as again:
            teller.say(None)
            events = await again.rest()
    assert steps_in(events) == [2, 3]
    assert answer_in(events)["result"]["content"][0]["text"] == "told 3"


async def test_the_second_of_two_connections_of_one_client_hears_the_rest(
    teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession
) -> None:
    server, node = teller
    session = await raw.open(node.url)
    async with reading(http, "POST", node.url, session, call("tell")) as reader:
        await reader.next()
        server.say(1)
        await reader.next()
        async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as again:
            server.say(2, None)
            events = await again.rest()
        assert await reader.rest() == []
    assert steps_in(events) == [2]
    assert answer_in(events)["result"]["content"][0]["text"] == "told 2"


@pytest.mark.parametrize(
    "forged",
    [
        lambda last: last + "0" * 400,
        lambda last: last.rsplit(".", 1)[0] + ".9999999999999999",
        lambda last: last.split(".")[0] + ".9999999999999999.1",
        lambda last: "A" + last[1:],
        lambda last: "x" * 40 + ".1.1",
        lambda last: "own-7",
        lambda last: "",
        lambda last: "\x80\xff",
    ],
)
async def test_an_id_that_nobody_minted_harms_no_call(
    teller: tuple[Teller, RunningNode], raw: RawClient, http: aiohttp.ClientSession, forged: Callable[[str], str]
) -> None:
    server, node = teller
    session = await raw.open(node.url)
    async with reading(http, "POST", node.url, session, call("tell")) as reader:
        await reader.next()
        last = forged(reader.ids[-1])
        async with reading(http, "GET", node.url, session, last=last) as liar:
            assert liar.answer.status == 200
        server.say(1, None)
        events = await reader.rest()
        if not events:  # it took the place of the first, with a place ahead of all
            async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as again:
                events = await again.rest()
    assert steps_in(events) == [1]
    assert answer_in(events)["result"]["content"][0]["text"] == "told 1"


async def test_a_session_that_nobody_uses_is_ended_and_revived(raw: RawClient, http: aiohttp.ClientSession) -> None:
    async with running_nodes(lambda: Teller().app(), 1, MemoryStore(), idle_seconds=0.5) as [node]:
        session = await raw.open(node.url)
        async with reading(http, "GET", node.url, session) as reader:
            await reader.next()
            for number in range(3):
                async with reading(http, "POST", node.url, session, call("announce", number, text="x")) as posted:
                    await posted.rest()
                await reader.next()
            reader.answer.close()

        async def is_let_go() -> bool:
            return len(node.mooring._node.sessions) == 0

        await until(is_let_go, what="the session to be let go")
        async with reading(http, "POST", node.url, session, call("announce", text="y")) as posted:
            assert answer_in(await posted.rest())["result"]
        async with reading(http, "GET", node.url, session, last=reader.ids[-1]) as again:
            methods = [json.loads(event.data)["method"] for event in await again.rest()]
        assert methods == ["notifications/tools/list_changed"]


async def test_a_listener_that_its_server_cancels_while_it_catches_up_leaves_its_place(app: ScriptedApp) -> None:
    may_say = asyncio.Event()

    async def say_once(scope: Scope, body: bytes, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await may_say.wait()
        await send({"type": "http.response.body", "body": b"data: said\n\n", "more_body": True})
        await asyncio.Event().wait()

    async with joined(app) as mooring, asyncio.timeout(10):
        session = (await initialize().to(mooring)).session_id
        app.on_session = say_once
        first, slow, third = (
            Request("GET", session=session, headers=[(b"accept", b"text/event-stream")]) for _ in range(3)
        )
        listens = asyncio.create_task(first.to(mooring))
        await once(lambda: bool(first.body), what="it to listen")
        first.leave()
        await listens
        may_say.set()
        is_stuck = asyncio.Event()

        async def stall(message: Message) -> None:
            if message.get("body"):
                is_stuck.set()
                await asyncio.Event().wait()

        hangs = asyncio.create_task(mooring(slow.scope, slow.receive, stall))
        await is_stuck.wait()
        hangs.cancel()
        await asyncio.wait({hangs})
        listens = asyncio.create_task(third.to(mooring))
        await once(
            lambda: b"said" in third.body or (bool(third.sent) and third.status == 409),
            what="the next one to be answered",
        )
        assert third.status == 200
        third.leave()
        await listens
