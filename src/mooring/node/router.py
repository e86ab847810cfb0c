"""Requests on the MCP path: read the facts, decide (`mooring.core.routing`), do what was decided."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any, Final

from mooring.core.ids import brief
from mooring.core.model import NodeInfo
from mooring.core.request import PEER_HEADER, REPLY_HEADER, RequestFacts, read_facts
from mooring.core.routing import (
    Consult,
    Decision,
    Forward,
    Open,
    Reason,
    Refuse,
    Serve,
    Situation,
    decide,
    decide_at_sight,
)
from mooring.core.signing import (
    ACCEPTED,
    BODY_MAC_BYTES,
    REFUSED,
    SIGNED_BODY,
    BodyMac,
    PeerClaim,
    sign_reply,
    verify_request,
)
from mooring.errors import PeerGone, PeerSilent, SignatureError
from mooring.node.answers import refuse, respond
from mooring.node.asgi import App, HeaderList, Message, Receive, Scope, Send, has_body, target_of, without
from mooring.node.bodies import RememberedBody, SignedBody
from mooring.node.node import Node
from mooring.node.principal import NOBODY, principal_of
from mooring.node.serving import OpeningRequest, SessionRequest

logger = logging.getLogger("mooring.routing")

_REMEMBERED_BYTES = 64 * 1024
"""Enough to read a request's id from, and to open its session here after all."""

_GONE: Final = frozenset({Reason.EXPIRED, Reason.OWNER_LOST, Reason.UNKNOWN})


