"""A node that cannot renew its lease finds out from its peers whether it is the store that is away, or itself."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Collection, Sequence

from mooring.core.membership import Membership
from mooring.core.model import NodeInfo
from mooring.core.standing import PEERS_ASKED, PeerWord, Standing, judge

logger = logging.getLogger("mooring.lease")

AskPeers = Callable[[Sequence[NodeInfo], Collection[str]], Awaitable[Sequence[tuple[NodeInfo, PeerWord]]]]
"""The words of those peers that answer, about whether they can renew and whose these shards are."""


async def nobody_answers(peers: Sequence[NodeInfo], shards: Collection[str]) -> Sequence[tuple[NodeInfo, PeerWord]]:
    """For a node that has no way to ask."""
    return ()


class PeersWord:
    """
    Args:
        ask: how peers are asked.
        now: as in `LeaseKeeper`.
        goes_on_alone: what the operator chose for a node that nobody answers.

    Attributes:
        helper: a peer that could renew when it was asked last.
    """

    def __init__(
        self,
        membership: Membership,
        node_id: str,
        ask: AskPeers,
        now: Callable[[], float],
        *,
        goes_on_alone: bool,
    ) -> None:
        self._membership = membership
        self._node_id = node_id
        self._ask = ask
        self._now = now
        self._goes_on_alone = goes_on_alone
        self.helper: NodeInfo | None = None

    async def hear(self) -> list[str]:
        """Ask, and have `Membership` draw its conclusions; returns the shards that others own by now."""
        known, asked = self._membership, self._now()
        renewed_ms, before = known.renewed_ms, known.standing
        peers = [peer for peer in known.view.alive() if peer.id != self._node_id]
        peers = random.sample(peers, min(len(peers), PEERS_ASKED))
        answers = await self._ask(peers, list(known.shards))
        if known.renewed_ms != renewed_ms:
            return []  # the store answered meanwhile
        words = [word for _, word in answers]
        standing = judge(len(peers), words)
        self.helper = next((peer for peer, word in answers if word.can_renew), None)
        lost = known.peers_said(standing, words, asked, goes_on_alone=self._goes_on_alone)
        if known.standing is not None and known.standing is not before:
            self._tell(known.standing)
        return lost

    def _tell(self, standing: Standing) -> None:
        if standing is Standing.AWAY:
            logger.warning("no peer reaches the store either: sessions go on; see whether Redis runs (redis_url)")
        elif standing is Standing.CUT_OFF:
            logger.error(
                "peers reach the store and this node does not: from the end of its lease on it serves nothing, and "
                "passes on to them what arrives; look at the network between this node and Redis"
            )
        elif self._goes_on_alone:
            logger.error(
                "neither the store nor enough peers answer: sessions go on, as when_isolated says; look at its network"
            )
        else:
            logger.error(
                "neither the store nor enough peers answer: from the end of its lease on this node serves nothing "
                "(when_isolated = stop); look at its network"
            )
