"""Requests that say a peer passed them on, over real HTTP: only the true, fresh and unused ones are served."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from starlette.authentication import SimpleUser

from mooring.core.ids import SessionIds, derive_key
from mooring.core.signing import NO_BODY, SIGNED_BODY, BodyMac, PeerClaim, sign_request, verify_reply
from mooring.node.requests.principal import principal_of
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_node
from tests.node.apps import ScriptedApp
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


async def test_another_clusters_key(peer: Peer) -> None:
    assert_refused(peer, await peer.send(peer.claim(), key=derive_key("another cluster's", "peer request")))


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
