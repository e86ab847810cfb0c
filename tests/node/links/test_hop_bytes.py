"""What the wire between two nodes does not carry as it came reaches the owner's app all the same."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from urllib.parse import unquote

import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Router

from mooring.asgi import App, HeaderList, Message, Receive, Scope, Send
from mooring.core.model import NodeState
from tests.node.apps import answer
from tests.node.clusters import Cluster, three_nodes
from tests.node.direct import Request
from tests.node.rpc import RawClient


class Hop:
    """A session on the first node, and requests on it that reach the second one.

    Attributes:
        app: the first node's.
        session: as the requests name it.
        answer: the headers of the last answer, as the client gets them.
    """

    def __init__(self, cluster: Cluster, session: str) -> None:
        self.app = cluster.apps[0]
        self.answer: HeaderList = []
        self._cluster = cluster
        self.session = session

    @property
    def body(self) -> bytes:
        """The last one that the app read."""
        return self.app.asked[-1][2]

    async def pass_on(
        self,
        method: str = "GET",
        headers: Iterable[tuple[bytes, bytes]] = (),
        pieces: tuple[bytes, ...] = (b"",),
        *,
        hosts: Iterable[bytes] = (b"mcp.example.com",),
        **scope: object,
    ) -> Scope:
        """The scope that the owner's app sees."""
        given = [*((b"host", host) for host in hosts), *headers]
        request = Request(method, session=self.session, headers=given, pieces=pieces)
        request.scope.update(scope)
        await request.to(self._cluster.nodes[1].mooring)
        assert request.status == 200, request.body
        assert self._cluster.tally(0).forwarded_in > 0
        self.answer = request.sent[0]["headers"]
        return self.app.scopes[-1]


@pytest.fixture
async def hop(cluster: Cluster, raw: RawClient) -> Hop:
    return Hop(cluster, await raw.open(cluster.nodes[0].url))


@pytest.mark.parametrize("client", [("192.0.2.7", 4711), ("unix:", None), None])
async def test_the_client_and_its_scheme(hop: Hop, client: tuple[str, int | None] | None) -> None:
    scope = await hop.pass_on(client=client, scheme="https")
    assert (scope["client"], scope["scheme"]) == (client, "https")


@pytest.mark.parametrize("server", [("mcp.example.com", 443), ("/run/mcp.sock", None)])
async def test_the_address_that_the_client_came_to(hop: Hop, server: tuple[str, int | None]) -> None:
    assert (await hop.pass_on(server=server))["server"] == server


def offering(app: App) -> App:
    """What some servers offer to an app, around all of them."""

    async def offer(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {"http.response.trailers": {}, "tls": {}}}, receive, send)

    return offer


async def test_what_the_owners_server_offers_is_not_for_the_client_of_another(raw: RawClient) -> None:
    async with three_nodes(around=offering) as cluster:
        hop = Hop(cluster, await raw.open(cluster.nodes[0].url))
        assert "trailers" in str(hop.app.scopes[-1]["extensions"])
        assert not (await hop.pass_on()).get("extensions")


@pytest.mark.parametrize("method", ["PROPFIND", "QUERY", "PUT"])
async def test_an_unusual_method(hop: Hop, method: str) -> None:
    assert (await hop.pass_on(method, [(b"content-length", b"2")], (b"{}",)))["method"] == method
    assert hop.body == b"{}"


@pytest.mark.parametrize("blanks", [" ", "\t ", ""])
async def test_a_session_id_with_blanks_behind_it(hop: Hop, blanks: str) -> None:
    hop.session += blanks
    scope = await hop.pass_on()
    assert dict(scope["headers"])[b"mcp-session-id"] == b"inner-1"


@pytest.mark.parametrize("value", [b"Bj\xf6rn", "Björn ✓".encode(), b"\xc3\x28 \xff", b"a\x01b\x7f", b""])
async def test_the_bytes_of_a_header(hop: Hop, value: bytes) -> None:
    headers = [(b"x-name", b"first"), (b"x-name", value), (b"x-other", b"o"), (b"x-name", b"last")]
    got = (await hop.pass_on(headers=headers))["headers"]
    assert [pair for pair in got if pair[0].startswith(b"x-")] == headers


@pytest.mark.parametrize("query", [b"name=Bj\xf6rn", b"a=%zz&&b=[1]|{}^`\"<>\\'", b"a?b#c", b"%20+"])
async def test_the_bytes_of_a_query(hop: Hop, query: bytes) -> None:
    scope = await hop.pass_on(query_string=query)
    assert (scope["raw_path"], scope["query_string"]) == (b"/mcp", query)


async def test_a_path_that_the_server_gives_only_in_words(hop: Hop) -> None:
    scope = await hop.pass_on(path="/mcp/a b?ü#%", raw_path=None)
    assert scope["path"] == "/mcp/a b?ü#%"


