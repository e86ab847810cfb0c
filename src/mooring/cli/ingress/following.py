"""The cluster that an ingress command is about: its topology now, or files that follow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Final

from mooring.cli.chosen_cluster import ChosenCluster, opened_store
from mooring.core.ownership import ClusterView, advance
from mooring.ingress.follow import FollowingFiles, Reload, follow
from mooring.ingress.proxy import Files
from mooring.ingress.topology import Topology, topology_of
from mooring.processes.signals import stop_signals
from mooring.store import Store
from mooring.store.registry import watch

LOOK_SECONDS: Final = 0.5
"""How often the nodes are looked at: a load balancer has to follow them within two seconds."""


async def topology_now(cluster: ChosenCluster) -> Topology:
    """The nodes that are alive at this moment."""
    async with opened_store(cluster) as store:
        view = advance(ClusterView(), await store.snapshot(), in_grace=False)
        return topology_of(view, cluster.settings)


async def keep_files(
    cluster: ChosenCluster, texts_of: Callable[[Topology], Files], reload: Reload | None = None
) -> None:
    """Until SIGTERM or Ctrl-C. A Redis that does not answer at the start is an error; later it is waited for."""
    async with opened_store(cluster) as store:
        await store.snapshot()
        following = asyncio.ensure_future(follow(_topologies(store, cluster), FollowingFiles(texts_of), reload))
        with stop_signals(following.cancel), suppress(asyncio.CancelledError):
            await following


async def _topologies(store: Store, cluster: ChosenCluster) -> AsyncIterator[Topology]:
    views = watch(store, every_seconds=LOOK_SECONDS, grace_seconds=cluster.settings.lease_seconds)
    async with aclosing(views):
        async for view in views:
            yield topology_of(view, cluster.settings)
