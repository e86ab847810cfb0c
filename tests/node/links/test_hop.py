"""The hop is invisible: what the app and the client see of a request that was forwarded is what they see at home.

Whole nodes behind uvicorn with each of its parsers, and a client that writes and reads bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.asgi import HeaderList, Receive, Scope, Send
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_node
from tests.node.apps import initialize_result

PARSERS: Final = ("h11", "httptools")
_OF_THE_CONNECTION: Final = {
    b"connection",
    b"keep-alive",
    b"te",
    b"trailer",
    b"upgrade",
    b"proxy-connection",
    b"expect",
}
_OF_THE_SERVER: Final = {b"date", b"server"}


@dataclass
class Seen:
    """What the app saw of a request."""

    method: str
    path: str
    query: bytes
    scheme: str
    client: Any
    headers: HeaderList
    body: bytes
    http_version: str


@dataclass
class RecordingApp:
    """Opens sessions under its own ids, and answers as it is told; it writes down what it saw.

    Attributes:
        answer: status, headers and pieces of the next answer.
        reads: whether it reads the body before it answers.
    """

    seen: list[Seen] = field(default_factory=list)
    answer: tuple[int, HeaderList, list[bytes]] = (200, [], [b"{}"])
    reads: bool = True
    opened: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return
        as_it_came = Seen(
            scope["method"],
            scope["path"],
            scope["query_string"],
            scope["scheme"],
            scope["client"],
            list(scope["headers"]),
            b"",
            scope["http_version"],
        )
        if not any(name == b"mcp-session-id" for name, _ in scope["headers"]):
            await self._read(receive)
            self.opened += 1
            headers = [(b"content-type", b"application/json"), (b"mcp-session-id", b"inner-%d" % self.opened)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": initialize_result(1)})
            return
        if self.reads:
            as_it_came.body = await self._read(receive)
        self.seen.append(as_it_came)
        status, given_headers, pieces = self.answer
        await send({"type": "http.response.start", "status": status, "headers": given_headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read(self, receive: Receive) -> bytes:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return body
            body += bytes(message.get("body", b""))
            if not message.get("more_body", False):
                return body


@dataclass
class Answer:
    """What the client saw."""

    status: int
    headers: HeaderList
    body: bytes

    @property
    def essence(self) -> tuple[int, HeaderList, bytes]:
        """Without what belongs to the connection and to the server."""
        framing = {b"transfer-encoding", b"content-length"}
        dropped = _OF_THE_CONNECTION | _OF_THE_SERVER | framing
        return self.status, [(name, value) for name, value in self.headers if name not in dropped], self.body


async def ask(url: str, request: bytes, method: str = "POST") -> Answer:
    """Write these bytes, and read the one answer to them."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
            status = int(first.split(b" ")[1])
            return Answer(status, headers, await _body(reader, status, dict(headers), method))
    finally:
        writer.close()


async def _body(reader: asyncio.StreamReader, status: int, headers: dict[bytes, bytes], method: str) -> bytes:
    if method == "HEAD" or status in (204, 304):
        return b""
    if b"content-length" in headers:
        return await reader.readexactly(int(headers[b"content-length"]))
    if headers.get(b"transfer-encoding") != b"chunked":
        return await reader.read()
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    return body


@dataclass
class Pair:
    """A node that owns a session, and one that forwards to it."""

    owner: RunningNode
    other: RunningNode
    app: RecordingApp
    session: bytes

    async def both(self, request: bytes, method: str = "POST") -> tuple[tuple[Answer, Seen], tuple[Answer, Seen]]:
        """What was seen at home, and what was seen over the hop."""
        results = []
        for node in (self.owner, self.other):
            self.app.seen.clear()
            answer = await ask(node.url, request, method)
            assert len(self.app.seen) == 1, answer
            results.append((answer, self.app.seen[0]))
        return results[0], results[1]


@contextlib.asynccontextmanager
async def pair(http: str, **config: Any) -> AsyncIterator[Pair]:
    store, app = MemoryStore(), RecordingApp()
    async with (
        running_node(app, store, "node-1", uvicorn_options={"http": http, **config}) as owner,
        running_node(app, store, "node-2", uvicorn_options={"http": http, **config}) as other,
    ):
        await other.mooring._node.keeper.beat()
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).encode()
        opened = await ask(owner.url, written("POST", b"/mcp", [(b"content-type", b"application/json")], body))
        yield Pair(owner, other, app, dict(opened.headers)[b"mcp-session-id"])


