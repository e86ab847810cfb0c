"""A Mooring node's status page, read as any client with its token can: `docs/operations.md`, Status page."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mooring.doctor.client.reply import Reply
from mooring.doctor.examination import Examination

READY: Final = "ready"
_ASKS: Final = 5
_PAUSE_SECONDS: Final = 1.0
"""A node knows its peers as its last heartbeat found them, which is once a second unless they are set otherwise."""


class NoStatusPage(Exception):
    """There is no status page to read; the message says why, in a few words."""


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One node, as the page has it; `state` is `dead` where it went without a goodbye."""

    id: str
    name: str
    state: str
    alive: bool
    version: str
    sessions: int
    shards: frozenset[str]
    served: int
    forwarded_in: int


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """
    Attributes:
        degraded: why the node that answered cannot reach its store; empty where it can.
    """

    node: str
    degraded: str
    nodes: tuple[ClusterNode, ...]

    @property
    def alive(self) -> tuple[ClusterNode, ...]:
        return tuple(node for node in self.nodes if node.alive)

    @property
    def ready(self) -> tuple[ClusterNode, ...]:
        return tuple(node for node in self.nodes if node.state == READY)

    def is_settled(self, session_ids: Sequence[str]) -> bool:
        """Every session is on a node, and no node is on its way to another state."""
        return "" not in self.owners(session_ids) and len(self.ready) == len(self.alive)

    @property
    def forwarded_share(self) -> float:
        """Of all requests that its nodes ever served, those that came by way of another node."""
        served = sum(node.served for node in self.nodes)
        return sum(node.forwarded_in for node in self.nodes) / served if served else 0.0

    def owners(self, session_ids: Iterable[str]) -> Counter[str]:
        """The id of the node that holds each session -> how many; "" for those that are on no node of this cluster."""
        owner = {shard: node.id for node in self.alive for shard in node.shards}
        return Counter(owner.get(session_id.partition(".")[0], "") for session_id in session_ids)


async def read_status(exam: Examination, settled: Callable[[ClusterStatus], bool]) -> ClusterStatus:
    """What the page says, read again while it is not settled: what it says of the other nodes may be a heartbeat old.

    Raises:
        NoStatusPage: there is none.
    """
    page = await _ask(exam)
    for _ in range(_ASKS - 1):
        if settled(page):
            break
        await asyncio.sleep(_PAUSE_SECONDS)
        page = await _ask(exam)
    return page


async def _ask(exam: Examination) -> ClusterStatus:
    plan = exam.plan
    headers = {"Authorization": f"Bearer {plan.status_token}"} if plan.status_token else {}
    reply = await exam.wire.send("GET", url=plan.status_url, token=None, headers=headers)
    return parse_status(reply)


def parse_status(reply: Reply) -> ClusterStatus:
    """
    Raises:
        NoStatusPage: the reply is no status page.
    """
    if reply.trouble is not None:
        raise NoStatusPage(str(reply.trouble))
    if reply.status == 401:
        raise NoStatusPage("401, its token is a different one")
    if reply.status != 200:
        raise NoStatusPage(f"answered with {reply.status}")
    try:
        page = json.loads(reply.body)
        return ClusterStatus(str(page["node"]), str(page["degraded"] or ""), tuple(_node(one) for one in page["nodes"]))
    except (ValueError, RecursionError):
        raise NoStatusPage("its answer is not JSON") from None
    except (KeyError, TypeError, AttributeError):
        raise NoStatusPage("its answer is not a Mooring node's") from None


def _node(said: Mapping[str, Any]) -> ClusterNode:
    return ClusterNode(
        id=str(said["id"]),
        name=str(said["name"]),
        state=str(said["state"]),
        alive=bool(said["alive"]),
        version=str(said["version"]),
        sessions=_count(said["sessions"]),
        shards=frozenset(str(shard) for shard in said["shards"]),
        served=_count(said["served"]),
        forwarded_in=_count(said["forwarded_in"]),
    )


def _count(said: object) -> int:
    if not isinstance(said, int):
        raise TypeError(said)
    return said
