"""Requests on the MCP path: read the facts, decide (`mooring.core.routing`), do what was decided."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial

from mooring.asgi import App, Message, Receive, Scope, Send, header, route_of, without
from mooring.core.http_sse import id_in
from mooring.core.ids import brief
from mooring.core.request import SESSION_HEADER, RequestFacts, read_facts, tidied
from mooring.core.routing import (
    Adopt,
    Consult,
    Decision,
    Forward,
    Hold,
    Moved,
    Open,
    Reason,
    Refuse,
    Serve,
    Situation,
    decide,
    decide_at_sight,
)
from mooring.errors import SignatureError
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.answers import refuse
from mooring.node.requests.attending import AttendedClient
from mooring.node.requests.following import FollowedRequest
from mooring.node.requests.from_peer import PeerRequest
from mooring.node.requests.gathering import GatheredRequest
from mooring.node.requests.in_session import SessionRequest
from mooring.node.requests.opening import OpeningRequest
from mooring.node.requests.posting import PostedRequest
from mooring.node.requests.refusing import RefusedRequest
from mooring.node.requests.streaming import StreamingRequest, StreamPaths

logger = logging.getLogger("mooring.routing")


class Router:
    """Serves, forwards or refuses the requests of one node."""

    def __init__(self, node: Node, app: App) -> None:
        self._node = node
        self._app = app
        self._streams = StreamPaths()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        facts = self._read(scope)
        if facts.peer is None:
            if facts.is_untidy:
                scope = {**scope, "headers": tidied(scope["headers"])}
            await self._handle(facts, scope, receive, send)
        else:
            await self._handle_from_peer(facts, PeerRequest(self._node.id, self._node.peer_key, scope, receive, send))

    async def handle_elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request on a path that is not known as an endpoint. It may be one all the same, and the app's in any case.

        it                                    so it
        ------------------------------------  ------------------------------------------------------------------
        is on a session of this cluster       goes to the node that holds it, where the path may be known
        was passed on by a peer               was on such a session, or opens one
        gets an HTTP+SSE stream, as known     opens a session, here or where there is room for it
        is another GET                        is served here, and the app's answer tells
        posts JSON, as what opens a session   is served here, and the app's answer tells
        is anything else                      is the app's
        """
        facts = self._read(scope)
        may_stream = facts.method == "GET" and facts.session_id is None and not facts.modern
        if facts.peer is not None or self._is_ours(facts) or (may_stream and route_of(scope) in self._streams):
            await self.handle(scope, receive, send)
        elif may_stream:
            await StreamingRequest(self._node, self._streams, scope, receive, send).serve(self._app)
        elif facts.session_id is None and not facts.modern and _posts_json(scope):
            await OpeningRequest(self._node, self._app, scope, receive, send).serve()
        else:
            await self._app(scope, receive, send)

    async def handle_for_one_node(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request at a path of `one_node_paths`: it goes to the one node, unless it is on a session of ours."""
        facts = self._read(scope)
        if facts.peer is not None or self._is_ours(facts):
            await self.handle(scope, receive, send)
            return
        here = replace(facts, forwarded=True)  # it goes no further
        request = GatheredRequest(self._node, facts, scope, receive, send)
        await request.serve(lambda body: self._handle(here, scope, body, send))

    def _read(self, scope: Scope) -> RequestFacts:
        """The facts of a request. The id of an HTTP+SSE session is in the query, and only ours is taken for one."""
        facts = read_facts(scope["method"], scope["headers"])
        if facts.method.upper() != "POST" or facts.session_id is not None or not scope.get("query_string"):
            return facts
        session_id = id_in(scope["query_string"])
        if session_id is None or self._node.ids.shard_of(session_id) is None:
            return facts
        return replace(facts, session_id=session_id, in_query=True, modern=False)

    def _is_ours(self, facts: RequestFacts) -> bool:
        return facts.session_id is not None and self._node.ids.shard_of(facts.session_id) is not None

    async def _handle_from_peer(self, facts: RequestFacts, request: PeerRequest) -> None:
        try:
            request.verify(facts, self._node.nonces, int(time.time() * 1000))
        except SignatureError as error:
            logger.warning("refused a peer request: %s", error)
            self._node.tally.refused[Reason.SIGNATURE] += 1
            await refuse(request.send, Reason.SIGNATURE)
            return
        self._node.tally.forwarded_in += 1
        forwarded = replace(facts, method=request.scope["method"], peer=None, forwarded=True)
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
        decision: Decision | None = None
        if not self._node.keeper.has_lapsed or await self._node.keeper.regain():
            decision = decide_at_sight(facts, self._find(facts) is not None)
        if decision is None:
            decision = await self._decide(facts)
        if not isinstance(decision, Forward | Hold | Adopt):
            return await self._do(decision, facts, scope, receive, send)
        async with AttendedClient(receive) as client:
            followed = FollowedRequest(self._node, facts, scope, client, send, partial(self._decide_anew, facts))
            outcome = await followed.follow(decision)
            return None if outcome is None else await self._do(outcome, facts, scope, followed.receive, send)

    async def _do(
        self, decision: Decision, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> Moved | None:
        session = self._find(facts)
        match decision:
            case Serve():
                self._node.tally.served += 1
                if session is None or facts.modern:
                    await self._app(_of_no_session(scope), receive, _naming_no_session(send))
                else:
                    await self._serve_session(session, facts, scope, receive, send)
            case Open() if facts.method == "GET":
                self._node.tally.served += 1
                await StreamingRequest(self._node, self._streams, scope, receive, send).serve(self._open)
            case Open():
                self._node.tally.served += 1
                await self._open(scope, receive, send)
            case Refuse() if self._is_the_apps(facts, scope):
                await self._app(scope, receive, send)
            case Refuse(reason=reason):
                await RefusedRequest(self._node, self._app, facts, scope, receive, send).refuse(reason)
            case Moved():
                return decision
        return None

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        await OpeningRequest(self._node, self._app, scope, receive, send).serve()

    async def _serve_session(
        self, session: LocalSession, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> None:
        endpoint = self._node.endpoint_of(scope)
        if session.is_in_query and facts.in_query:
            await PostedRequest(self._node, session, facts, scope, receive, send).serve(self._app)
        elif facts.in_query and endpoint is not None:  # of a session that has its id in a header: it names none
            await self._open(scope, receive, send)
        elif endpoint is None:  # something of the app's own, beside its endpoints
            await self._app(scope, receive, send)
        elif endpoint == session.endpoint:
            await SessionRequest(self._node, session, facts, scope, receive, send).serve(self._app)
        else:
            self._node.tally.refused[Reason.UNKNOWN] += 1
            logger.warning("session %s is of %s, and not of %s", brief(session.id), session.endpoint, endpoint)
            await refuse(send, Reason.UNKNOWN)

    def _is_the_apps(self, facts: RequestFacts, scope: Scope) -> bool:
        """Whether the app says what becomes of a request that we cannot serve: it is on no endpoint that we know."""
        return self._node.endpoint_of(scope) is None and not facts.in_query and route_of(scope) not in self._streams

    async def _decide(self, facts: RequestFacts) -> Decision:
        """What to do with a request that is not decided at sight."""
        here = self._situation(facts)
        decision = decide(facts, here)
        return await self._decide_anew(facts) if isinstance(decision, Consult) else decision

    async def _decide_anew(self, facts: RequestFacts) -> Decision:
        """The same with the view of this moment, as far as the store gives one."""
        if not await self._node.keeper.regain():
            return decide(facts, self._situation(facts))
        answered = await self._node.keeper.look()
        partial = not answered or self._node.keeper.is_in_grace
        return decide(facts, replace(self._situation(facts), consulted=True, store_is_partial=partial))

    def _situation(self, facts: RequestFacts) -> Situation:
        return Situation(
            node_id=self._node.id,
            view=self._node.membership.view,
            takes_new=self._node.takes_new_sessions,
            session_here=self._find(facts) is not None,
            shard=None if facts.session_id is None else self._node.ids.shard_of(facts.session_id),
            has_lapsed=self._node.keeper.has_lapsed,
            helper=self._node.keeper.helper,
        )

    def _find(self, facts: RequestFacts) -> LocalSession | None:
        return None if facts.session_id is None else self._node.sessions.find(facts.session_id)


def _posts_json(scope: Scope) -> bool:
    kind = header(scope["headers"], b"content-type") or b""
    return bool(scope["method"] == "POST") and kind.partition(b";")[0].strip().lower() == b"application/json"


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
