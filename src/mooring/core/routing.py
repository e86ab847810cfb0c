"""The decision: what a node does with a request on the MCP path.

    request                            this node's view                       decision
    ---------------------------------  -------------------------------------  -----------------------------------
    `Mcp-Session-Id` twice             -                                      refuse 400 `duplicate_header`
    forwarded already                  our lease has lapsed                   moved
    any other                          it has; a peer can renew its own       forward to that peer
    any other                          it has; nobody tells us more           hold
    modern era, names no handle        -                                      serve
    the same, not forwarded            is draining; a peer takes new ones     forward to the least loaded peer
    any other session                  its shard is being given to a peer     hold; moved where it was forwarded
    no session id, forwarded           is draining; a peer takes new ones     moved
    no session id                      takes new sessions, or was forwarded   open
    no session id                      is noticeably fuller than a peer       forward to the least loaded peer
    no session id                      takes none; a peer does                forward to the least loaded peer
    no session id                      takes none; nor does any peer          open (the app says what it thinks)
    session is here                    -                                      serve: nothing is read from the store
    session id does not verify         -                                      refuse 404 `forged`
    handle is here                     -                                      serve: nothing is read from the store
    handle does not verify             -                                      refuse `forged`
    shard is ours, session is not here                                        consult, revive
    forwarded already                  shard is another live node's, or not known   consult, moved
    forwarded already                  the store is away, or may lack it      consult, moved
    shard is another live node's       -                                      forward
    any other session                  this node said goodbye, or is declared dead   consult, hold
    shard is another live node's       its entry cannot be read: no URL       consult, refuse 200 `unreachable`
    shard's owner is dead              -                                      consult, adopt; then as "ours"
    such a session, not forwarded      is draining; a peer takes new ones     consult, forward to the least loaded peer
    shard is not known                 -                                      consult, revive
    the same, not forwarded            the store was empty as this node joined   consult, hold
    the last four                      the store is away, or may lack it      consult, hold

A handle is the modern era's session id: from the row "shard is ours" on they are decided alike. What revives it is the
author's own, where it says that it survives; without that it is refused. So is decided of a call that was placed by its
key, which is here where its shard is ours.

To consult is to ask the store for the current view, and to decide again, before anything is said to be gone. An owner
is dead when its lease is over by the store's time, or it said goodbye; a connection that fails says nothing of that.
To revive is to open the session again from its record, on this node; without a record it is refused: 404 `expired`
where the shard is ours, else `unknown`.
To hold is to wait a little and decide again, for as long as a request may be held.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from mooring.core.balance import is_fuller
from mooring.core.model import NodeInfo, ShardOwner
from mooring.core.ownership import ClusterView
from mooring.core.request import RequestFacts


class Reason(enum.StrEnum):
    """Why a request is refused; the name is part of the answer (`error.data.reason`)."""

    FORGED = "forged"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    OWNER_LOST = "owner_lost"
    MISROUTED = "misrouted"
    PRINCIPAL = "principal"
    DUPLICATE_HEADER = "duplicate_header"
    UNREACHABLE = "unreachable"
    NOT_REVIVED = "not_revived"
    OUTCOME_UNKNOWN = "outcome_unknown"
    SIGNATURE = "signature"
    MIXED = "mixed"
    COMPRESSED = "compressed"


@dataclass(frozen=True, slots=True)
class Serve:
    """Hand it to the app on this node."""


@dataclass(frozen=True, slots=True)
class Open:
    """Hand it to the app on this node; a session that it gives out begins here."""


@dataclass(frozen=True, slots=True)
class Consult:
    """Ask the store, then decide again."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Pass it on to the node that owns it, or has room for it."""

    node: NodeInfo


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody knows whether this node may serve: wait, and decide again."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take the shard over from an owner that is dead, and decide again."""

    shard: str
    owner: ShardOwner


@dataclass(frozen=True, slots=True)
class Moved:
    """Tell the peer that passed it on that the shard is not ours, and whose it is, if that is known."""

    owner: ShardOwner | None


@dataclass(frozen=True, slots=True)
class Revive:
    """Open the session again here, from its record; without one, refuse for this reason."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer that it cannot be served."""

    reason: Reason


Decision = Serve | Open | Consult | Forward | Hold | Adopt | Moved | Revive | Refuse

SERVE: Final = Serve()
OPEN: Final = Open()
CONSULT: Final = Consult()
HOLD: Final = Hold()


