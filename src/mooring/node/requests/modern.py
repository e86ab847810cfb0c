"""A POST of the modern era (revision 2026-07-28), which has no session: it goes where the handles in it lead.

    it names                                    so
    ------------------------------------------  ----------------------------------------------------------------------
    no handle                                   it is served here, or where its key is (`mooring.node.requests.placing`)
    a handle                                    it goes to the node that holds it (`mooring.core.routing`)
    several, of one node                        the same
    several, of several nodes                   it goes to the first one's, or is refused (`mixed_handles`)
    one that this cluster did not make          refused, without a question to the store
    one of another principal                    refused as if it never was; the app has read nothing of it
    one that is gone with its node, or ended    refused, as its author would
    one of a dead node that survives            served by the node that took its shard over

A body is held until it is whole, to look for handles, up to `handle_search_bytes`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from mooring.asgi import App, Message, Receive, Scope, Send, header
from mooring.core import jsonrpc
from mooring.core.handle_search import (
    NAME_HEADER,
    decoded,
    in_body,
    in_headers,
    may_hold_handles,
    unwrapped_headers,
)
from mooring.core.handles import Handle, brief
from mooring.core.marking import Marking
from mooring.core.request import RequestFacts
from mooring.core.routing import Adopt, Decision, Forward, Hold, Moved, Reason, Refuse, Revive, Serve
from mooring.core.wrapping import Wrapping, unwrapped
from mooring.errors import StoreUnavailable
from mooring.node.current import serving
from mooring.node.node import Node
from mooring.node.requests.answers import advice_on, refuse
from mooring.node.requests.attending import AttendedClient
from mooring.node.requests.bodies import WantedBody, in_place_of
from mooring.node.requests.deciding import Decisions
from mooring.node.requests.following import FollowedRequest
from mooring.node.requests.handle_answers import can_be_said, refuse_handle
from mooring.node.requests.identifying import UnidentifiedRequest
from mooring.node.requests.no_session import naming_no_session, of_no_session
from mooring.node.requests.placing import Placements
from mooring.node.requests.principal import principal_of
from mooring.node.requests.subscription import METHOD as LISTEN
from mooring.node.requests.subscription import Subscription
from mooring.node.requests.wrapped_answer import WrappedAnswer

logger = logging.getLogger("mooring.handles")

METHOD_HEADER: Final = b"mcp-method"

_DISCONNECT: Message = {"type": "http.disconnect"}


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
        # It is a stream of changes, which has no end of its own.
        self._listens = False
        # Those that it names, in its order.
        self._handles: list[Handle] = []

    async def serve(self) -> Moved | None:
        """Have it answered; returns the one decision that a peer has to be told in its own way."""
        await self._body.read()
        request_id = self._listener_id()
        if request_id is None:
            with self._node.open_calls.call():
                return await self._route()
        self._listens = True
        stream = Subscription(request_id, self._body.receive, self._send)
        self._hear, self._send = stream.receive, stream.send
        with self._node.open_calls.subscription(stream.end):
            return await self._route()

    def _listener_id(self) -> jsonrpc.RequestId | None:
        """The id of a request for a stream of changes; None of any other request."""
        return self._request_id() if header(self._scope["headers"], METHOD_HEADER) == LISTEN else None

    async def _route(self) -> Moved | None:
        named = self._find()
        if not named:
            return await self._place()
        known = [self._node.handles.read(text) for text in named]
        self._handles = [handle for handle in known if handle is not None]
        forged = next((text for text, handle in zip(named, known, strict=True) if handle is None), None)
        self._facts = replace(self._facts, handle=named[0] if forged is None else forged)
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
        return await self._follow(await self._decisions.decide(self._facts))

    def _find(self) -> list[str]:
        """What is meant for a handle, in its order; what this cluster did not make is among it."""
        found = in_headers(self._scope["headers"])
        body = self._body.whole
        if body is None:
            if self._body.is_too_large:
                self._node.warn_of_large_body()
        elif may_hold_handles(body, thoroughly=self._node.sessions.handles.owned > 0):
            inside = [name for rule in self._node.wrap_rules for name in rule.use]
            found += in_body(body, inside, self._node.wrapped_members)
        return list(dict.fromkeys(found))

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

    async def _follow(self, decision: Decision) -> Moved | None:
        if not isinstance(decision, Forward | Hold | Adopt):
            return await self._do(decision, self._hear)
        async with AttendedClient(self._hear) as client:
            followed = FollowedRequest(
                self._node,
                self._facts,
                self._scope,
                client,
                self._send,
                lambda: self._decisions.decide_anew(self._facts),
                remembered_bytes=self._node.settings.handle_search_bytes,
            )
            outcome = await followed.follow(decision)
            return None if outcome is None else await self._do(outcome, followed.receive)

    async def _do(self, decision: Decision, receive: Receive) -> Moved | None:
        match decision:
            case Serve():
                with self._staying():
                    await self._serve(receive)
            case Revive(reason=reason):
                with self._staying():
                    await self._revive(reason, receive)
            case Refuse(reason=reason):
                await self._refuse(reason)
            case Moved():
                return decision
        return None

    @contextmanager
    def _staying(self) -> Iterator[None]:
        """The shards of what it names stay here while it runs, as far as they are here."""
        shards = {handle.shard for handle in self._handles} | {self._facts.placed_on} - {None}
        if self._listens:  # it would stay for ever
            shards = set()
        with ExitStack() as stack:
            for shard in shards:
                stack.enter_context(self._node.arriving(shard))
            yield

    async def _serve(self, receive: Receive, revived: Handle | None = None) -> None:
        """
        Args:
            revived: what it stands for is here from this call on, if whoever asks may use it.
        """
        self._node.tally.served += 1
        scope = {**of_no_session(self._scope)}
        own_ids = {one.text: one.own_id for one in self._handles if one.is_wrapped and self._node.holds(one)}
        if own_ids and self._body.whole is not None:
            body = unwrapped(self._body.whole, own_ids)
            scope["headers"] = unwrapped_headers(scope["headers"], own_ids, len(body))
            receive = in_place_of(receive, body)
        send = naming_no_session(self._send)
        fields = self._wrapped_fields()
        if fields or own_ids or self._node.wrapped_members:
            send = WrappedAnswer(lambda: self._wrapping(scope, fields, own_ids), send).send
        if self._node.settings.mark_handle_params and header(scope["headers"], METHOD_HEADER) == b"tools/list":
            send = WrappedAnswer(lambda: Marking(self._node.settings.handle_names), send).send
        owned = [
            handle for handle in self._handles if handle.is_owned and (self._node.holds(handle) or handle is revived)
        ]
        with ExitStack() as stack:

            def let_in(principal: str) -> None:
                handles = self._node.sessions.handles
                if revived is not None:
                    handles.add(revived, principal)
                if self._handles:
                    stack.enter_context(handles.using([handle.text for handle in self._handles]))

            stack.enter_context(serving(self._node, scope))
            if not owned:
                let_in("")
                await self._app(scope, receive, send)
                return
            guarded = GuardedCall(self._node, owned, scope, receive, send, let_in)
            await guarded.serve(self._app)
        if guarded.refused is not None:
            await self._say(Reason.PRINCIPAL, guarded.refused.text)

    def _wrapped_fields(self) -> tuple[str, ...]:
        """Where the result of this call has ids of the server's own."""
        if not self._node.wrap_rules:
            return ()
        named = header(self._scope["headers"], NAME_HEADER)
        tool = decoded(named) if named is not None else jsonrpc.text_in(self._message(), "params", "name")
        return tuple(rule.field for rule in self._node.wrap_rules if rule.mint == tool)

    def _wrapping(self, scope: Scope, fields: tuple[str, ...], own_ids: Mapping[str, str]) -> Wrapping:
        """What becomes of the answer, once the app has named the user in the scope."""
        shard = next((one.shard for one in self._handles if one.text in own_ids), None) or self._node.next_shard()
        principal = principal_of(scope)
        return Wrapping(
            lambda own_id: self._node.handles.wrap(shard, own_id, principal),
            fields,
            {own_id: handle for handle, own_id in own_ids.items()},
            self._node.wrapped_members,
        )

    async def _revive(self, reason: Reason, receive: Receive) -> None:
        """What the handle stood for is not here. Its author has it, where it survives; else it is gone."""
        handle = self._handles[0] if self._handles else None
        if handle is not None and not handle.survives:
            await self._refuse(reason)
            return
        try:
            epoch = await self._node.keeper.adoption.hold(self._node.shard_of(self._facts) or "", 1)
        except StoreUnavailable:
            epoch = 0
        if epoch:
            await self._serve(receive, revived=handle)
        else:
            await self._refuse(Reason.UNREACHABLE)

    async def _refuse(self, reason: Reason) -> None:
        """Answer it. That a handle is gone is for its principal alone."""
        text = self._facts.handle
        if text is None or not can_be_said(reason):
            self._count(reason)
            await refuse(self._send, reason, method=self._facts.method, request_id=self._request_id())
            return
        handle = self._node.handles.read(text)
        if handle is not None and handle.is_owned and reason in (Reason.EXPIRED, Reason.UNKNOWN):
            asked = UnidentifiedRequest(of_no_session(self._scope), self._send, "")
            principal = await asked.find_out(self._app)
            if principal is None:
                return
            if not self._node.handles.may_use(handle, principal):
                reason = Reason.PRINCIPAL
        await self._say(reason, text)

    async def _say(self, reason: Reason, text: str) -> None:
        self._count(reason)
        handle = self._node.handles.read(text)
        logger.warning("refused a call with %s: %s", "a handle" if handle is None else brief(text), reason)
        await refuse_handle(self._send, reason, self._message(), text)

    def _count(self, reason: Reason) -> None:
        self._node.tally.refused[reason] += 1
        if not can_be_said(reason):
            logger.warning("refused a modern request: %s%s", reason, advice_on(reason))

    def _message(self) -> jsonrpc.Message | None:
        return None if self._body.whole is None else jsonrpc.read_message(self._body.whole)

    def _request_id(self) -> jsonrpc.RequestId | None:
        message = self._message()
        return None if message is None else jsonrpc.id_of(message)


class GuardedCall:
    """A call with handles that are somebody's: the app gets no byte of its body before it has said who asks.

    Attributes:
        refused: the handle that is another's; the app has answered nothing then that its client has heard.

    Args:
        let_in: told whose call it is, once all of them are theirs, before the app has a byte of it.
    """

    def __init__(
        self,
        node: Node,
        handles: list[Handle],
        scope: Scope,
        receive: Receive,
        send: Send,
        let_in: Callable[[str], None],
    ) -> None:
        self._node = node
        self._let_in = let_in
        self._handles = handles
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_let_in = False
        self._has_begun = False
        self.refused: Handle | None = None

    async def serve(self, app: App) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            if self.refused is None:
                raise

    async def receive(self) -> Message:
        if not self._is_let_in and not self._has_begun:
            principal = principal_of(self._scope)
            self.refused = next((one for one in self._handles if not self._node.handles.may_use(one, principal)), None)
            self._is_let_in = self.refused is None
            if self._is_let_in:
                self._let_in(principal)
        return await self._receive() if self._is_let_in else _DISCONNECT

    async def send(self, message: Message) -> None:
        if self.refused is None:
            self._has_begun = True
            await self._send(message)
