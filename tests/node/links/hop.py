"""A node that owns a session and one that passes requests on to it, an app that writes down what it sees, and clients
that write and read bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded

from mooring.asgi import HeaderList, Receive, Scope, Send
from mooring.store import MemoryStore
from tests.node.apps import initialize_result
from tests.node.links.http_servers import ServedNode, node_behind

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


async def ask_over_http2(url: str, method: str, target: bytes, headers: HeaderList, pieces: list[bytes]) -> Answer:
    """The same over HTTP/2, as a client that knows that the server speaks it; the headers are all that it sends."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = H2Connection(H2Configuration(header_encoding=None))
    address = [(b":path", target), (b":scheme", b"http"), (b":authority", b"mcp.example.com")]
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, [(b":method", method.encode()), *address, *headers], end_stream=not pieces)
    left, answer = [*pieces], Answer(0, [], b"")
    try:
        async with asyncio.timeout(20):
            while True:
                _send_what_it_takes(connection, stream, left)
                writer.write(connection.data_to_send())
                received = await reader.read(65_536)
                if not received:
                    raise ConnectionResetError("the server closed the connection before its answer ended")
                for event in connection.receive_data(received):
                    if isinstance(event, ResponseReceived):
                        (_, status), *answer.headers = event.headers
                        answer.status = int(status)
                    elif isinstance(event, DataReceived):
                        answer.body += event.data
                        connection.acknowledge_received_data(event.flow_controlled_length, stream)
                    elif isinstance(event, StreamEnded):
                        return answer
    finally:
        writer.close()


def _send_what_it_takes(connection: H2Connection, stream: int, left: list[bytes]) -> None:
    while left:
        room = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
        if left[0] and not room:
            return
        piece, left[0] = left[0][:room], left[0][room:]
        if not left[0]:
            left.pop(0)
        connection.send_data(stream, piece, end_stream=not left)


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

    owner: ServedNode
    other: ServedNode
    app: RecordingApp
    session: bytes

    async def both(self, request: bytes, method: str = "POST") -> tuple[tuple[Answer, Seen], tuple[Answer, Seen]]:
        """What was seen at home, and what was seen over the hop."""
        return await self.asked_by(lambda url: ask(url, request, method))

    async def asked_by(
        self, client: Callable[[str], Awaitable[Answer]]
    ) -> tuple[tuple[Answer, Seen], tuple[Answer, Seen]]:
        before = self.owner.mooring._node.tally.forwarded_in
        results = []
        for node in (self.owner, self.other):
            self.app.seen.clear()
            answer = await client(node.url)
            assert len(self.app.seen) == 1, answer
            results.append((answer, self.app.seen[0]))
        assert self.owner.mooring._node.tally.forwarded_in == before + 1
        return results[0], results[1]


@contextlib.asynccontextmanager
async def pair(
    server: str, *, has_peer_port: bool = False, redis_url: str | None = None, **uvicorn_options: Any
) -> AsyncIterator[Pair]:
    """Args:
    has_peer_port: whether each node has a port of its own for its peers, as where several share one for clients.
    redis_url: where they meet, if they do not reach each other.
    """
    store, app = None if redis_url else MemoryStore(), RecordingApp()
    options: dict[str, Any] = {"uvicorn_options": uvicorn_options}
    if has_peer_port:
        options.update(peer_host="127.0.0.1", peer_ports="any")
    if redis_url:
        options.update(redis_url=redis_url, peer_link="redis")
    async with (
        node_behind(server, app, store, "node-1", **options) as owner,
        node_behind(server, app, store, "node-2", **options) as other,
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
