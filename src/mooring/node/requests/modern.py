"""A POST of the modern era (revision 2026-07-28), which has no session: it goes where the handles in it lead. So does
a call of the legacy era on a server that has none.

    it names                                    so
    ------------------------------------------  ----------------------------------------------------------------------
    no handle                                   it is served here, or where its key is (`mooring.node.requests.placing`)
    a handle                                    it goes to the node that holds it (`mooring.core.routing`)
    several, of one node                        the same
    several, of several nodes                   it goes to the first one's, or is refused (`mixed_handles`)
    more than a hundred                         refused: nobody looks at the rest, which may be anybody's
    one that this cluster did not make          refused, without a question to the store
    one of another principal                    refused as if it never was; the app has read nothing of it
    one that is gone with its node, or ended    refused, as its author would
    one of a dead node that survives            served by the node that took its shard over

A body is held until it is whole, to look for handles, up to `handle_search_bytes`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

from mooring.asgi import App, Receive, Scope, Send, request_header, without
from mooring.core import jsonrpc
from mooring.core.handle_search import (
    MOST_HANDLES,
    in_body,
    in_headers,
    may_hold_handles,
)
from mooring.core.handles import Handle, brief
from mooring.core.request import RequestFacts
from mooring.core.routing import Adopt, Decision, Forward, Hold, Moved, Reason, Refuse, Revive, Serve
from mooring.errors import StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.answers import advice_on, refuse
from mooring.node.requests.attending import AttendedClient
from mooring.node.requests.bodies import WantedBody
from mooring.node.requests.deciding import Decisions
from mooring.node.requests.following import FollowedRequest
from mooring.node.requests.handle_answers import can_be_said, refuse_handle
from mooring.node.requests.identifying import UnidentifiedRequest
from mooring.node.requests.kept_handles import bring_kept, load_kept
from mooring.node.requests.modern_call import METHOD_HEADER, NONE, ModernCall
from mooring.node.requests.no_session import of_no_session
from mooring.node.requests.placing import Placements
from mooring.node.requests.refusing import id_of_refused
from mooring.node.requests.subscription import METHOD as LISTEN
from mooring.node.requests.subscription import Subscription

logger = logging.getLogger("mooring.handles")

_OF_ITS_OWN: Final = frozenset(
    {Reason.EXPIRED, Reason.UNKNOWN, Reason.MIXED, Reason.UNREACHABLE, Reason.OUTCOME_UNKNOWN}
)
"""What tells that a handle is one, or was."""
_ELSEWHERE: Final = (Forward, Hold, Adopt)


class ModernRequest:
    """One such request."""

    def __init__(
        self,
        node: Node,
        app: App,
        decisions: Decisions,
        placements: Placements,
        facts: RequestFacts,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._node = node
        self._app = app
        self._decisions = decisions
        self._placements = placements
        self._facts = facts
        self._scope = scope
        self._body = WantedBody(receive, node.settings.handle_search_bytes)
        self._hear = self._body.receive
        self._send = send
        # Where it is a stream of changes, which has no end of its own.
        self._stream: Subscription | None = None
        # Those that it names, in its order; and whether its body was searched for them.
        self._handles: list[Handle] = []
        self._is_searched = False
        # Of one that is too large to be read, once it is refused.
        self._large_id: jsonrpc.RequestId | None = None
        # Those of which it can hear nothing: it is not brought there, and they are somebody's all the same.
        self._unheard: list[Handle] = []

    async def serve(self) -> Moved | None:
        """Have it answered; returns the one decision that a peer has to be told in its own way."""
        await self._body.read()
        if request_header(self._scope["headers"], METHOD_HEADER) == LISTEN:
            request_id = self.asked()
            if request_id is not None and not isinstance(request_id, tuple):
                return await self._serve_listener(request_id)
        with self._node.open_calls.call():
            return await self._route()

    async def _serve_listener(self, request_id: jsonrpc.RequestId) -> Moved | None:
        """A request for a stream of changes."""
        self._stream = stream = Subscription(request_id, self._body.receive, self._send)
        self._hear, self._send = stream.receive, stream.send
        # What is compressed cannot be ended.
        self._scope = {**self._scope, "headers": without(self._scope["headers"], b"accept-encoding")}
        with self._node.open_calls.subscription(stream.end):
            return await self._route()

    def _route(self) -> Awaitable[Moved | None]:
        named = self._find()
        if named and self._stream is not None:
            return self._bring_listener(named)
        return self._bring(named) if named else self._place()

    async def _bring_listener(self, named: list[str]) -> Moved | None:
        """It goes where something can be heard. A client that listens for several resources, again and again, is not
        refused for one that is gone."""
        if len(named) > MOST_HANDLES:
            return await self._bring(named)
        known = [handle for handle in map(self._node.handles.read, named) if handle is not None]
        if not all(map(self._is_found, known)):
            await self._node.keeper.look()  # of what a node has that has just joined, nothing was heard yet
        there = [handle for handle in known if self._can_be_heard(handle)]
        self._unheard = [handle for handle in known if handle not in there]
        return await (self._bring([handle.text for handle in there]) if there else self._place())

    async def _bring(self, named: list[str]) -> Moved | None:
        """
        Args:
            named: what it has for handles.
        """
        if len(named) > MOST_HANDLES:
            logger.warning("a call names more than %d handles; some may be another's, so it is refused", MOST_HANDLES)
            self._facts = self._facts.naming(named[MOST_HANDLES])
            await self._refuse(Reason.MIXED)
            return None
        known = [self._node.handles.read(text) for text in named]
        self._handles = [handle for handle in known if handle is not None]
        forged = next((text for text, handle in zip(named, known, strict=True) if handle is None), None)
        self._facts = self._facts.naming(named[0] if forged is None else forged)
        if forged is None and self._are_apart() and self._node.settings.mixed_handles == "refuse":
            await self._refuse(Reason.MIXED)
            return None
        return await self._follow(await self._decisions.decide(self._facts))

    async def _place(self) -> Moved | None:
        """It names no handle. One that a peer placed is not placed again."""
        key = "" if self._facts.forwarded else self._placements.key_in(self._scope, self._body.whole)
        if key:
            shard = await self._placements.shard_of(key, self._scope, self._send)
            if shard is None:
                return None
            self._facts = replace(self._facts, placed_on=shard or None)
        elif self._decisions.is_served_anywhere(self._facts):
            await self._serve(self._hear)
            return None
        return await self._follow(await self._decisions.decide(self._facts))

    def _find(self) -> list[str]:
        """What is meant for a handle, in its order; what this cluster did not make is among it."""
        found = in_headers(self._scope["headers"])
        body = self._body.whole
        if body is None:
            if self._body.is_too_large:
                self._node.log_once.large_body()
        elif may_hold_handles(body):
            inside = [name for rule in self._node.wrap_rules for name in rule.use]
            inside_of_it = in_body(body, inside, self._node.wrapped_parameters, everywhere=True)
            self._is_searched = inside_of_it is not None
            found += inside_of_it or ()
        else:
            self._is_searched = True
        return list(dict.fromkeys(found))

    def _can_be_heard(self, handle: Handle) -> bool:
        """Whether anything can be heard of it, as far as is known."""
        return self._node.holds(handle) or (self._node.knows_elsewhere(handle) and not self._facts.forwarded)

    def _is_found(self, handle: Handle) -> bool:
        return self._node.holds(handle) or self._node.knows_elsewhere(handle)

    def _are_apart(self) -> bool:
        """Whether several nodes hold them."""
        shards = {handle.shard for handle in self._handles}
        if len(shards) < 2:
            return False
        view = self._node.membership.view
        owners = {owner.node_id if (owner := view.owner_of(shard)) else shard for shard in shards}
        if len(owners) > 1:
            logger.warning(
                "a call names handles of %d nodes: %s; it goes to the first one's, where the others are unknown "
                "(mixed_handles)",
                len(owners),
                ", ".join(brief(handle.text) for handle in self._handles),
            )
        return len(owners) > 1

    async def _follow(
        self, decision: Decision, receive: Receive | None = None, give_up: float = math.inf
    ) -> Moved | None:
        """
        Args:
            receive: the request from its beginning, where it was held before, and
            give_up: until when it may be (`time.monotonic`).
        """
        receive = receive or self._hear
        if not isinstance(decision, _ELSEWHERE):
            return await self._do(decision, receive, give_up)
        async with AttendedClient(receive) as client:
            followed = FollowedRequest(
                self._node,
                self._facts,
                self._scope,
                client,
                self._send,
                lambda: self._decisions.decide_anew(self._facts),
                remembered_bytes=self._node.settings.handle_search_bytes,
            )
            outcome = await followed.follow(decision, give_up)
            return None if outcome is None else await self._do(outcome, followed.receive, give_up)

    async def _do(self, decision: Decision, receive: Receive, give_up: float) -> Moved | None:
        match decision:
            case Serve() if not self._handles and self._facts.placed_on is None:
                await self._serve(receive)
            case Serve():
                with self._staying():
                    await self._serve(receive)
            case Revive(reason=reason):
                return await self._revive(reason, receive, give_up)
            case Refuse(reason=reason):
                await self._find_id(receive)
                await self._refuse(reason)
            case Moved():
                return decision
        return None

    def _staying(self) -> AbstractContextManager[None]:
        """The shards of what it names stay here while it runs, as far as they are here."""
        if self._stream is not None:  # it would stay for ever
            return self._node.arrivals.one_in()
        return self._node.arrivals.one_in(
            *{handle.shard for handle in self._handles} | {self._facts.placed_on} - {None}
        )

    async def _serve(self, receive: Receive, revived: Mapping[Handle, LocalSession | None] = NONE) -> None:
        if len(self._handles) > 1:
            try:
                revived = {**await bring_kept(self._node, self._handles[1:]), **revived}
            except StoreUnavailable:
                await self._refuse(Reason.UNREACHABLE)
                return
        call = ModernCall(
            self._node,
            self._app,
            self._scope,
            self._body.whole,
            self,
            self._handles,
            stream=self._stream,
            unheard=self._unheard,
            is_searched=self._is_searched,
        )
        anothers = await call.serve(receive, self._send, revived)
        if anothers is not None:
            await self._say(Reason.PRINCIPAL, anothers.text)

    async def _revive(self, reason: Reason, receive: Receive, give_up: float) -> Moved | None:
        """What the handle stood for is not here. It goes on where something is kept of it, by us or its author.

        Where the store is away for a moment, or the shard is another node's by now, it is decided again.
        """
        give_up = min(give_up, time.monotonic() + self._node.settings.hold_seconds)
        decision: Decision = Revive(reason)
        while isinstance(decision, Revive):
            if await self._is_answered_here(decision.reason, receive):
                return None
            decision = await self._decisions.decide_again(self._facts, give_up)
        return await self._follow(decision, receive, give_up)

    async def _is_answered_here(self, reason: Reason, receive: Receive) -> bool:
        """Served with what is kept, or refused for this reason; False where nobody knows yet which."""
        with self._staying():
            try:
                revived = await self._bring_first()
                if revived is None and self._listens_to_others():
                    return False
                if revived is None:
                    await self._refuse(reason)
                    return True
                is_ours = await self._node.keeper.adoption.hold(self._node.shard_of(self._facts) or "", 1)
            except StoreUnavailable:
                return False
            if is_ours:
                await self._serve(receive, revived)
            return bool(is_ours)

    def _listens_to_others(self) -> bool:
        """Whether it is a stream of changes, of other handles too: of the one that is gone it hears nothing."""
        if self._stream is None or len(self._handles) < 2:
            return False
        self._unheard.append(self._handles.pop(0))
        self._facts = self._facts.naming(self._handles[0].text)
        return True

    async def _bring_first(self) -> dict[Handle, LocalSession | None] | None:
        """The handle by which the call came here, with what is kept of it; None where it is gone.

        Raises:
            StoreUnavailable: nobody knows.
        """
        found: dict[Handle, LocalSession | None] = {}
        for handle in self._handles[:1]:
            kept = None if handle.is_wrapped else await load_kept(self._node, handle)
            if kept is None and not handle.survives:
                return None
            found[handle] = kept
        return found

    async def _find_id(self, receive: Receive) -> None:
        """Of one that was too large to be read: its client waits for an answer to this very request."""
        if self._body.is_too_large:
            self._large_id = await id_of_refused(receive)

    async def _refuse(self, reason: Reason) -> None:
        """Answer it. What is to be said of a handle that this cluster made is for its principal alone."""
        text = self._facts.handle
        if text is None or not can_be_said(reason):
            self._count(reason)
            await refuse(self._send, reason, method=self._facts.method, request_id=self.asked())
            return
        owned = [handle for handle in self._handles if handle.is_owned] if reason in _OF_ITS_OWN else []
        if owned:
            asked = UnidentifiedRequest(of_no_session(self._scope), self._send, None)
            principal = await asked.find_out(self._app)
            if principal is None:
                return
            anothers = next((one for one in owned if not self._node.handles.may_use(one, principal)), None)
            if anothers is not None:
                reason, text = Reason.PRINCIPAL, anothers.text
        await self._say(reason, text)

    async def _say(self, reason: Reason, text: str) -> None:
        self._count(reason)
        handle = self._node.handles.read(text)
        logger.warning("refused a call with %s: %s", "a handle" if handle is None else brief(text), reason)
        await refuse_handle(self._send, self._scope, reason, self.message(), text, asked=self.asked())

    def _count(self, reason: Reason) -> None:
        self._node.tally.refused[reason] += 1
        if not can_be_said(reason):
            logger.warning("refused a modern request: %s%s", reason, advice_on(reason))

    def message(self) -> jsonrpc.Message:
        """The request, its id alone where it is too large and that could be found; empty where it is none."""
        if self._body.whole is not None:
            return jsonrpc.read_message(self._body.whole) or {}
        if self._large_id is None:
            request_id = jsonrpc.id_at_either_end(self._body.head, b"")
            return {} if request_id is None else {"id": request_id}
        method = request_header(self._scope["headers"], METHOD_HEADER) or b""
        return {"id": self._large_id, "method": method.decode("latin-1")}

    def asked(self) -> jsonrpc.Asked:
        """Its id, or those of a batch."""
        message = self.message()
        return jsonrpc.id_of(message) if message else jsonrpc.asked_in(self._body.whole or b"")
