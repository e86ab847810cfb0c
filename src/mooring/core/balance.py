"""Who takes what, so that sessions are spread evenly: when a node gives away all that it has, or only what is too much.

A node's load is the share of its capacity that it uses. What nodes say of their load lags behind what they were given,
so whoever deals keeps count of that.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo
from mooring.core.ownership import ClusterView

FULLER: Final = 1.25
"""A node with this many times the load of another, and `NOTICEABLE` more sessions, is fuller than that one."""
NOTICEABLE: Final = 10
"""Fewer sessions than that are not worth a move."""
UNTOLD: Final = (10, 0.25, 0.02)
"""What heartbeats do not tell of: so many sessions more or fewer, or such a share of those that there are; nor, in any
case, of such a share of the capacity."""


class Dealer:
    """Names a receiver for each shard that a node gives away."""

    def __init__(self, giver_id: str) -> None:
        self._giver_id = giver_id
        # How many sessions each node was dealt that it may not have told of yet.
        self._dealt: dict[str, int] = {}

    def receiver(self, view: ClusterView) -> NodeInfo | None:
        """The least loaded of the peers that are ready; None where there is none. One that is full is better than none:
        what it takes over goes on, and would be cut off else.
        """
        ready = (info for info in view.alive() if info.state in TAKES_NEW_SESSIONS and info.id != self._giver_id)
        return min(ready, key=self._load, default=None)

    def dealt(self, receiver: NodeInfo, sessions: int) -> None:
        """So many sessions went there."""
        self._dealt[receiver.id] = self._dealt.get(receiver.id, 0) + max(sessions, 1)

    def _load(self, info: NodeInfo) -> tuple[float, str]:
        return (info.sessions + self._dealt.get(info.id, 0)) / info.capacity, info.id


def is_fuller(sessions: int, capacity: int, peer: NodeInfo, *, is_vague: bool = False) -> bool:
    """Whether a node with so many sessions is noticeably fuller than a peer.

    Args:
        is_vague: the peer's sessions are known from heartbeats.
    """
    theirs = (at_most(peer) if is_vague else peer.sessions) * capacity / peer.capacity
    return sessions > theirs * FULLER and sessions - theirs > NOTICEABLE


def at_most(peer: NodeInfo) -> float:
    """How many sessions a peer may have by now, as far as its heartbeats tell.

    What is known of it may be as far on one side of what it told last as it is now on the other: hence twice.
    """
    count, share, of_capacity = UNTOLD
    told = max(peer.sessions + count, peer.sessions / (1 - share))
    now = max(told + count, told / (1 - share))
    return min(now, peer.sessions + 2 * of_capacity * peer.capacity)


def shards_to_move(held: Mapping[str, int], me: NodeInfo, view: ClusterView) -> list[tuple[str, NodeInfo]]:
    """The shards that a node should give away so that the load gets even, each with its receiver; none where it is.

    All nodes see the same, and each gives no more than what it has above the mean: so together they give what is
    missing elsewhere. Which of several emptier nodes is the first to get something differs from giver to giver.

    Args:
        held: this node's shards that may be moved now, and how many sessions each has.
        me: this node, as it is.
    """
    nodes = {me.id: me} | {info.id: info for info in view.takers()}
    sessions_of_all = sum(info.sessions for info in nodes.values())
    capacity_of_all = sum(info.capacity for info in nodes.values())

    def fair(info: NodeInfo) -> float:
        return sessions_of_all * info.capacity / capacity_of_all

    surplus = me.sessions - fair(me)
    room = {info.id: fair(info) - info.sessions for info in nodes.values() if info.id != me.id}
    emptier = sorted(
        info.id for info in nodes.values() if info.id != me.id and is_fuller(me.sessions, me.capacity, info)
    )
    moves = []
    for shard, sessions in sorted(held.items(), key=lambda one: (-one[1], one[0])):
        fitting = [name for name in emptier if 0 < sessions <= min(surplus, room[name])]
        if fitting:
            receiver = max(fitting, key=lambda name: (room[name], _turn(me.id, name)))
            surplus -= sessions
            room[receiver] -= sessions
            moves.append((shard, nodes[receiver]))
    return moves


def _turn(giver_id: str, receiver_id: str) -> int:
    """An order that differs from giver to giver, and is the same each time."""
    return zlib.crc32(f"{giver_id} {receiver_id}".encode())
