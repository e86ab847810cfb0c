"""From what the registry says of the cluster to what an ingress has to know."""

from __future__ import annotations

import functools
import logging

from mooring.core.ids import is_shard
from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo
from mooring.core.ownership import ClusterView
from mooring.ingress.topology import Backend, Topology
from mooring.node.settings import Settings

logger = logging.getLogger("mooring.ingress")


def topology_of(view: ClusterView, settings: Settings) -> Topology:
    """The nodes of `view` that are alive, by name.

    - Two nodes at one URL: only the younger one can be there; the other died without a goodbye, its lease still runs.
    - Two nodes of one name, as while one replaces the other: the one that takes new sessions, of these the younger, has
      the name; so a cookie that was set before the change leads to the new node. The others are called
      `<name>_<end of their id>`.
    - A node that says of itself what cannot be routed to is left out: it must not stop the rest from being followed.
    """
    infos = _youngest_by_url(view.alive())
    named: dict[str, Backend] = {}
    for info in sorted(infos, key=lambda info: (info.state in TAKES_NEW_SESSIONS, info.started, info.id), reverse=True):
        name = info.name if info.name not in named else f"{info.name}_{info.id.removeprefix(f'{info.name}-')}"
        shards = tuple(shard for shard in view.shards_of(info.id) if is_shard(shard))
        try:
            named[name] = Backend(name, info.url, shards, info.state in TAKES_NEW_SESSIONS)
        except ValueError as error:
            _complain(info.id, str(error))
    return Topology(
        tuple(named[name] for name in sorted(named)),
        mcp_path=settings.mcp_path,
        health_path=settings.health_path,
        ready_path=settings.ready_path,
    )


def _youngest_by_url(infos: list[NodeInfo]) -> list[NodeInfo]:
    by_age = sorted(infos, key=lambda info: (info.started, info.id))
    return list({info.url: info for info in by_age}.values())


@functools.cache
def _complain(node_id: str, reason: str) -> None:
    """Once for each reason: topologies are made several times a second."""
    logger.warning("node %r gets no traffic: %s", node_id, reason)
