"""A request that is passed on is the client's own, and its answer the app's own, streamed both ways."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.asgi import HeaderList, Message, Scope, Send
from mooring.core.model import ShardOwner
from mooring.core.passed_on import decode
from mooring.core.signing import BODY_MAC_BYTES, REFUSED, SEEN, BodyMac, moved_to
from mooring.errors import PeerMoved
from mooring.node.links.http import Forwarder
from tests.node.apps import answer
from tests.node.clusters import Cluster
from tests.node.links.odd_peer import KEY, ME, PEER, Caller, Head, OddPeer, odd_peer
from tests.node.rpc import HEADERS, RawClient
from tests.waiting import until

# Between whole nodes.


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
    assert not {b"mooring-peer", b"mooring-reply", b"mooring-client"} & set(names)
    for name in (
        b"x-hop",
        b"te",
        b"content-type",
        b"content-length",
        b"accept",
        b"user-agent",
        b"mcp-session-id",
        b"host",
    ):
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
        while b"data: 1\n\n" not in (piece := await asyncio.wait_for(reply.content.readany(), 5)):
            assert piece, "the stream ended"
        go_on.set()
        assert (await asyncio.wait_for(reply.content.readany(), 5)).endswith(b"data: 2\n\n")


async def test_a_client_that_leaves_is_seen_to_leave_by_an_app_that_streams_something_else(
    cluster: Cluster, raw: RawClient
) -> None:
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
        headers = {**HEADERS, "mcp-session-id": session, "accept": "text/plain"}
        reply = await http.get(f"{cluster.nodes[1].url}/mcp", headers=headers)
        await reply.content.readany()
        reply.close()
    await asyncio.wait_for(left.wait(), 5)


async def test_an_answer_that_breaks_off_at_the_owner_is_not_whole_for_the_client(
    cluster: Cluster, raw: RawClient
) -> None:
    session = await raw.open(cluster.nodes[0].url)

    async def break_off(scope: Scope, body: bytes, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        raise RuntimeError("the app's own bug")

    cluster.apps[0].on_session = break_off
    with pytest.raises(aiohttp.ClientPayloadError):
        await raw.call(cluster.nodes[1].url, session)


# With a peer that answers anything.


@pytest.fixture
async def peer() -> AsyncIterator[OddPeer]:
    async with odd_peer() as peer:
        yield peer


@pytest.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    forwarder = a_forwarder()
    yield forwarder
    await forwarder.aclose()


def a_forwarder(**options: Any) -> Forwarder:
    known: dict[str, Any] = {
        "key": KEY,
        "node_id": ME,
        "connect_seconds": 5.0,
        "is_alive": lambda node_id: node_id == PEER.id,
        "check_seconds": 0.01,
        "now": time.time,
    }
    return Forwarder(**known | options)


def in_pieces(*pieces: bytes, is_whole: bool = True) -> list[Message]:
    last = len(pieces) - 1
    return [
        {"type": "http.request", "body": piece, "more_body": not is_whole or place < last}
        for place, piece in enumerate(pieces)
    ]


async def test_nobody_at_the_address_was_sent_nothing(forwarder: Forwarder) -> None:
    async with odd_peer() as peer:
        pass
    error = await Caller().failing(forwarder, peer.info)
    assert not error.may_have_run
    assert PEER.id in str(error)
    assert peer.info.url in str(error)


@pytest.mark.parametrize("stranger", [{"as_node": "node-3-aaaaa"}, {"key": b"another cluster's"}])
async def test_whoever_else_answers_there_is_not_the_node(
    forwarder: Forwarder, peer: OddPeer, stranger: dict[str, Any]
) -> None:
    async def answer_as_stranger(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(head.signed(**stranger) + b"content-length: 6\r\n\r\nstolen")

    peer.answer = answer_as_stranger
    assert (await Caller().failing(forwarder, peer.info)).may_have_run


async def test_an_answer_without_a_signature_is_not_the_nodes(forwarder: Forwarder, peer: OddPeer) -> None:
    async def answer_as_a_web_server(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    peer.answer = answer_as_a_web_server
    assert (await Caller().failing(forwarder, peer.info)).may_have_run


async def test_an_old_answer_is_not_taken_for_this_one(forwarder: Forwarder, peer: OddPeer) -> None:
    async def answer_as_before(_: Head, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(peer.heads[0].signed() + b"content-length: 2\r\n\r\n{}")

    peer.answer = answer_as_before
    await Caller().through(forwarder, peer.info)
    assert (await Caller().failing(forwarder, peer.info)).may_have_run


async def test_a_peer_that_refuses_our_signature_is_there_all_the_same(forwarder: Forwarder, peer: OddPeer) -> None:
    async def refuse(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(head.signed(403, REFUSED) + b"content-length: 0\r\n\r\n")

    peer.answer = refuse
    error = await Caller().failing(forwarder, peer.info)
    assert not error.may_have_run
    assert "clocks" in str(error)


async def test_a_peer_that_has_had_the_request_before_ends_all_asking(forwarder: Forwarder, peer: OddPeer) -> None:
    async def say_seen(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(head.signed(403, SEEN) + b"content-length: 0\r\n\r\n")

    peer.answer = say_seen
    error = await Caller().failing(forwarder, peer.info)
    assert error.may_have_run
    assert error.is_final


@pytest.mark.parametrize("owner", [None, ShardOwner("node-3-aaaaa", 7)])
async def test_a_peer_that_does_not_own_the_shard_says_who_does(
    forwarder: Forwarder, peer: OddPeer, owner: ShardOwner | None
) -> None:
    async def say_moved(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(head.signed(404, moved_to(owner)) + b"content-length: 0\r\n\r\n")

    peer.answer = say_moved
    caller = Caller()
    with pytest.raises(PeerMoved) as told:
        await caller.through(forwarder, peer.info)
    assert (told.value.owner_id, told.value.epoch) == (("", 0) if owner is None else (owner.node_id, owner.epoch))
    assert caller.sent == []


async def test_a_node_whose_clock_is_wrong_is_told_so_by_its_peers(cluster: Cluster) -> None:
    node, other = cluster.nodes[0], cluster.nodes[1].mooring._node
    ahead = a_forwarder(node_id=other.id, is_alive=lambda _: True, now=lambda: time.time() + 3600)
    error = await Caller().failing(ahead, node.mooring._node.describe())
    await ahead.aclose()
    assert not error.may_have_run
    assert cluster.apps[0].asked == []


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"SSH-2.0-whatever\r\n\r\n"])
async def test_a_connection_that_breaks_leaves_it_open_what_was_done(
    forwarder: Forwarder, peer: OddPeer, said: bytes
) -> None:
    async def break_off(_: Head, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    peer.answer = break_off
    error = await Caller().failing(forwarder, peer.info)
    assert error.may_have_run
    assert PEER.id in str(error)


async def test_a_peer_that_accepts_no_connection_in_time_is_silent_and_not_dead() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:  # they fill its queue: whoever comes next waits
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        hurried = a_forwarder(connect_seconds=0.05)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        error = await Caller().failing(hurried, a_peer(url))
        await hurried.aclose()
        for one in crowd:
            one.close()
    assert not error.may_have_run


async def test_an_address_that_leads_nowhere_is_no_evidence_of_death(forwarder: Forwarder) -> None:
    """TCP knows no multicast: the system refuses without asking anyone."""
    error = await Caller().failing(forwarder, a_peer("http://224.0.0.1:9"))
    assert not error.may_have_run
    assert "http://224.0.0.1:9" in str(error)


def a_peer(url: str) -> Any:
    return replace(PEER, url=url)


async def test_a_peer_that_takes_its_time_is_waited_for_while_its_lease_lives(peer: OddPeer) -> None:
    asked: list[str] = []
    enough = asyncio.Event()

    def is_alive(node_id: str) -> bool:
        asked.append(node_id)
        if len(asked) == 5:
            enough.set()
        return True

    async def answer_late(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        await enough.wait()
        writer.write(head.signed() + b"content-length: 2\r\n\r\n{}")

    peer.answer = answer_late
    forwarder = a_forwarder(is_alive=is_alive)
    caller = Caller()
    await caller.through(forwarder, peer.info)
    await forwarder.aclose()
    assert set(asked) == {PEER.id}
    assert (caller.sent[0]["status"], caller.sent[1]["body"]) == (200, b"{}")


async def test_a_peer_whose_lease_ends_meanwhile_is_waited_for_no_longer(peer: OddPeer) -> None:
    left = asyncio.Event()

    async def never_answer(_: Head, reader: asyncio.StreamReader, __: Any) -> None:
        assert await reader.read() == b""
        left.set()

    peer.answer = never_answer
    lives = iter([True, True, False])
    forwarder = a_forwarder(is_alive=lambda _: next(lives))
    assert (await Caller().failing(forwarder, peer.info)).may_have_run
    await asyncio.wait_for(left.wait(), 5)
    await forwarder.aclose()


@pytest.mark.parametrize(
    ("content_type", "part", "ends"),
    [
        (b"text/event-stream", b"data: 1\n\n", True),
        (b"text/event-stream", b"data: 1\r\n\r\n", True),
        (b"text/event-stream", b"", True),
        (b"text/event-stream", b'data: {"half', False),
        (b"text/event-stream\r\ncontent-encoding: gzip", b"", False),
        (b"text/event-stream\r\ncontent-length: 500", b"data: 1\n\n", False),
        (b"Text/Event-Stream; charset=utf-8", b"data: 1\n\n", True),
        (b"application/json", b"{\n\n", False),
    ],
)
async def test_an_answer_whose_owner_dies_ends_between_two_events_and_is_else_broken_off(
    peer: OddPeer, content_type: bytes, part: bytes, ends: bool
) -> None:
    alive = True
    forwarder = a_forwarder(is_alive=lambda _: alive)
    caller = Caller()

    async def was_passed_on() -> bool:
        return len(caller.sent) == (2 if part else 1)

    async def go_silent(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal alive
        writer.write(head.signed() + b"content-type: %s\r\nconnection: close\r\n\r\n" % content_type + part)
        await until(was_passed_on, what="the beginning to be passed on")
        alive = False
        await asyncio.Event().wait()

    peer.answer = go_silent
    async with asyncio.timeout(5):
        await caller.through(forwarder, peer.info, last_words=lambda: b"last words")
    await forwarder.aclose()
    last = caller.sent[-1]
    assert (
        (last.get("body"), last.get("more_body")) == (b"last words", False)
        if ends
        else last.get("more_body") is not False
    )


async def test_a_stream_whose_client_does_not_read_is_broken_off_when_its_owner_dies(peer: OddPeer) -> None:
    """Nobody knows how much of the last piece went out, so nothing may follow it."""
    alive = True
    forwarder = a_forwarder(is_alive=lambda _: alive)
    caller = Caller()

    async def stick(message: Message) -> None:
        nonlocal alive
        caller.sent.append(message)
        if message.get("body"):
            alive = False
            await asyncio.Event().wait()

    async def stream(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(head.signed() + b"content-type: text/event-stream\r\nconnection: close\r\n\r\n" + b"data: 1\n\n")
        await asyncio.Event().wait()

    peer.answer = stream
    caller.send = stick  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        await caller.through(forwarder, peer.info, last_words=lambda: b"last words")
    await forwarder.aclose()
    assert [message.get("body") for message in caller.sent] == [None, b"data: 1\n\n"]


@pytest.mark.parametrize("framing", [b"content-length: 100", b"transfer-encoding: chunked"])
async def test_a_part_of_an_answer_is_never_ended_as_if_it_were_the_whole(
    forwarder: Forwarder, peer: OddPeer, framing: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caller = Caller()

    async def was_passed_on() -> bool:
        return len(caller.sent) == 2

    async def break_off(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        chunk = b"6\r\na part" if framing.endswith(b"chunked") else b"a part"
        writer.write(head.signed() + framing + b"\r\n\r\n" + chunk)
        await until(was_passed_on, what="the part to be passed on")

    peer.answer = break_off
    await caller.through(forwarder, peer.info)
    start, *pieces = caller.sent
    assert start["status"] == 200
    assert b"".join(piece["body"] for piece in pieces) == b"a part"
    assert all(piece["more_body"] for piece in pieces)
    assert [record.name for record in caplog.records] == ["mooring.forwarding"]


@pytest.mark.parametrize(
    ("part", "ends"), [(b": begins\n\n", b"last words"), (b"id: 1\ndata: 1\n\n", b""), (b'data: {"half', None)]
)
async def test_an_event_stream_whose_owner_is_killed_ends_as_one_whose_owner_falls_silent(
    forwarder: Forwarder, peer: OddPeer, part: bytes, ends: bytes | None
) -> None:
    caller = Caller()

    async def was_passed_on() -> bool:
        return len(caller.sent) == 2

    async def be_killed(head: Head, _: Any, writer: asyncio.StreamWriter) -> None:
        framing = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.signed() + framing + b"%x\r\n%b\r\n" % (len(part), part))
        await until(was_passed_on, what="the beginning to be passed on")
        writer.transport.abort()

    peer.answer = be_killed
    await caller.through(forwarder, peer.info, last_words=lambda: b"last words")
    _, first, *last = caller.sent
    assert first["body"] == part
    assert [(message["body"], message["more_body"]) for message in last] == ([] if ends is None else [(ends, False)])


async def test_a_client_that_leaves_before_its_request_was_whole_leaves_the_peer_without_its_mac(
    forwarder: Forwarder, peer: OddPeer
) -> None:
    got: list[bytes] = []

    async def read(_: Head, reader: asyncio.StreamReader, __: Any) -> None:
        got.append(await reader.read())

    peer.answer = read
    caller = Caller("POST", [(b"content-length", b"10")], in_pieces(b"01234", is_whole=False))
    caller.stays = False
    assert (await caller.failing(forwarder, peer.info)).may_have_run

    async def was_read() -> bool:
        return bool(got)

    await until(was_read, what="the peer to see the end")
    assert len(got[0]) < 10 + BODY_MAC_BYTES


async def test_a_client_that_left_is_waited_for_by_nobody(
    forwarder: Forwarder, peer: OddPeer, caplog: pytest.LogCaptureFixture
) -> None:
    left = asyncio.Event()

    async def stream_for_ever(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.signed() + b"content-type: text/event-stream\r\n\r\n: hello\n\n")
        assert await reader.read() == b""
        left.set()

    peer.answer = stream_for_ever
    caller = Caller(body=[{"type": "http.request", "body": b"", "more_body": False}])
    forwarding = asyncio.create_task(caller.through(forwarder, peer.info))

    async def hears_hello() -> bool:
        return len(caller.sent) > 1

    await until(hears_hello, what="the stream to begin")
    forwarding.cancel()
    await asyncio.wait_for(left.wait(), 5)
    assert all(message.get("more_body", True) for message in caller.sent)
    assert caplog.messages == []


# A header's bytes. Names are tokens (RFC 9110, section 5.6.2); values have no white space around them.

HOP_BY_HOP = (b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-authorization")
OURS = (b"mooring-peer", b"mooring-reply", b"mooring-client")
names = st.sampled_from([*HOP_BY_HOP, *OURS, b"host", b"accept", b"cookie", b"x-one", b"x-two"])
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=10)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(names, values.map(str.encode)), max_size=8))
async def test_whatever_headers_a_client_sends_the_peer_gets_its_own_and_none_of_the_hops(headers: HeaderList) -> None:
    hosts = [pair for pair in headers if pair[0] == b"host"][:1] or [(b"host", b"mcp.example.com")]
    headers = hosts + [(name, value) for name, value in headers if name not in (b"host", b"transfer-encoding")]
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    expected = [(name, value) for name, value in headers if name not in {*HOP_BY_HOP, *OURS, *named}]
    forwarder = a_forwarder()
    async with odd_peer() as peer:
        await Caller(headers=headers).through(forwarder, peer.info)
    await forwarder.aclose()
    got = [(name, value) for name, value in peer.heads[0].headers if name not in OURS]
    assert [pair for pair in got if pair[0] != b"host"] == [pair for pair in expected if pair[0] != b"host"]
    assert len([name for name, _ in got if name == b"host"]) == 1


async def test_a_header_that_is_no_utf_8_travels_beside(forwarder: Forwarder, peer: OddPeer) -> None:
    caller = Caller(headers=[(b"host", b"a"), (b"x-name", b"Bj\xf6rn"), (b"x-text", "Björn ✓".encode())])
    await caller.through(forwarder, peer.info)
    got = dict(peer.heads[0].headers)
    assert b"x-name" not in got
    assert got[b"x-text"] == "Björn ✓".encode()
    nonce = got[b"mooring-peer"].decode().split(";")[4]
    passed_on = decode(KEY, nonce, got[b"mooring-client"].decode())
    assert passed_on.beside == ((0, b"host", b"a"), (1, b"x-name", b"Bj\xf6rn"))


@pytest.mark.parametrize("pieces", [[b""], [b"{}"], [b"", b"01", b"", b"234", b""]])
async def test_a_body_goes_on_with_its_mac_and_says_its_length(
    forwarder: Forwarder, peer: OddPeer, pieces: list[bytes]
) -> None:
    whole = b"".join(pieces)
    got: list[bytes] = []

    async def read(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readexactly(int(dict(head.headers)[b"content-length"])))
        writer.write(head.signed() + b"content-length: 0\r\n\r\n")

    peer.answer = read
    length = b"%d" % len(whole)
    await Caller("POST", [(b"content-length", length)], in_pieces(*pieces)).through(forwarder, peer.info)
    head = peer.heads[0]
    if not whole:
        assert got == [b""]
        return
    mac = BodyMac(KEY, dict(head.headers)[b"mooring-peer"].decode().split(";")[4])
    mac.update(whole)
    assert got == [whole + mac.digest()]
    assert dict(head.headers)[b"content-length"] == b"%d" % (len(whole) + BODY_MAC_BYTES)


async def test_a_forwarder_that_was_closed_opens_again_and_may_be_closed_twice(
    forwarder: Forwarder, peer: OddPeer
) -> None:
    for _ in range(2):
        await Caller().through(forwarder, peer.info)
        await forwarder.aclose()
        await forwarder.aclose()
    assert len(peer.heads) == 2
