"""The hop is invisible: what the app and the client see of a request that was forwarded is what they see at home.

Whole nodes behind the servers that authors use, and a client that writes and reads bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.asgi import HeaderList
from tests.node.links.hop import Pair, ask_over_http2, assert_same, pair, written
from tests.node.links.http_servers import SERVERS, UVICORN
from tests.real_redis import real_redis

names = st.sampled_from([b"x-one", b"x-two", b"cookie", b"accept", b"user-agent", b"authorization", b"te", b"trailer"])
letters = st.sampled_from(list(range(0x21, 0x7F)) + list(range(0xA0, 0x100)) + [0x20, 0x09])
values = st.lists(letters, max_size=12).map(lambda value: bytes(value).strip())
headers = st.lists(st.tuples(names, values), max_size=6)
answer_headers = st.lists(
    st.tuples(st.sampled_from([b"x-one", b"set-cookie", b"etag", b"content-type", b"vary"]), values), max_size=6
)
bodies = st.binary(max_size=200) | st.integers(1, 200_000).map(lambda size: b"x" * size)
targets = st.sampled_from([b"/mcp", b"/mcp/", b"/mcp/a%20b", b"/mcp//x", b"/mcp/%C3%A9", b"/mcp/a;b=c"])
queries = st.sampled_from([b"", b"?a=1&b=%20", b"?x=%ff", b"?", b"?a=b=c/d?e"])


HOPS = [pytest.param(server, way) for server in SERVERS for way in ("address", "port for peers")]
RELAYED = [pytest.param(server, "redis", marks=pytest.mark.real) for server in ("httptools", "hypercorn")]


@pytest.mark.parametrize(("server", "way"), [*HOPS, *RELAYED])
def test_what_is_seen_at_home_is_seen_over_the_hop(server: str, way: str) -> None:
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        nodes = runner.run(_entered(stack, server, way))
        try:

            @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
            @given(
                method=st.sampled_from(["POST", "GET", "PUT", "PATCH", "HEAD"]),
                target=targets,
                query=queries,
                given_headers=headers,
                body=bodies,
                framing=st.sampled_from(["length", "chunked", "none"]),
                version=st.sampled_from(["1.1", "1.1", "1.0"] if server in UVICORN else ["1.1", "1.0", "2"]),
                status=st.sampled_from([200, 201, 202, 204, 304, 307, 400, 409, 418, 500, 503]),
                answered=answer_headers,
                pieces=st.lists(st.binary(max_size=50), max_size=3),
            )
            def look(
                method: str,
                target: bytes,
                query: bytes,
                given_headers: HeaderList,
                body: bytes,
                framing: str,
                version: str,
                status: int,
                answered: HeaderList,
                pieces: list[bytes],
            ) -> None:
                if version == "1.0" and framing == "chunked":
                    framing = "length"  # HTTP/1.0 has no chunks
                # Over HTTP/2 granian lets out what an app sends for HEAD, at home too, which no client stands.
                is_empty = status in (204, 304) or (method, version) == ("HEAD", "2")
                nodes.app.answer = (status, answered, [] if is_empty else pieces)
                named = [*given_headers, (b"mcp-session-id", nodes.session)]
                if version == "2":
                    own, sent = as_http2_has_them(named, framing, body)
                    ask = functools.partial(
                        ask_over_http2, method=method, target=target + query, headers=own, pieces=sent
                    )
                    assert_same(*runner.run(nodes.asked_by(ask)))
                    return
                request = written(method, target + query, named, body, framing=framing, version=version)
                assert_same(*runner.run(nodes.both(request, method)))

            look()
        finally:
            runner.run(stack.aclose())


def as_http2_has_them(given: HeaderList, framing: str, body: bytes) -> tuple[HeaderList, list[bytes]]:
    """Headers and pieces. There are none of the connection, and h2 takes no cookies that are empty."""
    own = [
        (name, value) for name, value in given if name not in (b"te", b"trailer") and (name, value) != (b"cookie", b"")
    ]
    if framing == "length":
        own.append((b"content-length", b"%d" % len(body)))
    return own, {"length": [body], "chunked": [body[:9], body[9:]], "none": []}[framing]


async def _entered(stack: contextlib.AsyncExitStack, server: str, way: str) -> Pair:
    url = (await stack.enter_async_context(real_redis())).url if way == "redis" else None
    return await stack.enter_async_context(pair(server, has_peer_port=way == "port for peers", redis_url=url))


@pytest.mark.parametrize("http", UVICORN)
async def test_answers_with_headers_of_any_size_and_number_come_through(http: str) -> None:
    async with pair(http) as nodes:
        many = [(b"x-%d" % number, b"y" * 50) for number in range(500)]
        nodes.app.answer = (200, [(b"x-long", b"z" * 200_000), *many], [b"{}"])
        assert_same(*await nodes.both(written("POST", b"/mcp", [(b"mcp-session-id", nodes.session)], b"{}")))


@pytest.mark.parametrize("http", UVICORN)
async def test_an_app_that_answers_before_it_has_read_a_large_body_is_heard(http: str) -> None:
    async with pair(http) as nodes:
        nodes.app.reads = False
        nodes.app.answer = (413, [(b"x-why", b"too large")], [b"no"])
        request = written("POST", b"/mcp", [(b"mcp-session-id", nodes.session)], b"x" * 5_000_000)
        for node in (nodes.owner, nodes.other):
            host, port = node.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
            with contextlib.suppress(ConnectionError):
                writer.write(request)  # what it takes of it
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 413 ")
            assert b"x-why: too large" in head
            writer.close()


@pytest.mark.parametrize("http", UVICORN)
@pytest.mark.parametrize("blank", [b" ", b"\t", b"  \t"])
async def test_blanks_behind_the_session_id_are_no_part_of_it(http: str, blank: bytes) -> None:
    async with pair(http) as nodes:
        (_, seen), (_, forwarded) = await nodes.both(
            written("POST", b"/mcp", [(b"mcp-session-id", nodes.session + blank)], b"{}")
        )
        assert dict(seen.headers)[b"mcp-session-id"] == dict(forwarded.headers)[b"mcp-session-id"] == b"inner-1"


@pytest.mark.parametrize("http", UVICORN)
async def test_headers_that_only_nodes_send_to_each_other_reach_no_app(http: str) -> None:
    async with pair(http) as nodes:
        forged = [(b"mooring-client", b"forged"), (b"mooring-reply", b"forged"), (b"mcp-session-id", nodes.session)]
        at_home, over_the_hop = await nodes.both(written("POST", b"/mcp", forged, b"{}"))
        assert_same(at_home, over_the_hop)
        assert not [name for name, _ in at_home[1].headers if name.startswith(b"mooring-")]


@pytest.mark.parametrize("has_peer_port", [False, True])
async def test_methods_arrive_as_they_were_written(has_peer_port: bool) -> None:
    """A node's port for its peers is served by a parser that knows none but the common ones."""
    async with pair("h11", has_peer_port=has_peer_port) as nodes:
        for method in ("delete", "Post", "head", "PROPFIND", "QUERY", "x-Own"):
            request = written(method, b"/mcp", [(b"mcp-session-id", nodes.session)], b"{}")
            assert_same(*await nodes.both(request, method))


