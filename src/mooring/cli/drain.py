"""`mooring drain NODE`: have a node give all its sessions to the others, so that it can be stopped."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import typer

from mooring.cli.chosen_cluster import REGISTRY_SETTINGS, ChosenCluster, find_cluster, opened_store
from mooring.cli.flags import Debug, RunDir, new_app, with_settings
from mooring.cli.ordering import KEPT_SECONDS, PATIENCE_SECONDS, living_nodes, named, takes_sessions
from mooring.core.model import NodeState
from mooring.core.text import plain
from mooring.errors import ClusterError
from mooring.store import Store
from mooring.store.registry import NodeStatus

app = new_app()

_LOOK_SECONDS: Final = 0.3


@app.command()
@with_settings(only=REGISTRY_SETTINGS)
def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its name, or its id where two have that name.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return once it has given everything away.")] = False,
    timeout: Annotated[float, typer.Option(help="How long to wait for that, in seconds.", min=1)] = 120.0,
    run_dir: RunDir = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Have a node give all its sessions to the others, and take no new ones.

    It goes on running, and passes on what still arrives. Stop it then with whatever runs it; SIGTERM drains as well.
    """
    asyncio.run(_drain(find_cluster(run_dir, given), node, timeout if wait else None))


async def _drain(cluster: ChosenCluster, name: str, wait_seconds: float | None) -> None:
    async with opened_store(cluster) as store:
        nodes = await living_nodes(store)
        chosen = named(nodes, name)
        if not any(takes_sessions(node) for node in nodes if node.info.id != chosen.info.id):
            raise ClusterError(
                f"no other node takes the sessions of {plain(chosen.info.name)}: start one first; or stop it, "
                "and its sessions go on once a node starts"
            )
        await store.order(chosen.info.id, "drain", KEPT_SECONDS)
        typer.echo(f"{plain(chosen.info.name)} was told to drain; it has {chosen.info.sessions} sessions")
        if wait_seconds is None:
            return
        try:
            async with asyncio.timeout(wait_seconds):
                await _follow(store, chosen)
        except TimeoutError:
            raise ClusterError(
                f"{plain(chosen.info.name)} has not given everything away after {wait_seconds:g} s: see its log"
            ) from None


async def _follow(store: Store, chosen: NodeStatus) -> None:
    """Show how it goes, until the node has nothing any more."""
    last = ""
    while True:
        nodes = await living_nodes(store, PATIENCE_SECONDS)
        now = next((node for node in nodes if node.info.id == chosen.info.id), None)
        if now is None:
            typer.echo(f"{plain(chosen.info.name)} has ended")
            return
        said = f"{now.state}: {now.info.sessions} sessions in {len(now.shards)} shards"
        if said != last:
            typer.echo(f"{plain(now.info.name)} {said}")
        last = said
        # Its sessions are counted with each heartbeat, and so a little later than its shards.
        if now.info.state is NodeState.DRAINING and not (now.shards or now.info.sessions):
            return
        await asyncio.sleep(_LOOK_SECONDS)
