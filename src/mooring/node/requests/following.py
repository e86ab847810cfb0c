"""A request on its way to the node that owns its session, or has room for a new one.

It is held while nobody owns the session, and tried again while its owner is silent:

    what came of one try                  and then
    ------------------------------------  ---------------------------------------------------------
    answered                              it is done
    the peer says who owns the session    it goes there, as a new request
    silence; it was not carried out       a new session opens here, if this node takes any, or at last; what any node
                                          may take goes to another one that does, or a call is served here; all else
                                          goes out again, as it does where it is bound to that node
    silence; nobody knows                 it goes out again to that peer alone, as the same request, as long as
                                          the peer is sure to know it again (`peer_age_seconds`); but `initialize` is
                                          as one that was not carried out: nobody knows of its session
    the peer has had this very request    refuse: nobody knows what became of it
    silence; nobody knows; and then the   what changes nothing is carried out by the new owner; what is on record goes
    peer is dead                          to it, which decides (`mooring.node.requests.json_calls`); of anything else it
                                          is answered that its outcome is unknown
    the client left                       it is let go, and so is the connection to the peer, whose app
                                          sees its client leave
    this node ends, and waits no longer   as `mooring.node.requests.passage` says
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from mooring.asgi import Scope, Send, request_header
from mooring.core import jsonrpc
from mooring.core.model import NodeInfo, ShardOwner
from mooring.core.request import RequestFacts
from mooring.core.routing import OPEN, SERVE, Adopt, Decision, Forward, Hold, Reason, Refuse
from mooring.core.stream_ids import StreamKind, kind_of
from mooring.errors import PeerError, PeerMoved, PeerSilent, StoreUnavailable
from mooring.node.links.peer_link import PassedRequest
from mooring.node.node import Node
from mooring.node.requests.answers import last_words
from mooring.node.requests.attending import AttendedClient
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.json_calls import is_on_record
from mooring.node.requests.passage import Passage
from mooring.node.requests.patience import patiently
from mooring.node.requests.principal import USER

logger = logging.getLogger("mooring.routing")

_REMEMBERED_BYTES: Final = 1024 * 1024
"""Of a body: enough to read a request's id from, to open its session here after all, and to send nearly all again."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How a request goes out to its owner.

    Attributes:
        nonce: the owner's name for this very request.
        sent_to: the node that it may have reached. It goes out again to that one alone, under the same nonce, by which
            the node knows it: so it is never carried out twice.
        is_over: it does not go out again: that node has had it before, and nobody knows what became of it; or it may go
            to none.
        is_first: nothing was tried before.
        sent_at: when it went out to that node first (`time.monotonic`).
    """

    nonce: str
    sent_to: str | None = None
    is_over: bool = False
    is_first: bool = False
    sent_at: float = math.inf

    def may_go_to(self, peer: NodeInfo) -> bool:
        return self.sent_to in (None, peer.id)


class FollowedRequest:
    """One such request.

    Args:
        decide_anew: what to do with it by the store's view of this moment.
        is_bound: it belongs on that node, though it is on no session.
        remembered_bytes: a larger body is not sent a second time.

    Attributes:
        receive: the request from its beginning, for whoever serves or refuses it after all.
    """

    def __init__(
        self,
        node: Node,
        facts: RequestFacts,
        scope: Scope,
        client: AttendedClient,
        send: Send,
        decide_anew: Callable[[], Awaitable[Decision]],
        *,
        is_bound: bool = False,
        remembered_bytes: int = _REMEMBERED_BYTES,
    ) -> None:
        self._node = node
        self._facts = facts
        self._scope = scope
        self._client = client
        self._remembered_bytes = remembered_bytes
        self._body = RememberedBody(client.receive, remembered_bytes)
        self._passage = Passage(node, facts, client, send)
        self._decide_anew = decide_anew
        self._is_bound = is_bound
        self.receive = self._body.from_start()
        # Whether it counts among those that the node holds.
        self._is_held = False
        # The peers that were silent.
        self._silent: set[str] = set()

    async def follow(self, decision: Forward | Hold | Adopt, give_up: float = math.inf) -> Decision | None:
        """Bring it to whoever owns it; None once it was answered or its client has left, else what to do with it here.

        A silent owner is asked again for as long as its lease lives and the request may be held.

        Args:
            give_up: until when it may be, where it was held before (`time.monotonic`).
        """
        try:
            return await self._follow(decision, min(give_up, self._held_until()))
        except asyncio.CancelledError:
            if not self._passage.is_left_to_us:
                raise
            # Its server makes a 500 of what is raised, or breaks off, over which some clients end altogether.
            if not self._passage.has_answer:
                return Refuse(Reason.UNREACHABLE)
            if not await self._passage.end():
                raise
            return None
        finally:
            self._passage.close()
            self._node.held -= self._is_held

    async def _follow(self, decision: Forward | Hold | Adopt, give_up: float) -> Decision | None:
        pause = _FIRST_PAUSE_SECONDS
        attempt = _Attempt(_fresh_nonce(), is_first=True)
        now: Decision = await self._decide_anew() if self._goes_out_once(decision) else decision
        while isinstance(now, Forward | Hold | Adopt):
            if isinstance(now, Adopt):
                with suppress(StoreUnavailable):
                    await self._node.keeper.adoption.adopt(now.shard, now.owner)
            elif isinstance(now, Forward) and attempt.may_go_to(now.node) and self._is_forgotten(attempt):
                pass  # that node would carry it out a second time: it is held, for it may be dead
            elif isinstance(now, Forward) and attempt.may_go_to(now.node):
                last, attempt = attempt, await self._try(attempt, now.node)
                if attempt is last:
                    return None
                may_have_run = last.sent_to is None and attempt.sent_to is not None
                if may_have_run or not self._node.membership.view.is_alive(now.node.id):
                    give_up = self._held_until()  # it ran, or waited there, until now: it is held from here
                if self._may_open_here(attempt) and self._node.takes_new_sessions:
                    return OPEN  # a new session may as well begin here
                is_last = attempt.is_over or self._another_taker() is None
                if self._facts.modern and is_last and self._may_be_taken_here(attempt):
                    return SERVE
            elif isinstance(now, Forward):  # its first owner is gone
                if not await self._may_go_on():
                    return Refuse(Reason.OUTCOME_UNKNOWN)
                attempt = _Attempt(_fresh_nonce())
                continue
            if attempt.is_over or self._body.is_lost or time.monotonic() + pause > give_up or not self._may_be_held():
                return OPEN if self._may_open_here(attempt) else Refuse(Reason.UNREACHABLE)
            if await self._client.leaves_within(pause):
                return None
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            now = self._spared(await self._decide_anew(), attempt)
            if attempt.sent_to is not None and not isinstance(now, Forward | Hold | Adopt | Refuse):
                if not await self._may_go_on():
                    return Refuse(Reason.OUTCOME_UNKNOWN)
                attempt = _Attempt(_fresh_nonce())
                now = await self._decide_anew()  # while that was asked, its session may have moved
        return now

    def _goes_out_once(self, decision: Decision) -> bool:
        """Whether it cannot be sent again, to where its session went a moment ago: that is asked for before."""
        length = request_header(self._scope["headers"], b"content-length") or b""
        is_large = length.isdigit() and int(length[:20]) > self._remembered_bytes
        return is_large and isinstance(decision, Forward)

    def _is_forgotten(self, attempt: _Attempt) -> bool:
        """Whether the node that may have had it may not know it again by now, or not when it arrives there.

        It remembers one for twice this time (`mooring.core.signing`), and takes one that is as old as this.
        """
        return time.monotonic() - attempt.sent_at > self._node.settings.peer_age_seconds

    def _held_until(self) -> float:
        """The longest that it may be held, from now on."""
        return time.monotonic() + self._node.settings.hold_seconds

    def _may_be_held(self) -> bool:
        """Whether there is room for one more request that waits; from now on it counts as one."""
        if not self._is_held and self._node.held >= self._node.settings.held_requests:
            self._node.log_once.no_room()
            return False
        self._node.held += not self._is_held
        self._is_held = True
        return True

    async def _may_go_on(self) -> bool:
        """Whether the new owner knows, or need not know, what the one that died made of it."""
        if self._may_run_again():
            return True
        session_id = self._facts.session_id
        with suppress(StoreUnavailable):
            if session_id is not None:
                return await patiently(self._node, partial(is_on_record, self._node, session_id, self._body))
        return False

    def _may_run_again(self) -> bool:
        """Whether no harm is done if the node that died had carried it out."""
        if self._facts.method != "POST" or self._only_opens():
            return True
        messages = jsonrpc.read_messages(self._body.raw())  # of a batch all
        return bool(messages) and all(map(_is_harmless, messages))

    def _may_open_here(self, attempt: _Attempt) -> bool:
        return not self._facts.modern and self._may_be_taken_here(attempt)

    def _may_be_taken_here(self, attempt: _Attempt) -> bool:
        return self._is_for_any(attempt) and not self._body.is_lost and not self._node.keeper.has_lapsed

    def _is_for_any(self, attempt: _Attempt) -> bool:
        """Whether any node may take it now, whatever became of this attempt."""
        is_bound = self._is_bound or self._facts.is_bound
        return not is_bound and (attempt.sent_to is None or self._facts.method != "POST" or self._only_opens())

    def _only_opens(self) -> bool:
        """Whether it does nothing but open a session, of which nobody knows before it is answered."""
        is_new = self._facts.session_id is None and not self._facts.modern and not self._is_bound
        return is_new and jsonrpc.text_in(self._body.message(), "method") == "initialize"

    def _another_taker(self) -> NodeInfo | None:
        """The least loaded peer that takes what any node may, and was not silent."""
        spared = {*self._silent, self._node.id}
        return next((info for info in self._node.membership.view.takers() if info.id not in spared), None)

    def _spared(self, decision: Decision, attempt: _Attempt) -> Decision:
        """What any node may take does not go to one that was silent, if there is another."""
        if not isinstance(decision, Forward) or decision.node.id not in self._silent:
            return decision
        other = self._another_taker() if self._may_be_taken_here(attempt) else None
        return decision if other is None else Forward(other)

    async def _try(self, attempt: _Attempt, peer: NodeInfo) -> _Attempt:
        """Forward once; returns the same attempt where there is nothing more to do, else the one to make next."""
        sent_at = min(attempt.sent_at, time.monotonic())
        try:
            await self._forward(peer, attempt)
        except PeerMoved as error:
            self._learn(error)
            return _Attempt(_fresh_nonce())
        except PeerSilent as error:
            self._silent.add(peer.id)
            if not error.may_have_run and attempt.sent_to is None:
                return _Attempt(_fresh_nonce(), is_over=error.is_final)
            if not error.may_have_run:  # this time; what became of it before, nobody knows
                return _Attempt(attempt.nonce, sent_to=attempt.sent_to, sent_at=sent_at)
            return _Attempt(attempt.nonce, sent_to=peer.id, is_over=error.is_final, sent_at=sent_at)
        return attempt

    async def _forward(self, peer: NodeInfo, attempt: _Attempt) -> None:
        try:
            await self._refuse_to_lose_the_user(peer)
            self._node.tally.forwarded_out += 1
            request = PassedRequest(
                attempt.nonce,
                self._facts.session_id,
                self._scope,
                self._body.from_start(),
                self._passage.send,
                lambda: last_words(self._facts.method, self._body.asked()),
            )
            await self._passage.forward(peer, request)
        except PeerError as error:
            # A request that is held asks again and again: the first time says it, and a dead node has many of them.
            if attempt.is_first:
                self._node.log_once.few(logger, logging.WARNING, "%s", error, of=peer.id)
            else:
                logger.debug("%s", error)
            raise

    async def _refuse_to_lose_the_user(self, peer: NodeInfo) -> None:
        """What is around Mooring does not run at a port for peers alone, nor behind Redis: its user would be missing.

        Raises:
            PeerSilent: somebody around Mooring has named one.
        """
        if USER in self._scope and await self._node.ways.link.goes_past(peer):
            raise PeerSilent(
                f"not passed on to node {peer.id}: who sent it was found around Mooring, which does not run for what "
                "peers pass on to a process that shares its address, or through Redis (peer_link); put the "
                "authentication inside Mooring",
                may_have_run=False,
                is_final=True,  # it must not go out again
            )

    def _learn(self, moved: PeerMoved) -> None:
        shard = self._node.shard_of(self._facts)
        if shard is not None and moved.owner_id:
            self._node.membership.learned(shard, ShardOwner(moved.owner_id, moved.epoch))


def _is_harmless(message: jsonrpc.Message) -> bool:
    """Whether it may be carried out twice: it asks nothing, or nothing that changes anything."""
    is_request = jsonrpc.id_of(message) is not None and not jsonrpc.is_answer(message)
    return not is_request or kind_of(jsonrpc.text_in(message, "method")) is StreamKind.SAFE


def _fresh_nonce() -> str:
    return secrets.token_urlsafe(16)
