"""How new sessions are shared out among the nodes that are there, and whether that can be chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.node_marks import NodeMarks

UNLIKELY: Final = 0.002
"""So seldom does a load balancer that picks nodes at random starve any of them by chance. With 20 sessions that leaves,
of two nodes, one with at most two, of three one with none; of four none could be told apart from chance."""


@dataclass(frozen=True, slots=True)
class Balance:
    """
    Attributes:
        counts: node -> the new sessions that it got; 0 where it was only seen otherwise.
    """

    counts: Mapping[str, int]

    @classmethod
    def of(cls, found: NodeMarks, seen: Iterable[Reply], beside: Iterable[Reply] = ()) -> Self:
        """The sessions by the mark of their opening.

        Args:
            seen: other answers of the MCP endpoint.
            beside: answers of another path. It may have nodes of its own: only where it shares one, it has the same.
        """
        counts = Counter(found.openings)
        nodes = {found.source.read(reply) for reply in seen}
        others = {found.source.read(reply) for reply in beside} - {None}
        if others & (set(counts) | nodes):
            nodes |= others
        return cls({**counts, **{node: counts[node] for node in nodes if node is not None}})

    @property
    def sessions(self) -> int:
        return sum(self.counts.values())

    @property
    def starved(self) -> tuple[str, ...]:
        """The nodes with so few sessions that it is no chance, the emptiest first."""
        nodes = len(self.counts)
        few = [node for node, got in self.counts.items() if nodes * tail(got, self.sessions, nodes) < UNLIKELY]
        return tuple(sorted(few, key=lambda node: (self.counts[node], node)))

    @property
    def is_telling(self) -> bool:
        """Whether there are enough sessions for a node without any to be no chance."""
        return self.sessions >= self.sessions_needed

    @property
    def sessions_needed(self) -> int:
        """With fewer, a node that got none may have had none by chance."""
        nodes = len(self.counts)
        return 0 if nodes < 2 else math.ceil(math.log(UNLIKELY / nodes) / math.log(1 - 1 / nodes))


def tail(most: int, sessions: int, nodes: int) -> float:
    """The chance that a node gets at most so many of the sessions, where each one is as likely to get any."""
    share = 1 / nodes
    return math.fsum(math.comb(sessions, got) * share**got * (1 - share) ** (sessions - got) for got in range(most + 1))
