"""Requests that say a peer passed them on, over real HTTP: only the true, fresh and unused ones are served."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from starlette.authentication import SimpleUser

from mooring import Mooring
from mooring.asgi import Receive, Scope, Send
from mooring.core.ids import SessionIds, derive_key
from mooring.core.signing import NO_BODY, SIGNED_BODY, BodyMac, PeerClaim, sign_request, verify_reply
from mooring.node.requests.principal import principal_of
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_node
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import Request, initialize, joined
from tests.node.rpc import INITIALIZE, RawClient, Reply

KEY = derive_key(SECRET, "peer request")
PING = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping"}).encode()


class Peer:
    """A node of the cluster, or somebody who would like to be taken for one."""

    def __init__(self, raw: RawClient, node: RunningNode, app: ScriptedApp) -> None:
        self.raw = raw
        self.node = node
        self.app = app
        self.session = ""

    def claim(self) -> PeerClaim:
        now_ms = int(time.time() * 1000)
        return PeerClaim("node-9-abcde", self.node.id, now_ms, secrets.token_urlsafe(16), "", SIGNED_BODY)

    async def send(
        self,
        claim: PeerClaim,
        *,
        key: bytes = KEY,
        body: bytes = PING,
        mac: bytes | None = None,
        signed_session: str | None = None,
    ) -> Reply:
        signed = sign_request(key, claim, "POST", b"/mcp", signed_session or self.session)
        if mac is None:
            over = BodyMac(key, claim.nonce)
            over.update(body)
            mac = over.digest() if claim.body == SIGNED_BODY else b""
        return await self.raw.call(self.node.url, self.session, body=body + mac, headers={"Mooring-Peer": signed})


@pytest.fixture
async def peer(raw: RawClient) -> AsyncIterator[Peer]:
    app = ScriptedApp()
    async with running_node(app, MemoryStore(), peer_age_seconds=30) as node:
        peer = Peer(raw, node, app)
        peer.session = await raw.open(node.url)
        app.asked.clear()
        yield peer


def assert_refused(peer: Peer, reply: Reply) -> None:
    assert (reply.status, reply.reason) == (403, "signature")
    assert peer.app.asked == []
    assert peer.node.mooring._node.tally.refused["signature"] == 1


async def test_a_true_one_is_served_and_the_answer_is_signed(peer: Peer) -> None:
    claim = peer.claim()
    reply = await peer.send(claim)
    assert reply.status == 200
    assert peer.app.asked == [("POST", "inner-1", PING)]
    assert verify_reply(KEY, reply.headers["mooring-reply"], claim.nonce, peer.node.id, 200) == "accepted"


@pytest.mark.parametrize("key", [KEY, derive_key("the next one of several", "peer request")])
async def test_while_the_secret_is_changed_the_answer_is_signed_with_the_askers(raw: RawClient, key: bytes) -> None:
    app = ScriptedApp()
    async with running_node(app, MemoryStore(), secret=f"{SECRET}\nthe next one of several") as node:
        peer = Peer(raw, node, app)
        peer.session = await raw.open(node.url)
        claim = peer.claim()
        reply = await peer.send(claim, key=key)
        assert reply.status == 200
        assert verify_reply(key, reply.headers["mooring-reply"], claim.nonce, node.id, 200) == "accepted"
        forged = await peer.send(peer.claim(), key=derive_key("neither of them", "peer request"))
        assert (forged.status, forged.reason) == (403, "signature")
        without_body_mac = peer.claim()
        reply = await peer.send(without_body_mac, key=key, mac=bytes(32))
        assert reply.status == 403


async def test_another_clusters_key(peer: Peer) -> None:
    assert_refused(peer, await peer.send(peer.claim(), key=derive_key("another cluster's", "peer request")))


async def test_a_stranger_does_not_learn_which_node_it_is(peer: Peer) -> None:
    """Load balancers pass on what anybody says to be a peer's."""
    reply = await peer.send(peer.claim(), key=derive_key("a stranger's", "peer request"))
    assert reply.status == 403
    assert "mooring-reply" not in reply.headers
    assert peer.node.id not in str(reply.headers)