class Router:
    """Serves, forwards or refuses the requests of one node."""

    def __init__(self, node: Node, app: App) -> None:
        self._node = node
        self._app = app

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        facts = read_facts(scope["method"], scope["headers"])
        if facts.peer is not None:
            await self._handle_peer(facts, scope, receive, send)
        else:
            await self._handle(facts, NOBODY, scope, receive, send)

    async def _handle(self, facts: RequestFacts, principal: str, scope: Scope, receive: Receive, send: Send) -> None:
        if self._node.keeper.has_lapsed:
            await self._node.keeper.regain()
        session = None if facts.session_id is None else self._node.sessions.find(facts.session_id)
        decision = decide_at_sight(facts, session is not None) or await self._decide(facts)
        match decision:
            case Serve():
                self._node.tally.served += 1
                if session is None or facts.modern:
                    await self._app(scope, receive, send)
                elif principal not in (NOBODY, session.principal):
                    await self._refuse(Reason.PRINCIPAL, facts, send)
                else:
                    await SessionRequest(self._node, session, facts, scope, receive, send).serve(self._app)
            case Open():
                self._node.tally.served += 1
                await OpeningRequest(self._node, scope, receive, send).serve(self._app)
            case Forward(node=peer):
                await self._forward(peer, facts, scope, receive, send)
            case Refuse(reason=reason):
                await self._refuse(reason, facts, send)

    async def _decide(self, facts: RequestFacts) -> Decision:
        """What to do with a request whose session, if it has one, is not here."""
        membership = self._node.membership
        here = Situation(
            node_id=self._node.id,
            view=membership.view,
            takes_new=self._node.takes_new_sessions,
            shard=None if facts.session_id is None else self._node.ids.shard_of(facts.session_id),
        )
        decision = decide(facts, here)
        if isinstance(decision, Consult):
            answered = await self._node.keeper.look()
            decision = decide(facts, replace(here, view=membership.view, consulted=True, store_away=not answered))
        return decision

    async def _forward(self, peer: NodeInfo, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> None:
        self._node.tally.forwarded_out += 1
        body = RememberedBody(receive, _REMEMBERED_BYTES)
        try:
            await self._node.forwarder.forward(peer, facts.session_id, principal_of(scope), scope, body.receive, send)
        except PeerGone as error:
            logger.warning("%s", error)
            await self._node.keeper.suspect(peer.id)
            await self._after_peer_gone(facts, body, scope, send)
        except PeerSilent as error:
            logger.warning("%s", error)
            await self._unreachable(facts, body, send)

    async def _after_peer_gone(self, facts: RequestFacts, body: RememberedBody, scope: Scope, send: Send) -> None:
        """A new session may as well begin here; one that lived there is lost, if the store agrees."""
        if facts.session_id is None and not body.is_lost:
            await OpeningRequest(self._node, scope, body.again, send).serve(self._app)
            return
        decision = await self._decide(facts)
        if isinstance(decision, Refuse):
            await self._refuse(decision.reason, facts, send)
        else:
            await self._unreachable(facts, body, send)

    async def _unreachable(self, facts: RequestFacts, body: RememberedBody, send: Send) -> None:
        await body.read_rest()
        await self._refuse(Reason.UNREACHABLE, facts, send, request_id=body.message().get("id"))

    async def _refuse(self, reason: Reason, facts: RequestFacts, send: Send, request_id: Any = None) -> None:
        """Answer the refusal, log it, and remove the record of a session that is gone."""
        self._node.tally.refused[reason] += 1
        logger.warning("refused %s %s: %s", facts.method, self._named(facts), reason)
        had_record = False
        if reason in _GONE and facts.session_id is not None:
            had_record = await self._node.sessions.forget(facts.session_id)
        if had_record and facts.method == "DELETE":
            await respond(send, 200, b"")
            return
        await refuse(send, reason, method=facts.method, request_id=request_id)

    def _named(self, facts: RequestFacts) -> str:
        """The session for a log line: its beginning and its owner, and nothing that was not verified."""
        shard = None if facts.session_id is None else self._node.ids.shard_of(facts.session_id)
        if facts.session_id is None or shard is None:
            return "(no session id of this cluster)"
        owner = self._node.membership.view.owner_of(shard)
        return f"{brief(facts.session_id)} of {owner.node_id if owner else 'no known node'}"

    async def _handle_peer(self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that says a peer passed it on: verified, then handled like any other, one hop at most."""
        node = self._node
        signer = ReplySigner(node.peer_key, node.id, send)
        try:
            claim = verify_request(
                node.peer_key, facts.peer or "", facts.method, target_of(scope), facts.session_id, recipient=node.id
            )
            signer.nonce = claim.nonce
            if claim.body != SIGNED_BODY and has_body(scope["headers"]):
                raise SignatureError("a body that its sender did not announce")
            node.nonces.accept(claim, int(time.time() * 1000))
        except SignatureError as error:
            logger.warning("refused a peer request: %s", error)
            node.tally.refused[Reason.SIGNATURE] += 1
            signer.verdict = REFUSED
            await refuse(signer.send, Reason.SIGNATURE)
            return
        node.tally.forwarded_in += 1
        if claim.body == SIGNED_BODY:
            body = SignedBody(receive, BodyMac(node.peer_key, claim.nonce))
            receive = body.receive
            signer.body = body
        scope = {**scope, "headers": _as_from_client(scope["headers"], claim)}
        await self._handle(replace(facts, peer=None, forwarded=True), claim.principal, scope, receive, signer.send)
        await signer.finish()


class ReplySigner:
    """Signs the answer to a peer request, and withholds the app's where the request's body was forged."""

    def __init__(self, key: bytes, node_id: str, send: Send) -> None:
        self._key = key
        self._node_id = node_id
        self._send = send
        self.nonce = ""
        self.verdict = ACCEPTED
        self.body: SignedBody | None = None
        self._withheld = False

    async def send(self, message: Message) -> None:
        if self._withheld:
            return
        if message["type"] == "http.response.start":
            await self.finish()
            if self._withheld:
                return
            reply = sign_reply(self._key, self.nonce, self._node_id, self.verdict, message["status"])
            message = {**message, "headers": [*message.get("headers", []), (REPLY_HEADER, reply.encode())]}
        await self._send(message)

    async def finish(self) -> None:
        """Refuse a request whose body was found forged, whether the app answers what it saw of it or not."""
        if self.body is not None and self.body.is_forged and not self._withheld:
            self._withheld = True
            logger.warning("refused a peer request: its body is not what the peer sent")
            await refuse(self._send, Reason.SIGNATURE)


def _as_from_client(headers: HeaderList, claim: PeerClaim) -> HeaderList:
    """The headers as the client sent them: without the peer's, and with the length of the client's own body."""
    cleaned = without(headers, PEER_HEADER, REPLY_HEADER)
    if claim.body != SIGNED_BODY:
        return cleaned
    return [
        (name, b"%d" % (int(value) - BODY_MAC_BYTES) if name == b"content-length" else value) for name, value in cleaned
    ]
