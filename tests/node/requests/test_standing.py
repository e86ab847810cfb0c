"""What a server says by itself is heard once, whatever its client, its app and its node do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from mooring.asgi import Receive, Scope, Send, header
from mooring.core.sse import SseEvent, encode
from mooring.errors import StoreUnavailable
from mooring.node.requests import standing
from mooring.store import MemoryStore, Store
from tests.cluster_in_process import RunningNode, running_node, running_nodes
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import Request, initialize, joined
from tests.node.moving.nodes import once
from tests.node.rpc import RawClient
from tests.node.tellers import Reader, reading
from tests.waiting import until


class Speaker(ScriptedApp):
    """A server that says what it is told to, on the stream of whoever listens; nobody listens to more than one.

    Attributes:
        asked_for: the `Last-Event-ID` of each GET.
        refuses: the status that a GET gets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked_for: list[bytes | None] = []
        self.refuses: int | None = None
        self.to_say: asyncio.Queue[SseEvent | Exception | None] = asyncio.Queue()
        self.on_session = self._on_session

    def say(self, *said: str | Exception | None) -> None:
        for one in said:
            number = len(self.asked_for)
            event = SseEvent(one, "message", f"own-{number}") if isinstance(one, str) else one
            self.to_say.put_nowait(event)

    async def _on_session(self, scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] != "GET":
            await answer(send, 200 if b'"id"' in body else 202, b'{"jsonrpc":"2.0","id":1,"result":{}}')
            return
        self.asked_for.append(header(scope["headers"], b"last-event-id"))
        if self.refuses is not None:
            await answer(send, self.refuses, b"{}")
            return
        headers = [(b"content-type", b"text/event-stream"), (b"x-of-the-app", b"yes")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while (event := await self.to_say.get()) is not None:
            if isinstance(event, Exception):
                raise event
            await send({"type": "http.response.body", "body": encode(event), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@contextlib.asynccontextmanager
async def speaking(store: Store, **settings: Any) -> AsyncIterator[tuple[list[RunningNode], list[Speaker]]]:
    """Two nodes, each with its speaker."""
    speakers = [Speaker(), Speaker()]
    waiting = list(speakers)
    async with running_nodes(lambda: waiting.pop(0), len(speakers), store, **settings) as nodes:
        yield nodes, speakers


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> Speaker:
    monkeypatch.setattr(standing, "_AGAIN_SECONDS", 0.05)
    return Speaker()


@pytest.fixture
async def served(speaker: Speaker) -> AsyncIterator[RunningNode]:
    async with running_node(speaker, MemoryStore()) as node:
        yield node


async def texts(reader: Reader, count: int) -> list[str]:
    """The next so many things that are said on it."""
    heard: list[str] = []
    while len(heard) < count:
        event = await reader.next()
        assert event is not None, heard
        heard += [event.data] if event.data else []
    return heard


async def test_the_apps_stream_is_the_clients_under_ids_of_ours(
    speaker: Speaker, served: RunningNode, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    session = await raw.open(served.url)
    async with reading(http, "GET", served.url, session) as reader:
        assert reader.answer.headers["x-of-the-app"] == "yes"
        assert reader.answer.headers["mcp-session-id"] == session
        speaker.say("a", "b")
        assert await texts(reader, 2) == ["a", "b"]
        assert len(set(reader.ids)) == 3
        assert not any("own" in name for name in reader.ids)


@pytest.mark.parametrize("status", [405, 400])
async def test_an_app_may_have_no_such_stream(
    speaker: Speaker, served: RunningNode, raw: RawClient, http: aiohttp.ClientSession, status: int
) -> None:
    speaker.refuses = status
    session = await raw.open(served.url)
    for _ in range(2):
        async with reading(http, "GET", served.url, session) as reader:
            assert reader.answer.status == status
    assert len(speaker.asked_for) == 2
    assert (await raw.call(served.url, session)).status == 200


async def test_what_is_said_to_nobody_waits_for_the_next_one(
    speaker: Speaker, served: RunningNode, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    session = await raw.open(served.url)
    async with reading(http, "GET", served.url, session) as reader:
        speaker.say("a")
        await texts(reader, 1)
        reader.answer.close()
    stream = served.mooring._node.streams.standing()[0]

    async def has_left() -> bool:
        return not stream.has_listener

    await until(has_left, what="the client to have left")
    speaker.say("b")
    async with reading(http, "GET", served.url, session, last=reader.ids[-1]) as again:
        assert await texts(again, 1) == ["b"]
        assert await again.rest() == []  # ended well, once
    async with reading(http, "GET", served.url, session, last=again.ids[-1]) as third:
        speaker.say("c")
        assert await texts(third, 1) == ["c"]
    assert len(speaker.asked_for) == 1


async def test_an_app_that_ends_its_stream_is_asked_again_where_it_was(
    speaker: Speaker, served: RunningNode, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    session = await raw.open(served.url)
    async with reading(http, "GET", served.url, session) as reader:
        speaker.say("a", None)
        assert [event.data for event in await reader.rest()] == ["", "a"]
    async with reading(http, "GET", served.url, session, last=reader.ids[-1]) as again:
        speaker.say("b")
        assert await texts(again, 1) == ["b"]
    assert speaker.asked_for == [None, b"own-1"]


async def test_one_that_fails_half_way_is_asked_again_by_the_next_client(
    speaker: Speaker, served: RunningNode, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    session = await raw.open(served.url)
    async with reading(http, "GET", served.url, session) as reader:
        speaker.say("a", OSError("the app is broken"))
        assert [event.data for event in await reader.rest()] == ["", "a"]
    async with reading(http, "GET", served.url, session, last=reader.ids[-1]) as again:
        speaker.say("b")
        assert await texts(again, 1) == ["b"]
        assert again.ids[-1].split(".")[0] == reader.ids[0].split(".")[0]


async def test_one_that_only_ever_ends_it_is_left_alone(
    speaker: Speaker, served: RunningNode, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    session = await raw.open(served.url)
    speaker.say(*(None for _ in range(20)))
    async with reading(http, "GET", served.url, session) as reader:
        await reader.rest()
    local = served.mooring._node.sessions.find(session)
    assert local is not None

    async def is_left_alone() -> bool:
        return local.standing is None

    await until(is_left_alone, what="nobody to ask any more")
    assert len(speaker.asked_for) == 5


@pytest.mark.parametrize("is_silent", [False, True], ids=["", "Redis is silent for a moment"])
async def test_what_nobody_heard_is_heard_from_the_next_owner(
    raw: RawClient, http: aiohttp.ClientSession, is_silent: bool
) -> None:
    async def away() -> None:
        raise StoreUnavailable("away for one call")

    store = FlakyStore(MemoryStore())
    async with speaking(store) as (nodes, speakers):
        session = await raw.open(nodes[0].url)
        async with reading(http, "GET", nodes[0].url, session) as reader:
            speakers[0].say("a")
            await texts(reader, 1)
            reader.answer.close()
        speakers[0].say("b", "c")
        stream = nodes[0].mooring._node.streams.standing()[0]

        async def is_written() -> bool:
            return len(await store.journal.read(session, stream.id)) == 4

        await until(is_written, what="all that was said to be written down")
        await nodes[0].vanish()
        if is_silent:
            store.before["read"] = away
        async with reading(http, "GET", nodes[1].url, session, last=reader.ids[-1]) as again:
            assert await texts(again, 2) == ["b", "c"]
            assert "read" not in store.before
        async with reading(http, "GET", nodes[1].url, session, last=again.ids[-1]) as third:
            speakers[1].say("d")
            assert await texts(third, 1) == ["d"]
    assert third.ids[-1].split(".")[0] == reader.ids[0].split(".")[0]


async def test_what_a_server_asks_by_itself_after_a_revival_is_answered(
    raw: RawClient, http: aiohttp.ClientSession
) -> None:
    async with speaking(MemoryStore()) as (nodes, speakers):
        session = await raw.open(nodes[0].url)
        async with reading(http, "GET", nodes[0].url, session) as reader:
            speakers[0].say("a")
            await texts(reader, 1)
        await nodes[0].vanish()
        async with reading(http, "GET", nodes[1].url, session, last=reader.ids[-1]) as again:
            await again.rest()  # ended well, once
        async with reading(http, "GET", nodes[1].url, session, last=reader.ids[-1]) as third:
            speakers[1].say('{"jsonrpc":"2.0","id":7,"method":"roots/list"}')
            [question] = map(json.loads, await texts(third, 1))
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}}
        await raw.call(nodes[1].url, session, body=reply)
        assert {**reply, "id": 7} in [json.loads(body) for _, _, body in speakers[1].asked if body]


async def test_a_client_that_knows_where_it_is_from_its_last_connection_alone_hears_nothing_twice(
    raw: RawClient, http: aiohttp.ClientSession
) -> None:
    """As the TypeScript SDK's: where a connection brought no event, it comes back without an id."""
    store = MemoryStore()
    async with speaking(store) as (nodes, speakers):
        session = await raw.open(nodes[0].url)
        async with reading(http, "GET", nodes[0].url, session) as reader:
            speakers[0].say("a", "b")
            assert await texts(reader, 2) == ["a", "b"]
            stream = nodes[0].mooring._node.streams.standing()[0]

            async def is_written() -> bool:
                return len(await store.journal.read(session, stream.id)) == 3

            await until(is_written, what="all that was said to be written down")
            await nodes[0].vanish()
        async with reading(http, "GET", nodes[1].url, session, last=reader.ids[-1]) as again:
            assert [event.data for event in await again.rest() if event.data] == []  # ended well, once
        assert again.ids != []
        async with reading(http, "GET", nodes[1].url, session) as third:
            speakers[1].say("c")
            assert await texts(third, 1) == ["c"]


async def test_a_client_whose_node_gave_its_session_away_listens_on_at_once(
    raw: RawClient, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mooring.sessions")
    async with speaking(MemoryStore()) as (nodes, speakers):
        session = await raw.open(nodes[0].url)
        async with reading(http, "GET", nodes[0].url, session) as reader:
            speakers[0].say("a")
            await texts(reader, 1)
            await nodes[0].mooring.drain()
            assert await reader.rest() == []
        async with reading(http, "GET", nodes[1].url, session, last=reader.ids[-1]) as second:
            speakers[1].say("b")
            assert await texts(second, 1) == ["b"]
        revivals = [record.levelname for record in caplog.records if "revived session" in record.message]
        assert revivals == ["INFO"]  # nothing was lost that anybody has to look for


@pytest.mark.parametrize(("level", "is_warned"), [("debug", True), ("warning", True), ("error", False), ("", False)])
async def test_a_client_that_asked_for_logs_is_told_that_memory_is_gone(
    raw: RawClient, http: aiohttp.ClientSession, level: str, is_warned: bool
) -> None:
    async with speaking(MemoryStore()) as (nodes, speakers):
        session = await raw.open(nodes[0].url)
        if level:
            request = {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}}
            await raw.call(nodes[0].url, session, body=request)
        async with reading(http, "GET", nodes[0].url, session) as reader:
            await reader.next()
        await nodes[0].vanish()
        async with reading(http, "GET", nodes[1].url, session, last=reader.ids[-1]) as again:
            heard = [json.loads(event.data) for event in await again.rest() if event.data]
        async with reading(http, "GET", nodes[1].url, session, last=(reader.ids + again.ids)[-1]) as third:
            speakers[1].say("said")
            assert await texts(third, 1) == ["said"]
        assert [told["method"] for told in heard] == ["notifications/message"] * is_warned
        for told in heard:
            assert (told["params"]["level"], told["params"]["logger"]) == ("warning", "mooring")
            assert "memory is gone" in told["params"]["data"]
        posted = [json.loads(body)["method"] for _, _, body in speakers[1].asked if body]
        assert posted == ["initialize", "notifications/initialized", *(["logging/setLevel"] if level else [])]


@pytest.mark.parametrize("has_listened", [False, True])
async def test_a_listener_who_finds_out_that_the_app_dropped_its_session_listens_to_the_next_one(
    has_listened: bool, speaker: Speaker, served: RunningNode, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    session = await raw.open(served.url)
    last = None
    if has_listened:
        async with reading(http, "GET", served.url, session) as reader:
            speaker.say("a")
            assert await texts(reader, 1) == ["a"]
        last = reader.ids[-1]
        local = served.mooring._node.sessions.find(session)
        assert local is not None
        speaker.refuses = 405
        speaker.say(None)

        async def has_none() -> bool:
            return local.standing is None

        await until(has_none, what="the app's stream to end")
        speaker.refuses = None
    speaker.sessions.clear()
    if has_listened:
        async with reading(http, "GET", served.url, session, last=last) as reader:
            assert not any(event.data for event in await reader.rest())  # it ends cleanly, once
    async with reading(http, "GET", served.url, session, last=last) as reader:
        speaker.say("b")
        assert await texts(reader, 1) == ["b"]
        assert not any("own" in name for name in reader.ids)
    speaker.say("c")
    async with reading(http, "GET", served.url, session, last=reader.ids[-1]) as again:
        assert await texts(again, 1) == ["c"]


async def test_what_was_forgotten_of_a_stream_keeps_nothing_from_whoever_comes_back_to_it(
    speaker: Speaker, raw: RawClient, http: aiohttp.ClientSession
) -> None:
    """The app drops its session, and its client sleeps until nobody knows what was said."""
    store = MemoryStore()
    async with running_node(speaker, store) as served:
        session = await raw.open(served.url)
        async with reading(http, "GET", served.url, session) as reader:
            speaker.say("a", "b", "c")
            assert await texts(reader, 3) == ["a", "b", "c"]
        speaker.sessions.clear()
        speaker.say(None)

        async def is_gone() -> bool:
            return served.mooring._node.sessions.find(session) is None

        await until(is_gone, what="the session to end")
        served.mooring._node.streams.forget(session)  # minutes later
        store.journal.forget_session(session)
        assert (await raw.call(served.url, session)).status == 200
        speaker.say("d", "e")

        async def are_said() -> bool:
            return speaker.to_say.empty()

        await until(are_said, what="the server to say more")
        async with reading(http, "GET", served.url, session, last=reader.ids[-1]) as again:
            assert [event.data for event in await again.rest() if event.data] == ["d", "e"]


class OneStream(ScriptedApp):
    """Takes no DELETE, and tells one GET at a time what it says by itself, for as long as that is there."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "POST":
            await super().__call__(scope, receive, send)
        elif scope["method"] == "DELETE":
            await answer(send, 405, b"")
        elif self.listeners:
            await answer(send, 409, b"")
        else:
            self.listeners += 1
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while (await receive())["type"] != "http.disconnect":
                pass
            self.listeners -= 1


async def test_the_stream_of_an_idle_session_that_the_app_will_not_end_is_closed() -> None:
    """Then its own limit ends it, as without us; and whoever comes back listens."""
    app = OneStream()
    async with joined(app, idle_seconds=10) as mooring, asyncio.timeout(10):
        node = mooring._node
        session = (await initialize().to(mooring)).session_id
        for _ in range(2):
            request = Request("GET", session=session, headers=[(b"accept", b"text/event-stream")])
            listens = asyncio.create_task(request.to(mooring))
            await once(lambda sent=request.sent: bool(sent), what="it to be answered")  # type: ignore[misc]
            assert request.status == 200
            request.leave()
            await listens
            local = node.sessions.find(session)
            assert local is not None
            local.last_seen -= 20
            node.keeper._idle.let_go()
            await node.sessions.settle()
            await once(lambda: app.listeners == 0, what="the app to be left alone")
            assert not local.running


async def test_nobody_waits_for_a_stream_that_is_closed_before_it_begins(raw: RawClient, served: RunningNode) -> None:
    node = served.mooring._node
    session = node.sessions.find(await raw.open(served.url))
    assert session is not None
    stream = standing.StandingStream(node, session, Speaker(), Request("GET").scope)
    opening = asyncio.create_task(stream.open())
    await asyncio.sleep(0)
    stream.close()
    assert await asyncio.wait_for(opening, 5) is False
