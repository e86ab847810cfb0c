"""A request that is passed on is the client's own, and its answer the app's own, streamed both ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from mooring.asgi import Scope, Send
from tests.node.apps import answer
from tests.node.clusters import Cluster
from tests.node.rpc import HEADERS, RawClient


@pytest.mark.parametrize(("method", "length"), [("DELETE", None), ("DELETE", "0"), ("GET", None), ("POST", "0")])
async def test_requests_without_a_body_are_forwarded_without_one(
    cluster: Cluster, raw: RawClient, method: str, length: str | None
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    headers = {} if length is None else {"content-length": length}
    reply = await raw.send(method, f"{cluster.nodes[1].url}/mcp", session=session, headers=headers)
    assert reply.status == 200
    assert cluster.apps[0].asked[-1] == (method, "inner-1", b""), reply
    assert await cluster.nodes[0].mooring.has_session(session) is (method != "DELETE")


async def test_a_forwarded_request_is_the_clients_own(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    body = {"jsonrpc": "2.0", "id": "ünï", "method": "ping"}
    given = [
        ("host", "mcp.example.com"),
        ("x-twice", "a"),
        ("x-twice", "b"),
        ("accept-encoding", "identity"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "for the next hop only"),
        ("te", "trailers"),
        ("mooring-reply", "forged"),
    ]
    reply = await raw.send("POST", f"{cluster.nodes[1].url}/mcp?a=1%20b&c", session=session, body=body, headers=given)
    assert reply.status == 200
    scope = cluster.apps[0].scopes[-1]
    headers = scope["headers"]
    names = [name for name, _ in headers]
    assert dict(headers)[b"host"] == b"mcp.example.com"
    assert [value for name, value in headers if name == b"x-twice"] == [b"a", b"b"]
    assert not {b"x-hop", b"te", b"mooring-peer", b"mooring-reply"} & set(names)
    for name in (b"content-type", b"content-length", b"accept", b"user-agent", b"mcp-session-id", b"host"):
        assert names.count(name) == 1, name
    assert dict(headers)[b"content-length"] == str(len(json.dumps(body))).encode()
    assert scope["query_string"] == b"a=1%20b&c"
    assert json.loads(cluster.apps[0].asked[-1][2]) == body


async def test_a_forwarded_answer_is_the_apps_own(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)

    async def reply_in_full(scope: Scope, body: bytes, send: Send) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"content-encoding", b"x-test"),
            (b"mcp-session-id", b"inner-1"),
        ]
        await send({"type": "http.response.start", "status": 418, "headers": headers})
        await send({"type": "http.response.body", "body": b"abc", "more_body": False})

    cluster.apps[0].on_session = reply_in_full
    reply = await raw.call(cluster.nodes[2].url, session)
    assert (reply.status, reply.body) == (418, b"abc")
    assert reply.headers.getall("set-cookie") == ["a=1", "b=2"]
    assert reply.headers["content-encoding"] == "x-test"
    assert reply.session_id == session
    for name in ("date", "server", "content-type", "mcp-session-id"):
        assert len(reply.headers.getall(name)) == 1, name
    assert "mooring-reply" not in reply.headers


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_bodies_pass_both_ways(cluster: Cluster, raw: RawClient, chunked: bool) -> None:
    session = await raw.open(cluster.nodes[0].url)
    large = bytes(range(256)) * 8192

    async def echo(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, 200, body)

    cluster.apps[0].on_session = echo

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    headers = {**HEADERS, "mcp-session-id": session}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{cluster.nodes[1].url}/mcp", data=pieces() if chunked else large, headers=headers) as reply,
    ):
        assert await reply.read() == large


async def test_events_are_passed_on_one_by_one(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    go_on = asyncio.Event()

    async def stream(scope: Scope, body: bytes, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": False})

    cluster.apps[0].on_session = stream
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{cluster.nodes[1].url}/mcp", headers={**HEADERS, "mcp-session-id": session}) as reply,
    ):
        assert await asyncio.wait_for(reply.content.readany(), 5) == b"data: 1\n\n"
        go_on.set()
        assert await asyncio.wait_for(reply.content.read(), 5) == b"data: 2\n\n"


async def test_a_client_that_leaves_is_seen_to_leave_by_the_app(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    left = asyncio.Event()

    class Streaming:
        async def __call__(self, scope: Scope, body: bytes, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
            while (await self.receive())["type"] != "http.disconnect":
                pass
            left.set()

        receive: Any = None

    streaming = Streaming()
    app = cluster.apps[0]
    read = app._read

    async def remember_receive(receive: Any) -> bytes | None:
        streaming.receive = receive
        return await read(receive)

    app._read = remember_receive  # type: ignore[method-assign]
    app.on_session = streaming
    async with aiohttp.ClientSession() as http:
        reply = await http.get(f"{cluster.nodes[1].url}/mcp", headers={**HEADERS, "mcp-session-id": session})
        await reply.content.readany()
        reply.close()
    await asyncio.wait_for(left.wait(), 5)