@pytest.mark.parametrize("has_peer_port", [False, True])
async def test_a_server_with_a_root_path_passes_on_what_lies_below_it(has_peer_port: bool) -> None:
    async with pair("h11", has_peer_port=has_peer_port, root_path="/api") as nodes:
        assert_same(*await nodes.both(written("POST", b"/mcp?a", [(b"mcp-session-id", nodes.session)], b"{}")))


async def test_the_scheme_and_the_client_are_those_that_the_first_node_saw() -> None:
    async with pair("h11", proxy_headers=True, forwarded_allow_ips="*") as nodes:
        told = [
            (b"x-forwarded-proto", b"https"),
            (b"x-forwarded-for", b"192.0.2.7"),
            (b"mcp-session-id", nodes.session),
        ]
        at_home, over_the_hop = await nodes.both(written("POST", b"/mcp", told, b"{}"))
        assert at_home[1].scheme == "https"
        assert at_home[1].client[0] == "192.0.2.7"
        assert_same(at_home, over_the_hop)
        assert socket.inet_aton(over_the_hop[1].client[0])


@pytest.mark.parametrize("http", UVICORN)
async def test_what_a_server_adds_to_every_answer_is_there_once(http: str) -> None:
    added = [("x-frame-options", "DENY"), ("access-control-allow-origin", "*")]
    async with pair(http, headers=added) as nodes:
        nodes.app.answer = (200, [(b"x-own", b"1"), (b"x-frame-options", b"SAMEORIGIN")], [b"{}"])
        assert_same(*await nodes.both(written("POST", b"/mcp", [(b"mcp-session-id", nodes.session)], b"{}")))


@pytest.mark.parametrize(("server", "way"), [*HOPS, *RELAYED])
async def test_an_app_says_when_and_by_whom_it_was_answered(server: str, way: str) -> None:
    said = [(b"date", b"Tue, 01 Jan 2030 00:00:00 GMT"), (b"server", b"mine"), (b"proxy-authenticate", b"Basic")]
    async with contextlib.AsyncExitStack() as stack:
        nodes = await _entered(stack, server, way)
        nodes.app.answer = (407, said, [b"{}"])
        request = written("POST", b"/mcp", [(b"mcp-session-id", nodes.session)], b"{}")
        (at_home, _), (over_the_hop, _) = await nodes.both(request)
        names = {name for name, _ in said}
        told, forwarded = (
            sorted(pair for pair in answer.headers if pair[0] in names and (pair[0] != b"date" or pair in said))
            for answer in (at_home, over_the_hop)
        )
        assert set(said) <= set(told)
        assert forwarded == told
