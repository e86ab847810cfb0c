"""`mooring rebalance`: have fuller nodes give idle sessions to emptier ones."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import typer

from mooring.cli.chosen_cluster import REGISTRY_SETTINGS, ChosenCluster, find_cluster, opened_store
from mooring.cli.flags import Debug, RunDir, new_app, with_settings
from mooring.cli.ordering import KEPT_SECONDS, living_nodes, takes_sessions
from mooring.core.text import plain

app = new_app()

_SHOWN: Final = 20
"""Of more nodes the fullest."""


@app.command()
@with_settings(only=REGISTRY_SETTINGS)
def rebalance(run_dir: RunDir = None, debug: Debug = False, **given: Any) -> None:
    """Have fuller nodes give idle sessions to emptier ones, as after one was added.

    A session that moves is opened again at its next request; what its app kept for it in memory is gone. New sessions
    go to emptier nodes without this.
    """
    asyncio.run(_rebalance(find_cluster(run_dir, given)))


async def _rebalance(cluster: ChosenCluster) -> None:
    async with opened_store(cluster) as store:
        nodes = [node for node in await living_nodes(store) if takes_sessions(node)]
        for node in nodes:
            await store.order(node.info.id, "rebalance", KEPT_SECONDS)
        fullest = sorted(nodes, key=lambda node: -node.info.sessions)[:_SHOWN]
        shown = fullest if len(nodes) > _SHOWN else nodes
        loads = ", ".join(f"{plain(node.info.name)} {node.info.sessions}" for node in shown)
        more = f", and {len(nodes) - _SHOWN} with fewer" if len(nodes) > _SHOWN else ""
        typer.echo(f"{len(nodes)} nodes were told to rebalance; sessions now: {loads or 'none'}{more}")
