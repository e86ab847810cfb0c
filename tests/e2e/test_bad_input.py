"""What comes from outside and is wrong: the right status each, nothing in Redis, no node harmed."""

from __future__ import annotations

import asyncio
import json
import secrets
import string
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from redis.asyncio import Redis

from mooring.store.base import REMOVED_SECONDS
from tests.e2e.clusters import Cluster
from tests.e2e.load import VERSION, count, open_session
from tests.node.rpc import INITIALIZE, RawClient

pytestmark = pytest.mark.real

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.fixture(scope="module")
def nodes(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.nodes()


@pytest.fixture(params=["ingress", "node"])
def base(request: pytest.FixtureRequest, cluster: Cluster, nodes: list[dict[str, Any]]) -> str:
    """Through Traefik, and straight at a node."""
    return cluster.base if request.param == "ingress" else str(nodes[0]["url"])


@pytest.fixture
async def redis(cluster: Cluster) -> AsyncIterator[Any]:
    found = json.loads((cluster.run_dir / "cluster.json").read_text())
    client = Redis.from_url(found["redis_url"], decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture(autouse=True)
async def nothing_is_harmed(
    cluster: Cluster, nodes: list[dict[str, Any]], raw: RawClient, redis: Any
) -> AsyncIterator[None]:
    """Whatever a test sends: the same processes serve on, and Redis holds no record that was not there before."""
    session = await open_session(raw, cluster.base)
    before = await keys_of_consequence(redis)
    yield
    assert all(psutil.pid_exists(node["pid"]) for node in nodes)
    assert await count(raw, cluster.base, session) == 1
    assert await keys_of_consequence(redis) - before == set()
    assert "Traceback" not in cluster.log


async def keys_of_consequence(redis: Any) -> set[str]:
    """All keys but the marks of closed sessions, which go by themselves."""
    keys = set(await redis.keys("*"))
    for key in sorted(keys):
        if await redis.type(key) == "hash" and await redis.hexists(key, "removed"):
            assert 0 < await redis.ttl(key) <= REMOVED_SECONDS
            keys.discard(key)
    return keys


async def exchange(base: str, request: bytes) -> bytes:
    """The first line of the answer to these very bytes."""
    parts = urlsplit(base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.readline(), 10)
    finally:
        writer.close()


def post(*headers: bytes, body: bytes = b"{}") -> bytes:
    lines = [
        b"POST /mcp HTTP/1.1",
        b"Host: localhost",
        b"Accept: application/json, text/event-stream",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_ten_thousand_random_ids(base: str, cluster: Cluster, raw: RawClient) -> None:
    letters = string.ascii_letters + string.digits + string.punctuation
    good = await open_session(raw, cluster.base)
    room = asyncio.Semaphore(20)
    wrong: list[Any] = []

    def random_id(turn: int) -> str:
        if turn % 4 == 0:
            return "".join(secrets.choice(letters) for _ in range(1 + secrets.randbelow(300)))
        shard = good[:5] if turn % 2 else "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(5))
        return f"{shard}.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(8)}"

    async def one(turn: int) -> None:
        async with room:
            reply = await raw.call(base, random_id(turn), body=PING)
            if (reply.status, reply.reason) != (404, "forged"):
                wrong.append(reply)

    await asyncio.gather(*(one(turn) for turn in range(10_000)))
    assert wrong == []
    assert await count(raw, cluster.base, good) == 1
    await raw.send("DELETE", cluster.url, session=good)


async def test_ids_that_carry_other_things(base: str, raw: RawClient) -> None:
    hostile = ["a b", "%0d%0aX: 1", "*", "{}", "'; FLUSHALL", "${jndi:ldap://x}", "../..", "x" * 7000, "%", "\t"]
    for session in hostile:
        reply = await raw.call(base, session, body=PING)
        assert (reply.status, reply.reason) == (404, "forged"), session
        assert b"FLUSHALL" not in reply.body


async def test_an_empty_id_is_no_id(base: str, raw: RawClient) -> None:
    reply = await raw.call(base, "", body=PING)
    assert reply.status in (400, 404)


@pytest.mark.parametrize(
    "header",
    [
        b"Mcp-Session-Id: x\0y",
        b"Mcp-Session-Id: x\ry: z",
        b"Mcp-Session-Id : x",
        b"Mcp\0Session-Id: x",
        b"Content-Length: 5",
        b"Transfer-Encoding: nonsense",
    ],
)
async def test_headers_that_are_no_headers_never_get_an_answer_of_success(base: str, header: bytes) -> None:
    line = await exchange(base, post(header))
    assert line == b"" or line.split(b" ")[1] in (b"400", b"404", b"501"), line


async def test_an_id_beyond_ascii(base: str) -> None:
    line = await exchange(base, post(b"Mcp-Session-Id: \xff\xfe\xc3\xbc"))
    assert line.split(b" ")[1] in (b"400", b"404"), line


async def test_a_session_id_twice(base: str, raw: RawClient, cluster: Cluster) -> None:
    session = await open_session(raw, cluster.base)
    reply = await raw.call(base, session, body=PING, headers=[("mcp-session-id", session)])
    assert (reply.status, reply.reason) == (400, "duplicate_header")
    await raw.send("DELETE", cluster.url, session=session)


async def test_bodies_beyond_the_apps_limit(
    base: str, raw: RawClient, cluster: Cluster, nodes: list[dict[str, Any]]
) -> None:
    large = json.dumps({**PING, "params": {"pad": "x" * (5 * 1024 * 1024)}}).encode()
    assert (await raw.send("POST", f"{base}/mcp", body=large)).status == 413
    session = await open_session(raw, cluster.base)
    for node in nodes:
        assert (await raw.call(node["url"], session, body=large)).status == 413
    assert await count(raw, cluster.base, session) == 1
    await raw.send("DELETE", cluster.url, session=session)


async def test_a_body_just_within_the_apps_limit_is_forwarded_whole(
    cluster: Cluster, nodes: list[dict[str, Any]], raw: RawClient
) -> None:
    session = await open_session(raw, cluster.base)
    pad = "x" * (4 * 1024 * 1024 - 200)
    call = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": pad}}}
    for node in nodes:
        reply = await raw.call(node["url"], session, body=call, headers=VERSION)
        assert reply.status == 200
        assert reply.json["result"]["content"][0]["text"] == pad
    await raw.send("DELETE", cluster.url, session=session)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b"[]", 400), (b"null", 400), (b"[" * 100_000, 400), (b"1", 400)],
)
async def test_bodies_that_are_no_message(
    base: str, raw: RawClient, cluster: Cluster, nodes: list[dict[str, Any]], body: bytes, status: int
) -> None:
    assert (await raw.send("POST", f"{base}/mcp", body=body)).status == status
    session = await open_session(raw, cluster.base)
    for node in nodes:
        reply = await raw.call(node["url"], session, body=body)
        assert (reply.status, reply.session_id) == (status, session)
    await raw.send("DELETE", cluster.url, session=session)