async def test_the_key_of_another_purpose(peer: Peer) -> None:
    assert_refused(peer, await peer.send(peer.claim(), key=derive_key(SECRET, "session id")))


@pytest.mark.parametrize("age_ms", [31_000, -31_000])
async def test_an_old_time_and_one_to_come(peer: Peer, age_ms: int) -> None:
    claim = peer.claim()
    reply = await peer.send(replace(claim, time_ms=claim.time_ms - age_ms))
    assert_refused(peer, reply)
    assert verify_reply(KEY, reply.headers["mooring-reply"], claim.nonce, peer.node.id, 403) == "refused"


async def test_a_used_nonce(peer: Peer) -> None:
    claim = peer.claim()
    assert (await peer.send(claim)).status == 200
    peer.app.asked.clear()
    assert_refused(peer, await peer.send(claim))


async def test_one_that_is_meant_for_another_node(peer: Peer) -> None:
    assert_refused(peer, await peer.send(replace(peer.claim(), recipient="node-2-abcde")))


async def test_one_that_was_signed_for_another_session(peer: Peer) -> None:
    other = SessionIds(SECRET).mint("zzzzz", b"0" * 16)
    assert_refused(peer, await peer.send(peer.claim(), signed_session=other))


async def test_a_body_that_was_changed_on_the_way(peer: Peer) -> None:
    reply = await peer.send(peer.claim(), mac=b"\0" * 32)
    assert (reply.status, reply.reason) == (403, "signature")
    assert peer.app.asked == []
    assert peer.app.disconnected == 1


async def test_a_body_that_was_said_not_to_be_there(peer: Peer) -> None:
    reply = await peer.send(replace(peer.claim(), body=NO_BODY))
    assert_refused(peer, reply)


async def test_a_body_shorter_than_its_signature(peer: Peer) -> None:
    reply = await peer.send(peer.claim(), body=b"", mac=b"short")
    assert (reply.status, reply.reason) == (403, "signature")
    assert peer.app.asked == []


async def test_who_the_peer_says_has_sent_it_decides_nothing(peer: Peer) -> None:
    """Its app authenticates, and so does ours, which is where the session lives."""
    peer.app.user = lambda scope: SimpleUser("alice")
    peer.session = await peer.raw.open(peer.node.url)
    as_alice = replace(peer.claim(), principal=principal_of({"user": SimpleUser("alice")}))
    as_mallory = replace(peer.claim(), principal=principal_of({"user": SimpleUser("mallory")}))
    assert (await peer.send(as_mallory)).status == 200
    for user in (SimpleUser("mallory"), None):
        peer.app.user = lambda scope, user=user: user
        peer.app.asked.clear()
        reply = await peer.send(replace(as_alice, nonce=peer.claim().nonce))
        assert (reply.status, reply.reason) == (404, "unknown")
        assert all(session is None for _, session, _ in peer.app.asked)


async def test_a_forwarded_request_is_never_forwarded_again(peer: Peer, raw: RawClient) -> None:
    store = peer.node.mooring._store
    async with running_node(ScriptedApp(), store, "node-2") as other:
        foreign = await raw.open(other.url)
        await peer.node.mooring._node.keeper.beat()
        peer.session = foreign
        reply = await peer.send(peer.claim())
        assert (reply.status, reply.reason) == (404, "misrouted")
        assert (await raw.call(peer.node.url, foreign)).status == 200


async def test_a_new_session_that_a_peer_sends_opens_here(peer: Peer) -> None:
    body = json.dumps(INITIALIZE).encode()
    claim = peer.claim()
    signed = sign_request(KEY, claim, "POST", b"/mcp", None)
    mac = BodyMac(KEY, claim.nonce)
    mac.update(body)
    reply = await peer.raw.send(
        "POST", f"{peer.node.url}/mcp", body=body + mac.digest(), headers={"mooring-peer": signed}
    )
    assert reply.status == 200
    assert await peer.node.mooring.has_session(reply.session_id)


