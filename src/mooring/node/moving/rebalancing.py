"""Idle sessions that go to emptier nodes, so that a node that was just added is of use to those that are there.

Only shards in which nothing runs for long are moved, and only as many sessions as a node has above the mean. Short
calls are waited for, as when a node drains: among many sessions there is always one. What an app keeps of a session in
memory does not come along: so this is done when an operator asks for it (`mooring rebalance`), and by itself only for
apps that are said to keep nothing there (`rebalance`). New sessions go to emptier nodes in any case.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from mooring.core.balance import shards_to_move
from mooring.core.ownership import ClusterView, advance
from mooring.core.reconnects import Reconnects
from mooring.node.moving.handing_over import HandOver
from mooring.node.node import Node

logger = logging.getLogger("mooring.moving")

_PATIENCE_SECONDS: Final = 0.5


async def rebalance(node: Node) -> int:
    """Give away what this node has too much; returns how many sessions went.

    Raises:
        StoreUnavailable: nobody knows how full the others are.
    """
    async with node.moves:
        return await _rebalance(node) if node.takes_new_sessions else 0


async def _rebalance(node: Node) -> int:
    view = advance(ClusterView(), await node.store.snapshot(), in_grace=False)
    held = Counter(session.shard for session in node.sessions.living())
    hand_over = HandOver(node, Reconnects(sum(stream.has_listener for stream in node.streams.standing())))
    quiet = {
        shard: count
        for shard, count in held.items()
        if not hand_over.is_busy(shard, _PATIENCE_SECONDS) and not node.has_handles(shard)
    }
    went = 0
    for shard, receiver in shards_to_move(quiet, node.describe(), view):
        if await hand_over.give(shard, receiver, _PATIENCE_SECONDS, spares_handles=True):
            went += held[shard]
    logger.info("rebalanced: %d sessions went to emptier nodes", went)
    return went
