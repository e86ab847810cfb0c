"""Requests on the MCP path: read the facts, decide (`mooring.core.routing`), do what was decided."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Final

from mooring.asgi import App, Message, Receive, Scope, Send, header, respond, without
from mooring.core import jsonrpc
from mooring.core.ids import brief
from mooring.core.model import NodeInfo
from mooring.core.request import SESSION_HEADER, RequestFacts, read_facts
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
from mooring.errors import PeerGone, PeerSilent, SignatureError
from mooring.node.node import Node
from mooring.node.requests.answers import refuse
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.from_peer import PeerRequest
from mooring.node.requests.in_session import SessionRequest
from mooring.node.requests.opening import OpeningRequest
from mooring.node.requests.principal import NOBODY

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
        if facts.peer is None:
            await self._handle(facts, scope, receive, send)
            return
        request = PeerRequest(self._node.id, self._node.peer_key, scope, receive, send)
        try:
            request.verify(facts, self._node.nonces, int(time.time() * 1000))
        except SignatureError as error:
            logger.warning("refused a peer request: %s", error)
            self._node.tally.refused[Reason.SIGNATURE] += 1
            await refuse(request.send, Reason.SIGNATURE)
            return
        self._node.tally.forwarded_in += 1
        forwarded = replace(facts, peer=None, forwarded=True)
        await self._handle(forwarded, request.scope, request.receive, request.send)
        await request.finish()

    async def _handle(self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> None:
        if self._node.keeper.has_lapsed:
            await self._node.keeper.regain()
        session = None if facts.session_id is None else self._node.sessions.find(facts.session_id)
        decision = decide_at_sight(facts, session is not None) or await self._decide(facts)
        match decision:
            case Serve():
                self._node.tally.served += 1
                if session is None or facts.modern:
                    await self._app(_of_no_session(scope), receive, _naming_no_session(send))
                else:
                    await SessionRequest(self._node, session, facts, scope, receive, send).serve(self._app)
            case Open():
                self._node.tally.served += 1
                await OpeningRequest(self._node, scope, receive, send).serve(self._app)
            case Forward(node=peer):
                await self._forward(peer, facts, scope, receive, send)
            case Refuse(reason=reason):
                await self._refuse(reason, facts, receive, send)

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
            partial = not answered or self._node.keeper.is_in_grace
            decision = decide(facts, replace(here, view=membership.view, consulted=True, store_is_partial=partial))
        return decision

    async def _forward(self, peer: NodeInfo, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> None:
        self._node.tally.forwarded_out += 1
        body = RememberedBody(receive, _REMEMBERED_BYTES)
        try:
            # Nobody is named: the owner's app finds out who asks, and what is known here may be somebody else's name.
            await self._node.forwarder.forward(peer, facts.session_id, NOBODY, scope, body.receive, send)
        except PeerGone as error:
            logger.warning("%s", error)
            await self._node.keeper.suspect(peer.id)
            await self._after_failed_forward(facts, body, scope, send, owner_is_gone=True)
        except PeerSilent as error:
            logger.warning("%s", error)
            await self._after_failed_forward(facts, body, scope, send, owner_is_gone=False)

    async def _after_failed_forward(
        self, facts: RequestFacts, body: RememberedBody, scope: Scope, send: Send, *, owner_is_gone: bool
    ) -> None:
        """A new session may as well begin here. One of the peer's is lost if the peer is gone, and the store agrees."""
        if facts.session_id is None and not body.is_lost:
            self._node.tally.served += 1
            await OpeningRequest(self._node, scope, body.again, send).serve(self._app)
            return
        decision = await self._decide(facts) if owner_is_gone else None
        reason = decision.reason if isinstance(decision, Refuse) else Reason.UNREACHABLE
        await self._refuse(reason, facts, body.again, send)

    async def _refuse(self, reason: Reason, facts: RequestFacts, receive: Receive, send: Send) -> None:
        """Answer the refusal, log it, and remove the record of a session that is gone."""
        self._node.tally.refused[reason] += 1
        logger.warning("refused %s %s: %s", facts.method, self._named(facts), reason)
        had_record = False
        if reason in _GONE and facts.session_id is not None:
            had_record = await self._node.sessions.forget(facts.session_id)
        if had_record and facts.method == "DELETE":
            await respond(send, 200, b"")
            return
        request_id = await _read_id(receive) if reason is Reason.UNREACHABLE else None
        await refuse(send, reason, method=facts.method, request_id=request_id)

    def _named(self, facts: RequestFacts) -> str:
        """The session for a log line: its beginning and its owner, and nothing that was not verified."""
        shard = None if facts.session_id is None else self._node.ids.shard_of(facts.session_id)
        if facts.session_id is None or shard is None:
            return "(no session id of this cluster)"
        owner = self._node.membership.view.owner_of(shard)
        return f"{brief(facts.session_id)} of {owner.node_id if owner else 'no known node'}"


async def _read_id(receive: Receive) -> jsonrpc.RequestId | None:
    """The JSON-RPC id of a request, to answer that very request; None where it has none."""
    body = RememberedBody(receive, _REMEMBERED_BYTES)
    await body.read_rest()
    return jsonrpc.id_of(body.message())


def _of_no_session(scope: Scope) -> Scope:
    """The scope without a session id: the modern era has no sessions, so nobody checked whose this is."""
    if header(scope["headers"], SESSION_HEADER) is None:
        return scope
    return {**scope, "headers": without(scope["headers"], SESSION_HEADER)}


def _naming_no_session(send: Send) -> Send:
    """Sends an answer without the app's session id: the modern era has no sessions, and apps of the legacy era name one
    even in the answer that refuses a modern request."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start" and header(message.get("headers", []), SESSION_HEADER) is not None:
            message = {**message, "headers": without(message["headers"], SESSION_HEADER)}
        await send(message)

    return send_on