@pytest.mark.parametrize("path", [b"/mcp//x", b"/mcp/%2F%41%c3%bc", b"/mcp/./../mcp/"])
async def test_a_path_as_it_was_written(hop: Hop, path: bytes) -> None:
    scope = await hop.pass_on(path=unquote(path.decode()), raw_path=path)
    assert (scope["path"], scope["raw_path"]) == (unquote(path.decode()), path)


@pytest.mark.parametrize(
    ("headers", "pieces"),
    [
        ([], [b""]),
        ([(b"content-length", b"0")], [b""]),
        ([(b"content-length", b"3")], [b"abc"]),
        ([(b"transfer-encoding", b"chunked")], [b"a", b"b"]),
        ([(b"transfer-encoding", b"Chunked")], [b""]),
        ([(b"expect", b"100-continue"), (b"content-length", b"1")], [b"a"]),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_said_of_the_body(hop: Hop, method: str, headers: HeaderList, pieces: list[bytes]) -> None:
    got = (await hop.pass_on(method, headers, tuple(pieces)))["headers"]
    said = (b"content-length", b"transfer-encoding", b"expect")
    assert sorted(pair for pair in got if pair[0] in said) == sorted(headers)
    assert hop.body == b"".join(pieces)


@pytest.mark.parametrize("pieces", [(b"",), (b"{}",), (b"", b"{", b"}")])
async def test_a_body_that_http_2_does_not_announce(hop: Hop, pieces: tuple[bytes, ...]) -> None:
    scope = await hop.pass_on("POST", pieces=pieces, http_version="2")
    assert scope["http_version"] == "2"
    assert not {b"content-length", b"transfer-encoding"} & {name for name, _ in scope["headers"]}
    assert hop.body == b"".join(pieces)


@pytest.mark.parametrize("hosts", [[], [b"one.example", b"two.example"]])
async def test_no_host_and_two(hop: Hop, hosts: list[bytes]) -> None:
    scope = await hop.pass_on(hosts=hosts)
    assert [value for name, value in scope["headers"] if name == b"host"] == hosts


async def test_an_answer_with_long_headers_many_and_of_any_bytes(hop: Hop) -> None:
    headers = [(b"x-long", b"\xf6" * 100_000), *((b"x-%d" % place, b"") for place in range(500))]

    async def reply(scope: Scope, body: bytes, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    hop.app.on_session = reply
    await hop.pass_on()
    assert [pair for pair in hop.answer if pair[0].startswith(b"x-")] == headers


@pytest.mark.parametrize("path", ["/mcp", "/mcp/below"])
@pytest.mark.parametrize("finds", [True, False])
async def test_a_server_that_puts_its_root_path_before_every_path(raw: RawClient, path: str, finds: bool) -> None:
    async with three_nodes(uvicorn_options={"root_path": "/api"}, find_endpoints=finds) as cluster:
        session = await raw.open(cluster.nodes[0].url)
        app = cluster.apps[0]
        app.on_session = app.gate = ok
        for node in cluster.nodes:
            reply = await raw.send("GET", f"{node.url}{path}?a=1", session=session)
            assert reply.status == 200
        scopes = app.scopes[-3:]
        assert [(scope["path"], scope["raw_path"], scope["root_path"]) for scope in scopes] == [
            (f"/api{path}", f"/api{path}".encode(), "/api")
        ] * 3
        assert cluster.tally(0).forwarded_in == 2


async def ok(scope: Scope, body: bytes, send: Send) -> None:
    await answer(send, 200, b"{}")


def marking(app: App) -> App:
    """Something around Mooring that adds to every answer."""

    async def mark(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-marked", b"once")]}
            await send(message)

        await app(scope, receive, send_marked if scope["type"] == "http" else send)

    return mark


async def test_what_is_around_mooring_adds_to_an_answer_once(raw: RawClient) -> None:
    async with three_nodes(around=marking) as cluster:
        session = await raw.open(cluster.nodes[0].url)
        for node in cluster.nodes:
            reply = await raw.call(node.url, session)
            assert reply.headers.getall("x-marked") == ["once"]
        assert cluster.tally(0).forwarded_in == 2


async def test_an_answer_that_is_compressed_around_mooring_is_said_to_be(raw: RawClient) -> None:
    async def reply(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, 200, b'{"served": "' + b"x" * 5_000 + b'"}')

    async with three_nodes(around=GZipMiddleware) as cluster:
        session = await raw.open(cluster.nodes[0].url)
        cluster.apps[0].on_session = reply
        for node in cluster.nodes:
            got = await raw.call(node.url, session)
            assert (got.headers["content-encoding"], len(got.json["served"])) == ("gzip", 5_000)
        assert cluster.tally(0).forwarded_in == 2


async def test_an_app_that_ends_without_an_answer_has_failed(hop: Hop, cluster: Cluster, raw: RawClient) -> None:
    """Servers answer 500 for it. To the peer that would be a stranger's, who may have carried it out or not."""

    async def say_nothing(scope: Scope, body: bytes, send: Send) -> None:
        pass

    cluster.apps[0].on_session = say_nothing
    replies = [await raw.call(node.url, hop.session) for node in cluster.nodes]
    assert [(reply.status, reply.body) for reply in replies] == [(500, b"Internal Server Error")] * 3
    assert len([session for _, session, _ in cluster.apps[0].asked if session]) == 3


def stripping(app: App) -> App:
    """Something around Mooring that takes a prefix off the path, and leaves it as it came (`raw_path`)."""

    async def strip(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].removeprefix("/tenant")}
        await app(scope, receive, send)

    return strip


@pytest.mark.parametrize("own_port", [{}, {"peer_host": "127.0.0.1", "peer_ports": "any"}])
async def test_a_path_that_was_made_another_around_mooring(raw: RawClient, own_port: dict[str, str]) -> None:
    """What is there does not run at a port for peers alone."""
    async with three_nodes(around=stripping, **own_port) as cluster:
        session = await raw.open(f"{cluster.nodes[0].url}/tenant")
        for node in cluster.nodes:
            reply = await raw.call(f"{node.url}/tenant", session)
            assert "served" in reply.json
        scopes = cluster.apps[0].scopes[-3:]
        assert [(scope["path"], scope["raw_path"]) for scope in scopes] == [("/mcp", b"/tenant/mcp")] * 3
        assert cluster.tally(0).forwarded_in == 2


@pytest.mark.parametrize(
    "named", [b"mcp-session-id", b"close, Mcp-Session-Id", b"mcp-protocol-version", b"mooring-peer"]
)
async def test_a_header_that_the_client_calls_its_connections(hop: Hop, named: bytes) -> None:
    """Its node has read it all the same, and so does the owner."""
    scope = await hop.pass_on("POST", [(b"connection", named), (b"content-length", b"2")], (b"{}",))
    assert dict(scope["headers"])[b"mcp-session-id"] == b"inner-1"


@pytest.mark.parametrize("session", [b"caf\xe9", b"a\x7fb"])
async def test_a_session_id_of_any_bytes_on_a_call_that_needs_none(cluster: Cluster, session: bytes) -> None:
    first = cluster.nodes[0].mooring._node
    for app in cluster.apps:
        app.gate = ok
    first.membership.go(NodeState.DRAINING)
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "count"}}'
    headers = [
        (b"host", b"mcp.example.com"),
        (b"mcp-protocol-version", b"2026-07-28"),
        (b"mcp-session-id", session),
        (b"content-length", b"%d" % len(body)),
    ]
    request = await Request("POST", headers=headers, pieces=(body,)).to(cluster.nodes[0].mooring)
    assert (request.status, request.body) == (200, b"{}")
    assert first.tally.forwarded_out == 1


def mounted(app: App) -> App:
    """A router around Mooring."""
    router = Router(routes=[Mount("/t/{tenant}/{number:int}", app=app)])

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        await (app if scope["type"] == "lifespan" else router)(scope, receive, send)

    return route


@pytest.mark.parametrize("own_port", [{}, {"peer_host": "127.0.0.1", "peer_ports": "any"}])
async def test_what_a_router_around_mooring_has_found_in_the_path(raw: RawClient, own_port: dict[str, str]) -> None:
    async with three_nodes(around=mounted, **own_port) as cluster:
        session = await raw.open(f"{cluster.nodes[0].url}/t/acme/7")
        for node in cluster.nodes:
            assert "served" in (await raw.call(f"{node.url}/t/acme/7", session)).json
        for scope in cluster.apps[0].scopes[-3:]:
            assert scope["path_params"] == {"tenant": "acme", "number": 7}
            assert (scope["root_path"], scope["app_root_path"]) == ("/t/acme/7", "")


def reading(app: App) -> App:
    """Something around Mooring that reads bodies which are compressed, and leaves their headers."""

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_read() -> Message:
            message = await receive()
            body = message.get("body", b"")
            return {**message, "body": gzip.decompress(body)} if body[:2] == b"\x1f\x8b" else message

        await app(scope, receive_read, send)

    return read


async def test_a_body_that_was_made_longer_around_mooring(raw: RawClient) -> None:
    async with three_nodes(around=reading) as cluster:
        session = await raw.open(cluster.nodes[0].url)
        text = b'{"text": "' + b"x" * 3_000 + b'"}'
        for node in cluster.nodes:
            headers = {"content-encoding": "gzip"}
            reply = await raw.call(node.url, session, body=gzip.compress(text), headers=headers)
            assert "served" in reply.json
            assert cluster.apps[0].asked[-1][2] == text
            assert b"content-encoding" not in dict(cluster.apps[0].scopes[-1]["headers"])
        assert cluster.tally(0).forwarded_in == 2
