"""Requests on the MCP path: read the facts, decide (`mooring.core.routing`), do what was decided."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from mooring.asgi import App, Message, Receive, Scope, Send, header, respond, without
from mooring.core import jsonrpc
from mooring.core.ids import brief
from mooring.core.model import NodeInfo, ShardOwner, Written
from mooring.core.request import SESSION_HEADER, RequestFacts, read_facts
from mooring.core.routing import (
    OPEN,
    Adopt,
    Consult,
    Decision,
    Forward,
    Moved,
    Open,
    Reason,
    Refuse,
    Serve,
    Situation,
    decide,
    decide_at_sight,
)
from mooring.errors import PeerError, PeerMoved, PeerSilent, SignatureError, StoreUnavailable
from mooring.node.node import Node
from mooring.node.requests.answers import last_words, refuse
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.from_peer import PeerRequest
from mooring.node.requests.in_session import SessionRequest
from mooring.node.requests.opening import OpeningRequest
from mooring.node.requests.principal import NOBODY

logger = logging.getLogger("mooring.routing")

_REMEMBERED_BYTES = 64 * 1024
"""Enough to read a request's id from, and to open its session here after all."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How a request goes out to its owner.

    Attributes:
        nonce: the owner's name for this very request.
        sent_to: the node that it may have reached. It goes out again to that one alone, under the same nonce, by which
            the node knows it: so it is never carried out twice.
        is_over: that node has had it before, and nobody knows what became of it.
        is_first: nothing was tried before.
    """

    nonce: str
    sent_to: str | None = None
    is_over: bool = False
    is_first: bool = False

    def may_go_to(self, peer: NodeInfo) -> bool:
        return self.sent_to in (None, peer.id)


class Router:
    """Serves, forwards or refuses the requests of one node."""

    def __init__(self, node: Node, app: App) -> None:
        self._node = node
        self._app = app

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        facts = read_facts(scope["method"], scope["headers"])
        if facts.peer is None:
            await self._handle(facts, scope, receive, send)
        else:
            await self._handle_from_peer(facts, PeerRequest(self._node.id, self._node.peer_key, scope, receive, send))

    async def _handle_from_peer(self, facts: RequestFacts, request: PeerRequest) -> None:
        try:
            request.verify(facts, self._node.nonces, int(time.time() * 1000))
        except SignatureError as error:
            logger.warning("refused a peer request: %s", error)
            self._node.tally.refused[Reason.SIGNATURE] += 1
            await refuse(request.send, Reason.SIGNATURE)
            return
        self._node.tally.forwarded_in += 1
        forwarded = replace(facts, peer=None, forwarded=True)
        try:
            moved = await self._handle(forwarded, request.scope, request.receive, request.send)
        except Exception:
            await request.send_failure()
            raise
        if moved is not None:
            self._node.tally.refused[Reason.MISROUTED] += 1
            await request.send_moved(moved.owner)
        await request.finish()

    async def _handle(self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> Moved | None:
        """Do what is decided; returns the one decision that a peer has to be told in its own way."""
        if self._node.keeper.has_lapsed:
            await self._node.keeper.regain()
        session = None if facts.session_id is None else self._node.sessions.find(facts.session_id)
        decision = decide_at_sight(facts, session is not None) or await self._decide(facts)
        if isinstance(decision, Forward | Adopt):
            body = RememberedBody(receive, _REMEMBERED_BYTES)
            receive = body.from_start()
            outcome = await self._follow(decision, facts, scope, body, send)
            if outcome is None:
                return None
            decision = outcome
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
            case Refuse(reason=reason):
                await self._refuse(reason, facts, receive, send)
            case Moved():
                return decision
        return None

    async def _decide(self, facts: RequestFacts) -> Decision:
        """What to do with a request whose session, if it has one, is not here."""
        here = self._situation(facts)
        decision = decide(facts, here)
        return await self._decide_anew(facts) if isinstance(decision, Consult) else decision

    async def _decide_anew(self, facts: RequestFacts) -> Decision:
        """The same with the view of this moment, as far as the store gives one."""
        answered = await self._node.keeper.look()
        partial = not answered or self._node.keeper.is_in_grace
        return decide(facts, replace(self._situation(facts), consulted=True, store_is_partial=partial))

    def _situation(self, facts: RequestFacts) -> Situation:
        return Situation(
            node_id=self._node.id,
            view=self._node.membership.view,
            takes_new=self._node.takes_new_sessions,
            shard=None if facts.session_id is None else self._node.ids.shard_of(facts.session_id),
        )

    async def _follow(
        self, decision: Forward | Adopt, facts: RequestFacts, scope: Scope, body: RememberedBody, send: Send
    ) -> Decision | None:
        """Bring the request to whoever owns it, holding it while nobody does; None once it was answered there.

        A silent owner is asked again for as long as its lease lives and the request may be held.
        """
        give_up = time.monotonic() + self._node.settings.hold_seconds
        pause = _FIRST_PAUSE_SECONDS
        attempt = _Attempt(_fresh_nonce(), is_first=True)
        now: Decision = decision
        while isinstance(now, Forward | Adopt):
            if isinstance(now, Adopt):
                with suppress(StoreUnavailable):
                    await self._node.keeper.adopt(now.shard, now.owner)
            elif attempt.may_go_to(now.node):
                last, attempt = attempt, await self._try(attempt, now.node, facts, scope, body, send)
                if attempt is last:
                    return None
                if facts.session_id is None and not body.is_lost:
                    return OPEN  # a new session may as well begin here
            if attempt.is_over or body.is_lost or time.monotonic() + pause > give_up:
                return Refuse(Reason.UNREACHABLE)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            now = await self._decide_anew(facts)
        return now

    async def _try(
        self,
        attempt: _Attempt,
        peer: NodeInfo,
        facts: RequestFacts,
        scope: Scope,
        body: RememberedBody,
        send: Send,
    ) -> _Attempt:
        """Forward once; returns the same attempt where it was answered, else the one to make next."""
        try:
            await self._forward(peer, attempt, facts, scope, body, send)
        except PeerMoved as error:
            self._learn(facts, error)
            return _Attempt(_fresh_nonce())
        except PeerSilent as error:
            if not error.may_have_run:
                return _Attempt(_fresh_nonce())
            return _Attempt(attempt.nonce, sent_to=peer.id, is_over=error.is_final)
        return attempt

    async def _forward(
        self,
        peer: NodeInfo,
        attempt: _Attempt,
        facts: RequestFacts,
        scope: Scope,
        body: RememberedBody,
        send: Send,
    ) -> None:
        self._node.tally.forwarded_out += 1
        try:
            # Nobody is named: the owner's app finds out who asks, and what is known here may be somebody else's name.
            await self._node.forwarder.forward(
                peer,
                attempt.nonce,
                facts.session_id,
                NOBODY,
                scope,
                body.from_start(),
                send,
                lambda: last_words(facts.method, _id_in(body)),
            )
        except PeerError as error:
            # A request that is held asks again and again: the first time says it.
            logger.log(logging.WARNING if attempt.is_first else logging.DEBUG, "%s", error)
            raise

    def _learn(self, facts: RequestFacts, moved: PeerMoved) -> None:
        shard = None if facts.session_id is None else self._node.ids.shard_of(facts.session_id)
        if shard is not None and moved.owner_id:
            self._node.membership.learned(shard, ShardOwner(moved.owner_id, moved.epoch))

    async def _refuse(self, reason: Reason, facts: RequestFacts, receive: Receive, send: Send) -> None:
        """Answer the refusal and log it. Nothing is said to be gone before its record is."""
        had_record = False
        if reason in (Reason.EXPIRED, Reason.UNKNOWN) and facts.session_id is not None:
            reason, had_record = await self._confirm_gone(reason, facts.session_id)
        if had_record and facts.method == "DELETE" and reason is not Reason.UNREACHABLE:
            await respond(send, 200, b"")
            return
        self._node.tally.refused[reason] += 1
        logger.warning("refused %s %s: %s", facts.method, self._named(facts), reason)
        request_id = await _read_id(receive) if reason is Reason.UNREACHABLE else None
        await refuse(send, reason, method=facts.method, request_id=request_id)

    async def _confirm_gone(self, reason: Reason, session_id: str) -> tuple[Reason, bool]:
        """What to say of a session that is not here, and whether there was a record of it, which is removed then.

        Whoever holds the shard removes the record: without its transport, which was here or on a node that is dead, the
        session is gone for good. Where the store does not answer, nobody knows.
        """
        if self._node.sessions.has_ended(session_id):
            return Reason.EXPIRED, False
        try:
            record = await self._node.store.load_session(session_id)
            if record is None:
                return reason, False
            epoch = await self._node.keeper.hold(self._node.ids.shard_of(session_id) or "", record.epoch)
            if not epoch or await self._node.store.delete_session(session_id, epoch) is Written.REFUSED:
                return Reason.UNREACHABLE, False
        except StoreUnavailable:
            return Reason.UNREACHABLE, False
        return (Reason.EXPIRED if record.node_id == self._node.id else Reason.OWNER_LOST), True

    def _named(self, facts: RequestFacts) -> str:
        """The session for a log line: its beginning and its owner, and nothing that was not verified."""
        shard = None if facts.session_id is None else self._node.ids.shard_of(facts.session_id)
        if facts.session_id is None or shard is None:
            return "(no session id of this cluster)"
        owner = self._node.membership.view.owner_of(shard)
        return f"{brief(facts.session_id)} of {owner.node_id if owner else 'no known node'}"


def _id_in(body: RememberedBody) -> jsonrpc.RequestId | None:
    """The JSON-RPC id of a request that was read; None where it has none, or the body is too large to tell."""
    return jsonrpc.id_of(body.message())


async def _read_id(receive: Receive) -> jsonrpc.RequestId | None:
    """The JSON-RPC id of a request, to answer that very request; None where it has none."""
    body = RememberedBody(receive, _REMEMBERED_BYTES)
    await body.read_rest()
    return _id_in(body)


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


def _fresh_nonce() -> str:
    return secrets.token_urlsafe(16)