async def test_the_wrong_accept_method_and_media_type(base: str, raw: RawClient, cluster: Cluster) -> None:
    session = await open_session(raw, cluster.base)
    url = f"{base}/mcp"
    wrong_accept = {"accept": "text/html"}
    assert (await raw.send("POST", url, session=session, body=PING, headers=wrong_accept)).status == 406
    for method in ("PUT", "PATCH"):
        reply = await raw.send(method, url, session=session, body=PING)
        assert reply.status == 405
    wrong_type = {"content-type": "text/plain"}
    assert (await raw.send("POST", url, session=session, body=PING, headers=wrong_type)).status in (400, 415)
    assert await count(raw, cluster.base, session) == 1
    await raw.send("DELETE", cluster.url, session=session)


async def test_a_peer_request_from_outside(base: str, raw: RawClient) -> None:
    for claim in ("x", "1;a;b;1;" + "A" * 22 + ";;none;" + "0" * 64):
        reply = await raw.send("POST", f"{base}/mcp", body=INITIALIZE, headers={"mooring-peer": claim})
        assert (reply.status, reply.reason) == (403, "signature")


async def test_an_evil_host_and_origin_are_refused_by_the_app_behind_the_forward(
    cluster: Cluster, nodes: list[dict[str, Any]], raw: RawClient
) -> None:
    session = await open_session(raw, cluster.base)
    for node in nodes:
        evil_host = await raw.call(node["url"], session, body=PING, headers={"host": "evil.example.com"})
        assert evil_host.status in (403, 421)
        evil_origin = await raw.call(node["url"], session, body=PING, headers={"origin": "http://evil.example.com"})
        assert evil_origin.status == 403
    await raw.send("DELETE", cluster.url, session=session)