@dataclass(frozen=True, slots=True)
class Situation:
    """What the node knows when it decides.

    Attributes:
        takes_new: this node takes new sessions: it is up, not draining, and below its capacity.
        session_here: the session's transport lives in this process, or what the handle stands for.
        shard: the shard that the session id or the handle names; None where there is none or it does not verify.
        consulted: the store was asked for this request; so the view is current, unless
        store_is_partial: the store did not answer, or may not have everything again that it lost.
        store_is_filling: it was empty just before this node joined: peers may not have written again what they hold.
        has_lapsed: this node's lease is over, and it was not told that it may go on: it serves nothing.
        helper: a peer that could renew its lease when this node could not.
        has_left: the node's end is on record: it takes nothing more, whatever is nobody's.
        is_moving: the shard is being given to a peer.
        is_draining: this node gives away all that it has.
        sessions, capacity: of this node.
    """

    node_id: str
    view: ClusterView
    takes_new: bool = True
    session_here: bool = False
    shard: str | None = None
    consulted: bool = False
    store_is_partial: bool = False
    store_is_filling: bool = False
    has_lapsed: bool = False
    helper: NodeInfo | None = None
    has_left: bool = False
    is_moving: bool = False
    is_draining: bool = False
    sessions: int = 0
    capacity: int = 1

    def another_taker(self) -> NodeInfo | None:
        """The least loaded peer that takes new sessions."""
        return next((info for info in self.view.takers() if info.id != self.node_id), None)


def decide_at_sight(
    facts: RequestFacts, session_here: bool, *, is_moving: bool = False, is_draining: bool = False
) -> Decision | None:
    """The decision for the rows that need no view, which nearly every request meets; None where the rest is needed.

    For a node whose lease has not lapsed.
    """
    if facts.doubled:
        return Refuse(Reason.DUPLICATE_HEADER)
    if facts.is_free:
        return None if is_draining and not facts.forwarded else SERVE
    if is_moving:
        return Moved(None) if facts.forwarded else HOLD
    return SERVE if session_here else None


def decide(facts: RequestFacts, here: Situation) -> Decision:
    """What to do with the request; see the table above."""
    if here.has_lapsed and not facts.doubled:
        return _decline(facts, here)
    at_sight = decide_at_sight(facts, here.session_here, is_moving=here.is_moving, is_draining=here.is_draining)
    if at_sight is not None:
        return at_sight
    if not facts.is_bound:
        placed = _place(facts, here)
        return SERVE if facts.modern and placed == OPEN else placed
    if here.shard is None:
        return Refuse(Reason.FORGED)
    return _follow(here.shard, facts, here)


def _decline(facts: RequestFacts, here: Situation) -> Decision:
    """What to do with a request on a node that may not serve. The peer that passed one on decides again."""
    if facts.forwarded:
        return Moved(None)
    return HOLD if here.helper is None else Forward(here.helper)


def _place(facts: RequestFacts, here: Situation) -> Decision:
    """Where a new session begins."""
    peer = here.another_taker()
    if peer is None:
        return OPEN
    if facts.forwarded:  # whoever passed it on may not know yet that this node is about to end
        return Moved(None) if here.is_draining else OPEN
    if here.takes_new and not is_fuller(here.sessions, here.capacity, peer, is_vague=True):
        return OPEN
    return Forward(peer)


def _follow(shard: str, facts: RequestFacts, here: Situation) -> Decision:
    """What to do with a session that does not live here."""
    owner = here.view.owner_of(shard)
    if owner is not None and owner.node_id != here.node_id and not facts.forwarded:
        node = here.view.nodes.get(owner.node_id)
        if node is not None and node.info.has_a_way and here.view.is_alive(owner.node_id):
            return Forward(node.info)
    if not here.consulted:
        return CONSULT
    if here.has_left:
        return Moved(None) if facts.forwarded else HOLD
    if owner is not None and owner.node_id == here.node_id:
        return Revive(Reason.EXPIRED)
    is_alive = owner is not None and here.view.is_alive(owner.node_id)
    if is_alive or here.store_is_partial:
        if facts.forwarded:
            return Moved(owner)
        return Refuse(Reason.UNREACHABLE) if is_alive else HOLD
    if facts.forwarded and owner is None:
        return Moved(None)
    if owner is None:
        return HOLD if here.store_is_filling else Revive(Reason.UNKNOWN)
    heir = here.another_taker() if here.is_draining and not facts.forwarded else None
    return Adopt(shard, owner) if heir is None else Forward(heir)