@pytest.mark.parametrize("claim", ["", "x", "1;a;b;1;n;;none;00", "1;" + ";" * 8, "é", "1" * 9000])
async def test_a_peer_request_that_no_peer_signed_is_403(peer: Peer, claim: str) -> None:
    assert_refused(peer, await peer.raw.call(peer.node.url, peer.session, headers={"mooring-peer": claim}))


def from_peer(
    mooring: Mooring, *pieces: bytes, method: str = "POST", session: str | None = None, body: str = SIGNED_BODY
) -> Request:
    """A request as a peer passes it on, with its MAC behind the last piece, as the server gives it."""
    claim = PeerClaim("node-9-abcde", mooring.node_id, int(time.time() * 1000), secrets.token_urlsafe(16), "", body)
    headers = [(b"mooring-peer", sign_request(KEY, claim, method, b"/mcp", session).encode())]
    if body == SIGNED_BODY:
        mac = BodyMac(KEY, claim.nonce)
        for piece in pieces:
            mac.update(piece)
        pieces = (*pieces, mac.digest())
        headers.append((b"content-length", b"%d" % len(b"".join(pieces))))
    return Request(method, session=session, headers=headers, pieces=pieces or (b"",))


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_one_without_a_body_is_served_without_one(method: str) -> None:
    app = ScriptedApp()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id
        request = await from_peer(mooring, method=method, session=session, body=NO_BODY).to(mooring)
        assert request.status == 200
        assert app.asked[-1] == (method, "inner-1", b"")
        assert b"mooring-peer" not in dict(app.scopes[-1]["headers"])
        assert request.headers[b"mooring-reply"].startswith(f"{mooring.node_id};accepted;".encode())


@pytest.mark.parametrize("pieces", [[b"{}"], [b"", b"{", b"}"], [b"x" * 100, b"y"]])
async def test_the_app_gets_the_clients_body_and_its_length(pieces: list[bytes]) -> None:
    app = ScriptedApp()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id
        await from_peer(mooring, *pieces, session=session).to(mooring)
    whole = b"".join(pieces)
    assert app.asked[-1][2] == whole
    assert dict(app.scopes[-1]["headers"])[b"content-length"] == b"%d" % len(whole)


async def test_only_the_start_of_an_answer_is_signed_and_the_rest_passes_as_it_is() -> None:
    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 202})
        for piece in (b"1", b"2", b""):
            await send({"type": "http.response.body", "body": piece, "more_body": bool(piece)})

    async with joined(streaming) as mooring:
        request = await from_peer(mooring, b"{}").to(mooring)
    assert (request.status, list(request.headers)) == (202, [b"mooring-begin", b"mooring-reply", b"mooring-end"])
    assert request.sent[1:] == [
        {"type": "http.response.body", "body": piece, "more_body": bool(piece)} for piece in (b"1", b"2", b"")
    ]


@pytest.mark.parametrize("answers", [True, False])
async def test_a_forged_body_is_refused_once_whether_the_app_answers_what_it_saw_or_not(answers: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        assert (await receive())["type"] == "http.disconnect"
        if answers:
            await answer(send, 200, b"carried out")

    async with joined(app) as mooring:
        request = from_peer(mooring, b"{}")
        request._pieces[0]["body"] = b"[]"
        await request.to(mooring)
    assert (request.status, request.reason) == (403, "signature")
    assert len(request.sent) == 2
    assert request.headers.get(b"mooring-reply") is None


async def test_an_answer_that_began_before_the_body_was_read_is_not_followed_by_a_second() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, b"too early to know")
        while (await receive())["type"] != "http.disconnect":
            pass

    async with joined(app, handle_search_bytes=1024) as mooring:  # a smaller one is read before the app has any of it
        request = from_peer(mooring, b"{" * 2048, b"}")
        request._pieces[0]["body"] = b"[" * 2048
        await request.to(mooring)
    assert [message["type"] for message in request.sent] == ["http.response.start", "http.response.body"]
    assert (request.status, request.body) == (200, b"too early to know")
