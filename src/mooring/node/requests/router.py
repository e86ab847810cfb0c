"""Requests on the MCP path: read the facts, decide (`mooring.core.routing`), do what was decided."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from mooring.asgi import (
    EVENT_STREAM,
    App,
    Receive,
    Scope,
    Send,
    is_at,
    is_compressed,
    media_type,
    posts_json,
    replaced,
    request_header,
    route_of,
    without,
)
from mooring.core import jsonrpc
from mooring.core.http_sse import id_in
from mooring.core.request import VERSION_HEADER, RequestFacts, read_facts, tidied
from mooring.core.routing import Adopt, Consult, Decision, Forward, Hold, Moved, Open, Reason, Refuse, Revive, Serve
from mooring.errors import SignatureError
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.admission import refuse_elsewhere
from mooring.node.requests.answers import advice_on, refuse
from mooring.node.requests.attending import AttendedClient
from mooring.node.requests.bodies import WantedBody
from mooring.node.requests.deciding import Decisions
from mooring.node.requests.following import FollowedRequest
from mooring.node.requests.from_peer import PeerRequest
from mooring.node.requests.gathering import GatheredRequest
from mooring.node.requests.in_session import SessionRequest
from mooring.node.requests.keep_alive import KeptAlive
from mooring.node.requests.listening import ListeningRequest
from mooring.node.requests.modern import ModernRequest
from mooring.node.requests.no_session import naming_no_session, of_no_session
from mooring.node.requests.opening import OpeningRequest
from mooring.node.requests.placing import Placements
from mooring.node.requests.posting import PostedRequest
from mooring.node.requests.refusing import RefusedRequest
from mooring.node.requests.reviving import Revivals
from mooring.node.requests.streaming import StreamingRequest, StreamPaths

logger = logging.getLogger("mooring.routing")

_INITIALIZES: Final = re.compile(rb'"method"\s*:\s*"initialize"')

_ACCEPT_BYTES: Final = 4 * 1024
"""As far as an Accept is read: a server may let in one of megabytes, which takes a second."""


class Router:
    """Serves, forwards or refuses the requests of one node."""

    def __init__(self, node: Node, app: App) -> None:
        self._node = node
        self._app = app
        self._decisions = Decisions(node)
        self._placements = Placements(node, app)
        self._streams = StreamPaths()
        self._revivals = Revivals(node, app, node.sessions.tell_revived)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        facts = self._read(scope)
        if facts.peer is None:
            if facts.is_untidy:
                scope = {**scope, "headers": tidied(scope["headers"])}
            with self._kept_alive(facts, send) as answer:
                await self._handle(facts, scope, receive, answer.send)
        else:
            await self._handle_from_peer(facts, PeerRequest(self._node.id, self._node.peer_keys, scope, receive, send))

    async def handle_elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request on a path that is not known as an endpoint. It may be one all the same, and the app's in any case.

        it                                    so it
        ------------------------------------  ------------------------------------------------------------------
        is on a session of this cluster       goes to the node that holds it, where the path may be known
        was passed on by a peer               was on such a session, or opens one
        gets an HTTP+SSE stream, as known     opens a session, here or where there is room for it
        is another GET                        is served here, and the app's answer tells
        posts JSON, as what opens a session   is served here, and the app's answer tells
        says its revision, and no session     goes where its handles lead: no session may ever tell
        is anything else                      is the app's
        """
        facts = self._read(scope)
        may_stream = facts.method == "GET" and facts.session_id is None and not facts.modern
        is_ours = facts.peer is not None or self._is_ours(facts) or _says_its_revision(facts, scope)
        if is_ours or (may_stream and route_of(scope) in self._streams):
            await self.handle(scope, receive, send)
        elif may_stream:
            path = route_of(scope)
            with self._kept_alive(facts, send, lambda: path in self._streams) as answer:
                await StreamingRequest(self._node, self._streams, scope, receive, answer.send).serve(self._app)
        elif facts.session_id is None and not facts.modern and posts_json(scope):
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
        is_mcp = self._node.endpoint_of(scope) is not None
        with self._kept_alive(facts, send, lambda: is_mcp) as answer:
            request = GatheredRequest(self._node, facts, scope, receive, answer.send)
            await request.serve(lambda body: self._handle(here, scope, body, answer.send))

    async def handle_on_no_session(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that is the app's, whatever session it names."""
        await self._app(of_no_session(scope), receive, naming_no_session(send))

    def _kept_alive(self, facts: RequestFacts, send: Send, may_speak: Callable[[], bool] = lambda: True) -> KeptAlive:
        """The answer to a client, to be told comments where it is a stream that is silent."""
        has_body = facts.method in ("GET", "POST")
        return KeptAlive(send, self._node.settings.stream_comment_seconds if has_body else 0, may_speak)

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
            request.verify(facts, self._node.claims.accept)
        except SignatureError as error:
            logger.warning("refused a peer request: %s%s", error, advice_on(Reason.SIGNATURE))
            self._node.tally.refused[Reason.SIGNATURE] += 1
            await refuse(request.send, Reason.SIGNATURE)
            return
        self._node.tally.forwarded_in += 1
        forwarded = replace(self._read(request.scope), peer=None, forwarded=True)  # of what the client has sent
        try:
            moved = await self._handle(forwarded, request.scope, request.receive, request.send)
        except Exception:
            await request.send_failure()
            raise
        if moved is not None:
            self._node.tally.refused[Reason.MISROUTED] += 1
            await request.send_moved(moved.owner)
        await request.finish()
        await request.send_failure()

    def _handle(self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> Awaitable[Moved | None]:
        """Do what is decided; returns the one decision that a peer has to be told in its own way."""
        if facts.method == "POST" and _is_compressed(scope) and self._is_message(facts, scope):
            return self._handle_compressed(facts, scope, receive, send)
        return self._handle_readable(facts, scope, receive, send)

    async def _handle_compressed(self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> Moved | None:
        """A message whose headers say so. Something around Mooring may have unpacked it, and left them as they were: it
        goes on with right ones, so that nothing behind Mooring reads another message in it."""
        body = WantedBody(receive, self._node.settings.handle_search_bytes)
        await body.read()
        if body.whole is not None and jsonrpc.read_messages(body.whole):
            headers = replaced(
                without(scope["headers"], b"content-encoding"), b"content-length", b"%d" % len(body.whole)
            )
            return await self._handle_readable(facts, {**scope, "headers": headers}, body.receive, send)
        await self._refuse(Reason.COMPRESSED, facts, scope, body.receive, send)
        return None

    def _handle_readable(
        self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[Moved | None]:
        if facts.method == "POST" and facts.session_id is None and not facts.modern and _may_post_json(scope):
            return self._handle_without_session(facts, scope, receive, send)
        if facts.modern and facts.method == "POST":
            return self._call(facts, scope, receive, send)
        return self._decide(facts, scope, receive, send)

    def _call(self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> Awaitable[Moved | None]:
        """A call that goes where the handles in it lead."""
        request = ModernRequest(self._node, self._app, self._decisions, self._placements, facts, scope, receive, send)
        return request.serve()

    async def _handle_without_session(
        self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> Moved | None:
        """A POST of the legacy era without a session id: it opens a session, or the server has none and it is a call as
        in the modern era."""
        body = WantedBody(receive, self._node.settings.handle_search_bytes)
        await body.read()
        if _may_open(body):
            return await self._decide(facts, scope, body.receive, send)
        return await self._call(replace(facts, modern=True), scope, body.receive, send)

    async def _decide(self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> Moved | None:
        return await self._follow(await self._decisions.decide(facts), facts, scope, receive, send)

    async def _follow(
        self,
        decision: Decision,
        facts: RequestFacts,
        scope: Scope,
        receive: Receive,
        send: Send,
        give_up: float = math.inf,
    ) -> Moved | None:
        """
        Args:
            give_up: until when it may be held, where it was held before (`time.monotonic`).
        """
        if not isinstance(decision, Forward | Hold | Adopt):
            return await self._do(decision, facts, scope, receive, send, give_up)
        decide_anew = partial(self._decisions.decide_anew, facts)
        async with AttendedClient(receive) as client:
            followed = FollowedRequest(self._node, facts, scope, client, send, decide_anew)
            outcome = await followed.follow(decision, give_up)
            return None if outcome is None else await self._do(outcome, facts, scope, followed.receive, send, give_up)

    async def _do(
        self,
        decision: Decision,
        facts: RequestFacts,
        scope: Scope,
        receive: Receive,
        send: Send,
        give_up: float = math.inf,
    ) -> Moved | None:
        session = self._decisions.find(facts)
        match decision:
            case Serve():
                self._node.tally.served += 1
                if session is not None and not facts.modern:
                    return await self._serve_session(session, facts, scope, receive, send)
                await self._app(of_no_session(scope), receive, naming_no_session(send))
            case Open() if facts.method == "GET":
                self._node.tally.served += 1
                await StreamingRequest(self._node, self._streams, scope, receive, send).serve(self._open)
            case Open():
                self._node.tally.served += 1
                await self._open(scope, receive, send)
            case Refuse() if self._is_the_apps(facts, scope):
                await self._app(scope, receive, send)
            case Refuse(reason=reason):
                await self._refuse(reason, facts, scope, receive, send)
            case Revive(reason=reason):
                return await self._revive(reason, facts, scope, receive, send, give_up)
            case Moved():
                return decision
        return None

    async def _refuse(self, reason: Reason, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> None:
        await RefusedRequest(self._node, self._app, facts, scope, receive, send).refuse(reason)

    def _is_message(self, facts: RequestFacts, scope: Scope) -> bool:
        """Whether what is posted is MCP's: with a session's id an app may have something else beside its endpoints."""
        return self._node.endpoint_of(scope) is not None or facts.in_query or facts.session_id is None

    async def _revive(
        self, reason: Reason, facts: RequestFacts, scope: Scope, receive: Receive, send: Send, give_up: float
    ) -> Moved | None:
        """Open the session again, unless its client only wants to end it."""
        give_up = min(give_up, time.monotonic() + self._node.settings.hold_seconds)
        session_id = facts.session_id or ""
        outcome: LocalSession | Reason | Consult | None = reason
        endpoint = self._node.endpoint_of(scope)
        if facts.method == "DELETE" and endpoint is not None and is_at(scope, endpoint):
            refused = partial(self._do, Refuse(reason), facts, scope, receive, send)
            outcome = await self._revivals.unless_revived(session_id, refused)
        elif not facts.in_query:
            with self._node.arrivals.one_in(self._node.ids.shard_of(session_id)):
                outcome = await self._revivals.revive(session_id, scope, send, reason)
        if isinstance(outcome, LocalSession):
            self._node.tally.served += 1
            return await self._serve_session(outcome, facts, scope, receive, send)
        if isinstance(outcome, Consult):
            return await self._decide_again(facts, scope, receive, send, give_up)
        if outcome is not None:
            await self._do(Refuse(outcome), facts, scope, receive, send)
        return None

    async def _decide_again(
        self, facts: RequestFacts, scope: Scope, receive: Receive, send: Send, give_up: float
    ) -> Moved | None:
        """Its session is another node's by now, or nobody's, or the lease here was over for a moment."""
        decision = await self._decisions.decide_again(facts, give_up)
        return await self._follow(decision, facts, scope, receive, send, give_up)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        await OpeningRequest(self._node, self._app, scope, receive, send).serve()

    async def _serve_session(
        self, session: LocalSession, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> Moved | None:
        endpoint = self._node.endpoint_of(scope)
        if session.is_in_query and facts.in_query:
            await PostedRequest(self._node, session, facts, scope, receive, send).serve(self._app)
        elif facts.in_query and endpoint is not None:  # of a session that has its id in a header: it names none
            await self._open(scope, receive, send)
        elif endpoint is None:  # something of the app's own, beside its endpoints
            await self._app(scope, receive, send)
        elif endpoint == session.endpoint:
            return await self._serve_in(session, facts, scope, receive, send)
        else:
            await refuse_elsewhere(self._node, send, session.id, session.endpoint, endpoint)
        return None

    async def _serve_in(
        self, session: LocalSession, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> Moved | None:
        """Where the app turns out to have dropped the session, it is opened again, and the request goes to it anew."""
        if self._is_listening(session, facts, scope):
            if await ListeningRequest(self._node, session, scope, receive, send).serve(self._app):
                return None
            body = receive
        else:
            request = SessionRequest(self._node, session, facts, scope, receive, send)
            if await request.serve(self._app):
                return None
            body, scope = request.from_start(), request.as_it_came
        give_up = time.monotonic() + self._node.settings.hold_seconds
        with self._node.arrivals.one_in(session.shard):
            outcome = await self._revivals.revive(session.id, scope, send, Reason.EXPIRED)
        if isinstance(outcome, LocalSession):
            if self._is_listening(outcome, facts, scope):  # what it hears is remembered in this life as well
                listening = ListeningRequest(self._node, outcome, scope, receive, send)
                if await listening.serve(self._app):
                    return None
            await SessionRequest(self._node, outcome, facts, scope, body, send, is_last=True).serve(self._app)
        elif isinstance(outcome, Consult):
            return await self._decide_again(facts, scope, body, send, give_up)
        elif outcome is not None:
            await self._do(Refuse(outcome), facts, scope, body, send)
        return None

    def _is_listening(self, session: LocalSession, facts: RequestFacts, scope: Scope) -> bool:
        return (
            facts.method == "GET"
            and self._node.settings.stream_logs
            and is_at(scope, session.endpoint)
            and _accepts_events(request_header(scope["headers"], b"accept") or b"")
        )

    def _is_the_apps(self, facts: RequestFacts, scope: Scope) -> bool:
        """Whether the app says what becomes of a request that we cannot serve: it is on no endpoint that we know."""
        return self._node.endpoint_of(scope) is None and not facts.in_query and route_of(scope) not in self._streams


def _may_open(body: WantedBody) -> bool:
    """Whether a session may come of it: of one that is too large to be read, as far as its beginning tells."""
    if body.is_too_large:
        return _INITIALIZES.search(body.beginning) is not None
    methods = {jsonrpc.text_in(message, "method") for message in jsonrpc.read_messages(body.whole or b"")}
    return "initialize" in methods or not any(methods)


def _is_compressed(scope: Scope) -> bool:
    """Whether nobody here can read what it names. Next to no client compresses anything, so this is a quick look."""
    headers = scope["headers"]
    return request_header(headers, b"content-encoding") is not None and is_compressed(headers)


def _says_its_revision(facts: RequestFacts, scope: Scope) -> bool:
    """Whether it is a message on no session with the header that each has since revision 2025-06-18, once its client is
    through with `initialize`."""
    is_on_none = facts.modern or facts.session_id is None
    return is_on_none and posts_json(scope) and request_header(scope["headers"], VERSION_HEADER) is not None


def _accepts_events(accept: bytes) -> bool:
    """Whether an event stream is among what a client takes, by name or by a wildcard (RFC 9110, section 12.5.1)."""
    kinds = (part.partition(b";")[0].strip().lower() for part in accept[:_ACCEPT_BYTES].split(b","))
    return any(kind in (EVENT_STREAM, b"text/*", b"*/*") for kind in kinds)


def _may_post_json(scope: Scope) -> bool:
    """Whether it may be a message. Anything else is the app's own, and is not held until it is whole."""
    kind = media_type(scope["headers"])
    return not kind or b"json" in kind
