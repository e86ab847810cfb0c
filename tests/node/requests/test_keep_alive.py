"""Comments on silent streams: when they are said, and above all when not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from mooring.asgi import HeaderList, Message, Scope, Send
from mooring.node.requests.keep_alive import COMMENT, KeptAlive
from tests.node.clusters import three_nodes
from tests.node.rpc import RawClient
from tests.waiting import until

SECONDS = 0.02
SEVERAL = 5 * SECONDS
EVENT = b"id: 1\ndata: {}\n\n"
EVENTS: HeaderList = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Client:
    """What it was sent; it takes nothing while it is `slow`, and is away from when it `has_left`."""

    def __init__(self) -> None:
        self.body = b""
        self.tries = 0
        self.has_left = False
        self.takes = asyncio.Event()
        self.takes.set()

    async def send(self, message: Message) -> None:
        self.tries += 1
        if self.has_left:
            raise OSError("the client has left")
        await self.takes.wait()
        self.body += message.get("body", b"")


@pytest.fixture
def client() -> Client:
    return Client()


@contextlib.asynccontextmanager
async def begun(
    client: Client,
    headers: HeaderList = EVENTS,
    *,
    status: int = 200,
    seconds: float = SECONDS,
    may_speak: Callable[[], bool] = lambda: True,
) -> AsyncIterator[KeptAlive]:
    with KeptAlive(client.send, seconds, may_speak) as answer:
        await answer.send({"type": "http.response.start", "status": status, "headers": headers})
        yield answer


async def seen(condition: Callable[[], bool], *, what: str) -> None:
    async def holds() -> bool:
        return condition()

    await until(holds, what=what)


async def say(answer: KeptAlive, body: bytes, *, more: bool = True) -> None:
    await answer.send({"type": "http.response.body", "body": body, "more_body": more})


async def test_a_silent_stream_is_told_comments_for_as_long_as_it_is_silent(client: Client) -> None:
    async with begun(client) as answer:
        await seen(lambda: client.body.startswith(2 * COMMENT), what="comments before the first event")
        await say(answer, EVENT)
        before = client.body
        await seen(lambda: client.body.startswith(before + COMMENT), what="a comment after it")


async def test_one_that_speaks_in_time_is_told_nothing(client: Client) -> None:
    async with begun(client, seconds=1.0) as answer:
        for _ in range(20):
            await say(answer, EVENT)
            await asyncio.sleep(0.06)
    assert client.body == 20 * EVENT


@pytest.mark.parametrize("part", [b"data: half", b"data: whole line\n", b"data: 1\r\n", b"data: 1\n\ndata: 2\n"])
async def test_nothing_is_said_within_an_event(client: Client, part: bytes) -> None:
    async with begun(client) as answer:
        await say(answer, part)
        after, before = client.body, client.tries
        await asyncio.sleep(SEVERAL)
        assert (client.body, client.tries) == (after, before)
        await say(answer, b"\n\n")
        await seen(lambda: client.body.endswith(b"\n\n" + COMMENT), what="a comment after the event's end")


@pytest.mark.parametrize(
    "pieces", [[b"data: 1\r\n\r\n"], [b"data: 1\r\r"], [b"data: 1\n", b"\n"], [b"data: 1\r\n", b"\r\n"]]
)
async def test_events_may_end_in_any_way(client: Client, pieces: list[bytes]) -> None:
    async with begun(client) as answer:
        for piece in pieces:
            await say(answer, piece)
        await seen(lambda: pieces[-1] + COMMENT in client.body, what="a comment")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"application/json")],
        [*EVENTS, (b"content-encoding", b"gzip")],
        [*EVENTS, (b"content-length", b"100")],
        [],
    ],
)
async def test_what_is_no_open_event_stream_is_left_alone(client: Client, headers: HeaderList) -> None:
    async with begun(client, headers):
        await asyncio.sleep(SEVERAL)
    assert client.tries == 1


async def test_nor_is_a_stream_that_says_an_error_or_one_of_the_apps_own_or_any_where_it_is_off(client: Client) -> None:
    async with begun(client, status=500), begun(client, may_speak=lambda: False), begun(client, seconds=0):
        await asyncio.sleep(SEVERAL)
    assert client.tries == 3


async def test_nothing_is_said_before_the_app_has_answered(client: Client) -> None:
    with KeptAlive(client.send, SECONDS):
        await asyncio.sleep(SEVERAL)
    assert client.tries == 0


@pytest.mark.parametrize("ends_by", ["the app's last word", "the request's end"])
async def test_nothing_is_said_after_the_end(client: Client, ends_by: str) -> None:
    async with begun(client) as answer:
        await say(answer, EVENT, more=ends_by == "the request's end")
        if ends_by == "the app's last word":
            await asyncio.sleep(SEVERAL)
    ended = client.tries
    await asyncio.sleep(SEVERAL)
    assert client.tries == ended


async def test_a_slow_client_gets_what_the_app_says_after_the_comment_that_is_on_its_way(client: Client) -> None:
    async with begun(client) as answer:
        client.takes.clear()
        await seen(lambda: client.tries == 2, what="a comment on its way")
        saying = asyncio.create_task(say(answer, EVENT))
        await asyncio.sleep(SEVERAL)
        assert client.tries == 2
        client.takes.set()
        await saying
        assert client.body == COMMENT + EVENT


async def test_no_comment_waits_behind_an_event_that_a_slow_client_has_not_taken(client: Client) -> None:
    async with begun(client) as answer:
        client.takes.clear()
        saying = asyncio.create_task(say(answer, EVENT))
        await asyncio.sleep(SEVERAL)
        client.takes.set()
        await saying
        await say(answer, EVENT, more=False)
    assert client.body == 2 * EVENT


async def test_a_client_that_left_is_told_no_more(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async with begun(client):
        client.has_left = True
        await seen(lambda: client.tries == 2, what="a comment that fails")
        await asyncio.sleep(SEVERAL)
    assert client.tries == 2
    assert not caplog.records


async def a_silent_stream(scope: Scope, body: bytes, send: Send) -> None:
    """The app answers after a long time, as time goes here."""
    await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    await asyncio.sleep(0.9)
    answer = {"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": {}}
    event = b"event: message\r\ndata: %b\r\n\r\n" % json.dumps(answer).encode()
    await send({"type": "http.response.body", "body": event, "more_body": False})


MODERN = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}


async def test_streams_of_either_era_are_told_them_by_one_node_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    speaking: list[KeptAlive] = []
    speak = KeptAlive._speak

    async def noted(self: KeptAlive) -> None:
        speaking.append(self)
        await speak(self)

    monkeypatch.setattr(KeptAlive, "_speak", noted)
    async with three_nodes(stream_comment_seconds=0.2) as cluster, aiohttp.ClientSession() as http:
        raw = RawClient(http)
        session = await raw.open(cluster.nodes[0].url)
        for app in cluster.apps:
            app.on_session = a_silent_stream
        at_owner, forwarded = await asyncio.gather(*(raw.call(node.url, session) for node in cluster.nodes[:2]))
        cluster.apps[0].gate = a_silent_stream
        call = {"jsonrpc": "2.0", "id": 7, "method": "tools/list"}
        modern = await raw.send("POST", f"{cluster.nodes[0].url}/mcp", body=call, headers=MODERN)
    assert len({id(one) for one in speaking}) == 3, "of a request that was passed on, the first node"
    for reply in (at_owner, forwarded, modern):
        assert COMMENT in reply.body
        assert b'"result"' in reply.body.rpartition(COMMENT)[2]