def written(
    method: str, target: bytes, headers: HeaderList, body: bytes = b"", *, framing: str = "length", version: str = "1.1"
) -> bytes:
    lines = [f"{method} ".encode() + target + f" HTTP/{version}".encode()]
    given = list(headers)
    if version == "1.1" and not any(name.lower() == b"host" for name, _ in given):
        given.insert(0, (b"host", b"mcp.example.com"))
    if framing == "length" and (body or method not in ("GET", "HEAD")):
        given.append((b"content-length", b"%d" % len(body)))
    if framing == "chunked":
        given.append((b"transfer-encoding", b"chunked"))
    lines += [name + b": " + value for name, value in given]
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if framing == "chunked":
        half = len(body) // 2
        chunks = [chunk for chunk in (body[:half], body[half:]) if chunk]
        return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    return head + (body if framing == "length" else b"")


def assert_same(at_home: tuple[Answer, Seen], over_the_hop: tuple[Answer, Seen]) -> None:
    (answer, seen), (forwarded_answer, forwarded) = at_home, over_the_hop
    assert forwarded_answer.essence == answer.essence
    assert (forwarded.method, forwarded.path, forwarded.query) == (seen.method, seen.path, seen.query)
    assert (forwarded.scheme, forwarded.http_version) == (seen.scheme, seen.http_version)
    assert forwarded.client[0] == seen.client[0]  # each request has a port of its own
    assert forwarded.headers == seen.headers
    assert forwarded.body == seen.body


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


@pytest.mark.parametrize("http", PARSERS)
def test_what_is_seen_at_home_is_seen_over_the_hop(http: str) -> None:
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        nodes = runner.run(_entered(stack, http))
        try:

            @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
            @given(
                method=st.sampled_from(["POST", "GET", "PUT", "PATCH", "OPTIONS", "HEAD"]),
                target=targets,
                query=queries,
                given_headers=headers,
                body=bodies,
                framing=st.sampled_from(["length", "chunked", "none"]),
                version=st.sampled_from(["1.1", "1.1", "1.0"]),
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
                nodes.app.answer = (status, answered, [] if status in (204, 304) else pieces)
                named = [*given_headers, (b"mcp-session-id", nodes.session)]
                request = written(method, target + query, named, body, framing=framing, version=version)
                assert_same(*runner.run(nodes.both(request, method)))

            look()
        finally:
            runner.run(stack.aclose())


async def _entered(stack: contextlib.AsyncExitStack, http: str) -> Pair:
    return await stack.enter_async_context(pair(http))


@pytest.mark.parametrize("http", PARSERS)
async def test_answers_with_headers_of_any_size_and_number_come_through(http: str) -> None:
    async with pair(http) as nodes:
        many = [(b"x-%d" % number, b"y" * 50) for number in range(500)]
        nodes.app.answer = (200, [(b"x-long", b"z" * 200_000), *many], [b"{}"])
        assert_same(*await nodes.both(written("POST", b"/mcp", [(b"mcp-session-id", nodes.session)], b"{}")))


@pytest.mark.parametrize("http", PARSERS)
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


@pytest.mark.parametrize("http", PARSERS)
@pytest.mark.parametrize("blank", [b" ", b"\t", b"  \t"])
async def test_blanks_behind_the_session_id_are_no_part_of_it(http: str, blank: bytes) -> None:
    async with pair(http) as nodes:
        (_, seen), (_, forwarded) = await nodes.both(
            written("POST", b"/mcp", [(b"mcp-session-id", nodes.session + blank)], b"{}")
        )
        assert dict(seen.headers)[b"mcp-session-id"] == dict(forwarded.headers)[b"mcp-session-id"] == b"inner-1"


@pytest.mark.parametrize("http", PARSERS)
async def test_headers_that_only_nodes_send_to_each_other_reach_no_app(http: str) -> None:
    async with pair(http) as nodes:
        forged = [(b"mooring-client", b"forged"), (b"mooring-reply", b"forged"), (b"mcp-session-id", nodes.session)]
        at_home, over_the_hop = await nodes.both(written("POST", b"/mcp", forged, b"{}"))
        assert_same(at_home, over_the_hop)
        assert not [name for name, _ in at_home[1].headers if name.startswith(b"mooring-")]


async def test_methods_arrive_as_they_were_written() -> None:
    async with pair("h11") as nodes:
        for method in ("delete", "Post", "PROPFIND", "QUERY", "x-Own"):
            request = written(method, b"/mcp", [(b"mcp-session-id", nodes.session)], b"{}")
            assert_same(*await nodes.both(request, method))


async def test_a_server_with_a_root_path_passes_on_what_lies_below_it() -> None:
    async with pair("h11", root_path="/api") as nodes:
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
